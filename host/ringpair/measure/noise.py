"""Min-entropy of raw noise: the non-IID track of NIST SP 800-90B (2018), and what follows from it.

`assess` runs the ten estimators of section 6.3 on samples and takes the least one (3.1.3); `restart_test` is section
3.1.4. Samples are numbers from 0 to `symbols` - 1. Those with more than two values are also assessed as bits.
Collision, Markov and compression estimates are defined for bits only. An estimator that cannot say anything about the
data, as they are too short or nothing comes twice, is left out.

The estimators are lower bounds with 99 % confidence each, so perfect bits come out at 0.9 or so, not at 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ringpair_protocol import health

from . import predictors
from .predictors import Samples, Z, prediction_entropy

__all__ = ["WANTED", "Assessment", "Cutoffs", "Restart", "assess", "bits_of", "cutoffs", "estimates", "restart_test"]

WANTED = 1_000_000
"""Samples that the standard asks for, one after the other (3.1.1)."""
OFTEN = 35
"""A tuple counts as common if it comes so often (6.3.5)."""


@dataclass(frozen=True)
class Assessment:
    """What `assess` found, in bits a sample."""

    samples: int
    width: int
    original: dict[str, float]
    """Estimates of the samples as they are."""
    bitstring: dict[str, float]
    """Estimates of the samples as bits, times bits a sample; empty for samples that are bits."""

    @property
    def entropy(self) -> float:
        """Min-entropy a sample: the least of all estimates (3.1.3)."""
        return min(*self.original.values(), *self.bitstring.values(), float(self.width))


def assess(samples: NDArray[np.integer], width: int = 1) -> Assessment:
    """Assess samples of `width` bits each.

    Raises
    ------
    ValueError
        Fewer than two samples, or one outside of 0 to 2^width - 1.
    """
    values = _checked(samples, width)
    bits = {} if width == 1 else {name: width * h for name, h in estimates(bits_of(values, width), 2).items()}
    return Assessment(len(values), width, estimates(values, 1 << width), bits)


def estimates(samples: Samples, symbols: int) -> dict[str, float]:
    """All estimates that the samples allow, by name, in the order of the standard."""
    values = samples.astype(np.int64)
    found: dict[str, float | None] = {"most common value": most_common_value(values)}
    if symbols == 2:
        found["collision"] = collision(values)
        found["Markov"] = markov(values)
        found["compression"] = compression(values)
    found["t-tuple"], found["longest repeated substring"] = repeated_tuples(values)
    guesses: dict[str, tuple[int, Callable[[], predictors.Hits]]] = {
        "multi most common in window": (64, lambda: predictors.multi_mcw(values, symbols)),
        "lag": (2, lambda: predictors.lag(values)),
        "MultiMMC": (3, lambda: predictors.multi_mmc(values, symbols)),
        "LZ78Y": (18, lambda: predictors.lz78y(values, symbols)),
    }
    for name, (least, hits) in guesses.items():  # two guesses are the least that has a spread
        found[name] = prediction_entropy(hits(), symbols) if len(values) > least else None
    return {name: abs(entropy) for name, entropy in found.items() if entropy is not None}  # abs: no "-0"


def bits_of(samples: Samples, width: int) -> Samples:
    """Samples as bits, the highest first."""
    return (samples[:, None] >> np.arange(width - 1, -1, -1) & 1).ravel()


def most_common_value(samples: Samples) -> float:
    """Upper bound of the share of the most common value (6.3.1)."""
    return -math.log2(_upper(np.bincount(samples).max() / len(samples), len(samples)))


def collision(bits: Samples) -> float | None:
    """How soon a value comes again, after two or three bits (6.3.2)."""
    soon = (bits[1:] == bits[:-1]).tolist()
    twos = total = place = 0
    while place < len(soon):  # a collision needs one bit more if the first two differ
        if not soon[place] and place + 1 == len(soon):
            break
        twos += soon[place]
        total += 1
        place += 3 - soon[place]
    if total < 2:
        return None
    mean = 3 - twos / total
    spread = math.sqrt((3 - mean) * (mean - 2) * total / (total - 1))
    low = mean - Z * spread / math.sqrt(total)
    # The mean of bits with probabilities p and q is 2 + 2pq: the standard's equation for two symbols.
    return 1.0 if low >= 2.5 else -math.log2(0.5 + math.sqrt(min(0.25, 1.25 - low / 2)))


def markov(bits: Samples) -> float:
    """The likeliest sequence of 128 bits from a source that remembers one bit (6.3.3)."""
    ones = bits.mean()
    pairs = np.bincount(bits[:-1] * 2 + bits[1:], minlength=4).reshape(2, 2)
    with np.errstate(divide="ignore"):
        first = np.log2([1 - ones, ones])
        step = np.log2(pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1))
    zero, one = 0, 1
    likeliest = max(
        first[zero] + 127 * step[zero, zero],
        first[zero] + 64 * step[zero, one] + 63 * step[one, zero],
        first[zero] + step[zero, one] + 126 * step[one, one],
        first[one] + step[one, zero] + 126 * step[zero, zero],
        first[one] + 64 * step[one, zero] + 63 * step[zero, one],
        first[one] + 127 * step[one, one],
    )
    return min(1.0, float(-likeliest) / 128)


def compression(bits: Samples, width: int = 6, dictionary: int = 1000) -> float | None:
    """Maurer's universal statistic: how far back the same block of 6 bits was seen (6.3.4)."""
    count = len(bits) // width
    if count < dictionary + 2:
        return None
    blocks = bits[: count * width].reshape(count, width) @ (1 << np.arange(width - 1, -1, -1))
    groups = predictors.Groups(blocks)
    index = np.arange(1, count + 1)
    before = np.empty_like(index)  # where the block was last seen, 0 if never
    before[groups.order] = np.where(groups.first[groups.order], 0, np.roll(groups.order, 1) + 1)
    logs = np.log2(index - before)[dictionary:]
    tested = len(logs)
    mean = logs.mean()
    spread = 0.5907 * math.sqrt(max(0.0, (logs**2).sum() / (tested - 1) - mean**2))
    low = mean - Z * spread / math.sqrt(tested)
    weights = (
        np.minimum(tested, count - index),
        np.where(index > dictionary, 1, 0),
    )  # how often each distance, each start

    def expected(p: float) -> float:
        q = (1 - p) / ((1 << width) - 1)
        return _distance(p, index, weights) / tested + ((1 << width) - 1) * _distance(q, index, weights) / tested

    smallest = 2.0**-width
    if low >= expected(smallest):
        return 1.0
    left, right = smallest, 1.0
    for _ in range(40):
        middle = (left + right) / 2
        left, right = (middle, right) if expected(middle) > low else (left, middle)
    return -math.log2(right) / width


def _distance(z: float, index: Samples, weights: tuple[Samples, Samples]) -> float:
    """G(z) of 6.3.4 times v: the summed logarithms of the distances to the last block of probability z."""
    if z >= 1:
        return 0.0
    share = z * np.exp((index - 1) * math.log1p(-z))
    return float((np.log2(index) * share * (z * weights[0] + weights[1])).sum())


def repeated_tuples(samples: Samples, often: int = OFTEN) -> tuple[float | None, float | None]:
    """Estimates from the most common t-tuples (6.3.5), and from the repetitions of longer ones (6.3.6).

    The first takes the lengths at which a tuple comes `often` times, the second all longer ones that come twice.
    """
    length = len(samples)
    most, pairs = _repetitions(samples)
    common = int((most >= often).sum())  # the counts fall with the length
    size = np.arange(1, len(most) + 1)
    positions = length - size + 1.0
    shares = (most / positions) ** (1 / size)
    alike = (pairs / (positions * (positions - 1) / 2)) ** (1 / size)
    return (
        -math.log2(_upper(shares[:common].max(), length)) if common else None,
        -math.log2(_upper(alike[common:].max(), length)) if common < len(most) else None,
    )


def _repetitions(samples: Samples) -> tuple[Samples, NDArray[np.float64]]:
    """For each length at which a tuple comes twice: how often the most common one comes, how many pairs are alike.

    The suffixes in their order and what neighbors in it share: tuples that come n times are n neighbors.
    """
    shared = _shared(samples).tolist()
    most = [1] * (max(shared, default=0) + 1)
    change = [0] * (len(most) + 1)
    open_: list[tuple[int, int]] = []  # length that is shared since which place, growing
    for place, now in enumerate([*shared, 0]):
        since = place
        while open_ and open_[-1][0] > now:
            size, since = open_.pop()
            number = place - since + 1
            most[size] = max(most[size], number)
            below = max(now, open_[-1][0] if open_ else 0)
            change[size] += number * (number - 1) // 2  # these pairs share each of below + 1 .. size samples
            change[below] -= number * (number - 1) // 2
        if now and (not open_ or open_[-1][0] < now):
            open_.append((now, since))
    pairs = np.cumsum(np.array(change, dtype=float)[::-1])[::-1]
    counts = np.maximum.accumulate(np.array(most)[::-1])[::-1]
    return counts[1:], pairs[1 : len(most)]


def _shared(samples: Samples) -> Samples:
    """Lengths of what neighbors share, in the sorted list of all suffixes (prefix doubling: Manber and Myers, 1993)."""
    length = len(samples)
    rank = np.unique(samples, return_inverse=True)[1].astype(np.int64)
    ranks = [rank]  # by the first 1, 2, 4 ... samples; a suffix that is shorter is like no other
    step = 1
    while True:
        tail = np.full(length, -1, np.int64)
        tail[: length - step] = rank[step:]
        key = rank * (length + 1) + tail + 1
        order = np.argsort(key, kind="stable")
        rank = np.empty_like(key)
        rank[order] = np.concatenate(([0], np.cumsum(np.diff(key[order]) != 0)))
        step *= 2
        if rank[order[-1]] == length - 1:
            break
        ranks.append(rank)
    left, right = order[:-1].copy(), order[1:].copy()
    shared = np.zeros(length - 1, np.int64)
    for level in range(len(ranks) - 1, -1, -1):
        inside = np.flatnonzero(np.maximum(left, right) < length)
        same = inside[ranks[level][left[inside]] == ranks[level][right[inside]]]
        for array in (left, right, shared):
            array[same] += 1 << level
    return shared


@dataclass(frozen=True)
class Restart:
    """Result of `restart_test`: entropies in bits a sample."""

    most: int
    """Largest count of one value in a row or a column."""
    cutoff: int
    """A count from here on has a chance below 1 % in the whole matrix."""
    rows: float
    columns: float
    initial: float

    @property
    def passed(self) -> bool:
        """Neither too common a value nor half of the entropy lost."""
        return self.most < self.cutoff and min(self.rows, self.columns) >= self.initial / 2

    @property
    def entropy(self) -> float:
        """The assessment after the test; 0 if it failed."""
        return min(self.rows, self.columns, self.initial) if self.passed else 0.0


def restart_test(matrix: NDArray[np.integer], initial: float, width: int = 1) -> Restart:
    """Samples after restarts, one restart a row (3.1.4); the standard wants 1000 x 1000.

    The cutoff of 3.1.4.3 is the binomial one of the likeliest value, at alpha = 0.01 / (rows + columns). NIST's program
    simulates the most common of all values, at alpha = 1 - 0.99^(1 / 2000), which is nearly the same. For bits of full
    entropy, where both values are the likeliest, it lets 572 of 1000 pass, this one 570; below 0.98 bits they agree.

    Raises
    ------
    ValueError
        No matrix, an entropy that is not in (0, width], or samples that `assess` refuses.
    """
    from scipy.stats import binom  # type: ignore[import-untyped]

    if matrix.ndim != 2 or min(matrix.shape) < 2:
        raise ValueError(f"restarts are a matrix, one restart a row, not an array of shape {matrix.shape}")
    if not 0 < initial <= width:
        raise ValueError(f"the initial entropy must be in (0, {width}], not {initial}: there is nothing to restart")
    rows, columns = matrix.shape
    values = _checked(matrix.ravel(), width).reshape(matrix.shape)
    alpha = 0.01 / (rows + columns)
    found = [max(int(np.bincount(line).max()) for line in side) for side in (values, values.T)]
    # A row and a column may differ in length: each is compared with its own cutoff, the tighter side is reported.
    sides = [
        (int(binom.isf(alpha, length, 2.0**-initial)) + 1, count)
        for length, count in zip((columns, rows), found, strict=True)
    ]
    cutoff, most = min(sides, key=lambda side: side[0] - side[1])
    by_row, by_column = (assess(side.ravel(), width).entropy for side in (values, values.T))
    return Restart(most, cutoff, by_row, by_column, initial)


@dataclass(frozen=True)
class Cutoffs:
    """Cut-offs of the health tests."""

    repetition: int
    proportion: int


def cutoffs(entropy: float) -> Cutoffs:
    """Cut-offs for this many bits of entropy, above 0, a raw bit (4.4); the false-alarm rate is the gateware's."""
    return Cutoffs(health.repetition_cutoff(entropy), health.proportion_cutoff(entropy))


def _upper(share: float, length: int) -> float:
    """Upper bound of a probability, one-sided 99.5 %."""
    return min(1.0, float(share) + Z * math.sqrt(share * (1 - share) / (length - 1)))


def _checked(samples: NDArray[np.integer], width: int) -> Samples:
    if samples.ndim != 1 or samples.dtype.kind not in "biu":
        raise ValueError(f"samples are whole numbers one after the other, not {samples.dtype} of shape {samples.shape}")
    if len(samples) < 2:
        raise ValueError(f"an estimate needs samples, the standard wants {WANTED}, not {len(samples)}")
    wrong = np.flatnonzero((samples < 0) | (samples >= 1 << width)) if samples.dtype.kind != "b" else samples[:0]
    if len(wrong):
        raise ValueError(
            f"sample {wrong[0]} is {samples[wrong[0]]}: samples of {width} bit are 0 to {(1 << width) - 1}"
        )
    return samples.astype(np.int64)
