"""Enrollment, puzzles, revocation, reset, and silicon that fails: the compiled device against the model."""

import random

import pytest
from ringpair_hdl.control.isa import Phase
from ringpair_protocol import frames
from ringpair_protocol.admin import Code, DeviceStateCode, Event, Opcode, PeerState, Status
from ringpair_protocol.messages import E1, E3, MAX_FORWARD, PUZZLE
from ringpair_protocol.pairing import (
    DeviceEntry,
    finish_enrollment,
    make_reset,
    make_revocation,
    seal,
    start_enrollment,
)
from ringpair_protocol.records import (
    DEVICE_BASE,
    DEVICE_HEADER,
    DEVICE_JOURNAL,
    PEER_BASE,
    DeviceState,
    seal_device,
    slot_offset,
)

from host.tests.rig_device import BLANK, BUDGET, CLOCK_HZ, Twin, silicon
from host.tests.rig_scenes import Far, carry, establish, far_id, scene

E1_BODY = start_enrollment(b"N" * 16)


def status(twin: Twin) -> Status:
    return Status.from_bytes(twin.command(Opcode.STATUS))


# ---------------------------------------------------------------------------------------------------- enrollment


def test_enrollment() -> None:
    """From blank flash: every byte drawn is accounted for in the raw noise; a wrong E3, a late one, a second E1."""
    twin = Twin(1)
    twin.command(Opcode.ENROLL, E1_BODY, Code.NEED_BUTTON)
    twin.hold()
    twin.command(Opcode.ENROLL, bytes([E1 ^ 1]) + bytes(16), Code.BAD_VALUE)
    twin.command(Opcode.ENROLL_CONFIRM, bytes([E3]) + bytes(16), Code.NO_ENROLLMENT)

    entry, e3 = finish_enrollment(b"N" * 16, twin.begin_enrollment())
    assert status(twin).device_id == entry.device_id
    twin.command(Opcode.ENROLL_CONFIRM, e3[:-1] + bytes([e3[-1] ^ 1]), Code.BAD_CONFIRMATION)
    twin.command(Opcode.ENROLL_CONFIRM, e3, Code.NO_ENROLLMENT)
    assert bytes(twin.device.flash) == BLANK

    first, _ = finish_enrollment(b"N" * 16, twin.begin_enrollment())
    begun = twin.device.status.cycle
    twin.expire()
    assert 4.9 < (twin.device.status.cycle - begun) / CLOCK_HZ < 5.2
    twin.command(Opcode.ENROLL_CONFIRM, e3, Code.NO_ENROLLMENT)
    assert status(twin).device_id == bytes(8)

    second, _ = finish_enrollment(b"N" * 16, twin.begin_enrollment())
    third, e3 = finish_enrollment(b"M" * 16, twin.begin_enrollment(b"M" * 16))
    assert len({entry.device_id, first.device_id, second.device_id, third.device_id}) == 4
    assert bytes(twin.device.flash) == BLANK
    twin.release()
    twin.device.run(round(4.8 * CLOCK_HZ))
    assert twin.command(Opcode.ENROLL_CONFIRM, e3) == third.device_id
    assert status(twin).state is DeviceStateCode.ENROLLED
    twin.command(Opcode.ENROLL_CONFIRM, e3, Code.ALREADY_ENROLLED)
    twin.command(Opcode.ENROLL, E1_BODY, Code.ALREADY_ENROLLED)
    twin.boot()
    assert status(twin).device_id == third.device_id


def test_enrollment_erases_what_a_cut_reset_left() -> None:
    """A few bits at the end of a sector, as an erase leaves them that was cut near its end."""
    twin = Twin(1)
    places = [DEVICE_BASE + 77, DEVICE_JOURNAL + 0x1FFF, DEVICE_JOURNAL + 0x4000 - 1, len(BLANK) - 1, len(BLANK) - 4000]
    for place in places:
        twin.device.flash[place] = twin.chip.memory[place] = 0xEF
    twin.enroll()
    assert [twin.device.flash[place] for place in places[1:]] == [0xFF] * 4


def test_dead_ring() -> None:
    """One that stands still, and one whose 16 reads do not fit."""
    twin = Twin(1)
    twin.hold()
    for count in (0, 4096):
        counts = silicon(1)
        counts[100] = count
        twin.set_counts(counts)
        twin.command(Opcode.ENROLL, E1_BODY, Code.RING_DEAD)
        assert status(twin).failure is Code.RING_DEAD
        twin.command(Opcode.ENROLL_CONFIRM, bytes([E3]) + bytes(16), Code.NO_ENROLLMENT)
    assert bytes(twin.device.flash) == BLANK


def test_other_silicon_between_e2_and_e3() -> None:
    """The record is tried before it counts."""
    twin = Twin(1)
    twin.hold()
    _, e3 = finish_enrollment(b"N" * 16, twin.begin_enrollment())
    twin.set_counts(silicon(2))
    twin.command(Opcode.ENROLL_CONFIRM, e3, Code.PUF_FAILED)
    assert status(twin).state is DeviceStateCode.FACTORY
    twin.boot()
    assert status(twin).state is DeviceStateCode.FACTORY


# ---------------------------------------------------------------------------------------------------- silicon and noise


def test_clone() -> None:
    """The flash on other silicon: refused, nothing written, silence towards the peer; the original still works."""
    twin, (far,) = scene()
    image = bytes(twin.device.flash)
    clone, _ = scene(counts=silicon(2))
    assert status(clone).failure is Code.PUF_FAILED
    assert status(clone).tries == BUDGET
    clone.command(Opcode.CONNECT, bytes(2), Code.PUF_FAILED)
    clone.command(Opcode.PEER, b"\0", Code.PUF_FAILED)
    clone.command(Opcode.IMPORT, Far(b"another1").puzzle(twin.entry)[0], Code.PUF_FAILED)
    assert clone.peer(far.start()) == []
    assert clone.press() == []
    assert clone.admin_out == [bytes([Event.FAILED, Code.PUF_FAILED, 0])]
    assert bytes(clone.device.flash) == image
    far.party.disconnect()
    establish(twin, far)


def test_other_weather() -> None:
    """The search needs more tries, as many as the model's, and finds the key."""
    twin, (far,) = scene(seed=3)
    twin.set_counts(silicon(3, drift=0.0015))
    establish(twin, far)
    assert status(twin).tries > 5


def test_key_that_comes_back() -> None:
    """Cold at power-up: what a cut left behind is retired behind the first command for which the key can be made."""
    twin, (far,) = scene()
    establish(twin, far)
    image = bytearray(twin.device.flash)
    old = twin.chip.memory[PEER_BASE + slot_offset(1) : PEER_BASE + slot_offset(2)]
    establish(twin, far)
    twin.device.flash[PEER_BASE + slot_offset(1) : PEER_BASE + slot_offset(2)] = old  # as if a cut had left it
    twin.set_counts(silicon(2))
    twin.boot()
    twin.command(Opcode.IDENTITY)
    assert twin.device.flash[PEER_BASE + slot_offset(1)] == image[PEER_BASE + slot_offset(1)]
    twin.set_counts(silicon(1))
    assert carry([far.start()], far.receive, twin.peer) == 3, "the newer one counts"
    message, _ = make_revocation(twin.entry, far.entry.device_id)
    twin.command(Opcode.IMPORT, message)
    twin.command(Opcode.CONNECT, bytes(2), Code.NO_SUCH_PEER)
    assert {bytes(twin.device.flash[PEER_BASE + slot_offset(k) :][:68]) for k in range(4)} == {bytes(68)}


def test_stuck_noise() -> None:
    """The health tests see it; no nonce is used any more, neither as initiator nor as responder, nor to enroll."""
    twin, (far,) = scene()
    twin.stick_noise()
    assert status(twin).trng_alarm
    twin.command(Opcode.CONNECT, bytes(2), Code.TRNG_FAILED)
    twin.command(Opcode.CONNECT, b"\x05\0", Code.TRNG_FAILED)
    assert status(twin).failure is Code.TRNG_FAILED
    before = bytes(twin.device.flash)
    assert twin.peer(far.start()) == []
    assert twin.press() == []
    assert twin.admin_out == [bytes([Event.FAILED, Code.TRNG_FAILED, 0])]
    assert bytes(twin.device.flash) == before
    twin.command(Opcode.PEER, b"\0")
    twin.boot()
    assert status(twin).trng_alarm, "the start-up test is made anew, and fails"
    blank = Twin(2)
    blank.stick_noise()
    blank.hold()
    blank.command(Opcode.ENROLL, E1_BODY, Code.TRNG_FAILED)


def test_noise_that_gets_stuck_in_a_draw() -> None:
    """The device does not wait for bytes that never come."""
    twin = Twin(1)
    twin.hold()
    twin.device.write(frames.encode(bytes([Opcode.ENROLL]) + E1_BODY))
    while twin.device.status.phase != Phase.TRNG:
        twin.device.run(500)
    twin.stick_noise()
    twin._run_device()
    twin._compare(twin.model.admin(bytes([Opcode.ENROLL]) + E1_BODY))
    assert twin.admin_out == [bytes([0x80 | Opcode.ENROLL, Code.TRNG_FAILED])]
    twin.command(Opcode.IDENTITY)


# ---------------------------------------------------------------------------------------------------- puzzles


def test_import_refusals() -> None:
    twin, (far,) = scene()
    entry, other = twin.entry, scene(seed=2)[0].entry
    used, now = DeviceEntry(entry.device_id, bytes(32), 0), entry
    message, after = Far(b"another1").puzzle(now)
    before = bytes(twin.device.flash)
    twin.command(Opcode.IMPORT, Far(b"another1").puzzle(used)[0], Code.OLD_PUZZLE)
    twin.command(Opcode.IMPORT, Far(b"another1").puzzle(other)[0], Code.BAD_PUZZLE)
    for place in (1, 2, 13, 14, 45, 46, 61):
        altered = message[:place] + bytes([message[place] ^ 0x10]) + message[place + 1 :]
        expected = Code.FAR_PUZZLE if place == 5 else Code.BAD_PUZZLE
        twin.command(Opcode.IMPORT, altered, expected)
    for steps in range(MAX_FORWARD + 1):
        now = now.successor()
        if steps == MAX_FORWARD - 1:
            ahead = now
    twin.command(Opcode.IMPORT, Far(b"another1").puzzle(now)[0], Code.FAR_PUZZLE)
    twin.command(Opcode.IMPORT, make_reset(other), Code.BAD_PUZZLE)
    twin.command(Opcode.IMPORT, seal(0x43, 0, other.device_id, entry), Code.BAD_PUZZLE)
    assert bytes(twin.device.flash) == before

    paired, now = far.puzzle(entry)
    twin.command(Opcode.IMPORT, paired, Code.ALREADY_PAIRED)
    twin.command(Opcode.IMPORT, paired, Code.OLD_PUZZLE)
    assert ahead.wrap_index == entry.wrap_index + MAX_FORWARD
    twin.command(Opcode.IMPORT, Far(b"another1").puzzle(ahead.successor())[0])  # 64 ahead of the one just used up
    twin.command(Opcode.IMPORT, message, Code.OLD_PUZZLE)
    assert after.wrap_index < now.successor().wrap_index


def test_all_sixteen_places() -> None:
    """Fill, refuse the seventeenth, revoke one in the middle, and take its place again."""
    twin, fars = scene(15)
    entry = twin.entry
    last, late = Far(far_id(15)), Far(b"latecome")
    message, entry = last.puzzle(entry)
    assert twin.command(Opcode.IMPORT, message) == b"\x0f"
    for number in range(16):
        state = twin.command(Opcode.PEER, bytes([number]))
        assert (state[0], state[1:9]) == (PeerState.LIVE, far_id(number))
    full, _ = late.puzzle(entry)
    twin.command(Opcode.IMPORT, full, Code.TABLE_FULL)
    message, entry = make_revocation(entry, b"nobody!!")
    twin.command(Opcode.IMPORT, message, Code.NO_SUCH_PEER)
    message, entry = make_revocation(entry, far_id(6))
    assert twin.command(Opcode.IMPORT, message) == b"\x06"
    assert twin.command(Opcode.PEER, b"\x06")[0] == PeerState.REVOKED
    twin.command(Opcode.CONNECT, b"\x06\0", Code.NO_SUCH_PEER)
    assert twin.peer(fars[6].start()) == []
    message, entry = late.puzzle(entry)
    assert twin.command(Opcode.IMPORT, message) == b"\x06"
    establish(twin, late, 6)
    for number in (15, 0):
        twin.command(Opcode.DISCONNECT)
        establish(twin, last if number else fars[0], number)
    assert carry([fars[14].start()], fars[14].receive, twin.peer) == 3


@pytest.mark.parametrize("situation", ["idle", "initiator", "responder", "session", "other session"])
def test_revocation_ends_what_used_the_pairing(situation: str) -> None:
    twin, fars = scene(2)
    if situation == "initiator":
        twin.connect(1)
    elif situation == "responder":
        twin.peer(fars[1].start())
    elif situation != "idle":
        establish(twin, fars[situation == "session"], int(situation == "session"))
    message, _ = make_revocation(twin.entry, far_id(1))
    twin.command(Opcode.IMPORT, message)
    events = {
        "initiator": [bytes([Event.FAILED, Code.NO_SUCH_PEER, 1])],
        "session": [bytes([Event.CLOSED, Code.NO_SUCH_PEER])],
    }
    assert twin.admin_out[1:] == events.get(situation, [])
    assert status(twin).session == (situation == "other session")
    twin.command(Opcode.IMPORT, message, Code.OLD_PUZZLE)


def test_used_up_counters() -> None:
    """The last wrap key and the last pair index are refused; nothing changes."""
    twin, _ = scene(0)
    keys = twin.model.vault.keys()
    for state, index in ((DeviceState(2**32 - 1, 0, bytes(32)), 2**32 - 1), (DeviceState(7, 0xFFFF, bytes(32)), 7)):
        slot = seal_device(keys._device_key, 9, state)
        start = DEVICE_JOURNAL + slot_offset(0)
        twin.device.flash[start : start + len(slot)] = slot
        twin.boot()
        entry = DeviceEntry(twin.entry.device_id, bytes(32), index)
        header = seal(PUZZLE, 0, b"somebody", entry, bytes(32))
        twin.command(Opcode.IMPORT, header, Code.EXHAUSTED)
    assert twin.device.flash[DEVICE_JOURNAL : DEVICE_JOURNAL + 12] == DEVICE_HEADER


def test_damaged_device_record() -> None:
    """Told at power-up; pairings work on, imports do not; a reset by the button helps."""
    twin, (far,) = scene()
    for slot in range(3):
        twin.device.flash[DEVICE_JOURNAL + slot_offset(slot) + 20] ^= 1
    twin.boot()
    assert status(twin).failure is Code.RECORD_DAMAGED
    twin.command(Opcode.IMPORT, Far(b"another1").puzzle(twin.entry)[0], Code.RECORD_DAMAGED)
    establish(twin, far)


# ---------------------------------------------------------------------------------------------------- reset


@pytest.mark.parametrize("way", ["message", "button"])
def test_factory_reset(way: str) -> None:
    twin, (far,) = scene()
    establish(twin, far)
    if way == "message":
        assert twin.command(Opcode.IMPORT, make_reset(twin.entry)) == b"\xff"
    else:
        twin.press(10.3)
        assert twin.admin_out == [bytes([Event.RESET_DONE])]
    assert bytes(twin.device.flash) == BLANK
    now = status(twin)
    assert (now.state, now.session, now.device_id) == (DeviceStateCode.FACTORY, False, bytes(8))
    entry = twin.enroll()
    assert entry.device_id != twin.entry.device_id
    message, _ = far.puzzle(entry)
    twin.command(Opcode.IMPORT, message)
    establish(twin, far)


@pytest.mark.slow
def test_reset_of_other_states() -> None:
    """A record of another floorplan goes; without a flash there is nothing to reset; 2.5 s do nothing."""
    twin, _ = scene()
    twin.device.flash[DEVICE_BASE + 9] ^= 0xFF
    twin.boot()
    assert status(twin).state is DeviceStateCode.OTHER_FLOORPLAN
    twin.press(2.5)
    assert twin.admin_out == []
    twin.press(10.3)
    assert twin.admin_out == [bytes([Event.RESET_DONE])]
    bare = Twin(1, jedec=0)
    bare.press(10.3)
    assert bare.admin_out == []


def test_a_press_that_permits_an_enrollment_does_nothing_else() -> None:
    twin = Twin(1)
    twin.hold()
    twin.begin_enrollment()
    twin.device.run(11 * CLOCK_HZ)
    twin._run_device()
    assert twin.admin_out == []
    twin.device.release()


def test_random_records() -> None:
    """Flash that holds anything at all: the device starts, is no worse than the model, and can be reset."""
    rng = random.Random(1)
    image = bytearray(rng.randbytes(len(BLANK)))
    for version in (1, 0, 255):
        image[DEVICE_BASE] = version
        twin = Twin(1, bytes(image))
        twin.command(Opcode.PEER, b"\0", Code.OTHER_FLOORPLAN if version == 1 else Code.NOT_ENROLLED)
