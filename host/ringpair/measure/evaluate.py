"""From a data set to all figures: two passes, sums that can be added, then the figures made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ringpair_protocol import puf

from .bits import BitSums, Figures, bit_figures, plain
from .dataset import Batch, Dataset
from .die import DieSums, Geometry, die_figures
from .entropy import joint_model
from .failure import MarginSums, failure_figures
from .floorplan import positions
from .makers import METHODS, Chain, Counter, Device, Maker, Neighbor
from .resample import LEVEL, Weights
from .survey import Survey, Tables, row_length, survey
from .work import Runner, here

__all__ = ["Options", "device_account", "evaluate"]

LAYOUT_FOLDS = 4
FEWEST_CHIPS = 8
"""To learn a layout table from, and to say how much entropy there is."""
PARTITION_CHIPS, MOST_PARTITIONS = 2000, 10
"""Few chips are divided into folds in several ways, as chance in the division weighs more."""
PARTITION_SUMS = 1 << 25
"""Sums of bits, over replicates, folds and partitions: 256 MiB."""
STRANGE = 20.0
"""A ring so many times the usual spread off its row is pointed out."""
FORM = 1


@dataclass(frozen=True)
class Options:
    """How to evaluate.

    Parameters
    ----------
    methods : sequence of str
        Of `makers.METHODS`.
    folds : int
        Of the cross-validation of the layout table; 0: no table.
    tables : Tables, optional
        A given layout table instead.
    packed : bool
        The device's tables rounded as the gateware holds them.
    sigma_ppm : int, optional
        Spread instead of the learned one.
    replicates : int
        Of the bootstrap.
    seed : int
    die : bool
        Also the figures of the rings themselves.
    failure : bool
        Also failure rates of the key; of the device method.
    """

    methods: Sequence[str] = METHODS
    folds: int = LAYOUT_FOLDS
    tables: Tables | None = None
    packed: bool = False
    sigma_ppm: int | None = None
    replicates: int = 400
    seed: int = 0
    die: bool = True
    failure: bool = False


@dataclass
class SecondSums:
    """Sums of the second pass."""

    bits: dict[str, BitSums]
    die: DieSums
    margins: MarginSums

    def __add__(self, other: SecondSums) -> SecondSums:
        bits = {name: sums + other.bits[name] for name, sums in self.bits.items()}
        return SecondSums(bits, self.die + other.die, self.margins + other.margins)


@dataclass(frozen=True)
class SecondPass:
    """The work of the second pass: bits by each maker, rings themselves, margins."""

    makers: dict[str, Maker]
    geometry: Geometry
    weights: Weights
    rings: int
    folds: int
    die: bool
    margins: bool

    def empty(self) -> SecondSums:
        """Sums of no chip."""
        geometry, replicates = self.geometry, self.weights.replicates
        bits = {
            name: BitSums.empty(
                maker.bits,
                self.folds if name == "device" else 1,
                len(geometry.conditions),
                replicates,
                maker.reads,
            )
            for name, maker in self.makers.items()
        }
        return SecondSums(bits, DieSums.empty(self.rings, geometry, replicates), MarginSums.empty())

    def add(self, sums: SecondSums, batch: Batch) -> None:
        """Take some chips in."""
        weights = self.weights(batch.first, len(batch.ids))
        for name, maker in self.makers.items():
            self._add_bits(sums.bits[name], maker, batch, weights)
        if self.die:
            sums.die.add(batch, self.geometry, weights)
        if self.margins and isinstance(device := self.makers.get("device"), Device):
            sums.margins.add(device.margins(batch))

    def _add_bits(self, sums: BitSums, maker: Maker, batch: Batch, weights: NDArray[np.float64]) -> None:
        nominal, first = self.geometry.nominal, batch.first
        if not isinstance(maker, Device):
            sums.add(maker(batch), nominal, first, weights, np.zeros(len(batch.ids), np.intp))
            return
        sums.add(maker(batch), nominal, first, weights, maker.folds(batch))
        for partition, codes in enumerate(maker.enroll(batch)[1:], 1):
            sums.add_reference(codes >= 8, weights, partition * maker.fold_count + maker.folds(batch, partition))


def evaluate(
    data: Dataset,
    options: Options | None = None,
    progress: Callable[[int, int], None] = lambda done, all: None,
    run: Runner = here,
) -> Figures:
    """All figures of a data set, ready for JSON.

    Parameters
    ----------
    data : Dataset
    options : Options, optional
    progress : function
        Called with chips done and all chips, of both passes together.
    run : Runner
        Makes the sums: here, or on a cluster.

    Raises
    ------
    DataError
        The data cannot be evaluated; the message says why.
    """
    options = options or Options()
    notes = list(data.notes)
    folds = _folds(data, options, notes)
    partitions = _partitions(data, options, folds)
    first_pass = survey(data, folds, partitions, run, lambda done: progress(done, 2 * data.chips))
    makers = {name: _maker(name, data, first_pass, folds, options, notes) for name in options.methods}
    geometry = Geometry(data, first_pass)
    work = SecondPass(
        makers,
        geometry,
        Weights(options.replicates, options.seed),
        data.rings,
        max(folds, 1) * partitions,
        options.die,
        options.failure,
    )
    sums = run(data, work, lambda done: progress(data.chips + done, 2 * data.chips))
    notes += _remarks(data, first_pass, geometry)
    result = _head(data, options, first_pass, notes)
    result["methods"] = {name: bit_figures(sums.bits[name], maker, data.nominal) for name, maker in makers.items()}
    if "device" in makers:
        text = _layout_text(folds, partitions, options)
        result["methods"]["device"] |= {"layout_folds": folds, "layout_partitions": partitions, "layout": text}
    if options.die:
        result["die"] = die_figures(sums.die, geometry)
        result["entropy"] = _account(data, sums.die, result["methods"])
    if options.failure and "device" in makers:
        result["key_failure"] = failure_figures(sums.margins, data.chips)
    return result


def _remarks(data: Dataset, first_pass: Survey, geometry: Geometry) -> list[str]:
    """What a reader of the figures should know of these data."""
    notes = []
    if data.chips == 1:
        notes.append("one chip: nothing can be said of uniqueness, aliasing and entropy")
    if data.rings % puf.ROW:
        notes.append(f"{data.rings} rings are no whole rows of {puf.ROW}: the device method needs these")
    if data.reads == 1:
        notes.append("one read of each ring: nothing can be said of reliability")
    far, chip, ring = first_pass.furthest
    if data.chips > 1 and abs(far - first_pass.pattern[ring]) > STRANGE * np.median(first_pass.deviation):
        notes.append(f"ring {ring} of chip {chip} is {far:+.1%} off its row: if it is broken, leave that chip out")
    if geometry.confounded:
        notes.append("temperature and voltage change together: their coefficients cannot be told apart")
    return notes


def _folds(data: Dataset, options: Options, notes: list[str]) -> int:
    if "device" not in options.methods or options.tables is not None or options.folds == 0:
        return 0
    if data.chips < FEWEST_CHIPS:
        chips = "1 chip is" if data.chips == 1 else f"{data.chips} chips are"
        notes.append(f"{chips} too few to learn a layout table by cross-validation: none is used")
        return 0
    most = data.chips // 2
    if options.folds > most:
        notes.append(
            f"{options.folds} folds would leave no two chips of {data.chips} in one fold to compare: {most} are used"
        )
    return min(options.folds, most)


def _partitions(data: Dataset, options: Options, folds: int) -> int:
    """Ways to divide the chips into folds: more for fewer chips, as far as memory allows."""
    if not folds:
        return 1
    room = PARTITION_SUMS // ((1 + options.replicates) * folds * data.rings)
    return int(np.clip(min(PARTITION_CHIPS // data.chips, room), 1, MOST_PARTITIONS))


def _maker(name: str, data: Dataset, first_pass: Survey, folds: int, options: Options, notes: list[str]) -> Maker:
    if name != "device":
        return {"neighbor": Neighbor, "chain": Chain}[name](data)
    tables = options.tables or (Tables.learned(first_pass) if folds else Tables.without(data.rings))
    if options.packed:
        tables = tables.packed()
    if tables.clipped:
        notes.append(
            f"{tables.clipped} entries or spreads of layout tables lie outside the device's range and were cut"
        )
    sigma = tables.sigma_ppm if options.sigma_ppm is None else np.full_like(tables.sigma_ppm, options.sigma_ppm)
    counter = Counter(data, first_pass.mean, first_pass.largest, first_pass.whole, options.seed)
    if counter.scale is not None:
        notes.append(
            "values were scaled to the device's mean count and rounded as its counters do, for the device method only"
        )
    device = Device(data, counter, Tables(tables.entries, sigma), folds)
    if device.enroll_reads < puf.ENROLL_READS:
        notes.append(
            f"the device enrolls on {puf.ENROLL_READS} reads; with {data.reads} a chip it had {device.enroll_reads}"
        )
    return device


def _layout_text(folds: int, partitions: int, options: Options) -> str:
    if options.tables is not None:
        return "given table"
    ways = f", {partitions} ways" if partitions > 1 else ""
    return f"learned on the other folds of {folds}{ways}" if folds else "no table"


def _head(data: Dataset, options: Options, first_pass: Survey, notes: list[str]) -> Figures:
    return {
        "form": FORM,
        "name": data.name,
        "silicon": data.meta.silicon,
        "floorplan": data.meta.floorplan,
        "metadata": data.meta.extra,
        "chips": int(first_pass.chips[0].sum()),
        "rings": data.rings,
        "reads": data.reads,
        "conditions": [str(condition) for condition in data.conditions],
        "nominal_condition": data.nominal,
        "mean_value": first_pass.mean,
        "confidence": LEVEL,
        "replicates": options.replicates,
        "notes": notes,
    }


def _account(data: Dataset, die: DieSums, methods: dict[str, Any]) -> Figures | None:
    """Entropy of a device's worth of rings: free dimensions x entropy, minus correlation, minus leakage."""
    model = joint_model(die.joint, positions(data.meta.floorplan, data.rings))
    if model is None:
        return None
    account: Figures = {
        "rings": model.rings,
        "rows": model.rings // row_length(model.rings),
        "lost_to_correlation": model.lost,
        "lost_to_correlation_ci": model.lost_ci,
        "lost_to_correlation_stationary": model.stationary,
        "shrinkage": model.shrinkage,
        "spectrum": model.spectrum,
        "sample_spectrum": model.sample_spectrum,
    }
    device = methods.get("device")
    if data.chips >= FEWEST_CHIPS and device is not None and device["min_entropy_per_bit_corrected"] is not None:
        account |= device_account(account, device)
    return {name: plain(value) for name, value in account.items()}


def device_account(account: Figures, device: Figures) -> Figures:
    """The account with what a device's bits lose; `account` has rings, rows and what correlation costs."""
    free = account["rings"] - account["rows"]
    leaked = max(device["leakage_bits_per_ring"] - device["leakage_bias"], 0) * account["rings"]
    total = free * device["min_entropy_per_bit_corrected"] - account["lost_to_correlation"] - leaked
    spreads = [
        (free, device["min_entropy_per_bit_corrected"], device["min_entropy_per_bit_corrected_ci"]),
        (1, account["lost_to_correlation"], account["lost_to_correlation_ci"]),
        (account["rings"], device["leakage_bits_per_ring"], device["leakage_bits_per_ring_ci"]),
    ]
    known = all(ci is not None for _, _, ci in spreads)
    reach = np.sqrt(sum((scale * (ci[1] - ci[0]) / 2) ** 2 for scale, _, ci in spreads)) if known else None
    return {
        "free_dimensions": free,
        "lost_to_aliasing": free * (1 - device["min_entropy_per_bit_corrected"]),
        "leaked": leaked,
        "total": total,
        "total_ci": None if reach is None else [total - reach, min(total + reach, free)],
    }
