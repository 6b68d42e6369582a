"""Operations that write flash, to be cut: each at any of its program and erase commands, at any part of its time.

Whatever the cut leaves, the device and a model that starts from the same flash make the same of it at power-up
(`Twin.boot` compares them). Each operation then says what must be true: what was committed is there, what was begun is
there wholly or not at all, and it can be done again.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ringpair_protocol.admin import Carrier, Code, DeviceStateCode, Opcode, PeerState, Status
from ringpair_protocol.pairing import DeviceEntry, finish_enrollment, make_reset, make_revocation, start_enrollment
from ringpair_protocol.records import DEVICE_BASE, DEVICE_JOURNAL, PEER_BASE, SLOTS_PER_SECTOR, STORE_END

from host.tests.rig_device import BLANK, Twin
from host.tests.rig_scenes import Far, carry, establish, scene

PROGRAM, ERASE = "program", "erase"
KINDS = PROGRAM, ERASE
NONCE = b"N" * 16


@dataclass
class Attempt:
    """An operation about to be done: the device, what is sent to it and by which port, and what must be true then."""

    twin: Twin
    payload: bytes
    check: Callable[[], None]
    peer: bool = False


def epoch(twin: Twin, number: int = 0) -> int:
    return int.from_bytes(twin.command(Opcode.PEER, bytes([number]))[-4:], "little")


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


# ---------------------------------------------------------------------------------------------------- operations


def commit(role: str, sessions: int) -> Attempt:
    """A handshake commits after so many sessions: the old epoch or the new one is there, and the other pairing."""
    twin, (far, other) = scene(2, sessions=sessions)
    message = far.start() if role == "responder" else far.receive(twin.connect())[0]

    def check() -> None:
        assert epoch(twin) in (sessions, sessions + 1)
        recovers(twin, far)
        establish(twin, other, 1)

    return Attempt(twin, message, check, peer=True)


def import_of(what: str) -> Attempt:
    """A puzzle for a free place, for one that was revoked before, or a revocation; imported again if need be."""
    twin, (first, second) = scene(2)
    entry, far, place = twin.entry, Far(b"another1"), 2
    if what == "puzzle for a used place":
        message, entry = make_revocation(entry, second.entry.device_id)
        twin.command(Opcode.IMPORT, message)
        place = 1
    message, _ = far.puzzle(entry) if what != "revocation" else make_revocation(entry, second.entry.device_id)

    def check() -> None:
        twin.admin(bytes([Opcode.IMPORT]) + message)
        if what == "revocation":
            assert twin.command(Opcode.PEER, b"\1")[0] == PeerState.REVOKED
            assert twin.peer(second.start()) == []
        else:
            assert twin.command(Opcode.PEER, bytes([place]))[0] == PeerState.LIVE
            establish(twin, far, place)
        establish(twin, first)

    return Attempt(twin, bytes([Opcode.IMPORT]) + message, check)


def works_anew(twin: Twin, entry: DeviceEntry) -> None:
    """The device is enrolled with this entry, or in the factory state and can be enrolled; then it can be paired."""
    if state(twin) is DeviceStateCode.FACTORY:
        entry = twin.enroll()
    assert Status.from_bytes(twin.command(Opcode.STATUS)).device_id == entry.device_id
    far = Far(b"somebody")
    message, _ = far.puzzle(entry)
    twin.command(Opcode.IMPORT, message)
    establish(twin, far)


def enrollment() -> Attempt:
    """E3: enrolled or in the factory state; from there an enrollment works."""
    twin = Twin(1)
    twin.hold()
    entry, e3 = finish_enrollment(NONCE, twin.begin_enrollment(NONCE))
    return Attempt(twin, bytes([Opcode.ENROLL_CONFIRM]) + e3, lambda: works_anew(twin, entry))


def enrollment_over_leftovers() -> Attempt:
    """E1 on a flash with bits that a cut reset has left: it erases them, and no pairing of theirs comes back."""
    image = bytearray(BLANK)
    for place in (DEVICE_BASE + 77, DEVICE_JOURNAL + 0x1FFF, PEER_BASE + 12, STORE_END - 1):
        image[place] = 0xEF
    twin = Twin(1, bytes(image))
    twin.hold()

    def check() -> None:
        works_anew(twin, twin.enroll())
        assert bytes(twin.device.flash[STORE_END - 256 :]) == BLANK[-256:]

    return Attempt(twin, bytes([Opcode.ENROLL]) + start_enrollment(NONCE), check)


def reset() -> Attempt:
    """The plain record goes first: what was there cannot be opened any more, and the next enrollment erases it. If the
    erase has taken a few of its bits only, no key opens it, and the button finishes the reset."""
    twin, (far, _) = scene(2, sessions=3)

    def check() -> None:
        if state(twin) is not DeviceStateCode.FACTORY:
            if twin.admin(bytes([Opcode.CONNECT, 0, Carrier.WIRE]))[0] == Code.OK:
                twin.command(Opcode.DISCONNECT)
                recovers(twin, far)
                return
            twin.press(10.3)
            assert state(twin) is DeviceStateCode.FACTORY
        assert twin.peer(far.start()) == []
        works_anew(twin, twin.enroll())
        rest = bytes(twin.device.flash[PEER_BASE + 0x4000 :])
        assert rest == BLANK[-len(rest) :], "the second pairing is gone, too"

    return Attempt(twin, bytes([Opcode.IMPORT]) + make_reset(twin.entry), check)


OPERATIONS: dict[str, Callable[[], Attempt]] = {
    **{
        f"commit as {role}, {where}": lambda role=role, sessions=sessions: commit(role, sessions)
        for role in ("responder", "initiator")
        for where, sessions in (("same page", 0), ("next page", 2), ("next sector", SLOTS_PER_SECTOR - 1))
    },
    "rollover to the first sector": lambda: commit("responder", 4 * SLOTS_PER_SECTOR - 1),
    **{
        f"import of a {what}": lambda what=what: import_of(what)
        for what in ("puzzle", "puzzle for a used place", "revocation")
    },
    "enrollment": enrollment,
    "enrollment over leftovers": enrollment_over_leftovers,
    "factory reset": reset,
}
"""By name."""


# ---------------------------------------------------------------------------------------------------- cuts


Operations = dict[str, Callable[[], Attempt]]


def counts(operation: str, operations: Operations = OPERATIONS) -> dict[str, int]:
    """How many programs and erases the operation has when nothing cuts it."""
    attempt = operations[operation]()
    status = attempt.twin.device.status
    before = status.programs, status.erases
    assert not attempt.twin.cut(attempt.payload, peer=attempt.peer)
    found = {PROGRAM: status.programs - before[0], ERASE: status.erases - before[1]}
    attempt.twin.close()
    return found


def boundaries(operation: str, operations: Operations = OPERATIONS) -> Iterator[tuple[str, int, float]]:
    """Before and behind every flash command, as arguments of `cut`."""
    for kind, number in counts(operation, operations).items():
        for ordinal in range(1, number + 1):
            yield kind, ordinal, 0.0
            yield kind, ordinal, 1.0


def cut(
    operation: str,
    kind: str,
    number: int,
    fraction: float,
    again: random.Random | None = None,
    operations: Operations = OPERATIONS,
) -> int:
    """One cut, and what must be true afterwards; how many cuts there were.

    With ``again``, the power-up behind it is cut as well if it writes: what it tidies up is torn once more.
    """
    attempt, done = operations[operation](), 1
    twin = attempt.twin
    twin.arm(kind, number, fraction)
    assert twin.cut(attempt.payload, peer=attempt.peer), f"{operation} has no {kind} {number}"
    assert (twin.admin_out, twin.peer_out) == ([], []), "it is told before it is committed"
    while again and done < 4 and twin.boot_cut(again.choice(KINDS), again.randint(1, 2), again.random()):
        done += 1
    twin.boot()
    attempt.check()
    twin.close()
    return done
