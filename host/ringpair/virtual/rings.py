"""What the harness has to know of the rings: counts by a model, or reads of measured silicon."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ringpair_protocol.puf import CHANNELS, PLACES, RINGS, ring_number

SLOTS = 64 * CHANNELS
"""The harness knows rings as place * 4 + channel; some of the 64 places are no rings."""

_RING_OF_SLOT = {
    place * CHANNELS + channel: ring_number(channel, place) for place in PLACES for channel in range(CHANNELS)
}


@dataclass(frozen=True)
class RingModel:
    """Periods in the default window are mean * (1 + noise), rounded by a random start phase.

    A window that is n times as long holds n times as many periods; its white noise is less by n^0.5, its slow noise is
    the same.

    Attributes
    ----------
    mean : array of 192
        Mean count over the default window, `puf.window_clocks`.
    white : float or array of 192
        Relative noise, new in every read (standard deviation).
    slow : float or array of 192
        Relative noise that stays for a while (standard deviation).
    memory : float
        How much of the slow noise the next read of the same ring keeps, 0..1.
    """

    mean: NDArray[np.float64]
    white: float | NDArray[np.float64] = 0.0
    slow: float | NDArray[np.float64] = 0.0
    memory: float = 0.9

    def __post_init__(self) -> None:
        if np.shape(self.mean) != (RINGS,):
            raise ValueError(f"expected the mean counts of {RINGS} rings, got an array of shape {np.shape(self.mean)}")
        if not 0 <= self.memory <= 1:
            raise ValueError(f"the memory of the slow noise must be 0..1, not {self.memory}")


@dataclass(frozen=True)
class RingReads:
    """Counts of measured silicon: the n-th measurement of a ring gives its n-th read, and begins again after the last.

    Attributes
    ----------
    counts : array of reads x 192
        Periods in the default window, 0..65535; fractions are rounded by a random start phase. Another window counts
        in proportion, with the noise of the read as it was.
    """

    counts: NDArray[Any]

    def __post_init__(self) -> None:
        shape = np.shape(self.counts)
        if len(shape) != 2 or shape[0] < 1 or shape[1] != RINGS:
            raise ValueError(f"expected counts as reads x {RINGS} rings, got an array of shape {shape}")
        if np.min(self.counts) < 0 or np.max(self.counts) > 0xFFFF:
            raise ValueError(f"a count must be 0..65535, but they reach {np.min(self.counts)}..{np.max(self.counts)}")


Rings = RingModel | RingReads


def by_slot(values: float | NDArray[Any]) -> NDArray[np.float64]:
    """Spread values of rings (last axis) over the harness's slots; slots that are no ring hold 0."""
    rings = np.broadcast_to(np.asarray(values), (*np.shape(values)[:-1], RINGS))
    slots = np.zeros((*rings.shape[:-1], SLOTS))
    slots[..., list(_RING_OF_SLOT)] = rings[..., list(_RING_OF_SLOT.values())]
    return np.ascontiguousarray(slots)
