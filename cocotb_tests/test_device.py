"""One whole device in Icarus: every command answered or refused as the reference model does it, silence towards the
peer, button and LEDs, enrollment, a session with the reference model, and what lies in the scratchpad in between."""

import cocotb
import pytest
from ringpair_protocol import derivations as kdf
from ringpair_protocol import frames, records
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Carrier, Code, DeviceStateCode, Event, Opcode, Role
from ringpair_protocol.device import LENGTHS_OF_BODY
from ringpair_protocol.frames import ErrorKind
from ringpair_protocol.pairing import DeviceEntry, make_puzzles, start_enrollment
from ringpair_protocol.ppake import Party, PeerRecord

from cocotb_tests.device_bench import (
    LONG_PRESS,
    PEERS,
    SHORT_PRESS,
    blank,
    copy,
    enroll_model,
    model_command,
    own_identity,
    power_up,
    reference,
    silicon,
    simulate_boards,
)
from cocotb_tests.harness import Bench

FAR = DeviceEntry(b"\xff" * 8, bytes(32))
READY, IN_SESSION, ERROR = 1, 2, 4  # bits of ``Device.led``
PAIR_KEY = b"P" * 32


class OnePairing:
    """The far end's only record."""

    def __init__(self, pair_key, own_id, far_id):
        keys = kdf.PAIR(pair_key=pair_key, id_low=own_id, id_high=far_id)
        self.record = PeerRecord(0, False, 0, keys["chain_key"], keys["auth_prev"])

    def live(self):
        return [self.record]

    def load(self, number):
        return self.record

    def commit(self, record):
        self.record = record


def far_end(entry):
    return Party(OnePairing(PAIR_KEY, entry.device_id, FAR.device_id), lambda: b"n" * 16)


def one_more_or_less(opcode):
    """Lengths of a command's body that are just wrong."""
    lengths = LENGTHS_OF_BODY[opcode]
    near = {length + step for length in (min(lengths), max(lengths)) for step in (-1, 1)}
    return sorted(length for length in near - lengths if 0 <= length < frames.MAX_PAYLOAD)


async def compare(board, model, payload):
    """A command to both; the same reply, and nothing on the peer port."""
    (expected,) = model.admin(payload)
    got = await board.ask(payload)
    assert got == expected.payload, f"{payload.hex()}: expected {expected.payload.hex()}, got {got.hex()}"
    return Code(got[1])


async def compare_refusals(board, model):
    """Wrong lengths and opcodes, and every command with worthless contents. Returns the codes."""
    codes = set()
    for opcode in LENGTHS_OF_BODY:
        for length in one_more_or_less(opcode):
            assert await compare(board, model, bytes([opcode]) + bytes(length)) == Code.BAD_LENGTH
    for opcode in (0x00, 0x0B, 0x40, 0x81, 0xFF):
        assert await compare(board, model, bytes([opcode, 1])) == Code.UNKNOWN_COMMAND
    for opcode, lengths in LENGTHS_OF_BODY.items():
        first = {Opcode.ENROLL_CONFIRM: msg.E3, Opcode.IMPORT: msg.REVOKE}.get(opcode, records.MAX_PEERS)
        codes.add(await compare(board, model, bytes([opcode]) + bytes([first] * min(lengths))))
    codes.add(await compare(board, model, bytes([Opcode.ENROLL]) + start_enrollment(bytes(16))))
    for number in (0, 0xFF):
        codes.add(await compare(board, model, bytes([Opcode.PEER, number])))
    for body in ((0, 2), (0xFF, Carrier.WIRE), (PEERS[1] - 1, Carrier.TUNNEL)):
        codes.add(await compare(board, model, bytes([Opcode.CONNECT, *body])))
    return codes


def damaged():
    """Lines of bytes that are no frames, by what is wrong with them."""
    whole = frames.encode(bytes([Opcode.IDENTITY]))
    return {
        ErrorKind.CRC: whole[:2] + bytes([whole[2] ^ 1]) + whole[3:],
        ErrorKind.COBS: whole[:-2] + b"\0",
        ErrorKind.LENGTH: frames.cobs_encode(frames.crc16(b"").to_bytes(2, "little")) + b"\0",
    }


async def damaged_frames(board):
    """Each is named on the admin port; the peer port ignores it."""
    longest = frames.cobs_encode(bytes([Opcode.SEND]) * 130) + b"\0"
    for kind, line in (*damaged().items(), (ErrorKind.LENGTH, longest)):
        await board.peer.send(line)
        await board.admin.send(line)
        assert await board.until(board.replies) == bytes([0x80, Code.BAD_FRAME, kind])
    await board.admin.send(b"\0\0")
    assert await board.command(Opcode.IDENTITY) == board.identity.to_bytes()
    assert (board.replies, board.events) == ([], [])


async def garbage_from_the_peer(board):
    """Messages of each kind, too short, too long, and of the right length without worth: silence, and no write."""
    before = bytes(board.flash.memory), board.flash.programs
    quiet = cocotb.start_soon(board.peer.receive(1))
    for header in (msg.M1, msg.M2, msg.M3, msg.RESYNC, msg.DATA, 0x00, 0xFF):
        length = msg.LENGTHS.get(header, msg.DATA_OVERHEAD + 1)
        for size in sorted({1, length - 1, length, length + 1}):
            await board.peer.send(frames.encode(bytes([header]) + bytes(size - 1)))
    await board.rest()
    assert not quiet.done(), "an answer to garbage"
    quiet.cancel()
    assert (bytes(board.flash.memory), board.flash.programs) == before
    assert (board.replies, board.events) == ([], [])


# --------------------------------------------------------------------------------------------------------- the stories
@cocotb.test()
async def from_factory_and_back(dut):
    counts = silicon(1)
    _, board = await power_up(dut, (counts, blank()))
    assert board.identity == own_identity()
    await board.rest()
    assert board.secrets() == []
    assert board.leds() == 0
    model = reference(board.identity, counts, blank())

    await damaged_frames(board)
    codes = await compare_refusals(board, model)
    assert codes == {Code.OK, Code.NOT_ENROLLED, Code.NEED_BUTTON, Code.NO_ENROLLMENT, Code.NO_SESSION}
    await garbage_from_the_peer(board)

    entry = await board.enroll()
    await board.rest()
    assert board.secrets() == []
    assert board.leds() == READY
    model = reference(board.identity, counts, copy(board.flash))
    assert model.vault.state() is DeviceStateCode.ENROLLED
    puzzle, _, _, _ = make_puzzles(entry, FAR, PAIR_KEY)
    assert await compare(board, model, bytes([Opcode.IMPORT]) + puzzle) == Code.OK
    assert await compare(board, model, bytes([Opcode.IMPORT]) + puzzle) == Code.OLD_PUZZLE
    assert await compare(board, model, bytes([Opcode.STATUS])) == Code.OK
    await board.rest()
    assert board.secrets() == []

    cocotb.start_soon(board.press(LONG_PRESS))
    assert await board.until(board.events) == bytes([Event.RESET_DONE])
    await board.rest()
    assert board.leds() == 0
    assert bytes(board.flash.memory) == bytes(blank().memory)
    assert (await board.status()).state is DeviceStateCode.FACTORY


@cocotb.test()
async def from_records_to_session(dut):
    """The flash is written by the reference model: silicon, salt and records are all that a device needs."""
    counts, flash = silicon(2), blank()
    model = reference(own_identity(Bench(dut).parameters["clock_mhz"]), counts, flash)
    entry = enroll_model(model)
    puzzle, _, _, _ = make_puzzles(entry, FAR, PAIR_KEY)
    model_command(model, Opcode.IMPORT, puzzle)
    _, board = await power_up(dut, (counts, copy(flash)))
    await board.rest()
    assert board.secrets() == []
    assert board.leds() == READY
    codes = await compare_refusals(board, reference(board.identity, counts, copy(flash)))
    assert codes >= {Code.OK, Code.ALREADY_ENROLLED, Code.BAD_VALUE, Code.NO_SUCH_PEER, Code.NO_SESSION}
    await garbage_from_the_peer(board)

    far = far_end(entry)
    cocotb.start_soon(board.press(SHORT_PRESS))
    (m2,) = far.receive(await board.message(), Carrier.WIRE)
    await board.rest()
    assert board.secrets() == [], "nothing is kept while M2 is awaited"
    await board.peer.send(frames.encode(m2.message))
    far.receive(await board.message(), Carrier.WIRE)
    event = await board.until(board.events)
    assert event == bytes([Event.SESSION, Role.INITIATOR, *bytes(5)]) + far.session.session_id
    await board.rest()
    assert board.secrets("session") == []
    assert board.leds() == READY | IN_SESSION
    assert (await board.status()).session

    await garbage_from_the_peer(board)
    await board.refused(Opcode.SEND, b"", Code.BAD_LENGTH)
    await board.refused(Opcode.SEND, bytes(msg.TEXT_MAX + 1), Code.BAD_LENGTH)
    await board.command(Opcode.SEND, b"good morning")
    (heard,) = far.receive(await board.message(), Carrier.WIRE)
    assert heard.text == b"good morning"
    data = far.send(b"good evening")[0].message
    await board.peer.send(frames.encode(data[:-1] + bytes([data[-1] ^ 1])))  # altered: no trace
    await board.peer.send(frames.encode(data) * 2)
    assert await board.until(board.events) == bytes([Event.TEXT]) + b"good evening"
    await board.rest()
    assert board.events == []
    await board.command(Opcode.DISCONNECT)
    await board.refused(Opcode.SEND, b"?", Code.NO_SESSION)
    await board.rest()
    assert board.secrets() == []


def test_device():
    simulate_boards(1, __name__, "from_factory_and_back")


@pytest.mark.slow
@pytest.mark.parametrize("clock_mhz", [1, 24])
def test_device_with_records_of_the_model(clock_mhz):
    simulate_boards(1, __name__, "from_records_to_session", clock_mhz=clock_mhz)
