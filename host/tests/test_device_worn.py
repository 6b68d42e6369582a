"""A flash chip that wears out: bits that do not change any more, erases that do half, an operation that never ends.

The compiled device and the model get the same fault, and make the same of it (`Twin`). Beyond that: the device goes
around it or says FLASH_FAILED, what was committed stays, nothing half written is used, and all of it works again on a
chip that works.
"""

import random
from collections.abc import Iterator

import pytest
from ringpair_protocol.admin import NOBODY, Code, DeviceStateCode, Event, Opcode, PeerState, Status
from ringpair_protocol.nor import Worn
from ringpair_protocol.pairing import finish_enrollment, make_reset, make_revocation
from ringpair_protocol.records import (
    DEVICE_BASE,
    DEVICE_JOURNAL,
    PEER_BASE,
    SECTOR,
    SLOTS_PER_SECTOR,
    STORE_END,
    peer_journal,
    slot_offset,
)

from host.tests.cuts import OPERATIONS, epoch, recovers
from host.tests.rig_device import CLOCK_HZ, Twin
from host.tests.rig_scenes import Far, carry, establish, scene

LED_ERROR = 0x04
OVER_LEFTOVERS = "enrollment over leftovers"
POLLS = 60 * CLOCK_HZ
"""More cycles than the device waits for the flash: half a million looks at its status."""


def wear(twin: Twin, addresses: range, mask: int = 0xFF, *, erase: bool) -> None:
    """From now on an erase (or else a program) does not change these bits; of both chips."""
    twin.device.wear_flash(addresses, mask, erase=erase)
    twin.chip.worn.append(Worn(addresses, mask, erase))


def hang(twin: Twin, number: int, *, works: bool) -> None:
    """The n-th program or erase from now never ends."""
    twin.device.hang_flash(number, works=works)
    twin.chip.hang(number, works=works)
    twin.patience = POLLS


def replace_chip(twin: Twin) -> None:
    """The same content on a chip that works; power-up."""
    twin.device.replace_flash()
    twin.chip.worn.clear()
    twin.boot()


def slot(number: int, base: int = PEER_BASE) -> int:
    """Address of a slot of a journal, counted through its four sectors."""
    sector, place = divmod(number, SLOTS_PER_SECTOR)
    return base + sector * SECTOR + slot_offset(place)


def status(twin: Twin) -> Status:
    return Status.from_bytes(twin.command(Opcode.STATUS))


# ---------------------------------------------------------------------------------------------------- commit


@pytest.mark.parametrize("role", ["responder", "initiator"])
@pytest.mark.parametrize("what", ["header", "slot"])
def test_sector_that_is_not_blank_after_an_erase(what: str, role: str) -> None:
    """A bit stays 0 where the next sector's header or first slot comes: the sector behind it is taken."""
    twin, (far,) = scene(sessions=SLOTS_PER_SECTOR - 1)
    at = PEER_BASE + SECTOR + (3 if what == "header" else slot_offset(0) + 30)
    twin.device.flash[at] = twin.chip.memory[at] = 0
    wear(twin, range(at, at + 1), erase=True)
    if role == "initiator":
        establish(twin, far)
    else:
        assert carry([far.start()], far.receive, twin.peer) == 3
    assert twin.device.flash[slot(2 * SLOTS_PER_SECTOR)] != 0xFF
    twin.boot()
    assert epoch(twin) == SLOTS_PER_SECTOR
    establish(twin, far)


@pytest.mark.parametrize("number", [3, 6, 12, 24, 47])
def test_rest_of_a_sector_that_is_not_blank_after_an_erase(number: int) -> None:
    """A bit stays 0 where a later slot will begin, and would lead the search for the last slot astray: passed over."""
    twin, (far,) = scene(sessions=SLOTS_PER_SECTOR - 1)
    at = slot(SLOTS_PER_SECTOR + number)
    twin.device.flash[at] = twin.chip.memory[at] = 0xFE
    wear(twin, range(at, at + 1), erase=True)
    assert carry([far.start()], far.receive, twin.peer) == 3
    assert epoch(twin) == SLOTS_PER_SECTOR
    twin.boot()
    establish(twin, far)


@pytest.mark.parametrize("role", ["responder", "initiator"])
def test_no_place_for_the_next_epoch(role: str) -> None:
    """No sector can be erased, none programmed: the run fails, the light says so, the epoch stays; then it works."""
    twin, (far, other) = scene(2, sessions=SLOTS_PER_SECTOR - 1)
    wear(twin, range(PEER_BASE + SECTOR, PEER_BASE + 4 * SECTOR), 0x10, erase=False)
    if role == "initiator":
        m1 = twin.connect()
        assert twin.device.led & LED_ERROR == 0
        assert twin.peer(far.receive(m1)[0]) == []
        assert twin.admin_out == [bytes([Event.FAILED, Code.FLASH_FAILED, 0])]
        assert twin.device.led & LED_ERROR
    else:
        assert twin.peer(far.start()) == []
    assert status(twin).failure is Code.FLASH_FAILED
    establish(twin, other, 1)
    replace_chip(twin)
    assert epoch(twin) == SLOTS_PER_SECTOR - 1
    recovers(twin, far)


@pytest.mark.parametrize("role", ["responder", "initiator"])
def test_old_slot_that_does_not_become_zero(role: str) -> None:
    """The new epoch is committed, and the old key may be readable: this is told instead of a session; both go on."""
    twin, (far,) = scene(sessions=5)
    wear(twin, range(slot(5) + 20, slot(5) + 24), erase=False)
    if role == "initiator":
        assert twin.peer(far.receive(twin.connect())[0]) == []
        assert twin.admin_out == [bytes([Event.FAILED, Code.FLASH_FAILED, 0])]
    else:
        assert twin.peer(far.start()) == []
    assert status(twin).failure is Code.FLASH_FAILED
    assert any(twin.device.flash[slot(5) : slot(5) + 60])
    assert epoch(twin) == 6
    recovers(twin, far)
    twin.boot()
    establish(twin, far)


def test_slot_that_cannot_be_tidied_up() -> None:
    """Left behind by a cut, and not to be zeroed: told after each power-up; the live one is live."""
    twin, (far,) = scene(sessions=4)
    twin.arm("program", 2, 0.0)
    assert twin.cut(far.start(), peer=True)
    wear(twin, range(slot(4), slot(4) + 16), erase=False)
    twin.boot()
    assert status(twin).failure is Code.FLASH_FAILED
    assert epoch(twin) == 5
    recovers(twin, far)


# ---------------------------------------------------------------------------------------------------- imports


@pytest.mark.parametrize("where", ["peer", "device"])
def test_import_into_a_worn_journal(where: str) -> None:
    """FLASH_FAILED, and no pairing; the same puzzle is taken by a chip that works."""
    twin, (far,) = scene()
    late = Far(b"another1")
    message, _ = late.puzzle(twin.entry)
    base = peer_journal(1) if where == "peer" else DEVICE_JOURNAL
    wear(twin, range(base, base + 4 * SECTOR), 0x04, erase=False)
    twin.command(Opcode.IMPORT, message, Code.FLASH_FAILED)
    twin.command(Opcode.CONNECT, b"\1\0", Code.NO_SUCH_PEER)
    establish(twin, far)
    replace_chip(twin)
    twin.command(Opcode.IMPORT, message)
    establish(twin, late, 1)
    establish(twin, far)


def test_revocation_that_leaves_something() -> None:
    """FLASH_FAILED; what is left opens nothing, and the revocation is not used up."""
    twin, (far,) = scene(sessions=2)
    message, _ = make_revocation(twin.entry, far.entry.device_id)
    wear(twin, range(slot(2) + 20, slot(2) + 21), erase=False)
    twin.command(Opcode.IMPORT, message, Code.FLASH_FAILED)
    assert twin.peer(far.start()) == []
    twin.boot()
    twin.command(Opcode.IMPORT, message, Code.NO_SUCH_PEER)
    assert twin.command(Opcode.PEER, b"\0")[0] == PeerState.REVOKED


# ---------------------------------------------------------------------------------------------------- enrollment


@pytest.mark.parametrize(
    ("where", "erase"),
    [
        (range(DEVICE_BASE + 40, DEVICE_BASE + 41), True),
        (range(DEVICE_BASE + 40, DEVICE_BASE + 41), False),
        (range(DEVICE_JOURNAL, DEVICE_JOURNAL + 4 * SECTOR), False),
        (range(DEVICE_BASE, DEVICE_BASE + 1), False),
    ],
    ids=["record not blank", "record not kept", "no slot kept", "version, the last byte, not kept"],
)
def test_enrollment_on_a_worn_chip(where: range, erase: bool) -> None:
    """FLASH_FAILED, and the factory state, also after power-up; it works with another chip."""
    twin = Twin(1)
    if erase:
        twin.device.flash[where.start] = twin.chip.memory[where.start] = 0
    wear(twin, where, erase=erase)
    twin.hold()
    _, e3 = finish_enrollment(b"N" * 16, twin.begin_enrollment())
    twin.command(Opcode.ENROLL_CONFIRM, e3, Code.FLASH_FAILED)
    twin.release()
    assert status(twin).state is DeviceStateCode.FACTORY
    assert status(twin).device_id == bytes(8)
    replace_chip(twin)
    assert status(twin).state is DeviceStateCode.FACTORY
    entry, far = twin.enroll(), Far(b"somebody")
    message, _ = far.puzzle(entry)
    twin.command(Opcode.IMPORT, message)
    establish(twin, far)


# ---------------------------------------------------------------------------------------------------- reset


@pytest.mark.parametrize("by_button", [False, True], ids=["command", "button"])
def test_reset_that_erases_nothing(by_button: bool) -> None:
    """It is told, and the light says so; what lies there is what it was."""
    twin, (far, _) = scene(2)
    wear(twin, range(STORE_END), erase=True)
    if by_button:
        twin.press(10.3)
        assert twin.admin_out == [bytes([Event.FAILED, Code.FLASH_FAILED, NOBODY])]
        assert twin.device.led & LED_ERROR
    else:
        twin.command(Opcode.IMPORT, make_reset(twin.entry), Code.FLASH_FAILED)
    assert status(twin).state is DeviceStateCode.ENROLLED
    replace_chip(twin)
    establish(twin, far)
    twin.press(10.3)
    assert twin.admin_out == [bytes([Event.RESET_DONE])]
    assert status(twin).state is DeviceStateCode.FACTORY


# ---------------------------------------------------------------------------------------------------- any fault


def faults(source: random.Random) -> Iterator[tuple[range, int]]:
    """Bits that a program does not change, where operations write: slots and headers of four journals."""
    for _ in range(source.randint(1, 3)):
        journal = source.choice((DEVICE_JOURNAL, PEER_BASE, peer_journal(1), peer_journal(2)))
        number = source.choice((0, 0, 0, 1, 1, 2, 3, 47, 48, 96, 144, 191))
        sector = journal + number // SLOTS_PER_SECTOR * SECTOR
        start = source.choice((slot(number, journal), sector)) + source.choice((0, 4, source.randrange(60)))
        length = source.choice((1, 8, 60, SECTOR, 4 * SECTOR))
        mask = source.choice((1 << source.randrange(8), source.randrange(1, 256), 0xFF))
        yield range(start, min(start + length, STORE_END)), mask


@pytest.mark.parametrize("trials", [range(1), pytest.param(range(1, 8), marks=pytest.mark.slow)], ids=["one", "more"])
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name not in ("factory reset", OVER_LEFTOVERS)])
def test_any_fault(operation: str, trials: range) -> None:
    """Whatever the chip does not keep: what `cuts.py` says of the operation after a cut is true after a fault, too."""
    for trial in trials:
        source, attempt = random.Random(f"{operation}{trial}"), OPERATIONS[operation]()
        twin = attempt.twin
        for addresses, mask in faults(source):
            wear(twin, addresses, mask, erase=False)
        (twin.peer if attempt.peer else twin.admin)(attempt.payload)
        if source.random() < 0.5:
            twin.boot()
        replace_chip(twin)
        attempt.check()
        twin.close()


# ---------------------------------------------------------------------------------------------------- never ready


@pytest.mark.slow
@pytest.mark.parametrize("works", [False, True])
def test_chip_that_never_gets_ready_again(works: bool) -> None:
    """In the zeros over a revoked slot: told after a bounded time; until power-off the device has no key, then all."""
    twin, (far, other) = scene(2)
    message, _ = make_revocation(twin.entry, other.entry.device_id)
    hang(twin, 1, works=works)
    twin.command(Opcode.IMPORT, message, Code.FLASH_FAILED)
    assert twin.peer(far.start()) == []
    twin.command(Opcode.CONNECT, bytes(2), Code.PUF_FAILED)
    twin.boot()
    twin.command(Opcode.IMPORT, message, Code.NO_SUCH_PEER if works else Code.OK)
    far.party.disconnect()
    establish(twin, far)
    assert twin.peer(other.start()) == []
