"""How often the health tests of the noise say that a good source failed; `scripts/campaign.py` runs it.

The source is independent bits that are as bad as the claim allows, so the rate that the cut-offs were made for is the
one to come out. At the device's own rate, 2^-30, an alarm is rare; so the same cut-offs are also taken at higher rates,
where enough alarms come to compare their number with what binomial probabilities say.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from ringpair_protocol.health import ALPHA_BITS, ENTROPY, WINDOW, proportion_cutoff, repetition_cutoff
from scipy.stats import binom, poisson  # type: ignore[import-untyped]

from scripts.campaign import Trial

CHUNK = WINDOW << 12
"""Samples at a time."""
LIKELY = 2.0**-ENTROPY
"""Probability of the bit that comes more often."""
RATES = (20, 24, ALPHA_BITS)
"""Cut-offs are made for a false-alarm probability of 2^-n."""
OFTEN = tuple(int(binom.isf(2.0**-n, WINDOW - 1, LIKELY)) + 1 for n in (8, 12, 16))
"""Cut-offs of the proportion test that alarm often enough to be counted: a window fails in less than 1 in 2^n cases."""
UNLIKELY = 1e-6
"""Of a number of alarms: then something is wrong."""


def runs(bits: NDArray[np.bool_], before: int = 0) -> NDArray[np.int64]:
    """Lengths of the runs of equal bits, the last one included; ``before`` belongs to the first one."""
    ends = np.append(np.flatnonzero(bits[1:] != bits[:-1]), len(bits) - 1)
    lengths = np.diff(ends, prepend=-1)
    lengths[0] += before
    return lengths


def proportions(bits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of each window, how often its first bit is in it."""
    windows = bits.reshape(-1, WINDOW)
    ones = np.count_nonzero(windows, axis=1)
    return np.where(windows[:, 0], ones, WINDOW - ones)


def repetition_probability(cutoff: int) -> float:
    """That a run that is long enough begins at a sample."""
    p, q = LIKELY, 1 - LIKELY
    return q * p**cutoff + p * q**cutoff


def proportion_probability(cutoff: int) -> float:
    """That a window fails."""
    p, q = LIKELY, 1 - LIKELY
    return float(p * binom.sf(cutoff - 2, WINDOW - 1, p) + q * binom.sf(cutoff - 2, WINDOW - 1, q))


def chunks(trial: Trial) -> Iterator[NDArray[np.bool_]]:
    """Samples of the source, whole windows, up to the goal."""
    source, threshold = np.random.Generator(np.random.SFC64(trial.seed)), round(LIKELY * 2**32)
    while trial.left:
        size = min(CHUNK, -(-trial.left // WINDOW) * WINDOW)
        yield source.integers(2**32, size=size, dtype=np.uint32) < threshold
        trial.count(size)


def false_alarms(trial: Trial) -> None:
    """Count the alarms of both tests, and lose where there are too many or too few."""
    repetition = {repetition_cutoff(alpha_bits=n): 0 for n in RATES}
    proportion = dict.fromkeys((*(proportion_cutoff(alpha_bits=n) for n in RATES), *OFTEN), 0)
    last, length = None, 0  # a run goes on from chunk to chunk: it counts where it ends
    for bits in chunks(trial):
        if last is not None and bits[0] != last:
            for cutoff in repetition:
                repetition[cutoff] += length >= cutoff
            length = 0
        lengths, firsts = runs(bits, length), proportions(bits)
        last, length = bits[-1], int(lengths[-1])
        for cutoff in repetition:
            repetition[cutoff] += int(np.count_nonzero(lengths[:-1] >= cutoff))
        for cutoff in proportion:
            proportion[cutoff] += int(np.count_nonzero(firsts >= cutoff))
    windows = trial.tried // WINDOW
    for cutoff, alarms in sorted(repetition.items()):
        judge(trial, f"{cutoff} equal bits in a row", alarms, trial.tried * repetition_probability(cutoff))
    for cutoff, alarms in sorted(proportion.items()):
        judge(trial, f"{cutoff} like the first of {WINDOW}", alarms, windows * proportion_probability(cutoff))


def judge(trial: Trial, what: str, alarms: int, expected: float) -> None:
    trial.notes[what] = f"{alarms} alarms, {expected:.3g} expected"
    if not poisson.sf(alarms - 1, expected) > UNLIKELY or not poisson.cdf(alarms, expected) > UNLIKELY:
        trial.lose(f"{what}: {trial.notes[what]}")
