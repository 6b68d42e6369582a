"""The journal of :mod:`records` on a NOR flash: which commands go to the flash, and in which order.

The gateware's program sends exactly these commands, so the flash image after each operation is well defined. W(address,
data) is a program command inside one page, R a read, E the erasure of a sector; ``slot[k]`` lies in the live sector.

::

    load     R first 8 bytes of slot 0, 1, … of each sector up to the first blank one; R the last written one, then the
             one before it, where they are not all zeros; the highest number that unseals is live. Nothing is written.
    tidy     load; if there is a live slot, W(zeros) over every other slot read, torn ones too, in the order of reading.
             At power-up, or as soon as the PUF key can be made again: never because of a message of the peer.
    commit   1. W(slot[k+1], new), R, compare.      Left out if slot[k] is not the last written one, or k = 47.
             2. If that was left out or the comparison failed: in the next sector, E, W(header), R, compare, W(slot 0,
                new), R, compare; on failure in the one after it, and so on, but never in the live sector.
             3. W(old slot, zeros).
             4. W(slot[k-1], zeros) if it is not all zeros: tidy has not been here, and would not look there any more.
             A slot that fails its comparison is zeroed at once.
    create   E sectors 1, 2, 3, then as 2. from sector 0 on; sector 3 is not tried.
    revoke   W(live slot, zeros).

    Zeros of tidy, of 3. and of revoke are compared, too. If they are not there, the rest is done all the same, and then
    it is told.

A power cut anywhere leaves the old slot or the new one live, never none and never a mixture. A torn slot may hold a
readable beginning of a chain key: this is why it is zeroed and not only ignored.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from .ascon import WrongTag
from .nor import Command, NorFlash
from .records import (
    DEVICE_BASE,
    DEVICE_JOURNAL,
    HEADER_LENGTH,
    JOURNAL_SECTORS,
    MAX_PEERS,
    PAGE,
    SECTOR,
    SLOTS_PER_PAGE,
    SLOTS_PER_SECTOR,
    peer_journal,
    slot_offset,
)

T = TypeVar("T")

MARK = 8
"""Bytes of a slot that tell whether it was ever written: all ones if not."""


class Flash(Protocol):
    """A serial NOR flash: programming only clears bits, erasure sets all bits of a sector of 4 KB."""

    def read(self, address: int, length: int, /) -> bytes: ...

    def program(self, address: int, data: bytes, /) -> None:
        """Program within one page of 256 bytes, and wait until it is done."""

    def erase(self, address: int, /) -> None:
        """Erase the sector that begins at ``address``, and wait until it is done."""


class NorPort:
    """The model chip as a :class:`Flash`: its own commands program and erase, waited for; reads take no time."""

    def __init__(self, chip: NorFlash):
        self.chip = chip

    def read(self, address: int, length: int, /) -> bytes:
        return b"\xff" * length if self.chip.busy else bytes(self.chip.memory[address : address + length])

    def program(self, address: int, data: bytes, /) -> None:
        self.start_program(address, data)
        self._wait(self.chip.program_us)

    def erase(self, address: int, /) -> None:
        self.start_erase(address)
        self._wait(self.chip.erase_us)

    def _wait(self, microseconds: int) -> None:
        self.chip.advance(microseconds)
        if self.chip.busy:
            raise FlashFailed("the flash does not get ready: replace it")

    def start_program(self, address: int, data: bytes) -> None:
        """Only begin, so that power may be cut while the chip is busy."""
        self._write(bytes([Command.PAGE_PROGRAM]) + address.to_bytes(3, "big") + data)

    def start_erase(self, address: int) -> None:
        self._write(bytes([Command.SECTOR_ERASE]) + address.to_bytes(3, "big"))

    def _write(self, command: bytes) -> None:
        self.chip.command(bytes([Command.WRITE_ENABLE]))
        self.chip.command(command)


class FlashFailed(Exception):
    """The flash did not keep what was written, or does not get ready; the slot that was live still is."""


@dataclass(frozen=True)
class Place:
    """A slot of a journal: sector 0..3, slot 0..47."""

    sector: int
    slot: int


class Journal(Generic[T]):
    """Four sectors that hold one live slot.

    Parameters
    ----------
    flash
        The device.
    base
        Address of the first of the four sectors.
    slot_length
        Bytes of a slot, number and tag included.
    """

    def __init__(self, flash: Flash, base: int, slot_length: int):
        self.flash = flash
        self.base = base
        self.slot_length = slot_length
        self.live: Place | None = None
        self.header = b""
        self._last = 0
        self._others: list[Place] = []

    def load(self, unseal: Callable[[bytes, bytes], tuple[int, T]]) -> tuple[int, T] | None:
        """Find the live slot; nothing is written.

        Parameters
        ----------
        unseal
            Takes the sector's header and a slot; returns number and contents, or raises ``WrongTag``.

        Returns
        -------
        tuple or None
            Number and contents of the live slot; None if no slot unseals.
        """
        self.live, found, self._others = None, None, []
        for sector in range(JOURNAL_SECTORS):
            header = self.flash.read(self._sector(sector), HEADER_LENGTH)
            written = self._written(sector)
            for place in [Place(sector, k) for k in (written - 1, written - 2) if k >= 0]:
                slot = self.flash.read(self._address(place), self.slot_length)
                if not any(slot):
                    continue
                self._others.append(place)
                try:
                    number, contents = unseal(header, slot)
                except WrongTag:
                    continue
                if found is None or number > found[0]:
                    found, self.live, self.header, self._last = (number, contents), place, header, written - 1
        return found

    def tidy(self, unseal: Callable[[bytes, bytes], tuple[int, T]]) -> None:
        """Load, and zero what else was left behind; nothing if no slot unseals.

        Raises
        ------
        FlashFailed
            Not all of it is zero now.
        """
        if self.load(unseal) is not None:
            self._retire(*(place for place in self._others if place != self.live))

    def commit(self, slot: bytes) -> None:
        """Replace the live slot.

        Raises
        ------
        FlashFailed
            No sector took the new slot, and the old one is untouched; or the new slot is live, and the old one
            not all zero.
        """
        old = self._require_live()
        places = [Place((old.sector + k) % JOURNAL_SECTORS, 0) for k in range(1, JOURNAL_SECTORS)]
        if self._last == old.slot and old.slot + 1 < SLOTS_PER_SECTOR:
            places.insert(0, Place(old.sector, old.slot + 1))
            self._last += 1
        self.live = self._write(slot, places)
        try:
            self._retire(old)
        finally:
            before = Place(old.sector, old.slot - 1)
            if before in self._others and any(self.flash.read(self._address(before), self.slot_length)):
                self._zero(before)

    def create(self, header: bytes, slot: bytes) -> None:
        """Begin anew, whatever lies there.

        Raises
        ------
        FlashFailed
            No sector took the slot.
        """
        if len(header) != HEADER_LENGTH:
            raise ValueError(f"a sector's header has {HEADER_LENGTH} bytes, not {len(header)}")
        for sector in range(1, JOURNAL_SECTORS):
            self.flash.erase(self._sector(sector))
        self.live, self.header = None, header
        self.live = self._write(slot, [Place(sector, 0) for sector in range(JOURNAL_SECTORS - 1)])

    def revoke(self) -> None:
        """Zero the live slot; after ``load``, nothing that unseals is left.

        Raises
        ------
        FlashFailed
            Not all of it is zero now.
        """
        live, self.live = self._require_live(), None
        self._retire(live)

    def last_header(self) -> bytes | None:
        """Header of the first sector that has one: whom this journal is, or was, about."""
        for sector in range(JOURNAL_SECTORS):
            header = self.flash.read(self._sector(sector), HEADER_LENGTH)
            if header != b"\xff" * HEADER_LENGTH:
                return header
        return None

    def _write(self, slot: bytes, places: list[Place]) -> Place:
        """Try the places in order; a slot 0 begins its sector anew, if that is blank then."""
        if len(slot) != self.slot_length:
            raise ValueError(f"a slot has {self.slot_length} bytes, not {len(slot)}")
        for place in places:
            sector, address = self._sector(place.sector), self._address(place)
            if place.slot == 0:
                self.flash.erase(sector)
                if not blank(self.flash, sector):
                    continue
                self.flash.program(sector, self.header)
                if self.flash.read(sector, HEADER_LENGTH) != self.header:
                    continue
            self.flash.program(address, slot)
            if self.flash.read(address, self.slot_length) == slot:
                self._last = place.slot
                return place
            self._zero(place)
        raise FlashFailed(f"none of {len(places)} places at {self.base:#08x} kept the slot: replace the flash")

    def _retire(self, *places: Place) -> None:
        """Zero slots, and look whether they are."""
        left = []
        for place in places:
            self._zero(place)
            if any(self.flash.read(self._address(place), self.slot_length)):
                left.append(place)
        if left:
            raise FlashFailed(f"{len(left)} old slots at {self.base:#08x} are not all zero: replace the flash")

    def _zero(self, place: Place) -> None:
        self.flash.program(self._address(place), bytes(self.slot_length))

    def _written(self, sector: int) -> int:
        """How many slots of a sector have been written: the last page is looked for by halves, then its last slot.

        After an erase that was cut short there may be blank slots before it. No slot of that sector is live then.
        """

        def used(slot: int) -> bool:
            return self.flash.read(self._address(Place(sector, slot)), MARK) != b"\xff" * MARK

        if not used(0):
            return 0
        last, half = 0, SLOTS_PER_SECTOR // 2
        while half >= SLOTS_PER_PAGE:
            last += half * used(last + half)
            half //= 2
        for _ in range(SLOTS_PER_PAGE - 1):
            last += used(last + 1)
        return last + 1

    def _require_live(self) -> Place:
        if self.live is None:
            raise ValueError("the journal has no live slot: load it or create one first")
        return self.live

    def _sector(self, sector: int) -> int:
        return self.base + sector * SECTOR

    def _address(self, place: Place) -> int:
        return self._sector(place.sector) + slot_offset(place.slot)


def sectors(controllers: int = 0) -> Iterator[int]:
    """All sectors that a device uses, the plain record's first: without it the rest is worth nothing."""
    yield DEVICE_BASE
    for journal in (DEVICE_JOURNAL, *map(peer_journal, range(MAX_PEERS + controllers))):
        yield from range(journal, journal + JOURNAL_SECTORS * SECTOR, SECTOR)


def blank(flash: Flash, sector: int) -> bool:
    """Whether the sector that begins at this address is erased, to the last bit."""
    return all(flash.read(sector + page, PAGE) == b"\xff" * PAGE for page in range(0, SECTOR, PAGE))


def wipe(flash: Flash, *, plain_record: bool = True, controllers: int = 0) -> None:
    """Erase the plain record's sector, then every sector of a journal that is not blank to the last bit.

    An erase that was cut may leave a few bits behind in a sector that looks blank where a record would begin.
    """
    first, *others = sectors(controllers)
    if plain_record:
        flash.erase(first)
    for address in others:
        if not blank(flash, address):
            flash.erase(address)
