"""Several files as one data set: other chips under the same conditions, or the same chips under other conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import Batch, Condition, DataError, Dataset, Meta, Piece, batch_size

__all__ = ["Conditions", "Joined", "combined"]

NEAR_KELVIN, NEAR_VOLT = 2.0, 0.01
"""Files of different chips may be joined if their conditions differ by no more than this."""
REORDER_BYTES = 256 << 20
"""A file whose chips come in another order is held in memory; up to here."""


def combined(parts: Sequence[Dataset]) -> Dataset:
    """Files of the same condition hold different chips; files of different conditions hold the same chips.

    Conditions that are nearly the same count as the same for files that have no chip in common.

    Raises
    ------
    DataError
        The files do not fit together.
    """
    groups: list[_Group] = []
    for part in parts:
        if not any(group.takes(part) for group in groups):
            groups.append(_Group(part))
    joined = [group.parts[0] if len(group.parts) == 1 else Joined(group.parts) for group in groups]
    return joined[0] if len(joined) == 1 else Conditions(joined)


class _Group:
    """Files of one condition."""

    def __init__(self, first: Dataset) -> None:
        self.parts = [first]
        self._names: set[str] = set()
        self._known = 0

    def takes(self, part: Dataset) -> bool:
        """Take a file in, if it belongs here."""
        here = self.parts[0].conditions
        belongs = part.conditions == here
        if not belongs and len(part.conditions) == len(here) and all(map(_near, part.conditions, here)):
            for other in self.parts[self._known :]:
                self._names.update(other.names())
            self._known = len(self.parts)
            belongs = self._names.isdisjoint(part.names())
        if belongs:
            self.parts.append(part)
        return belongs


def _near(ours: Condition, theirs: Condition) -> bool:
    def within(a: float | None, b: float | None, reach: float) -> bool:
        return a is b if a is None or b is None else abs(a - b) <= reach

    return (
        ours.window == theirs.window
        and within(ours.temperature, theirs.temperature, NEAR_KELVIN)
        and within(ours.voltage, theirs.voltage, NEAR_VOLT)
    )


def _listed(data: Dataset) -> str:
    return "; ".join(map(str, data.conditions))


def _check_rings(parts: Sequence[Dataset], what: Sequence[str]) -> None:
    head = parts[0]
    for part in parts[1:]:
        for name in what:
            ours, theirs = getattr(head, name), getattr(part, name)
            if ours != theirs:
                raise DataError(f"{part.name} has {name} {theirs}, {head.name} has {ours}: evaluate them one by one")
        if part.meta.floorplan != head.meta.floorplan:
            raise DataError(f"{part.name} and {head.name} have different floorplans: evaluate them one by one")


def _meta(parts: Sequence[Dataset]) -> Meta:
    """What all parts have in common, and of what they do not, each part's own."""
    kinds = {part.meta.silicon for part in parts}
    same = all(part.meta.extra == parts[0].meta.extra for part in parts)
    extra = parts[0].meta.extra if same else {part.name: part.meta.extra for part in parts}
    return Meta(kinds.pop() if len(kinds) == 1 else "mixed", parts[0].meta.floorplan, extra)


class Joined(Dataset):
    """The chips of several data sets, one after the other.

    A chip that has a number instead of a name is called by its data set and its number.

    Raises
    ------
    DataError
        They differ in rings or reads.
    """

    def __init__(self, parts: Sequence[Dataset]) -> None:
        head = parts[0]
        _check_rings(parts, ("rings", "reads"))
        self.parts, self.name = tuple(parts), f"{head.name} and {len(parts) - 1} more"
        self.rings, self.reads, self.conditions = head.rings, head.reads, head.conditions
        self.chips, self.meta = sum(part.chips for part in parts), _meta(parts)
        self.named = all(part.named for part in parts)
        self.notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
        others = list(dict.fromkeys(_listed(part) for part in parts if part.conditions != head.conditions))
        if others:
            self.notes += (f"chips measured at {', '.join(others)} are taken as measured at {_listed(head)}",)

    def raw(self, size: int) -> Iterator[Batch]:
        first = 0
        for part in self.parts:
            for batch in part.raw(size):
                yield replace(batch, first=first + batch.first, ids=self._called(part, batch.ids))
            first += part.chips

    def names(self) -> list[str]:
        return [name for part in self.parts for name in self._called(part, part.names())]

    def _called(self, part: Dataset, names: Sequence[str]) -> list[str]:
        return list(names) if part.named else [f"{part.name}:{name}" for name in names]

    def pieces(self, chips: int) -> list[Piece]:
        found: list[Piece] = []
        first = 0
        for part in self.parts:
            for start, piece in part.pieces(chips):
                whole = piece if piece.named else _Numbered(piece, self._called(part, piece.names()))
                found.append((first + start, whole))
            first += part.chips
        return found


class _Numbered(Dataset):
    """A piece whose chips are called by their file, too."""

    def __init__(self, source: Dataset, names: list[str]) -> None:
        self.source, self._ids = source, names
        self.name, self.chips, self.rings, self.reads = source.name, source.chips, source.rings, source.reads
        self.conditions, self.meta, self.notes = source.conditions, source.meta, source.notes

    def raw(self, size: int) -> Iterator[Batch]:
        for batch in self.source.raw(size):
            yield replace(batch, ids=self._ids[batch.first : batch.first + len(batch.ids)])


class Conditions(Dataset):
    """The same chips in several data sets, each under conditions of its own; told by their names.

    Chips that are not in all of them are left out, and of reads as many are taken as the shortest series has.

    Raises
    ------
    DataError
        They differ in rings, have a condition twice or no chip in common, or their chips have no names.
    """

    def __init__(self, parts: Sequence[Dataset]) -> None:
        head = parts[0]
        _check_rings(parts, ("rings",))
        self.parts, self.name = tuple(parts), f"{head.name} and {len(parts) - 1} more"
        self.rings, self.reads, self.meta = head.rings, min(part.reads for part in parts), _meta(parts)
        self.conditions = tuple(at for part in parts for at in part.conditions)
        self.notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
        repeated = next((at for at in self.conditions if self.conditions.count(at) > 1), None)
        if repeated is not None:
            raise DataError(f"{self.name}: two of these files have reads at {repeated}: leave one of them out")
        nameless = next((part for part in parts if not part.named), None)
        if nameless is not None:
            at = " and ".join(_listed(part) for part in parts)
            raise DataError(
                f"{nameless.name} has no names of chips, so which is which in files measured at {at}? "
                "Evaluate them one by one, or give the chips names"
            )
        self._match([part.names() for part in parts])

    def _match(self, names: list[list[str]]) -> None:
        """Find the chips that are everywhere, and whether they come in the same order."""
        everywhere = set(names[0]).intersection(*names[1:])
        if not everywhere:
            raise DataError(
                f"{self.parts[1].name} was measured at {_listed(self.parts[1])}, {self.parts[0].name} at "
                f"{_listed(self.parts[0])}, and they have no chip in common: evaluate them one by one"
            )
        kept = [[name for name in own if name in everywhere] for own in names]
        for part, own in zip(self.parts, kept, strict=True):
            if len(own) > len(everywhere):
                doubled = next(name for name in own if own.count(name) > 1)
                raise DataError(f"{part.name}: chip {doubled} comes twice; leave one of the two out")
        self._ids, self.chips = kept[0], len(kept[0])
        self._all = all(len(own) == self.chips for own in names)
        self._ordered = [own == kept[0] for own in kept]
        for part, ordered in zip(self.parts, self._ordered, strict=True):
            size = 8 * part.chips * len(part.conditions) * part.rings * part.reads
            if not ordered and size > REORDER_BYTES:
                raise DataError(
                    f"{part.name} has its chips in another order than {self.parts[0].name}, and is too large to be "
                    "sorted in memory: write the chips in the same order"
                )
        left = len(set().union(*names)) - self.chips
        if left:
            self.notes += (f"{left} chips were not measured under all conditions and are left out",)
        if any(part.reads != self.reads for part in self.parts):
            self.notes += (f"the first {self.reads} reads of each condition are used, as one file has no more",)

    def names(self) -> list[str]:
        return list(self._ids)

    def raw(self, size: int) -> Iterator[Batch]:
        series = [self._series(part, ordered) for part, ordered in zip(self.parts, self._ordered, strict=True)]
        for first in range(0, self.chips, size):
            ids = self._ids[first : first + size]
            yield Batch(first, ids, np.stack([np.concatenate([next(chips) for chips in series]) for _ in ids]))

    def _series(self, part: Dataset, ordered: bool) -> Iterator[NDArray[Any]]:
        """Conditions x rings x reads of each chip, in the order of the first part."""
        wanted = set(self._ids)
        chips = (
            (name, values[..., : self.reads])
            for batch in part.raw(batch_size(part))
            for name, values in zip(batch.ids, batch.values, strict=True)
            if name in wanted
        )
        if ordered:
            yield from (values for _, values in chips)
        else:
            held = dict(chips)
            yield from (held[name] for name in self._ids)

    def pieces(self, chips: int) -> list[Piece]:
        cut = [part.pieces(chips) for part in self.parts]
        places = [[first for first, _ in own] for own in cut]
        if not self._all or not all(self._ordered) or any(own != places[0] for own in places):
            return [(0, self)]
        return [(places[0][number], Conditions([own[number][1] for own in cut])) for number in range(len(cut[0]))]
