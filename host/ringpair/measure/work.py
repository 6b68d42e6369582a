"""Sums over the chips of a data set, made in this process or, by parts, on a cluster.

A pass over the data is a :class:`Work`: it makes empty sums and takes batches into them. Sums of parts of the chips can
be added, so it does not matter where the parts are summed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from .dataset import Batch, Dataset

__all__ = ["Progress", "Runner", "Sums", "Work", "here", "summed"]

Progress = Callable[[int], None]
"""Called with the number of chips done in this pass."""


class Sums(Protocol):
    """What can be added."""

    def __add__(self, other: Any, /) -> Any: ...


S = TypeVar("S", bound=Sums)


class Work(Protocol[S]):
    """One pass over a data set; can be pickled."""

    def empty(self) -> S:
        """Sums of no chip."""

    def add(self, sums: S, batch: Batch) -> None:
        """Take some chips in."""


class Runner(Protocol):
    """Makes the sums of all chips."""

    def __call__(self, data: Dataset, work: Work[S], progress: Progress) -> S: ...


def summed(work: Work[S], data: Dataset, first: int = 0, progress: Progress = lambda done: None) -> S:
    """Sums of a data set whose first chip has that number in the whole."""
    sums = work.empty()
    for batch in data.batches():
        work.add(sums, replace(batch, first=first + batch.first))
        progress(batch.first + len(batch.ids))
    return sums


def here(data: Dataset, work: Work[S], progress: Progress) -> S:
    """In this process, batch after batch."""
    return summed(work, data, 0, progress)
