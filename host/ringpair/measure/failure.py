"""How often a key is not found again, down to rates that no experiment reaches.

A ring is described by its margin: its distance from the decision threshold of its helper value, in sigma, negative
where the bit is wrong. Rings are taken as independent. The search (`ringpair_protocol.puf.flip_patterns`) fails if the
pattern of wrong rings, by their ranks in the order of absolute margins, comes after the budget is spent.

The rate is split by the number k of wrong rings, which is binomial. One wrong ring is summed exactly. For more, margins
of the wrong rings are drawn from a distribution with heavier tails and weighted back (importance sampling with the
balance heuristic: Veach and Guibas, SIGGRAPH 1995); how many right rings lie between them is multinomial. So all
effort goes into what fails, and the error is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, takewhile

import numpy as np
from numpy.typing import NDArray
from ringpair_protocol import puf
from scipy import special, stats  # type: ignore[import-untyped]

from ringpair.silicon import SLOW_NOISE, WHITE_NOISE

from .bits import Figures
from .makers import DEVICE_COUNTS

__all__ = ["MarginSums", "Marks", "Rate", "bch_failure", "corner", "failure_figures", "failure_rate", "read_noise"]

FloatArray = NDArray[np.float64]
STEP, REACH = 0.004, 6.0
"""Grid of absolute margins, in sigma."""
POPULATION = 1600
"""Rings of the corner model, at the quantiles of the normal distribution."""
TILTS = (1.0, 0.5, 0.25, 0.1, 0.03)
SAMPLES = 20_000
MOST_WRONG = 60
NEGLIGIBLE = 1e-15
"""Rates below this are not resolved further; the interval says so."""
SIGMA = puf.SIGMA_PPM / 1e6
SHIFTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
BUDGETS = (1, 256, puf.SEARCH_BUDGET)
WINDOWS, MORE_RINGS, SHOWN_SHIFT = (128, 256, 512, 1024, 2048), (128, 192, 256, 384), 0.2
BCH = (255, 171, 11)
"""Length, message bits and correctable errors of the code compared with."""


@dataclass(frozen=True)
class Marks:
    """Distribution of the margin of one ring.

    Attributes
    ----------
    right, wrong : arrays
        Probability of each step of the absolute margin, with the bit right or wrong; together 1.
    """

    right: FloatArray
    wrong: FloatArray

    @classmethod
    def of(cls, margins: FloatArray, spreads: FloatArray, weights: FloatArray) -> Marks:
        """From rings with a mean margin and a normal spread each."""
        share = weights / weights.sum()
        spreads = np.maximum(spreads, 1e-6)
        edges = np.arange(0, REACH + STEP / 2, STEP)
        edges[-1] = np.inf
        right, wrong = np.zeros(len(edges)), np.zeros(len(edges))
        for part in np.array_split(np.arange(len(share)), max(1, len(share) // 500)):
            mean, spread, weight = margins[part, None], spreads[part, None], share[part]
            wrong += weight @ special.ndtr(-(edges + mean) / spread)  # mass beyond -edge
            right += weight @ special.ndtr(-(edges - mean) / spread)
        return cls(-np.diff(right), -np.diff(wrong))

    @property
    def wrong_rate(self) -> float:
        """Probability that the bit of a ring is wrong."""
        return float(self.wrong.sum())


def corner(shift: float, noise: float = 0.0) -> Marks:
    """The corner model: since enrollment every ring has moved by an independent normal shift.

    Parameters
    ----------
    shift, noise : float
        Standard deviations of the shift and of the noise of a read, in sigma.
    """
    quantile = (np.arange(POPULATION) + 0.5) / POPULATION
    deviation = stats.norm.ppf(quantile)
    code = np.floor(16 * quantile).astype(int)
    distance = deviation - np.array(puf.THRESHOLDS)[code & 7] / puf.LEVEL_UNIT
    margins = np.where(code >= 8, distance, -distance)
    spread = np.full(POPULATION, np.hypot(shift, noise))
    return Marks.of(margins, spread, np.ones(POPULATION))


def read_noise(window: int = puf.WINDOW_CLOCKS, sigma: float = SIGMA) -> float:
    """Modeled noise of a read against the enrollment, in sigma.

    White noise falls with the root of the window, that of counting whole periods (variance 1/6) with the window.

    Parameters
    ----------
    window : int
        In clocks of 12 MHz.
    sigma : float
        Relative spread of the rings.
    """
    longer = window / puf.WINDOW_CLOCKS
    counting = (1 / 6) ** 0.5 / (DEVICE_COUNTS * longer)
    single = WHITE_NOISE**2 / longer + counting**2
    return float(np.sqrt(single * (1 + 1 / puf.ENROLL_READS) + 2 * SLOW_NOISE**2) / sigma)


@dataclass(frozen=True)
class Rate:
    """A failure rate and its 95 % interval: of the calculation, not of the model."""

    value: float
    low: float
    high: float


def failure_rate(
    marks: Marks,
    rings: int = puf.RINGS,
    budget: int = puf.SEARCH_BUDGET,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Rate:
    """Probability that the search does not find the bits.

    Parameters
    ----------
    marks : Marks
    rings : int
    budget : int
        Candidates tried, at least 1.
    samples : int
        Draws for each number of wrong rings.
    """
    full, allowed = _search(budget)
    rate = marks.wrong_rate
    total = variance = tail = 0.0
    rng = np.random.default_rng(seed)
    below = np.concatenate([[0.0], np.cumsum(marks.right)])
    below = (below[:-1] + below[1:]) / 2 / below[-1]  # share of the right rings nearer, at the middle of each step
    for wrong in range(1, min(MOST_WRONG, rings) + 1):
        likely = float(stats.binom.pmf(wrong, rings, rate))
        if wrong == 1:
            share = float(marks.wrong @ stats.binom.sf(full - 1, rings - 1, below) / rate) if rate else 0.0
            error = 0.0
        else:
            share, error = _sampled(marks.wrong / rate, below, rings, wrong, (full, allowed), samples, rng)
        total += likely * share
        variance += (likely * error) ** 2
        tail = float(stats.binom.sf(wrong, rings, rate))
        if tail <= 1e-4 * total or tail < NEGLIGIBLE:
            break
    reach = 1.96 * variance**0.5
    return Rate(total, max(total - reach, 0.0), min(total + reach + tail, 1.0))


def _sampled(
    wrong: FloatArray,
    below: FloatArray,
    rings: int,
    number: int,
    search: tuple[int, frozenset[tuple[int, ...]]],
    samples: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Share of failures among keys with so many wrong rings, and its standard error."""
    used = np.flatnonzero(wrong)
    logs = np.log(wrong[used] / wrong.sum())
    steps, drawn = [], -(-samples // len(TILTS))
    tilted = []
    for tilt in TILTS:
        weight = np.exp(tilt * (logs - logs.max()))
        tilted.append(np.log(weight / weight.sum()))
        cumulative = np.cumsum(weight / weight.sum())
        steps.append(np.minimum(np.searchsorted(cumulative, rng.random((drawn, number))), len(used) - 1))
    chosen = np.sort(np.concatenate(steps), axis=1)
    proposals = np.stack([log[chosen].sum(1) for log in tilted])
    ratio = np.exp(logs[chosen].sum(1) - np.logaddexp.reduce(proposals, axis=0) + np.log(len(TILTS)))
    nearer = below[used][chosen]
    parts = np.diff(nearer, axis=1, prepend=0.0, append=1.0)
    between = rng.multinomial(rings - number, np.maximum(parts, 0) / parts.sum(1, keepdims=True))
    ranks = np.cumsum(between[:, :-1], axis=1) + np.arange(1, number + 1)
    hits = ratio * _fails(ranks, search)
    means = hits.reshape(len(TILTS), -1)  # each tilt is a stratum of its own
    return float(means.mean()), float(np.sqrt((means.var(1, ddof=1) / drawn).sum()) / len(TILTS))


def _fails(ranks: NDArray[np.int64], search: tuple[int, frozenset[tuple[int, ...]]]) -> NDArray[np.bool_]:
    full, allowed = search
    weight = ranks.sum(1)
    fails = weight > full
    for row in np.flatnonzero(weight == full + 1):
        fails[row] = tuple(ranks[row].tolist()) not in allowed
    return np.asarray(fails)


@lru_cache
def _search(budget: int) -> tuple[int, frozenset[tuple[int, ...]]]:
    """Largest weight whose patterns are all tried, and the patterns of the next one that are."""
    if budget < 1:
        raise ValueError(f"the search budget must be at least 1 candidate, not {budget}")
    sizes = _partitions()
    full = int(np.searchsorted(np.cumsum(sizes), budget, side="right")) - 1
    started = int(sizes[: full + 1].sum())
    if full + 1 > puf.MAX_RANK:
        return full, frozenset()
    rest = islice(puf.flip_patterns(), started, budget)
    return full, frozenset(takewhile(lambda pattern: sum(pattern) == full + 1, rest))


@lru_cache
def _partitions(largest: int = 200) -> NDArray[np.int64]:
    """Patterns of each weight: partitions into distinct parts."""
    number = np.zeros(largest + 1, np.int64)
    number[0] = 1
    for part in range(1, largest + 1):
        for weight in range(largest, part - 1, -1):
            number[weight] += number[weight - part]
    return number


def bch_failure(wrong_rate: float, code: Sequence[int] = BCH) -> float:
    """Failure rate of a BCH code on plain bits of as many rings: more wrong bits than it corrects."""
    length, _, errors = code
    return float(stats.binom.sf(errors, length, wrong_rate))


MARGIN_EDGES = np.concatenate([[-np.inf], np.arange(-1, 4.0001, 0.02), [np.inf]])
SPREAD_EDGES = np.concatenate([[0], np.geomspace(1e-3, 1, 91), [np.inf]])
FEWEST_READS = 8
"""To take the noise of a ring from its own reads."""


@dataclass
class MarginSums:
    """How many measured rings have which margin and which noise, in sigma."""

    rings: NDArray[np.int64]

    @classmethod
    def empty(cls) -> MarginSums:
        return cls(np.zeros((len(MARGIN_EDGES) - 1, len(SPREAD_EDGES) - 1), np.int64))

    def __add__(self, other: MarginSums) -> MarginSums:
        return MarginSums(self.rings + other.rings)

    def add(self, margins: FloatArray) -> None:
        """Take margins in, chips x rings x reads."""
        if not margins.shape[2]:
            return
        mean, spread = (
            margins.mean(2),
            margins.std(2, ddof=1) if margins.shape[2] > 1 else np.full(margins.shape[:2], np.nan),
        )
        if margins.shape[2] < FEWEST_READS:
            spread = np.full_like(mean, np.sqrt(np.nanmean(spread**2)) if margins.shape[2] > 1 else 0.0)
        at = np.digitize(mean, MARGIN_EDGES) - 1, np.digitize(spread, SPREAD_EDGES) - 1
        np.add.at(self.rings, (at[0].ravel(), at[1].ravel()), 1)

    def marks(self, shift: float = 0.0) -> Marks:
        """Distribution of the margin of a measured ring, moved by a further normal shift.

        Each ring's reads are taken as normal around their mean: what lies beyond the reads taken is extrapolated so.
        """
        margin, spread = np.nonzero(self.rings)
        margins = np.concatenate([[-1.01], (MARGIN_EDGES[1:-2] + MARGIN_EDGES[2:-1]) / 2, [4.01]])[margin]
        spreads = np.concatenate([[5e-4], SPREAD_EDGES[2:-1], [2.0]])[spread]  # the upper edge: on the safe side
        return Marks.of(margins, np.hypot(spreads, shift), self.rings[margin, spread].astype(float))


def failure_figures(sums: MarginSums, chips: int) -> Figures:
    """Failure rates of the corner model and of measured rings, for JSON."""

    def row(marks: Marks, budget: int, rings: int = puf.RINGS) -> Figures:
        rate = failure_rate(marks, rings, budget)
        return {"budget": budget, "rings": rings, "rate": rate.value, "rate_ci": [rate.low, rate.high]}

    def curve(marks_at: Callable[[float], Marks]) -> list[Figures]:
        rows = []
        for shift in SHIFTS:
            marks = marks_at(shift)
            about = {"shift": shift, "wrong_bit_rate": marks.wrong_rate, "bch": bch_failure(marks.wrong_rate)}
            rows += [about | row(marks, budget) for budget in BUDGETS]
        return rows

    noise = read_noise()
    by_window = [(window, corner(SHOWN_SHIFT, read_noise(window))) for window in WINDOWS]
    shown = corner(SHOWN_SHIFT, noise)
    return {
        "chips": chips,
        "measured_rings": int(sums.rings.sum()),
        "read_noise": noise,
        "corner": curve(lambda shift: corner(shift, noise)),
        "measured": curve(sums.marks) if sums.rings.any() else [],
        "by_window": [
            {"window": window, "shift": SHOWN_SHIFT} | row(marks, BUDGETS[-1]) for window, marks in by_window
        ],
        "by_rings": [{"shift": SHOWN_SHIFT} | row(shown, BUDGETS[-1], rings) for rings in MORE_RINGS],
    }
