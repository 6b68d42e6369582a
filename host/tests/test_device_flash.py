"""What somebody may do to the flash chip: flip bits, put records of others in, put an old image back, wear it out.

The compiled device against the model, as always (`Twin`): both make the same of any flash. Beyond that: nothing that
was altered is used, no refusal tells what was wrong, and no alteration takes another time than any other.
"""

import random

import pytest
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Code, DeviceStateCode, Event, Opcode, Status
from ringpair_protocol.pairing import make_puzzles
from ringpair_protocol.puf import HELPER_BYTES
from ringpair_protocol.records import (
    DEVICE_BASE,
    DEVICE_JOURNAL,
    DEVICE_SLOT_LENGTH,
    HEADER_LENGTH,
    JOURNAL_SECTORS,
    PEER_BASE,
    PEER_SLOT_LENGTH,
    PLAIN_FIELDS,
    SECTOR,
    SLOTS_PER_SECTOR,
    peer_journal,
    slot_offset,
)

from host.tests.rig_device import BUDGET, Twin, silicon
from host.tests.rig_scenes import Far, carry, establish, scene, two_devices


def plain_field(name: str) -> range:
    """Where a field of the plain record lies."""
    start = DEVICE_BASE
    for field, length in PLAIN_FIELDS:
        if field == name:
            return range(start, start + length)
        start += length
    raise KeyError(name)


def status(twin: Twin) -> Status:
    return Status.from_bytes(twin.command(Opcode.STATUS))


def flip(twin: Twin, address: int, mask: int) -> None:
    """Behind the device's back; it finds out at power-up."""
    twin.device.flash[address] ^= mask


def restore(twin: Twin, image: bytes) -> None:
    twin.device.flash[:] = image


# ---------------------------------------------------------------------------------------------------- helper data


def refusal(twin: Twin, m1: bytes) -> tuple[object, ...]:
    """All that an attacker sees of a device whose helper data were changed, times included."""
    device, seen = twin.device, []
    begun = device.status.cycle
    puf_before = device.status.phase_cycles[1]
    twin.boot()
    seen += [device.status.phase_cycles[1] - puf_before, device.status.cycle - begun]
    now = status(twin)
    seen += [now.state, now.failure, now.tries, now.device_id]
    for body in (bytes([Opcode.CONNECT, 0, 0]), bytes([Opcode.PEER, 0])):
        begun = device.status.phase_cycles[1]
        seen += [twin.admin(body), device.status.phase_cycles[1] - begun]
    begun = device.status.phase_cycles[1]
    seen += [twin.peer(m1), twin.admin_out, device.status.phase_cycles[1] - begun]
    return tuple(seen)


HELPER = [*plain_field("helper"), *plain_field("check")]
assert len(HELPER) == HELPER_BYTES + 8


@pytest.mark.parametrize("places", [HELPER[::16], pytest.param(HELPER, marks=pytest.mark.slow)], ids=["some", "all"])
def test_changed_helper_data_tell_nothing(places: list[int]) -> None:
    """A bit of each byte of helper data and check: no key after all tries, the same answers after as many cycles."""
    twin, (far,) = scene()
    image, m1 = bytes(twin.device.flash), far.start()
    source, refusals = random.Random(1), set()
    for address in places:
        flip(twin, address, 1 << source.randrange(8))
        found = refusal(twin, m1)
        assert (found[3], found[4]) == (Code.PUF_FAILED, BUDGET)
        refusals.add(str(found))
        assert len(refusals) == 1, f"byte {address:#x} is refused in another way or time"
        restore(twin, image)
    twin.boot()
    far.party.disconnect()
    establish(twin, far)


def test_changed_salt_opens_nothing() -> None:
    twin, (far,) = scene()
    image, m1 = bytes(twin.device.flash), far.start()
    """There is a key, but of another device."""
    for address in plain_field("salt")[::5]:
        flip(twin, address, 0x04)
        twin.boot()
        assert status(twin).failure is Code.RECORD_DAMAGED
        assert twin.peer(m1) == []
        twin.command(Opcode.CONNECT, bytes(2), Code.NO_SUCH_PEER)
        restore(twin, image)


# ---------------------------------------------------------------------------------------------------- records


@pytest.mark.parametrize("journal", ["device", "peer"])
def test_flipped_bits_of_a_record(journal: str) -> None:
    """Each byte of the live slot and of its header: the record does not open, and the other one still does."""
    twin, (far, other) = scene(2)
    image = bytes(twin.device.flash)
    base, length = (DEVICE_JOURNAL, DEVICE_SLOT_LENGTH) if journal == "device" else (PEER_BASE, PEER_SLOT_LENGTH)
    slot = next(
        place
        for place in (base + slot_offset(number) for number in range(8))
        if any(image[place : place + length]) and image[place : place + 8] != b"\xff" * 8
    )
    places = [*range(slot, slot + length, 5), *(range(base, base + HEADER_LENGTH, 3) if journal == "peer" else ())]
    message, _ = Far(b"another1").puzzle(twin.entry)
    for address in places:
        flip(twin, address, 0x20)
        twin.boot()
        if journal == "device":
            twin.command(Opcode.IMPORT, message, Code.RECORD_DAMAGED)
        else:
            twin.command(Opcode.CONNECT, bytes(2), Code.NO_SUCH_PEER)
            assert twin.peer(far.start()) == []
            far.party.disconnect()
        restore(twin, image)
    flip(twin, places[0], 0x20)
    twin.boot()
    assert carry([other.start()], other.receive, twin.peer) == 3


def test_records_of_another_board() -> None:
    """The whole flash of another board, its pairings in ours, ours at another number: nothing opens."""
    twin, other = two_devices()
    own, foreign = bytes(twin.device.flash), bytes(other.device.flash)
    restore(twin, foreign)
    twin.boot()
    assert status(twin).failure is Code.PUF_FAILED
    restore(twin, own[:PEER_BASE] + foreign[PEER_BASE:])
    twin.boot()
    twin.command(Opcode.CONNECT, bytes(2), Code.NO_SUCH_PEER)
    restore(twin, own)
    twin.device.flash[peer_journal(1) : peer_journal(1) + 0x4000] = own[PEER_BASE : PEER_BASE + 0x4000]
    twin.boot()
    assert carry([twin.connect()], twin.peer, other.peer) == 3, "the pairing itself is not harmed by its copy"


def test_old_image() -> None:
    """One epoch back, the peer says so and the board follows; further back the pair is apart, and neither says why."""
    twin, (far,) = scene()
    images = [bytes(twin.device.flash)]
    for _ in range(2):
        establish(twin, far)
        images.append(bytes(twin.device.flash))
    far.party.disconnect()
    restore(twin, images[1])
    twin.boot()
    assert carry([twin.connect()], twin.peer, far.receive) == 5
    restore(twin, images[0])
    twin.boot()
    far.party.disconnect()
    assert far.receive(twin.connect()) == []
    assert twin.peer(far.start()) == []


def test_old_image_imports_an_old_puzzle() -> None:
    """A rolled-back board imports an old puzzle again: it makes the old pairing, which the peer has left behind."""
    twin, _ = scene(2)
    image = bytes(twin.device.flash)
    late = Far(b"another1")
    message, after = late.puzzle(twin.entry)
    twin.command(Opcode.IMPORT, message)
    for _ in range(2):
        establish(twin, late, 2)
    restore(twin, image)
    twin.boot()
    twin.command(Opcode.IMPORT, message)
    late.party.disconnect()
    assert late.receive(twin.connect(2)) == []
    twin.command(Opcode.IMPORT, make_puzzles(after, Far(b"a third1").entry)[0])
    twin.boot()


# ---------------------------------------------------------------------------------------------------- the chip


@pytest.mark.parametrize("jedec", [0x000000, 0xFFFFFF, 0xEF4013, 0xEF40FF, 0x00FF14])
def test_wrong_flash_chip(jedec: int) -> None:
    """No chip, or one that cannot be: told in STATUS, and everything that needs it is refused."""
    twin, (far,) = scene(jedec=jedec)
    assert status(twin).state is DeviceStateCode.NO_FLASH
    assert status(twin).jedec == jedec.to_bytes(3, "big")
    for opcode, length in ((Opcode.CONNECT, 2), (Opcode.PEER, 1), (Opcode.IMPORT, msg.LENGTHS[msg.PUZZLE])):
        twin.command(opcode, bytes(length), Code.FLASH_FAILED)
    assert twin.peer(far.start()) == []


def test_image_of_noise() -> None:
    """Flash that holds anything at all behind a genuine plain record: no answer, no hang."""
    twin, (far,) = scene()
    noise = random.Random(3).randbytes(len(twin.device.flash) - PEER_BASE)
    twin.device.flash[PEER_BASE:] = noise
    twin.boot()
    assert twin.peer(far.start()) == []
    twin.press()
    assert twin.admin_out == [bytes([Event.FAILED, Code.NO_SUCH_PEER, 0xFF])]


@pytest.mark.parametrize("seed", range(6))
def test_sectors_with_holes(seed: int) -> None:
    """Blank slots, old ones and garbage in any order, in the sectors where the live slot is not: it works on."""
    source, (twin, (far,)) = random.Random(seed), scene(sessions=2 + 7 * seed)
    for sector in range(1, JOURNAL_SECTORS):
        at, share = PEER_BASE + sector * SECTOR, source.random()
        for number in range(SLOTS_PER_SECTOR):
            place = at + slot_offset(number)
            if source.random() < share:
                twin.device.flash[place : place + PEER_SLOT_LENGTH] = source.choice(
                    (
                        bytes(PEER_SLOT_LENGTH),
                        source.randbytes(PEER_SLOT_LENGTH),
                        b"\xfe" + b"\xff" * (PEER_SLOT_LENGTH - 1),
                    )
                )
        if source.random() < 0.5:
            twin.device.flash[at : at + HEADER_LENGTH] = source.randbytes(HEADER_LENGTH)
    twin.boot()
    establish(twin, far)


def test_stolen_registry() -> None:
    """Who has the registry's present keys makes new pairings, but neither reads nor joins those that are there."""
    twin, (far,) = scene()
    thief = Far(b"thief id")
    message, after = thief.puzzle(twin.entry)
    twin.command(Opcode.IMPORT, message)
    establish(twin, thief, 1)
    disguised = Far(far.entry.device_id, seed=2)
    disguised.pair_key = bytes(32)
    message, _ = disguised.puzzle(after)
    twin.command(Opcode.IMPORT, message, Code.ALREADY_PAIRED)
    assert twin.peer(disguised.start()) == []
    establish(twin, far)


def test_other_silicon_takes_its_time() -> None:
    """Clones with other rings: all tries, the same answers and the same time for each of them."""
    times = set()
    for seed in range(20, 24):
        twin, _ = scene(counts=silicon(seed))
        begun = twin.device.status.phase_cycles[1]
        twin.command(Opcode.CONNECT, bytes(2), Code.PUF_FAILED)
        times.add(twin.device.status.phase_cycles[1] - begun)
        twin.close()
    assert max(times) - min(times) < min(times) / 50, f"cycles {sorted(times)}"
