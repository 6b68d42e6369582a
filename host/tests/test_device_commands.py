"""Bad input, on the compiled device and the model at once: a typed refusal on the admin port, silence on the peer port.

In every state of the device; it never hangs, no bad input writes flash, and it answers afterwards.
"""

import random
from collections.abc import Callable

import pytest
from ringpair_protocol import frames
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Carrier, Code, DeviceStateCode, Event, Opcode, Status
from ringpair_protocol.device import LENGTHS_OF_BODY
from ringpair_protocol.frames import MAX_PAYLOAD, ErrorKind
from ringpair_protocol.pairing import start_enrollment
from ringpair_protocol.records import DEVICE_BASE

from host.tests import worthless
from host.tests.rig_device import Twin
from host.tests.rig_scenes import Far, establish, scene


def factory() -> Twin:
    return Twin(1)


def enrolling() -> Twin:
    twin = Twin(1)
    twin.hold()
    twin.begin_enrollment()
    return twin


def other_floorplan() -> Twin:
    twin, _ = scene()
    twin.device.flash[DEVICE_BASE + 1] ^= 0xFF
    twin.boot()
    return twin


def no_flash() -> Twin:
    return Twin(1, jedec=0xFFFFFF)


def enrolled() -> Twin:
    return scene()[0]


def pending_initiator() -> Twin:
    twin, _ = scene()
    twin.connect()
    return twin


def pending_responder() -> Twin:
    twin, (far,) = scene()
    assert len(twin.peer(far.start())) == 1
    return twin


def in_session() -> Twin:
    twin, (far,) = scene()
    establish(twin, far)
    return twin


STATES = [factory, enrolling, other_floorplan, no_flash, enrolled, pending_initiator, pending_responder, in_session]
CODE = {DeviceStateCode.FACTORY: Code.NOT_ENROLLED}


def settled(twin: Twin) -> tuple[bytes, object, object]:
    """What bad input must not change."""
    return bytes(twin.device.flash), twin.model.party.session, twin.model.party.run


def answers(twin: Twin) -> None:
    """The device is alive and says so."""
    assert twin.command(Opcode.IDENTITY) == twin.model.identity.to_bytes()


@pytest.mark.parametrize("state", STATES)
def test_wrong_lengths_and_opcodes(state: Callable[[], Twin]) -> None:
    twin = state()
    before, rng = settled(twin), random.Random(1)
    for opcode, lengths in LENGTHS_OF_BODY.items():
        near = {length + step for length in (min(lengths), max(lengths)) for step in (-1, 1)} | {0, MAX_PAYLOAD - 1}
        for length in sorted(near - lengths):
            if 0 <= length < MAX_PAYLOAD:
                twin.command(opcode, rng.randbytes(length), Code.BAD_LENGTH)
    for opcode in (0x00, 0x0B, 0x3F, 0x40, 0x80, 0x81, 0xC0, 0xFF):
        assert twin.admin(bytes([opcode]) + rng.randbytes(opcode % 7)) == bytes([Code.UNKNOWN_COMMAND])
    assert settled(twin) == before
    answers(twin)


@pytest.mark.parametrize("state", STATES)
def test_commands_in_the_wrong_state(state: Callable[[], Twin]) -> None:
    """Right lengths, worthless contents: what is refused, and why, is the model's business."""
    twin = state()
    flash, rng = settled(twin)[0], random.Random(2)
    codes = set()
    for opcode, lengths in LENGTHS_OF_BODY.items():
        if opcode in (Opcode.DISCONNECT, Opcode.CONNECT):
            continue
        for length in {min(lengths), max(lengths)}:
            for first in (0, 1, 2, 16, 255, msg.E1 ^ 1, msg.E3 ^ 1, msg.PUZZLE, msg.REVOKE, msg.RESET, msg.RESET + 1):
                body = (bytes([first]) + rng.randbytes(length))[:length]
                codes.add(Code(twin.admin(bytes([opcode]) + body)[0]))
                if not length:
                    break
    twin.model.button or codes.add(Code(twin.admin(bytes([Opcode.ENROLL]) + start_enrollment(bytes(16)))[0]))
    for body in ((16, 0), (255, 1), (0, 2), (0, 255), (1, Carrier.WIRE), (15, Carrier.TUNNEL)):
        codes.add(Code(twin.admin(bytes([Opcode.CONNECT, *body]))[0]))
    assert codes > {Code.OK}
    assert bytes(twin.device.flash) == flash
    twin.admin(bytes([Opcode.DISCONNECT]))
    twin.command(Opcode.DISCONNECT, code=Code.NO_SESSION)
    answers(twin)


def damaged_frames() -> dict[str, bytes]:
    whole = frames.encode(bytes([Opcode.IDENTITY]))
    long = frames.cobs_encode(bytes([Opcode.SEND]) * 150)
    return {
        "wrong CRC": whole[:2] + bytes([whole[2] ^ 1]) + whole[3:],
        "bit flipped": frames.encode(b"\x08" + bytes(20))[:5] + b"\x7f" + frames.encode(b"\x08" + bytes(20))[6:],
        "cut short": whole[:-2] + b"\0",
        "nothing but a CRC": frames.cobs_encode(frames.crc16(b"").to_bytes(2, "little")) + b"\0",
        "one byte": b"\x01\0",
        "too long": long + b"\0",
        "very long": b"\x02\x03" * 400 + b"\0",
    }


@pytest.mark.parametrize("state", [factory, enrolling, pending_initiator, in_session])
def test_damaged_frames(state: Callable[[], Twin]) -> None:
    """The admin port names the error, the peer port is silent; the next frame is read again."""
    twin = state()
    before, kinds = settled(twin), set()
    for name, data in damaged_frames().items():
        twin.line(data)
        ((opcode, code, kind),) = twin.admin_out
        assert (opcode, code) == (0x80, Code.BAD_FRAME), name
        kinds.add(ErrorKind(kind))
        twin.line(data, peer=True)
        assert (twin.admin_out, twin.peer_out) == ([], []), name
        answers(twin)
    assert kinds == set(ErrorKind)
    twin.line(b"\0\0\0")
    assert (twin.admin_out, twin.peer_out) == ([], [])
    assert settled(twin) == before


@pytest.mark.parametrize("state", STATES)
def test_garbage_on_the_peer_port(state: Callable[[], Twin]) -> None:
    """Every kind of message, of every wrong length near the right one and worthless with the right one."""
    twin = state()
    before, rng = settled(twin), random.Random(3)
    headers = [msg.M1, msg.M2, msg.M3, msg.RESYNC, msg.DATA, *rng.sample(range(256), 6)]
    programs = twin.device.status.programs
    for header in headers:
        length = msg.LENGTHS.get(header, msg.DATA_OVERHEAD + 1)
        for size in {1, length - 1, length, length + 1, msg.DATA_OVERHEAD + msg.TEXT_MAX + 1, MAX_PAYLOAD}:
            message = bytes([header]) + rng.randbytes(size - 1)
            assert twin.peer(message) == []
            assert twin.admin_out == []
            if size < MAX_PAYLOAD and state in (enrolled, in_session):
                assert twin.tunnel(message) == []
    assert settled(twin) == before
    assert twin.device.status.programs == programs
    answers(twin)


def test_noise_on_both_lines() -> None:
    """Random bytes: frames that happen to end are told damaged; the device is found whole behind them."""
    twin = in_session()
    before, rng = settled(twin), random.Random(4)
    for _ in range(6):
        twin.line(rng.randbytes(150) + b"\0")
        twin.line(rng.randbytes(150) + b"\0", peer=True)
        answers(twin)
    assert settled(twin) == before


def test_two_commands_at_once() -> None:
    """The second waits its turn."""
    twin = in_session()
    twin.device.write(frames.encode(bytes([Opcode.IDENTITY])) + frames.encode(bytes([Opcode.STATUS])))
    twin._run_device()
    first, second = (bytes([0x80 | opcode, Code.OK]) for opcode in (Opcode.IDENTITY, Opcode.STATUS))
    assert [out[:2] for out in twin.admin_out] == [first, second]
    assert Status.from_bytes(twin.admin_out[1][2:]).session


def test_says_hello_once() -> None:
    twin = factory()
    assert twin.admin_out == [bytes([Event.STARTED]) + twin.model.identity.to_bytes()]
    twin.device.run(100_000)
    assert twin.device.read() == b""


def test_far_end_of_a_made_up_pairing_is_no_model_of_itself() -> None:
    """The other end in these tests speaks the protocol: it refuses what the device refuses."""
    far, twin = Far(b"\0" * 8), in_session()
    far.puzzle(twin.entry)
    assert far.receive(bytes([msg.M1]) + bytes(32)) == []


@pytest.mark.slow
@pytest.mark.parametrize("state", [factory, in_session])
def test_every_length_of_every_command(state: Callable[[], Twin]) -> None:
    twin = state()
    for opcode, lengths in LENGTHS_OF_BODY.items():
        for length in set(range(MAX_PAYLOAD)) - lengths:
            twin.command(opcode, bytes(length), Code.BAD_LENGTH)
    answers(twin)


@pytest.mark.parametrize("state", worthless.STATES)
@pytest.mark.parametrize("port", worthless.PORTS)
def test_worthless_frames(port: str, state: str) -> None:
    """A sample of what `make campaign` tries by the million."""
    source = random.Random(f"{port} {state}")
    line = worthless.PORTS[port](source, state, worthless.genuine())
    assert sum(line.one() for _ in range(120)) > 60
    line.settle()
