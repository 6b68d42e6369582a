"""First pass over a data set: what must be known before bits can be made.

Mean and largest value, the layout pattern (the systematic part of the ring frequencies) in exact integers, and the
spread that remains; for each fold of chips apart, so that a table can be learned without the chips it is judged on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ringpair_protocol import puf

from .dataset import Batch, Dataset
from .prints import Fingerprints
from .work import Runner, here

__all__ = ["FirstPass", "Survey", "Tables", "deviations", "fold_of", "row_length", "survey"]

LEARN_BITS = puf.FRACTION_BITS + 8
"""Fraction bits of `ringpair_protocol.puf.learn_layout`, whose arithmetic this is."""
ENTRY_MAX = (1 << puf.LAYOUT_BITS - 1) - 1
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def fold_of(index: NDArray[Any], folds: int, partition: int = 0) -> NDArray[np.intp]:
    """Fold of each chip: a reproducible shuffle, as even as possible, that needs only the number of the chip."""
    index = np.asarray(index)
    if folds <= 1:
        return np.zeros(index.shape, np.intp)
    blocks = np.unique(index // folds).tolist()
    order = {block: np.random.default_rng([folds, partition, block]).permutation(folds) for block in blocks}
    return np.array([order[chip // folds][chip % folds] for chip in index.tolist()], np.intp)


def row_length(rings: int) -> int:
    """Rings that share a mean: 16 as in the device, else all rings of the chip."""
    return puf.ROW if rings % puf.ROW == 0 else rings


@dataclass
class Survey:
    """Sums of the first pass; add two of them to get that of both.

    Attributes
    ----------
    chips : int array, partitions x folds
        Each partition divides all chips into folds in its own way.
    entries : int array, partitions x folds x rings
        Sum over chips of 16 c / S - 1, in units of 2**-26, each rounded down.
    squares : array, partitions x folds x rings
        Sum of the squares of the same, relative.
    relative, relative_squares : arrays, rings
        Sums of the deviation from the mean of the chip.
    total, number
        Sum and number of the values at the nominal condition.
    largest, whole
        Of all values: the largest, and whether they are integers.
    furthest : tuple
        Largest deviation of a ring from its row, its chip and ring.
    prints : Fingerprints
        Of all chips.
    """

    chips: IntArray
    entries: IntArray
    squares: FloatArray
    relative: FloatArray
    relative_squares: FloatArray
    total: float = 0.0
    number: int = 0
    largest: float = 0.0
    whole: bool = True
    furthest: tuple[float, str, int] = (0.0, "", 0)
    prints: Fingerprints = field(default_factory=Fingerprints)

    @classmethod
    def empty(cls, rings: int, folds: int, partitions: int = 1) -> Survey:
        shape = (partitions, max(folds, 1), rings)
        integers = np.zeros(shape, np.int64)
        return cls(np.zeros(shape[:2], np.int64), integers, np.zeros(shape), np.zeros(rings), np.zeros(rings))

    def __add__(self, other: Survey) -> Survey:
        return Survey(
            self.chips + other.chips,
            self.entries + other.entries,
            self.squares + other.squares,
            self.relative + other.relative,
            self.relative_squares + other.relative_squares,
            self.total + other.total,
            self.number + other.number,
            max(self.largest, other.largest),
            self.whole and other.whole,
            max(self.furthest, other.furthest, key=lambda far: abs(far[0])),
            self.prints + other.prints,
        )

    @property
    def mean(self) -> float:
        """Of all values at the nominal condition."""
        return self.total / self.number

    @property
    def pattern(self) -> FloatArray:
        """Mean deviation of each ring from its row, over all chips."""
        return np.asarray(self.entries[0].sum(0) / self.chips[0].sum() / (1 << LEARN_BITS))

    @property
    def relative_pattern(self) -> FloatArray:
        """Mean deviation of each ring from the mean of its chip, over all chips."""
        return np.asarray(self.relative / self.chips[0].sum())

    @property
    def deviation(self) -> FloatArray:
        """Standard deviation over the chips of each ring's deviation from its row."""
        chips = self.chips[0].sum()
        least = 2.0 ** -(2 * LEARN_BITS + 4)  # less than a step of the entries is no spread
        variance = np.maximum(self.squares[0].sum(0) / chips - self.pattern**2, least) * chips / max(chips - 1, 1)
        return np.asarray(np.sqrt(variance))


class FirstPass:
    """The work of the first pass: makes a `Survey`."""

    def __init__(self, data: Dataset, folds: int, partitions: int = 1) -> None:
        self.rings, self.nominal, self.folds, self.partitions = data.rings, data.nominal, folds, partitions

    def empty(self) -> Survey:
        """Sums of no chip."""
        return Survey.empty(self.rings, self.folds, self.partitions)

    def add(self, sums: Survey, batch: Batch) -> None:
        """Take some chips in."""
        values = batch.values
        nominal = values[:, self.nominal].sum(2, dtype=np.float64 if values.dtype.kind == "f" else np.int64)
        fine, relative = _learned(nominal), nominal / nominal.mean(1, keepdims=True) - 1
        squares = (fine / (1 << LEARN_BITS)) ** 2
        for partition in range(self.partitions):
            folded = fold_of(batch.first + np.arange(len(batch.ids)), self.folds, partition)
            for fold in np.unique(folded):
                own = folded == fold
                sums.chips[partition, fold] += own.sum()
                sums.entries[partition, fold] += fine[own].sum(0)
                sums.squares[partition, fold] += squares[own].sum(0)
        sums.relative += relative.sum(0)
        sums.relative_squares += (relative**2).sum(0)
        sums.total += float(nominal.sum(dtype=float))
        sums.number += nominal.size * values.shape[3]
        sums.largest = max(sums.largest, float(values.max()))
        sums.whole = sums.whole and values.dtype.kind != "f"
        chip, ring = np.unravel_index(np.abs(fine).argmax(), fine.shape)
        far = float(fine[chip, ring] / (1 << LEARN_BITS)), batch.ids[int(chip)], int(ring)
        sums.furthest = max(sums.furthest, far, key=lambda far: abs(far[0]))
        sums.prints.add(batch)


def survey(
    data: Dataset,
    folds: int,
    partitions: int = 1,
    run: Runner = here,
    progress: Callable[[int], None] = lambda done: None,
) -> Survey:
    """Read all chips once; also finds duplicates and bad values."""
    sums = run(data, FirstPass(data, folds, partitions), progress)
    sums.prints.check(data)
    sums.prints = Fingerprints()  # not needed any more
    return sums


def deviations(sums: NDArray[Any]) -> FloatArray:
    """Relative deviation of rings from their row; chips x rings [x more]."""
    length = row_length(sums.shape[1])
    rows = sums.reshape(len(sums), -1, length, *sums.shape[2:])
    deviation: FloatArray = np.asarray((rows / rows.mean(2, keepdims=True) - 1).reshape(sums.shape))
    return deviation


def _learned(sums: NDArray[Any]) -> IntArray:
    """16 c / S - 1 in units of 2**-26; integers exactly as `puf.learn_layout` has it."""
    length = row_length(sums.shape[1])
    rows = sums.reshape(len(sums), -1, length)
    totals = rows.sum(2, keepdims=True)
    if sums.dtype.kind != "f" and float(sums.max()) * length * 2**LEARN_BITS < 2**63:
        fine = (length * rows.astype(np.int64) << LEARN_BITS) // totals - (1 << LEARN_BITS)
    else:
        fine = np.floor((length * rows / totals - 1) * (1 << LEARN_BITS)).astype(np.int64)
    return np.asarray(fine.reshape(sums.shape))


@dataclass(frozen=True)
class Tables:
    """Layout table and spread for each fold, learned on all other folds.

    Attributes
    ----------
    entries : int array, partitions x folds x rings
        In units of 2**-18.
    sigma_ppm : int array, partitions x folds
    clipped : int
        Entries and spreads that did not fit the device and were cut to what does.
    """

    entries: IntArray
    sigma_ppm: IntArray
    clipped: int = 0

    @classmethod
    def without(cls, rings: int, sigma_ppm: int = puf.SIGMA_PPM) -> Tables:
        """No table, the spread of the design."""
        return cls(np.zeros((1, 1, rings), np.int64), np.array([[sigma_ppm]]))

    @classmethod
    def learned(cls, sums: Survey) -> Tables:
        """With several folds, each without its own chips; with one fold, from all chips."""
        alone = sums.chips.shape[1] == 1

        def rest(part: NDArray[Any]) -> NDArray[Any]:
            return part if alone else part.sum(1, keepdims=True) - part

        chips, entries, squares = rest(sums.chips)[:, :, None], rest(sums.entries), rest(sums.squares)
        shift = LEARN_BITS - puf.FRACTION_BITS
        table = (2 * entries + (chips << shift)) // (chips << shift + 1)
        variance = squares / chips - (entries / chips / (1 << LEARN_BITS)) ** 2
        spread = (variance * chips / np.maximum(chips - 1, 1) * (1 + 1 / chips)).mean(2)  # of a chip not learned from
        sigma = np.rint(1e6 * np.sqrt(spread)).astype(np.int64)
        fit = np.clip(table, -ENTRY_MAX - 1, ENTRY_MAX), np.clip(sigma, 1, puf.SIGMA_PPM_MAX)
        return cls(*fit, int((fit[0] != table).sum() + (fit[1] != sigma).sum()))

    def packed(self) -> Tables:
        """As the gateware holds them: rounded as `ringpair_protocol.puf.Layout.packed` does, 192 rings at a time."""
        rings = self.entries.shape[2]
        rounded = np.zeros((*self.entries.shape[:2], -(-rings // puf.RINGS) * puf.RINGS), np.int64)
        rounded[:, :, :rings] = self.entries
        for block in rounded.reshape(-1, puf.RINGS):
            block[:] = puf.Layout(0, tuple(block.tolist())).packed().entries
        return Tables(rounded[:, :, :rings], self.sigma_ppm, self.clipped)
