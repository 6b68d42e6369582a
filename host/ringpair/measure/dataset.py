"""Counts of rings on many chips: one shape for whatever they were measured with or read from.

A data set is chips x conditions x rings x reads, of counts or of frequencies, read chip by chip in batches: nothing
here ever holds more than a batch. All values are positive; what is not is reported with chip, ring and read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringpair.errors import RingpairError

__all__ = ["Batch", "Condition", "DataError", "Dataset", "FirstRings", "InMemory", "Meta", "Piece", "batch_size"]

BATCH_BYTES = 8 << 20
"""Values of one batch; the sums made of it need about ten times as much."""
BATCH_CHIPS = 256
ROOM_CELSIUS, NOMINAL_VOLT = 25.0, 1.2


class DataError(RingpairError):
    """A file does not hold measurements, or measurements that cannot be; the message says where and what to do."""


@dataclass(frozen=True)
class Condition:
    """Under what a series of reads was taken; None is "not stated".

    Parameters
    ----------
    temperature : float, optional
        Degrees Celsius.
    voltage : float, optional
        Core supply in volts.
    window : float, optional
        Counting time in seconds.
    """

    temperature: float | None = None
    voltage: float | None = None
    window: float | None = None

    def __str__(self) -> str:
        parts = (
            f"{self.temperature:g} °C" if self.temperature is not None else "",
            f"{self.voltage:g} V" if self.voltage is not None else "",
            f"{self.window * 1e6:g} µs" if self.window is not None else "",
        )
        return ", ".join(part for part in parts if part) or "not stated"


@dataclass(frozen=True)
class Meta:
    """What is known about a data set beside its numbers.

    Parameters
    ----------
    silicon : str
        "measured", "simulated", or "not stated".
    floorplan : str
        "ringpair" (the array of this project) or "rows16" (ring k at row k // 16, column k % 16).
    extra : dict
        Gateware hash, tool versions, anything else worth keeping.
    """

    silicon: str = "not stated"
    floorplan: str = "rows16"
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("silicon", self.silicon, ("measured", "simulated", "mixed", "not stated")),
            ("floorplan", self.floorplan, ("ringpair", "rows16")),
        ):
            if value not in known:
                raise DataError(f"{name} must be one of {', '.join(known)}, not {value!r}")


@dataclass(frozen=True)
class Batch:
    """Some chips, one after the other.

    Parameters
    ----------
    first : int
        Number of the first chip in its data set.
    ids : sequence of str
        Names of the chips.
    values : array, chips x conditions x rings x reads
        Counts (integers) or frequencies.
    """

    first: int
    ids: Sequence[str]
    values: NDArray[Any]


class Dataset(ABC):
    """Chips in batches; may be read any number of times.

    Attributes
    ----------
    name : str
        For messages and reports.
    chips, rings, reads : int
    conditions : tuple of Condition
        The second axis of the values.
    meta : Meta
    named : bool
        Whether the names of the chips are their own; otherwise they are numbers, and mean nothing in another file.
    notes : tuple of str
        What a reader of its figures should know.
    """

    name: str
    chips: int
    rings: int
    reads: int
    conditions: tuple[Condition, ...] = (Condition(),)
    meta: Meta = Meta()
    named: bool = True
    notes: tuple[str, ...] = ()

    @abstractmethod
    def raw(self, size: int) -> Iterator[Batch]:
        """Batches of up to `size` chips, values unchecked."""

    def names(self) -> list[str]:
        """Of all chips, in order."""
        return [name for batch in self.raw(batch_size(self)) for name in batch.ids]

    def pieces(self, chips: int) -> list[Piece]:
        """Parts that together are this data set, of about so many chips each if its file can be cut.

        They can be pickled, and open their files again where they are read.
        """
        return [(0, self)]

    @property
    def nominal(self) -> int:
        """Index of the condition that the others are compared with: nearest to 25 °C and 1.2 V, longest window."""

        def distance(index: int) -> tuple[float, float]:
            at = self.conditions[index]
            kelvin = abs((ROOM_CELSIUS if at.temperature is None else at.temperature) - ROOM_CELSIUS)
            volts = abs((NOMINAL_VOLT if at.voltage is None else at.voltage) - NOMINAL_VOLT)
            return kelvin / 10 + volts / 0.05, -(at.window or 0.0)

        return min(range(len(self.conditions)), key=distance)

    def batches(self, size: int | None = None) -> Iterator[Batch]:
        """All chips in order.

        Raises
        ------
        DataError
            A value is no positive number; no chip at all.
        """
        chips = 0
        for batch in self.raw(size or batch_size(self)):
            _check_values(self, batch)
            chips += len(batch.ids)
            narrow = batch.values.dtype.kind == "f" and batch.values.dtype.itemsize < 8  # sums would lose or overflow
            yield replace(batch, values=batch.values.astype(np.float64)) if narrow else batch
        if not chips:
            raise DataError(f"{self.name} has no chips")


Piece = tuple[int, Dataset]
"""Number of the first chip in the whole, and the part."""


class InMemory(Dataset):
    """A data set from an array, chips x [conditions x] rings x reads."""

    def __init__(
        self,
        values: NDArray[Any],
        ids: Sequence[str] | None = None,
        *,
        name: str = "data",
        conditions: tuple[Condition, ...] = (Condition(),),
        meta: Meta | None = None,
    ) -> None:
        values = np.asarray(values)
        if values.ndim == 3:
            values = values[:, None]
        if values.ndim != 4 or 0 in values.shape or values.dtype.kind not in "iuf":
            raise DataError(
                f"{name}: expected numbers of shape chips x rings x reads or chips x conditions x rings x reads, "
                f"got shape {values.shape} of {values.dtype}"
            )
        if values.shape[1] != len(conditions):
            raise DataError(f"{name}: {len(conditions)} conditions are named, the values have {values.shape[1]}")
        self.chips, _, self.rings, self.reads = values.shape
        self.name, self.conditions, self.meta, self._values = name, conditions, meta or Meta(), values
        self.named = ids is not None
        self._ids = [str(number) for number in range(self.chips)] if ids is None else [str(entry) for entry in ids]
        if len(self._ids) != self.chips:
            raise DataError(f"{name}: {len(self._ids)} chip names for {self.chips} chips")

    def raw(self, size: int) -> Iterator[Batch]:
        for first in range(0, self.chips, size):
            yield Batch(first, self._ids[first : first + size], self._values[first : first + size])

    def names(self) -> list[str]:
        return list(self._ids)


class FirstRings(Dataset):
    """The first rings of each chip of another data set."""

    def __init__(self, source: Dataset, rings: int) -> None:
        if not 1 <= rings <= source.rings:
            raise DataError(f"{source.name} has {source.rings} rings a chip; {rings} cannot be taken")
        self.source, self.rings = source, rings
        self.name, self.chips, self.reads, self.named = source.name, source.chips, source.reads, source.named
        self.conditions, self.meta, self.notes = source.conditions, source.meta, source.notes

    def raw(self, size: int) -> Iterator[Batch]:
        for batch in self.source.raw(size):
            yield Batch(batch.first, batch.ids, batch.values[:, :, : self.rings])

    def names(self) -> list[str]:
        return self.source.names()

    def pieces(self, chips: int) -> list[Piece]:
        return [(first, FirstRings(piece, self.rings)) for first, piece in self.source.pieces(chips)]


def batch_size(data: Dataset) -> int:
    """Chips of one batch, so that memory stays flat whatever the chips look like."""
    return int(np.clip(BATCH_BYTES // (8 * len(data.conditions) * data.rings * data.reads), 1, BATCH_CHIPS))


def _check_values(data: Dataset, batch: Batch) -> None:
    values = batch.values
    if values.dtype.kind == "f":
        if np.isfinite(values).all() and values.min() > 0:
            return
        good = np.isfinite(values) & (values > 0)
    elif values.min() > 0:
        return
    else:
        good = values > 0
    chip, condition, ring, read = np.argwhere(~good)[0]
    value = values[chip, condition, ring, read]
    what = "not a number" if np.isnan(value) else f"{value}"
    at = f", at {data.conditions[condition]}" if len(data.conditions) > 1 else ""
    raise DataError(
        f"{data.name}: chip {batch.ids[chip]}, ring {ring}, read {read}{at} is {what}; expected counts or frequencies "
        f"above zero: repeat the measurement, or leave this chip out"
    )
