"""Three ways to make bits from the same counts, vectorized over chips.

=========  ==========  ====================================================================  =========================
maker      bits        bit                                                                   reference of reliability
=========  ==========  ====================================================================  =========================
neighbor   rings // 2  count of ring 2 i > count of ring 2 i + 1                             mean of all reads
chain      rings - 1   count of ring i > count of ring i + 1 (Maiti et al., HOST 2010)       mean of all reads
device     rings       `ringpair_protocol.puf.Quantizer`, with helper data                   enrollment
=========  ==========  ====================================================================  =========================

The device's arithmetic is that of the reference model in 64-bit integers; a test holds the two against each other bit
for bit. It needs counts such that the sum of the enrollment reads fits 16 bits: frequencies, and counts that are too
large, are scaled to the device's mean of about 2300 counts a read and rounded as a counter does that starts at any
phase; the phase is drawn reproducibly from the number of the chip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from ringpair_protocol import puf

from .dataset import Batch, DataError, Dataset
from .survey import Tables, fold_of

__all__ = [
    "DEVICE_COUNTS",
    "METHODS",
    "Chain",
    "Counter",
    "Device",
    "Maker",
    "Neighbor",
    "Response",
    "enroll_reads",
    "possible_methods",
    "reconstruct",
    "residues",
]

METHODS = ("neighbor", "chain", "device")
DEVICE_COUNTS = 54e6 * puf.WINDOW_CLOCKS / puf.WINDOW_FREQUENCY
"""Mean count of one read: 54 MHz in the default window."""
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Response:
    """Bits of some chips.

    Parameters
    ----------
    reference : bool array, chips x bits
    reads : list of bool arrays, chips x bits x reads
        One array a condition: the reads to compare with the reference.
    codes : int array, chips x bits, optional
        Bit and helper value of each ring, 8 bit + helper; only where there is helper data.
    """

    reference: BoolArray
    reads: list[BoolArray]
    codes: IntArray | None = None


class Maker(Protocol):
    """Makes bits from counts."""

    name: str
    bits: int
    reads: int
    """Judged at the nominal condition; 0 if there is no read but the reference."""
    reference: str

    def __call__(self, batch: Batch) -> Response: ...


class _Pairs:
    """Compares rings two by two; the reference comes from the mean of all reads at the nominal condition."""

    name: str
    reference = "the mean of all reads at the nominal condition"

    def __init__(self, data: Dataset, left: slice, right: slice) -> None:
        if data.rings < 2:
            raise DataError(f"{data.name} has one ring a chip; comparing neighbors needs two")
        self._left, self._right, self._nominal = left, right, data.nominal
        self.bits, self.reads = len(range(data.rings)[right]), data.reads if data.reads > 1 else 0

    def __call__(self, batch: Batch) -> Response:
        left, right = batch.values[:, :, self._left], batch.values[:, :, self._right]
        left = left[:, :, : self.bits]
        reads = left > right
        mean = left[:, self._nominal].sum(2, dtype=np.float64) > right[:, self._nominal].sum(2, dtype=np.float64)
        found = [reads[:, condition] for condition in range(reads.shape[1])]
        found[self._nominal] = found[self._nominal][:, :, : self.reads]  # a single read is the reference itself
        return Response(mean, found)


class Neighbor(_Pairs):
    """Rings 0 and 1, 2 and 3, …: every ring once."""

    name = "neighbor"

    def __init__(self, data: Dataset) -> None:
        super().__init__(data, slice(0, None, 2), slice(1, None, 2))


class Chain(_Pairs):
    """Rings 0 and 1, 1 and 2, …: one bit less than rings, neighboring bits anticorrelated."""

    name = "chain"

    def __init__(self, data: Dataset) -> None:
        super().__init__(data, slice(0, -1), slice(1, None))


class Device:
    """The quantizer of the gateware, with a layout table and spread for each fold of chips.

    Parameters
    ----------
    data : Dataset
    counter : Counter
        Makes counts of whatever the data set holds.
    tables : Tables
        Layout table and spread of each fold.
    folds : int
        Of the tables.
    """

    name = "device"

    def __init__(self, data: Dataset, counter: Counter, tables: Tables, folds: int) -> None:
        if data.rings % puf.ROW:
            whole = data.rings - data.rings % puf.ROW
            advice = f"use the first {whole} (--rings)" if whole else f"measure at least {puf.ROW}"
            raise DataError(
                f"{data.name} has {data.rings} rings a chip; the device's quantizer needs rows of {puf.ROW}: {advice}"
            )
        self.bits, self._nominal, self._counter, self.fold_count = data.rings, data.nominal, counter, folds
        self.partitions = len(tables.entries)
        quantizers = [[puf.Quantizer(sigma_ppm=int(sigma)) for sigma in row] for row in tables.sigma_ppm]
        self._entries, self._sigma = tables.entries, tables.sigma_ppm / 1e6
        self._boundaries = np.array([[quantizer.boundaries for quantizer in row] for row in quantizers])
        self._thresholds = np.array([[quantizer.thresholds for quantizer in row] for row in quantizers])
        self.enroll_reads = enroll_reads(data)
        self.reads = data.reads - self.enroll_reads
        self.reference = f"enrollment on the first {self.enroll_reads} reads; judged on the others"

    def __call__(self, batch: Batch) -> Response:
        return self.measure(batch)[0]

    def margins(self, batch: Batch) -> NDArray[np.float64]:
        """Distance of each judged read from its threshold in sigma, right side positive: chips x rings x reads."""
        _, distances = self.measure(batch)
        counts = self._counter(batch, self._nominal)[:, 0]
        rows = counts.reshape(len(counts), -1, puf.ROW, counts.shape[2]).mean((2, 3))
        scale = rows * puf.ROW * self._sigma[0, self.folds(batch)][:, None]
        return np.asarray(distances / np.repeat(scale, puf.ROW, axis=1)[:, :, None])

    def folds(self, batch: Batch, partition: int = 0) -> NDArray[np.intp]:
        """Fold of each chip of a batch."""
        return fold_of(batch.first + np.arange(len(batch.ids)), self.fold_count, partition)

    def enroll(self, batch: Batch) -> list[IntArray]:
        """Codes by the tables of each partition."""
        sums = self._counter(batch, self._nominal)[:, 0, :, : self.enroll_reads].sum(2)
        return [self._codes(sums, self.folds(batch, partition), partition) for partition in range(self.partitions)]

    def _codes(self, sums: IntArray, folds: NDArray[np.intp], partition: int = 0) -> IntArray:
        return enroll(sums, self._entries[partition, folds], self._boundaries[partition, folds])

    def measure(self, batch: Batch) -> tuple[Response, IntArray]:
        """Bits, and the signed distances R of the judged reads at the nominal condition (right side positive)."""
        counts, nominal, folds = self._counter(batch), self._nominal, self.folds(batch)
        codes = self._codes(counts[:, nominal, :, : self.enroll_reads].sum(2), folds)
        levels = self._entries[0, folds] + np.take_along_axis(self._thresholds[0, folds], codes & 7, 1)
        reads, distances = [], np.zeros(0, np.int64)
        for condition in range(counts.shape[1]):
            judged = counts[:, condition]
            if condition == nominal:
                judged = judged[:, :, self.enroll_reads :]
            found = residues(judged, levels[:, :, None])
            if condition == nominal:
                distances = np.where((codes >= 8)[:, :, None], found, ~found)
            reads.append(found >= 0)
        return Response(codes >= 8, reads, codes), distances


class Counter:
    """Makes of each value what the device's counters would show.

    Parameters
    ----------
    data : Dataset
    mean : float
        Of all values at the nominal condition; with other windows, others are larger or smaller.
    largest : float
        Of all values.
    seed : int
        For the phases of the counters.
    """

    def __init__(self, data: Dataset, mean: float, largest: float, whole: bool, seed: int = 0) -> None:
        fits = whole and largest * enroll_reads(data) <= puf.COUNT_MAX
        self.scale = None if fits else DEVICE_COUNTS / mean
        self._seed = seed
        if self.scale is not None and largest * self.scale * enroll_reads(data) > puf.COUNT_MAX:
            raise DataError(
                f"{data.name}: the fastest ring is {largest / mean:.2f} times faster than the mean; counts of the "
                f"device fit 16 bits up to {puf.COUNT_MAX / enroll_reads(data) / DEVICE_COUNTS:.2f} times: leave it out"
            )

    def __call__(self, batch: Batch, condition: int | None = None) -> IntArray:
        """Counts of all conditions, or of one."""
        chosen = slice(None) if condition is None else slice(condition, condition + 1)
        values = batch.values[:, chosen]
        if self.scale is None:
            return np.asarray(values, np.int64)
        periods = values * self.scale
        for chip, periods_of_chip in enumerate(periods):
            for number, at in enumerate(range(batch.values.shape[1])[chosen]):
                phase = np.random.default_rng([self._seed, batch.first + chip, at])
                periods_of_chip[number] += phase.random(periods_of_chip[number].shape)
        return np.maximum(periods, 1).astype(np.int64)


def possible_methods(data: Dataset) -> Sequence[str]:
    """Those that these rings allow."""
    return METHODS if data.rings % puf.ROW == 0 else METHODS[:2]


def enroll_reads(data: Dataset) -> int:
    """Reads that enroll: 16 as in the device, half of them if there are not more."""
    return puf.ENROLL_READS if data.reads > puf.ENROLL_READS else max(1, data.reads // 2)


def residues(counts: IntArray, levels: IntArray) -> IntArray:
    """R of `ringpair_protocol.puf`, for arrays of chips x rings x reads; levels include the layout entries."""
    chips, rings, reads = counts.shape
    totals = counts.reshape(chips, rings // puf.ROW, puf.ROW, reads).sum(2, keepdims=True)
    grouped = (chips, rings // puf.ROW, puf.ROW, -1)
    shifted = totals * ((1 << puf.FRACTION_BITS) + levels.reshape(grouped)) >> puf.FRACTION_BITS
    return np.asarray((16 * counts.reshape(grouped) - shifted).reshape(chips, rings, -1))


def enroll(sums: IntArray, entries: IntArray, boundaries: IntArray) -> IntArray:
    """Codes 0..15 from sums of reads (chips x rings): 8 bit + helper."""
    found = residues(sums[:, :, None], entries[:, :, None] + boundaries[:, None, :])
    return np.asarray((found >= 0).sum(2))


def reconstruct(counts: IntArray, levels: IntArray) -> tuple[BoolArray, IntArray]:
    """Bits and margins (0..255) of reads; levels are thresholds plus layout entries."""
    found = residues(counts, levels[:, :, None])
    bits = found >= 0
    return bits, np.minimum(np.where(bits, found, ~found) >> puf.MARGIN_SHIFT, puf.MARGIN_MAX)
