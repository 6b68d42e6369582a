"""Metrics of bits: sums over chips that can be added, and the figures made of them. Formulas: docs/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats  # type: ignore[import-untyped]

from .makers import Maker, Response
from .resample import LEVEL, interval

__all__ = ["WORD", "BitSums", "Figures", "bit_figures", "plain", "uniqueness"]

WORD = 16
"""Bits of one identifier, for the diffuseness."""
SAMPLE_CHIPS = 1000
"""Chips whose bits are kept for the histogram of distances between chips."""
ALIASING_ROWS = 1 << 21
"""Of shares of ones, worked on at once."""
SCALARS = ("uniformity", "distance", "steadiness", "diffuseness", "wrong")
FloatArray = NDArray[np.float64]
Figures = dict[str, Any]


@dataclass
class BitSums:
    """Sums over chips; axis 0 of most is estimate and bootstrap replicates.

    Attributes
    ----------
    total : 1 + B
        Sum of the weights of the chips.
    weight, weight2 : (1 + B) x folds
        The same for each fold of each partition, and of their squares.
    ones : (1 + B) x folds x bits
        Weighted number of chips with bit 1.
    scalars : (1 + B) x len(SCALARS)
        Weighted sums of figures of single chips.
    conditions : (1 + B) x conditions
        Weighted sums of the share of reads' bits that differ from the reference.
    codes : (1 + B) x 16
        Weighted sums of how often each pair of bit and helper value occurs.
    by_read : reads
        Weight-free sum over chips of the wrong bits of each read.
    within : bits + 1
        How often a read had so many bits unlike its reference.
    reads : int
        Bits read, compared with a reference.
    wrong : int
        Bits of them that were wrong.
    wrong_chips : int
        Chips with a wrong bit.
    sample : dict
        Reference bits and fold of a random sample of the chips, by a random key.
    """

    total: FloatArray
    weight: FloatArray
    weight2: FloatArray
    ones: FloatArray
    scalars: FloatArray
    conditions: FloatArray
    codes: FloatArray
    by_read: NDArray[np.int64]
    within: NDArray[np.int64]
    reads: int = 0
    wrong: int = 0
    wrong_chips: int = 0
    sample: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    @classmethod
    def empty(cls, bits: int, folds: int, conditions: int, replicates: int, reads: int) -> BitSums:
        rows = 1 + replicates
        return cls(
            total=np.zeros(rows),
            weight=np.zeros((rows, folds)),
            weight2=np.zeros((rows, folds)),
            ones=np.zeros((rows, folds, bits)),
            scalars=np.zeros((rows, len(SCALARS))),
            conditions=np.zeros((rows, conditions)),
            codes=np.zeros((rows, 16)),
            by_read=np.zeros(reads, np.int64),
            within=np.zeros(bits + 1, np.int64),
        )

    def __add__(self, other: BitSums) -> BitSums:
        kept = sorted((self.sample | other.sample).items())[:SAMPLE_CHIPS]
        sums = {
            part.name: getattr(self, part.name) + getattr(other, part.name)
            for part in fields(self)
            if part.name != "sample"
        }
        return BitSums(**sums, sample=dict(kept))

    def add(self, response: Response, nominal: int, first: int, weights: FloatArray, folds: NDArray[np.intp]) -> None:
        """Take some chips in."""
        reference, reads = response.reference, response.reads[nominal]
        chips, bits, times = reads.shape
        self.total += weights.sum(1)
        self.add_reference(reference, weights, folds)
        differs = reads != reference[:, :, None]
        counts = differs.sum(1)  # chips x reads
        distance = steady = np.full(chips, np.nan)
        if times:
            share = np.count_nonzero(differs, axis=2) / times
            distance, steady = counts.mean(1) / bits, 1 + np.log2(np.maximum(share, 1 - share)).mean(1)
        scalars = (reference.mean(1), distance, steady, _diffuseness(reference), counts.sum(1))
        self.scalars += weights @ np.stack(scalars, 1)
        shares = [
            (row != reference[:, :, None]).mean((1, 2)) if row.shape[2] else np.full(chips, np.nan)
            for row in response.reads
        ]
        self.conditions += weights @ np.stack(shares, 1)
        if response.codes is not None:
            table = np.zeros((chips, 16))
            np.add.at(table, (np.arange(chips)[:, None], response.codes), 1)
            self.codes += weights @ table
        self.by_read += counts.sum(0)
        self.within += np.bincount(counts.ravel(), minlength=bits + 1)
        self.reads += differs.size
        self.wrong += int(counts.sum())
        self.wrong_chips += int(np.count_nonzero(counts.sum(1)))
        self._keep(first, reference, folds)

    def add_reference(self, reference: NDArray[np.bool_], weights: FloatArray, folds: NDArray[np.intp]) -> None:
        """Take the reference bits of some chips in, by whatever division into folds."""
        for fold in np.unique(folds):
            own = folds == fold
            self.weight[:, fold] += weights[:, own].sum(1)
            self.weight2[:, fold] += (weights[:, own] ** 2).sum(1)
            self.ones[:, fold] += weights[:, own] @ reference[own].astype(float)

    def _keep(self, first: int, reference: NDArray[np.bool_], folds: NDArray[np.intp]) -> None:
        """The chips with the smallest keys are a random sample, whatever the order they come in."""
        for offset, bits in enumerate(reference):
            key = int(np.random.SeedSequence([first + offset, 0x48]).generate_state(1, np.uint64)[0])
            self.sample[key] = (int(folds[offset]), np.packbits(bits).tobytes())
        if len(self.sample) > 2 * SAMPLE_CHIPS:
            self.sample = dict(sorted(self.sample.items())[:SAMPLE_CHIPS])


def _diffuseness(bits: NDArray[np.bool_]) -> FloatArray:
    """Of each chip; NaN below two words."""
    words = bits.shape[1] // WORD
    if words < 2:
        return np.full(len(bits), np.nan)
    ones = bits[:, : words * WORD].reshape(-1, words, WORD).sum(1)
    return np.asarray((4 * ones * (words - ones)).sum(1) / (words**2 * WORD))


def uniqueness(ones: FloatArray, weight: FloatArray, weight2: FloatArray) -> FloatArray:
    """Mean relative Hamming distance over the pairs of chips of one fold.

    A bit that is 1 in k of n chips differs in k (n - k) pairs: no loop over pairs. Pairs of a chip with itself, which a
    replicate with a weight above 1 has, do not count.

    Parameters
    ----------
    ones : (1 + B) x folds x bits
    weight, weight2 : (1 + B) x folds
    """
    differing = 2 * (weight * ones.mean(2) - np.einsum("bfl,bfl->bf", ones, ones) / ones.shape[2]).sum(1)
    pairs = (weight**2 - weight2).sum(1)
    return np.asarray(np.divide(differing, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


def bit_figures(sums: BitSums, maker: Maker, nominal: int) -> Figures:
    """The figures of one maker, each with its interval as NAME_ci."""
    bits, chips, weight = maker.bits, int(sums.total[0]), np.where(sums.total > 0, sums.total, np.nan)[:, None]
    scalars = dict(zip(SCALARS, (sums.scalars / weight).T, strict=True))
    unique = uniqueness(sums.ones, sums.weight, sums.weight2)
    result: Figures = {"chips": chips, "bits": bits, "reference": maker.reference}

    def put(name: str, values: FloatArray, center: bool = False) -> None:
        result[name], reach = interval(values, center=center)
        result[name + "_ci"] = reach and [min(end, 1.0) for end in reach]

    put("uniqueness", unique)
    put("reliability", 1 - scalars["distance"])
    put("uniformity", scalars["uniformity"])
    for name, values in _aliasing(sums, unique).items():
        put(name, values, center=not name.endswith("corrected"))
    result["min_entropy_of_fair_bits"] = _fair(sums.weight[0])
    put("steadiness", scalars["steadiness"])
    put("diffuseness", scalars["diffuseness"])
    result |= {"wrong_bits": sums.wrong, "bits_read": sums.reads, "wrong_chips": sums.wrong_chips}
    if sums.reads and not sums.wrong:  # all replicates are equal: the interval must come from what was tried
        result["reliability_ci"] = [1 - stats.beta.ppf((1 + LEVEL) / 2, 1, chips * bits), 1.0]
    result["wrong_bit_rate"] = sums.wrong / sums.reads if sums.reads else None
    if sums.codes.any():
        put("leakage_bits_per_ring", _leakage(sums.codes), center=True)
        samples = sums.codes[0].sum()
        result["leakage_bias"] = 7 / (2 * samples * np.log(2))
    shares = sums.conditions / weight
    result["reliability_by_condition"] = [interval(1 - share) for share in shares.T]
    result["wrong_by_read"] = (sums.by_read / (chips * bits)).tolist()
    result["bit_shares"] = (sums.ones[0] / sums.weight[0, :, None] * _parts(sums)[0]).sum(0).tolist()
    result |= _distances(sums, bits)
    return {name: plain(value) for name, value in result.items()}


def _aliasing(sums: BitSums, unique: FloatArray) -> dict[str, FloatArray]:
    """Spread of bit-aliasing and min-entropy, counted within folds; see docs/metrics.md on the correction."""
    rows = max(1, ALIASING_ROWS // sums.ones[0].size)  # several arrays of this size are needed: in parts, then
    parts = [
        _aliasing_of(
            replace(sums, **{name: getattr(sums, name)[at : at + rows] for name in ("ones", "weight", "weight2")})
        )
        for at in range(0, len(sums.ones), rows)
    ]
    one = np.where(np.isfinite(unique), 1.0, np.nan)
    return {name: np.concatenate([part[name] for part in parts]) * one for name in parts[0]}


def _aliasing_of(sums: BitSums) -> dict[str, FloatArray]:
    weight, weight2 = sums.weight[:, :, None], sums.weight2[:, :, None]
    share = np.divide(sums.ones, weight, out=np.full_like(sums.ones, 0.5), where=weight > 0)
    part = _parts(sums)
    spread = np.sqrt((part * (share - share.mean(2, keepdims=True)) ** 2).sum(1).mean(1))
    # what chance alone adds to the square of a share of n chips is p (1 - p) / n: estimated without bias
    chance = share * (1 - share) * weight2 / np.maximum(weight**2 - weight2, 1e-9)
    raw = (part * (share - 0.5) ** 2).sum(1).mean(1)
    true = np.maximum(raw - (part * chance).sum(1).mean(1), 0)
    shrink = np.sqrt(np.divide(true, raw, out=np.zeros_like(raw), where=raw > 0))[:, None, None]
    shrunk = 0.5 + shrink * (share - 0.5)

    def entropy(p: FloatArray) -> FloatArray:
        return np.asarray(np.abs((part * np.log2(np.maximum(p, 1 - p))).sum(1).mean(1)))

    return {
        "bit_aliasing_sd": spread,
        "bit_aliasing_sd_corrected": np.sqrt(true),
        "min_entropy_per_bit": entropy(share),
        "min_entropy_per_bit_corrected": entropy(shrunk),
    }


def _parts(sums: BitSums) -> FloatArray:
    """Share of each fold in all chips, (1 + B) x folds x 1."""
    return np.asarray(sums.weight / np.maximum(sums.weight.sum(1, keepdims=True), 1e-9))[:, :, None]


def _fair(chips: FloatArray) -> float:
    """What `min_entropy_per_bit` shows for perfect bits on so few chips (per fold)."""
    mean = 0.0
    for number in chips.astype(int):
        ones = np.arange(number + 1)
        entropy = -np.log2(np.maximum(ones, number - ones) / number) if number else np.zeros(1)
        mean += number * float(stats.binom.pmf(ones, number, 0.5) @ entropy)
    return mean / float(chips.sum())


def _leakage(codes: FloatArray) -> FloatArray:
    """Mutual information of bit and helper value, from counts (1 + B) x 16; in bits, not corrected for its bias."""
    joint = (codes / np.maximum(codes.sum(1, keepdims=True), 1)).reshape(-1, 2, 8)
    expected = joint.sum(2, keepdims=True) * joint.sum(1, keepdims=True)
    ratio = np.divide(joint, expected, out=np.ones_like(joint), where=joint > 0)
    return np.asarray((joint * np.log2(ratio)).sum((1, 2)))


def _distances(sums: BitSums, bits: int) -> Figures:
    """Histograms of distances within and between chips, and what thresholds make of them."""
    between = np.zeros(bits + 1, np.int64)
    used = sorted(sums.sample.items())[:SAMPLE_CHIPS]
    for fold in {fold for _, (fold, _) in used}:
        rows = [np.frombuffer(row, np.uint8) for _, (own, row) in used if own == fold]
        signs = 1 - 2 * np.unpackbits(np.stack(rows), axis=1)[:, :bits].astype(np.float32)
        distance = np.rint((bits - signs @ signs.T) / 2).astype(np.int64)
        between += np.bincount(distance[np.triu_indices(len(rows), 1)], minlength=bits + 1)
    result: Figures = {"distances_within": sums.within.tolist(), "distances_between": between.tolist()}
    result["distances_chips"] = len(used)
    if between.sum() and sums.within.sum():
        steps = np.arange(bits + 1)
        accept = np.cumsum(between) / between.sum()
        reject = 1 - np.cumsum(sums.within) / sums.within.sum()
        mean = float(between @ steps / between.sum())
        variance = float(between @ (steps - mean) ** 2 / between.sum())
        share = mean / bits
        free = share * (1 - share) * bits**2 / variance if variance > 0 else float(bits)
        clear = int(np.max(np.flatnonzero(sums.within)))
        nearest = int(np.min(np.flatnonzero(between)))
        result["false_accept"], result["false_reject"] = accept.tolist(), np.maximum(reject, 0).tolist()
        result |= {"largest_within": clear, "smallest_between": nearest, "degrees_of_freedom": free}
        # binomial with the fitted degrees of freedom, made continuous (Daugman, Pattern Recognition 36, 2003)
        hits = free * steps / bits
        model = special.betainc(np.maximum(free - hits, 1e-9), hits + 1, 1 - share)
        result["false_accept_model"] = np.where(steps < bits, model, 1.0).tolist()
    return result


def plain(value: Any) -> Any:
    """For JSON: no numpy types, NaN as None."""
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
