"""Power cuts and the journal's rollover: the compiled device against the model, which starts from what was left.

Whatever the cut leaves, both make the same of it at power-up; and the pairing works again within five messages.
"""

import pytest
from ringpair_protocol.admin import DeviceStateCode, Opcode, PeerState, Status
from ringpair_protocol.pairing import finish_enrollment, make_reset, make_revocation
from ringpair_protocol.records import PEER_BASE, SLOTS_PER_SECTOR

from host.tests.rig_device import BLANK, Far, Twin, carry, establish, scene

FRACTIONS = (0.0, 0.5, 0.97)
"""Of a program or erase: it has not begun to change anything, it is in the middle, it is almost through."""
PROGRAM, ERASE = "program", "erase"


def arm(twin: Twin, kind: str, number: int, fraction: float) -> None:
    """The power will fail in the n-th program or erase from now."""
    getattr(twin.device, f"cut_in_{kind}")(number, fraction)


def epoch(twin: Twin) -> int:
    return int.from_bytes(twin.command(Opcode.PEER, b"\0")[-4:], "little")


def state(twin: Twin) -> DeviceStateCode:
    return Status.from_bytes(twin.command(Opcode.STATUS)).state


def recovers(twin: Twin, far: Far) -> None:
    """The far end hears nothing of the cut, and either may begin."""
    far.party.disconnect()
    record = far.record
    assert carry([twin.connect()], twin.peer, far.receive) in (3, 5)
    assert twin.model.party.session.session_id == far.party.session.session_id
    twin.command(Opcode.DISCONNECT)
    assert far.record.epoch > record.epoch
    assert carry([far.start()], far.receive, twin.peer) == 3


# Where the old slot lies, and what a commit does from there: (sessions before, programs, erases).
COMMITS = {"same page": (0, 2, 0), "next page": (2, 2, 0), "next sector": (SLOTS_PER_SECTOR - 1, 3, 1)}


@pytest.mark.parametrize("role", ["responder", "initiator"])
@pytest.mark.parametrize("where", COMMITS)
def test_cut_in_a_commit(where: str, role: str) -> None:
    sessions, programs, erases = COMMITS[where]
    for kind, count in ((PROGRAM, programs), (ERASE, erases)):
        for number in range(1, count + 1):
            for fraction in FRACTIONS:
                twin, (far,) = scene(sessions=sessions)
                message = far.start() if role == "responder" else far.receive(twin.connect())[0]
                arm(twin, kind, number, fraction)
                assert twin.cut(message, peer=True), f"no {kind} {number}"
                assert twin.peer_out == [], "committed before it is told"
                twin.boot()
                assert epoch(twin) in (sessions, sessions + 1)
                recovers(twin, far)


def test_one_program_more_than_there_are() -> None:
    """The counts above are complete."""
    for sessions, programs, erases in COMMITS.values():
        twin, (far,) = scene(sessions=sessions)
        before = twin.device.status.programs, twin.device.status.erases
        establish(twin, far)
        after = twin.device.status.programs, twin.device.status.erases
        assert (after[0] - before[0], after[1] - before[1]) == (programs, erases)


def test_cut_again_while_the_cut_is_tidied_up() -> None:
    """The old slot still there, or a torn new one; the power fails once more in the zeros at power-up."""
    for number in (1, 2):
        for fraction in FRACTIONS:
            twin, (far,) = scene(sessions=4)
            arm(twin, PROGRAM, number, 0.5)
            assert twin.cut(far.start(), peer=True)
            twin.device.power_on()
            arm(twin, PROGRAM, 1, fraction)
            twin._run_device()
            assert not twin.device.status.powered, "nothing was tidied up"
            twin.device.power_on()
            twin.boot()
            assert epoch(twin) in (4, 5)
            recovers(twin, far)


def test_rollover_through_all_sectors() -> None:
    """Three sessions before the end of each of the four sectors, and beyond; once more around."""
    for sector in range(5):
        sessions = SLOTS_PER_SECTOR * (sector + 1) - 3
        twin, (far,) = scene(sessions=sessions)
        for number in range(5):
            establish(twin, far)
            if number == 2:
                twin.boot()
        assert epoch(twin) == sessions + 5
        message, _ = make_revocation(twin.entry, far.entry.device_id)
        twin.command(Opcode.IMPORT, message)
        assert twin.command(Opcode.PEER, b"\0")[0] == PeerState.REVOKED


def test_slot_that_does_not_keep() -> None:
    """A bit of the next slot is gone already: the device tries it, zeroes it, and goes to the next sector."""
    twin, (far,) = scene(sessions=5)
    twin.device.flash[PEER_BASE + 2 * 256 + 12 + 30] = twin.chip.memory[PEER_BASE + 2 * 256 + 12 + 30] = 0x00
    establish(twin, far)
    assert bytes(twin.device.flash[PEER_BASE + 0x1000 : PEER_BASE + 0x100C]) == bytes(
        twin.device.flash[PEER_BASE : PEER_BASE + 12]
    )
    twin.boot()
    assert epoch(twin) == 6


@pytest.mark.parametrize("kind", [PROGRAM, ERASE])
def test_cut_in_an_import(kind: str) -> None:
    """Pair index, peer record, wrap key: afterwards the pairing is there, or the same puzzle can be imported again."""
    for number in range(1, {PROGRAM: 6, ERASE: 4}[kind] + 1):
        twin, (first,) = scene()
        far = Far(b"another1")
        message, _ = far.puzzle(twin.entry)
        arm(twin, kind, number, 0.5)
        assert twin.cut(bytes([Opcode.IMPORT]) + message), f"no {kind} {number}"
        twin.boot()
        twin.admin(bytes([Opcode.IMPORT]) + message)
        assert twin.command(Opcode.PEER, b"\1")[0] == PeerState.LIVE
        establish(twin, far, 1)
        establish(twin, first)


def test_cut_in_a_revocation() -> None:
    for number in (1, 2, 3):
        for fraction in FRACTIONS:
            twin, (far,) = scene()
            establish(twin, far)
            message, _ = make_revocation(twin.entry, far.entry.device_id)
            arm(twin, PROGRAM, number, fraction)
            assert twin.cut(bytes([Opcode.IMPORT]) + message)
            twin.boot()
            twin.admin(bytes([Opcode.IMPORT]) + message)
            assert twin.command(Opcode.PEER, b"\0")[0] == PeerState.REVOKED


ENROLLMENT = [(ERASE, 1), (PROGRAM, 1), (ERASE, 3), (PROGRAM, 3), (PROGRAM, 4)]
ENROLLMENT_REST = [(ERASE, 2), (ERASE, 4), (ERASE, 5), (PROGRAM, 2)]


@pytest.mark.parametrize(
    ("kind", "number"),
    [*ENROLLMENT[-2:], *(pytest.param(*case, marks=pytest.mark.slow) for case in (*ENROLLMENT[:-2], *ENROLLMENT_REST))],
)
def test_cut_in_an_enrollment(kind: str, number: int) -> None:
    """Enrolled or in the factory state; from there an enrollment works."""
    twin = Twin(1)
    twin.hold()
    entry, e3 = finish_enrollment(b"N" * 16, twin.begin_enrollment())
    arm(twin, kind, number, 0.6)
    assert twin.cut(bytes([Opcode.ENROLL_CONFIRM]) + e3), f"no {kind} {number}"
    twin.boot()
    if state(twin) is DeviceStateCode.FACTORY:
        entry = twin.enroll()
    far = Far(b"somebody")
    message, _ = far.puzzle(entry)
    twin.command(Opcode.IMPORT, message)
    establish(twin, far)


@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.slow), 3])
def test_cut_in_a_reset(number: int) -> None:
    """The plain record goes first: what was there cannot be opened any more, and the next enrollment erases it."""
    twin, _ = scene()
    arm(twin, ERASE, number, 0.97)
    assert twin.cut(bytes([Opcode.IMPORT]) + make_reset(twin.entry))
    twin.boot()
    if state(twin) is DeviceStateCode.FACTORY:
        twin.enroll()
        assert bytes(twin.device.flash[PEER_BASE:]) == BLANK[PEER_BASE:]
