"""Bootstrap over chips, as sums: every sum is made once for each replicate, with random weights of the chips.

The chips are the sample, so they are what is resampled (Efron, Annals of Statistics 7, 1979). Each chip enters each
replicate with a weight drawn from Poisson(1), the limit of drawing with replacement that need not know the number of
chips (Hanley and MacGibbon, Comput. Methods Programs Biomed. 83, 2006): so sums over parts of the chips can be added.
Replicate 0 has weight 1 for each chip: the estimate itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVEL", "Weights", "interval"]

LEVEL = 0.95
BLOCK = 256
FloatArray = NDArray[np.float64]


class Weights:
    """Weights of chips, a function of seed and number of the chip alone.

    Parameters
    ----------
    replicates : int
        Number of bootstrap replicates; 0 for the estimate alone.
    seed : int
    """

    def __init__(self, replicates: int, seed: int = 0) -> None:
        self.replicates, self.seed = replicates, seed

    def __call__(self, first: int, chips: int) -> FloatArray:
        """Weights of some chips, (1 + replicates) x chips."""
        blocks = range(first // BLOCK, (first + chips - 1) // BLOCK + 1)
        drawn = [
            np.random.default_rng([self.seed, block]).poisson(1.0, (BLOCK, self.replicates)).astype(float)
            for block in blocks
        ]
        start = first - blocks[0] * BLOCK
        replicates = np.concatenate(drawn)[start : start + chips].T
        return np.concatenate([np.ones((1, chips)), replicates])


def interval(values: FloatArray, level: float = LEVEL, *, center: bool = False) -> tuple[float, list[float] | None]:
    """Estimate and percentile interval from the estimate and its replicates; None if there are too few of those.

    Parameters
    ----------
    values : array
        Estimate, then replicates.
    center : bool
        For figures that rise or fall with the noise of the sample, which a replicate has twice: the spread of the
        replicates is laid around the estimate; not below zero, as no such figure is.
    """
    replicates = values[1:][np.isfinite(values[1:])]
    if len(replicates) < 20 or not np.isfinite(values[0]):
        return float(values[0]), None
    if center:
        replicates = np.maximum(replicates + values[0] - replicates.mean(), 0)
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(values[0]), [float(low), float(high)]
