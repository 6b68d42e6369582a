"""Fingerprints of chips, to find those that come twice: 16 bytes a chip, whatever was read of it."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from .dataset import Batch, DataError, Dataset, batch_size

__all__ = ["Fingerprints"]


class Fingerprints:
    """Hashes of names and of values of chips; can be added."""

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.uint64]]] = []

    def __add__(self, other: Fingerprints) -> Fingerprints:
        both = Fingerprints()
        both._parts = self._parts + other._parts
        return both

    def add(self, batch: Batch) -> None:
        """Take some chips in."""
        hashes = [
            [_hash(name.encode()), _hash(np.ascontiguousarray(values).data)]
            for name, values in zip(batch.ids, batch.values, strict=True)
        ]
        self._parts.append((batch.first + np.arange(len(hashes)), np.array(hashes, np.uint64)))

    def check(self, data: Dataset) -> None:
        """Compare all chips of a data set.

        Raises
        ------
        DataError
            A chip comes twice, by name or by value: it would count as a pair at distance zero.
        """
        chips = np.concatenate([part[0] for part in self._parts])
        hashes = np.concatenate([part[1] for part in self._parts])[np.argsort(chips)]
        for what in range(2):
            _, earliest, which = np.unique(hashes[:, what], return_index=True, return_inverse=True)
            again = np.flatnonzero(earliest[which] != np.arange(len(which)))
            if len(again):
                earlier, later = _names(data, (int(earliest[which[again[0]]]), int(again[0])))
                text = f"has exactly the reads of chip {earlier}" if what else "comes twice"
                raise DataError(f"{data.name}: chip {later} {text}; leave one of the two out")


def _hash(data: bytes | memoryview) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def _names(data: Dataset, chips: tuple[int, int]) -> list[str]:
    found = {
        chip: batch.ids[chip - batch.first]
        for batch in data.raw(batch_size(data))
        for chip in chips
        if batch.first <= chip < batch.first + len(batch.ids)
    }
    return [found[chip] for chip in chips]
