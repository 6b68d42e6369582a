"""The journal: exact flash commands, rollover, worn flash, and power cuts at and inside of every command."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ringpair_protocol.ascon import WrongTag
from ringpair_protocol.nor import Worn
from ringpair_protocol.records import (
    DEVICE_BASE,
    DEVICE_HEADER,
    DEVICE_JOURNAL,
    DEVICE_SLOT_LENGTH,
    PAGE,
    SECTOR,
    SLOTS_PER_SECTOR,
    STORE_END,
    DeviceState,
    open_device,
    seal_device,
    slot_offset,
)
from ringpair_protocol.store import FlashFailed, Journal, sectors, wipe

from protocol.tests.rig import CuttableFlash, PowerCut

BASE = DEVICE_JOURNAL
KEY = b"sixteen byte key"
ZEROS = bytes(DEVICE_SLOT_LENGTH)
PER_ROUND = 4 * SLOTS_PER_SECTOR


def slot(number: int) -> bytes:
    return seal_device(KEY, number, DeviceState(number, 0, bytes([number % 251]) * 32))


def unseal(header: bytes, data: bytes) -> tuple[int, DeviceState]:
    if header != DEVICE_HEADER:
        raise WrongTag
    return open_device(KEY, data)


def journal(flash: CuttableFlash) -> "Journal[DeviceState]":
    return Journal(flash, BASE, DEVICE_SLOT_LENGTH)


def number_in(flash: CuttableFlash) -> int | None:
    """Number of the live slot, after a boot; its contents must belong to it."""
    book = journal(flash)
    book.tidy(unseal)
    found = book.load(unseal)
    if found is None:
        return None
    assert found[1] == DeviceState(found[0], 0, bytes([found[0] % 251]) * 32)
    return found[0]


@cache
def image(count: int) -> bytes:
    """Flash contents after ``create`` and ``count`` commits."""
    flash = CuttableFlash()
    book = journal(flash)
    book.create(DEVICE_HEADER, slot(0))
    for number in range(1, count + 1):
        book.commit(slot(number))
    return bytes(flash.chip.memory)


def filled(count: int, seed: int = 0) -> CuttableFlash:
    """A flash after ``create`` and ``count`` commits, its log and counters at zero."""
    flash = CuttableFlash(seed)
    flash.chip.memory[:] = image(count)
    return flash


def commit(flash: CuttableFlash, number: int) -> None:
    book = journal(flash)
    assert book.load(unseal) is not None
    book.commit(slot(number))


def place(sector: int, k: int) -> int:
    return BASE + sector * SECTOR + slot_offset(k)


def test_commands_of_a_commit() -> None:
    flash = filled(5)
    commit(flash, 6)
    assert flash.log == [("W", place(0, 6), slot(6)), ("W", place(0, 5), ZEROS)]


def test_commands_at_the_end_of_a_sector() -> None:
    flash = filled(SLOTS_PER_SECTOR - 1)
    commit(flash, 48)
    assert flash.log == [
        ("E", BASE + SECTOR),
        ("W", BASE + SECTOR, DEVICE_HEADER),
        ("W", place(1, 0), slot(48)),
        ("W", place(0, 47), ZEROS),
    ]


def test_commands_of_create() -> None:
    flash = filled(7)
    journal(flash).create(DEVICE_HEADER, slot(99))
    assert flash.log == [
        *[("E", BASE + sector * SECTOR) for sector in (1, 2, 3, 0)],
        ("W", BASE, DEVICE_HEADER),
        ("W", place(0, 0), slot(99)),
    ]


def test_loading_writes_nothing() -> None:
    flash = filled(60)
    assert number_in(flash) == 60
    assert flash.log == []
    assert number_in(CuttableFlash()) is None


def test_only_tidying_retires_what_was_left() -> None:
    flash = filled(5)
    flash.port.program(place(0, 6), slot(6))
    assert journal(flash).load(unseal) == unseal(DEVICE_HEADER, slot(6))
    assert flash.log == []
    journal(flash).tidy(unseal)
    assert flash.log == [("W", place(0, 5), ZEROS)]


def test_rolls_over_through_all_sectors() -> None:
    flash = filled(0)
    for number in range(1, 2 * PER_ROUND + 5):
        commit(flash, number)
        assert number_in(flash) == number
        live = [k for k in range(PER_ROUND) if any(read_slot(flash, k)) and read_slot(flash, k)[:8] != b"\xff" * 8]
        assert live == [number % PER_ROUND], "every other slot is blank or zero"
    assert flash.chip.erases == 2 * PER_ROUND // SLOTS_PER_SECTOR


def read_slot(flash: CuttableFlash, k: int) -> bytes:
    return flash.read(place(k // SLOTS_PER_SECTOR, k % SLOTS_PER_SECTOR), DEVICE_SLOT_LENGTH)


def test_revoke_leaves_nothing_that_opens() -> None:
    flash = filled(49)
    book = journal(flash)
    book.load(unseal)
    book.revoke()
    assert flash.log == [("W", place(1, 1), ZEROS)]
    assert number_in(flash) is None
    assert journal(flash).last_header() == DEVICE_HEADER
    with pytest.raises(ValueError, match="no live slot"):
        book.commit(slot(50))


@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize("count", [0, 5, 46, 47, PER_ROUND - 1])
def test_cut_in_a_commit(count: int, when: str) -> None:
    """Old or new, never none; what is left beside it is zeroed by the next load; the next commit succeeds."""
    for seed in range(6 if when == "during" else 1):
        for through in range(4):
            flash = filled(count, seed)
            flash.cut = through, when
            try:
                commit(flash, count + 1)
            except PowerCut:
                pass
            else:
                assert through >= (2 if (count + 1) % SLOTS_PER_SECTOR else 4)
                continue
            number = number_in(flash)
            assert number in (count, count + 1)
            live = Journal(flash, BASE, DEVICE_SLOT_LENGTH)
            live.load(unseal)
            assert live.live is not None
            sector = live.live.sector
            left = [
                k for k in range(48) if k != live.live.slot and any(flash.read(place(sector, k), DEVICE_SLOT_LENGTH))
            ]
            marks = {flash.read(place(sector, k), 8) for k in left}
            assert marks <= {b"\xff" * 8}, "torn slots and old ones are zero"
            commit(flash, number + 1)
            assert number_in(flash) == number + 1


def test_cut_while_a_leftover_is_zeroed() -> None:
    for seed in range(10):
        flash = filled(5, seed)
        flash.cut = 1, "before"  # new slot written, old one still there
        with pytest.raises(PowerCut):
            commit(flash, 6)
        assert flash.read(place(0, 5), DEVICE_SLOT_LENGTH) == slot(5)
        flash.cut = 0, "during"
        with pytest.raises(PowerCut):
            number_in(flash)
        assert number_in(flash) == 6
        assert flash.read(place(0, 5), DEVICE_SLOT_LENGTH) == ZEROS


def test_torn_slot_makes_the_next_commit_roll_over() -> None:
    flash = filled(5)
    flash.port.program(place(0, 6), slot(6)[:30])
    journal(flash).tidy(unseal)
    commit(flash, 6)
    assert flash.log[0] == ("W", place(0, 6), ZEROS), "the beginning of a chain key must not stay"
    assert flash.log[1] == ("E", BASE + SECTOR)
    assert number_in(flash) == 6


class WornFlash(CuttableFlash):
    """Some slots, or headers, do not keep a bit."""

    def __init__(self, worn: set[int]):
        super().__init__()
        self.worn = worn

    def program(self, address: int, data: bytes) -> None:
        super().program(address, data)
        if address in self.worn:
            self.chip.memory[address + 9] ^= 0x10


@pytest.mark.parametrize("start", [5, 47, 101])
def test_worn_slots_are_passed_over(start: int) -> None:
    """In the same sector first, then the three others; never the one that holds the live slot."""
    here, k = divmod(start % PER_ROUND, SLOTS_PER_SECTOR)
    others = [(here + step) % 4 for step in (1, 2, 3)]
    tries = [*([place(here, k + 1)] if k < 47 else []), *(place(sector, 0) for sector in others)]
    for bad in range(len(tries) + 1):
        flash = WornFlash(set())
        book = journal(flash)
        book.create(DEVICE_HEADER, slot(0))
        for number in range(1, start + 1):
            book.commit(slot(number))
        flash.worn = set(tries[:bad])
        if bad < len(tries):
            commit(flash, start + 1)
            flash.worn = set()
            assert number_in(flash) == start + 1
            continue
        flash.log.clear()
        with pytest.raises(FlashFailed, match="replace the flash"):
            commit(flash, start + 1)
        assert ("E", BASE + here * SECTOR) not in flash.log
        assert not any(flash.read(place(here, k + 1), 8)) or k == 47, "what failed is zeroed"
        flash.worn = set()
        assert number_in(flash) == start
        commit(flash, start + 1)
        assert number_in(flash) == start + 1


def test_worn_header_is_passed_over() -> None:
    flash = WornFlash({BASE + SECTOR})
    book = journal(flash)
    book.create(DEVICE_HEADER, slot(0))
    for number in range(1, 49):
        book.commit(slot(number))
    assert book.live is not None
    assert book.live.sector == 2
    assert number_in(flash) == 48


def test_old_slot_that_does_not_become_zero_is_told() -> None:
    """The new one is live all the same; so is what a load finds when nothing can be tidied up."""
    flash = filled(5)
    flash.chip.worn = [Worn(range(place(0, 5) + 20, place(0, 5) + 21), 0xFF, erase=False)]
    with pytest.raises(FlashFailed, match=r"1 old slots at 0x[0-9a-f]+ are not all zero"):
        commit(flash, 6)
    book = journal(flash)
    with pytest.raises(FlashFailed):
        book.tidy(unseal)
    found = book.load(unseal)
    assert found is not None
    assert found[0] == 6
    commit(flash, 7)
    assert number_in(flash) == 7
    flash.chip.worn = [Worn(range(place(0, 7) + 20, place(0, 7) + 21), 0xFF, erase=False)]
    book.load(unseal)
    with pytest.raises(FlashFailed):
        book.revoke()
    assert book.load(unseal) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["before", "during"])), max_size=12), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_any_series_of_cuts(cuts: list[tuple[int, str]], seed: int) -> None:
    """Cuts in commits and in loads, one upon the other, near the end of a sector."""
    flash = filled(44, seed)
    number = 44
    for cut in cuts:
        flash.cut = cut
        try:
            commit(flash, number + 1)
            expected = {number + 1}
        except PowerCut:
            expected = {number, number + 1}
        flash.cut = None
        found = number_in(flash)
        assert found in expected
        number = found


def test_wipe_erases_what_is_used_only() -> None:
    assert len(list(sectors())) == 1 + 4 + 64
    assert max(sectors()) + SECTOR == STORE_END
    flash = filled(3)
    last = STORE_END - PAGE
    flash.port.program(last, b"\0")
    wipe(flash, plain_record=False)
    assert flash.log == [("E", BASE), ("E", STORE_END - SECTOR)]
    flash.port.program(DEVICE_BASE, b"\0")
    wipe(flash)
    assert flash.log[2:] == [("E", DEVICE_BASE)]
    assert flash.read(0, STORE_END) == b"\xff" * STORE_END


def test_wrong_lengths_are_refused() -> None:
    book = journal(filled(0))
    book.load(unseal)
    with pytest.raises(ValueError, match="a slot has 60 bytes, not 59"):
        book.commit(slot(1)[1:])
    with pytest.raises(ValueError, match="header has 12 bytes, not 11"):
        book.create(DEVICE_HEADER[1:], slot(1))
