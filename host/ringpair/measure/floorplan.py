"""Where the rings lie: for maps, and for correlation between neighbors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from ringpair_protocol import puf

from .dataset import DataError

__all__ = ["Lags", "grid", "positions"]

COLUMNS = 16
"""Of the "rows16" floorplan, that of the Virginia Tech chips."""


def positions(floorplan: str, rings: int) -> NDArray[np.int64]:
    """(layer, y, x) of each ring; the two halves of a ringpair tile are two layers."""
    if floorplan == "rows16":
        ring = np.arange(rings)
        return np.stack([np.zeros_like(ring), ring // COLUMNS, ring % COLUMNS], 1)
    if rings > puf.RINGS:
        raise DataError(f"the ringpair floorplan has {puf.RINGS} rings, not {rings}")
    places = [puf.place_of(ring) for ring in range(rings)]
    return np.array(
        [
            (place >> 5, (channel & 1) * puf.ROWS + (place & 3), (channel >> 1) * puf.COLUMNS + (place >> 2 & 7))
            for channel, place in places
        ]
    )


def grid(floorplan: str, rings: int) -> NDArray[np.int64]:
    """Ring number at layers x height x width; -1 where there is none."""
    where = positions(floorplan, rings)
    result = np.full(where.max(0) + 1, -1)
    result[tuple(where.T)] = np.arange(rings)
    return result


class Lags:
    """Products of rings a given distance apart.

    Parameters
    ----------
    rings_at : array from `grid`
    reach : int
        Largest distance in either direction.

    Attributes
    ----------
    steps : list of (int, int)
        Distances (dy, dx), each pair of rings counted once; (0, 0) first.
    pairs : int array
        Pairs of rings for each of them.
    """

    def __init__(self, rings_at: NDArray[np.int64], reach: int = 6) -> None:
        self._order, self._there = np.maximum(rings_at, 0), rings_at >= 0
        _, height, width = rings_at.shape
        self.steps = [(0, 0)] + [
            (dy, dx)
            for dy in range(min(reach, height - 1) + 1)
            for dx in range(-min(reach, width - 1), min(reach, width - 1) + 1)
            if dy > 0 or dx > 0
        ]
        self.pairs = self.products(self._there[None].astype(float)[0], laid_out=True)[0]

    def products(self, values: NDArray[np.float64], laid_out: bool = False) -> NDArray[np.float64]:
        """Sum over all pairs of the product of the two values, chips x steps."""
        field = values[None] if laid_out else np.where(self._there, values[:, self._order], 0.0)
        result = np.empty((len(field), len(self.steps)))
        height, width = field.shape[2:]
        for number, (dy, dx) in enumerate(self.steps):
            left = field[:, :, : height - dy, max(0, -dx) : width - max(0, dx)]
            right = field[:, :, dy:, max(0, dx) : width - max(0, -dx)]
            result[:, number] = np.einsum("clyx,clyx->c", left, right)
        return result

    def moran(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Moran's I of each chip with its four neighbors (Moran, Biometrika 37, 1950): N / W sum w x x' / sum x^2."""
        centered = values - values.mean(1, keepdims=True)
        near = [number for number, step in enumerate(self.steps) if step in ((0, 1), (1, 0))]
        weight = self.pairs[near].sum()
        products = self.products(centered)
        rings = values.shape[1]
        square = products[:, 0]
        scale = rings / weight if weight else np.nan
        return np.asarray(scale * products[:, near].sum(1) / np.where(square > 0, square, np.nan))
