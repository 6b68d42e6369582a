"""Predictors of NIST SP 800-90B, sections 6.3.7 to 6.3.10: what guesses the next sample best?

Each predictor gives, for every sample that it guesses, whether the guess was right; `prediction_entropy` turns that
into min-entropy. The standard describes them sample by sample. Here all samples are guessed at once: what a dictionary
says at sample i is a running maximum over the earlier samples with the same context.

Ties are decided as in the standard, and as in NIST's own program (github.com/usnistgov/SP800-90B_EntropyAssessment):
the latest of equally common values of a window (6.3.7), the greatest of symbols that followed a context equally often
(6.3.9, 6.3.10), the longest of contexts with equal counts (6.3.10), the later subpredictor (6.3.7 to 6.3.9). Where that
program differs from the text, the text holds: for bits it takes N = L - 2 in 6.3.10, the text L - 17.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["Groups", "Hits", "lag", "lz78y", "multi_mcw", "multi_mmc", "prediction_entropy"]

Samples = NDArray[np.int64]
Hits = NDArray[np.bool_]

Z = 2.576
"""Quantile of the normal distribution for the standard's upper bounds: 99 % two-sided."""


def prediction_entropy(hits: Hits, symbols: int) -> float:
    """Min-entropy a sample in bits, from the share of right guesses and their longest run (6.3.7, steps 4 to 8)."""
    n = len(hits)
    share = hits.mean()
    bound = 1 - 0.01 ** (1 / n) if not hits.any() else min(1.0, share + Z * math.sqrt(share * (1 - share) / (n - 1)))
    ends = np.flatnonzero(np.diff(hits.astype(np.int8), prepend=0, append=0))
    run = int((ends[1::2] - ends[::2]).max(initial=0)) + 1
    return -math.log2(max(bound, _local_bound(run, n), 1 / symbols))


def _local_bound(run: int, n: int) -> float:
    """Chance p of a right guess for which n guesses have no run of `run` right ones with probability 0.99 (Feller)."""
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        low, high = (p, high) if _log_no_run(p, run, n) > math.log(0.99) else (low, p)
    return low


def _log_no_run(p: float, run: int, n: int) -> float:
    q, x = 1 - p, 1.0
    for _ in range(100):
        last, x = x, 1 + q * p**run * x ** (run + 1)
        if x == last:
            break
    if p * x >= 1 - 1e-12 or run + 1 - run * x <= 0 or q <= 0:  # only the root 1/p is left: a run is certain
        return -math.inf
    return math.log1p(-p * x) - math.log((run + 1 - run * x) * q) - (n + 1) * math.log(x)


def multi_mcw(samples: Samples, symbols: int, windows: tuple[int, ...] = (63, 255, 1023, 4095)) -> Hits:
    """Most common value of the last w samples; of equally common ones, the latest (6.3.7)."""
    start, length = windows[0], len(samples)
    position = np.arange(length)

    def subpredictors() -> Iterator[Hits]:
        for window in windows:
            if window >= length:
                yield np.zeros(length - start, np.bool_)
                continue
            best = np.full(length - window, -1, np.int64)
            guess = np.zeros_like(best)
            for symbol in range(symbols):
                here = samples == symbol
                total = np.concatenate(([0], np.cumsum(here)))
                count = total[window:-1] - total[: length - window]
                latest = np.maximum.accumulate(np.where(here, position, -1))[window - 1 : -1]
                key = np.where(count > 0, count * length + latest, -1)
                np.copyto(guess, symbol, where=key > best)
                np.maximum(best, key, out=best)
            hits = np.zeros(length - start, np.bool_)
            hits[window - start :] = guess == samples[window:]
            yield hits

    return _follow(subpredictors())


def lag(samples: Samples, depth: int = 128) -> Hits:
    """The sample d places back, d up to 128 (6.3.8)."""

    def subpredictors() -> Iterator[Hits]:
        for d in range(1, min(depth, len(samples) - 1) + 1):
            hits = np.zeros(len(samples) - 1, np.bool_)
            hits[d - 1 :] = samples[d:] == samples[:-d]
            yield hits

    return _follow(subpredictors())


def multi_mmc(samples: Samples, symbols: int, depth: int = 16, entries: int = 100_000) -> Hits:
    """What most often followed the last d samples, d up to 16 (6.3.9)."""

    def subpredictors() -> Iterator[Hits]:
        for d, context in _contexts(samples, symbols, depth):
            following = samples[d:]
            pairs = Groups(context * symbols + following)
            count = pairs.number
            entered = pairs.first & (np.cumsum(pairs.first) <= entries)
            count[~entered[pairs.leader]] = 0
            guess, weight = _guesses(Groups(context), following, count, symbols)
            hits = np.zeros(len(samples), np.bool_)
            hits[d:] = (weight > 0) & (guess == following)
            yield hits[2:]

    return _follow(subpredictors())


def lz78y(samples: Samples, symbols: int, depth: int = 16, entries: int = 65_536) -> Hits:
    """What followed the last j samples, j down from 16, whichever was counted most often (6.3.10)."""
    following = samples[depth:]
    # One dictionary for all lengths: contexts enter it in the order of time, at the same sample longer ones first.
    firsts = [
        np.unique(context[depth - j :], return_index=True)[1] * depth + depth - j
        for j, context in _contexts(samples, symbols, depth)
    ]
    last = np.sort(np.concatenate(firsts))[:entries][-1]
    best = np.zeros(len(following), np.int64)
    guess = np.full(len(following), -1, np.int64)
    for j, context in _contexts(samples, symbols, depth):
        contexts = Groups(context[depth - j :])
        count = Groups(context[depth - j :] * symbols + following).number
        count[contexts.leader * depth + depth - j > last] = 0
        said, weight = _guesses(contexts, following, count, symbols)
        better = (weight >= best) & (weight > 0)  # of equal counts, that of the longer context
        np.copyto(guess, said, where=better)
        np.copyto(best, weight, where=better)
    hits: Hits = guess == following
    return hits[1:]


def _follow(subpredictors: Iterator[Hits]) -> Hits:
    """Hits of the subpredictor that leads at each sample.

    Each hit gives a point; who reaches or passes the leader's points leads from the next sample on. So the leader is
    who has most points, and among those who came to them last, the later one in the list at the same sample.
    """
    best: Samples | None = None
    for j, hits in enumerate(subpredictors):
        if best is None:
            place = np.arange(1, len(hits) + 1)
            best, followed = np.full(len(hits), -1, np.int64), np.zeros(len(hits), np.bool_)
        score = np.cumsum(hits)
        key = (score * (len(hits) + 1) + np.maximum.accumulate(np.where(hits, place, 0))) * 256 + j
        key = np.concatenate(([0], key[:-1]))  # points before this sample
        key[np.concatenate(([0], score[:-1])) == 0] = 0  # without points the first one leads
        better = key > best
        np.copyto(followed, hits, where=better)
        np.copyto(best, key, where=better)
    assert best is not None
    return followed


def _contexts(samples: Samples, symbols: int, depth: int) -> Iterator[tuple[int, Samples]]:
    """For d from 1: a number for the d samples before each sample from the d-th on; equal numbers, equal contexts."""
    context, states = np.zeros_like(samples), 1
    for d in range(1, min(depth, len(samples) - 1) + 1):
        context = samples[:-d] * states + context[1:]
        states *= symbols
        if states > 1 << 40:  # keeps the numbers in 63 bits
            context = np.unique(context, return_inverse=True)[1].astype(np.int64)
            states = int(context.max()) + 1
        yield d, context


class Groups:
    """Events with the same label, in the order of time.

    Attributes
    ----------
    order : places of the events, label by label
    head : for each place in `order`, where its label begins in `order`
    leader : for each event, the place of the first one with its label
    first : whether an event is that one
    number : for each event, the how many-th it is with its label, from 1
    """

    def __init__(self, labels: Samples) -> None:
        self.order = np.argsort(labels, kind="stable")
        ordered = labels[self.order]
        place = np.arange(len(labels))
        begins = np.concatenate(([True], ordered[1:] != ordered[:-1]))
        self.head = np.maximum.accumulate(np.where(begins, place, 0))
        self.leader, self.number = np.empty_like(place), np.empty_like(place)
        self.leader[self.order] = self.order[self.head]
        self.number[self.order] = place - self.head + 1
        self.first = self.leader == place


def _guesses(contexts: Groups, following: Samples, count: Samples, symbols: int) -> tuple[Samples, Samples]:
    """For each event, the symbol that followed its context most often so far, and how often; 0 if none did.

    Parameters
    ----------
    count
        The how many-th time its symbol follows its context, or 0 if that is not counted. A symbol reaches its count at
        its last event, so the most frequent symbol is that of the largest count so far; of equal ones, the greater.
    """
    key = (count * symbols + np.where(count > 0, following, 0))[contexts.order]
    room = (len(following) + 1) * symbols  # lifts each context above all before it
    most = np.maximum.accumulate(key + contexts.head * room) - contexts.head * room
    before = np.concatenate(([0], most[:-1]))
    before[contexts.head == np.arange(len(key))] = 0
    result = np.empty_like(key)
    result[contexts.order] = before
    return result % symbols, result // symbols
