"""The characterization gateware on its serial line: counts of every place, noise bit by bit, refusals."""

import cocotb
import pytest
from amaranth.back import rtlil
from amaranth.lib import wiring
from cocotb.triggers import RisingEdge
from ringpair_boards.virtual_characterize import VirtualCharacterizer
from ringpair_hdl.characterize import Characterizer
from ringpair_hdl.puf.rings import contains_simulated_rings
from ringpair_protocol import frames
from ringpair_protocol.admin import REPLY, Code, Event, Identity, Profile
from ringpair_protocol.characterize import (
    BUFFER_BYTES,
    FIELDS,
    MAX_NOISE,
    MAX_READINGS,
    PLACES_IN_ORDER,
    Opcode,
    capture_command,
    noise_command,
    parse_readings,
    read_command,
    reply_body,
)

from cocotb_tests.harness import Bench, simulate
from cocotb_tests.line import Line

DIVISOR = 4
BAUD = 3_000_000
GATEWARE = b"gateware"


def count_of(place, channel, read):
    """What the bench lets the rings count: another number for every ring and read, up to the largest."""
    return (place * 4 + channel) * 251 + read * 7 & 0xFFFF or 0xFFFF


class Port:
    """The serial line of the gateware, rings that count, and a noise source of known bits."""

    @classmethod
    async def start(cls, dut):
        self = cls()
        self.dut, self.bench = dut, await Bench.start(dut)
        self.line = await Line.start(self.bench, DIVISOR, rx="admin_rx", tx="admin_tx")
        self.line.patience = 30_000
        self.windows, self.places, self.samples, self.taken = [], [], [], []
        cocotb.start_soon(self.rings())
        cocotb.start_soon(self.noise())
        return self

    async def rings(self):
        dut, edge = self.dut, RisingEdge(self.bench.clk)
        while True:
            await edge
            if int(dut.ring_run.value):
                place, window = int(dut.ring_index.value), 0
                read = self.places.count(place)
                self.places.append(place)
                for channel in range(4):
                    getattr(dut, f"ring_count{channel}").value = count_of(place, channel, read)
                while int(dut.ring_run.value):
                    window += 1
                    await edge
                self.windows.append(window)

    async def noise(self):
        edge = RisingEdge(self.bench.clk)
        while True:
            bit = self.bench.random.getrandbits(1)
            self.dut.trng_sample.value = bit
            await edge
            if int(self.dut.trng_take.value):
                self.samples.append(bit)
                self.taken.append(self.bench.now())

    async def frame(self):
        (payload,) = frames.Decoder().feed(await self.line.receive_frame())
        return payload

    async def ask(self, opcode, body=b""):
        """Code and body of the reply."""
        cocotb.start_soon(self.line.send(frames.encode(bytes([opcode]) + body)))
        reply = await self.frame()
        assert reply[0] == REPLY | opcode
        return Code(reply[1]), reply[2:]


@cocotb.test()
async def starts(dut):
    """It says that it started, then answers; nothing moves while it rests."""
    port = await Port.start(dut)
    identity = Identity.from_bytes((await port.frame())[1:])
    assert (identity.profile, identity.simulated, identity.gateware) == (Profile.CHARACTERIZE, True, GATEWARE)
    for _ in range(2):
        assert await port.ask(Opcode.IDENTITY) == (Code.OK, identity.to_bytes())
    await port.bench.cycles(20)
    assert int(dut.idle.value)
    assert int(dut.led.value) == 0b101
    assert (int(dut.peer_tx.value), int(dut.flash_cs_n.value)) == (1, 1)


@cocotb.test()
async def reads(dut):
    """Each place once, in order, with the window asked for; then repeats, and the wrap from the last to the first."""
    port = await Port.start(dut)
    assert (await port.frame())[0] == Event.STARTED
    for first in range(0, 48, MAX_READINGS):
        places = PLACES_IN_ORDER[first : first + MAX_READINGS]
        code, body = await port.ask(Opcode.READ, read_command(places[0], len(places), 1, 3))
        assert code == Code.OK
        assert parse_readings(body) == [tuple(count_of(place, c, 0) for c in range(4)) for place in places]
        assert reply_body(parse_readings(body)) == body
    assert tuple(port.places) == PLACES_IN_ORDER
    assert set(port.windows) == {3}
    for window, place, readings, repeats in ((1, 55, 5, 2), (300, 23, 4, 3), (17, 8, 3, 255)):
        port.places.clear()
        code, body = await port.ask(Opcode.READ, read_command(place, readings, repeats, window))
        at = PLACES_IN_ORDER.index(place)
        expected = [PLACES_IN_ORDER[(at + n // repeats) % 48] for n in range(readings)]
        assert (code, port.places) == (Code.OK, expected)
        assert len(parse_readings(body)) == readings
        assert set(port.windows[-readings:]) == {window}


@cocotb.test()
async def captures(dut):
    """Every sample of a capture in its order, one every `interval` clocks, twice over the same buffer."""
    port = await Port.start(dut)
    await port.frame()
    assert await port.ask(Opcode.NOISE, noise_command(BUFFER_BYTES - 1, 1)) == (Code.OK, b"\0")
    for interval in (1, 3):
        port.samples.clear()
        port.taken.clear()
        assert await port.ask(Opcode.CAPTURE, capture_command(interval)) == (Code.OK, b"")
        assert len(port.samples) == 8 * BUFFER_BYTES
        assert {b - a for a, b in zip(port.taken, port.taken[1:], strict=False)} == {interval}
        packed = sum(bit << n for n, bit in enumerate(port.samples)).to_bytes(BUFFER_BYTES, "little")
        for offset, length in ((0, MAX_NOISE), (1000, 5), (BUFFER_BYTES - MAX_NOISE, MAX_NOISE), (BUFFER_BYTES - 1, 1)):
            code, body = await port.ask(Opcode.NOISE, noise_command(offset, length))
            assert (code, body) == (Code.OK, packed[offset : offset + length])


def refusals():
    """Commands that are refused, and why."""
    yield 0x00, b"", Code.UNKNOWN_COMMAND
    yield 0x02, b"", Code.UNKNOWN_COMMAND
    yield 0x3F, bytes(60), Code.UNKNOWN_COMMAND
    for opcode, fields in FIELDS.items():
        length = sum(size for _, size in fields)
        for wrong in {0, length - 1, length + 1, 125} - {length, -1}:
            yield opcode, b"\1" * wrong, Code.BAD_LENGTH
    for place in (24, 31, 56, 63, 64, 128, 255):
        yield Opcode.READ, bytes([place, 1, 1, 1, 0]), Code.BAD_VALUE
    for body in ((0, 0, 1, 1, 0), (0, 16, 1, 1, 0), (0, 255, 1, 1, 0), (0, 1, 0, 1, 0), (0, 1, 1, 0, 0)):
        yield Opcode.READ, bytes(body), Code.BAD_VALUE
    yield Opcode.CAPTURE, b"\0", Code.BAD_VALUE
    for offset, length in (
        (0, 0),
        (0, MAX_NOISE + 1),
        (0, 255),
        (BUFFER_BYTES - 1, 2),
        (BUFFER_BYTES, 1),
        (65535, 124),
    ):
        yield Opcode.NOISE, offset.to_bytes(2, "little") + bytes([length]), Code.BAD_VALUE


@cocotb.test()
async def refuses(dut):
    """Whatever is no command gets its reason, and nothing is measured."""
    port = await Port.start(dut)
    await port.frame()
    for opcode, body, code in refusals():
        assert await port.ask(opcode, body) == (code, b""), (opcode, body)
    cocotb.start_soon(port.line.send(b"\3\7\7\0"))
    assert await port.frame() == bytes([REPLY, Code.BAD_FRAME, frames.ErrorKind.LENGTH])
    assert not port.places
    assert not port.samples
    assert (await port.ask(Opcode.READ, read_command(0, 1, 1, 2)))[0] == Code.OK


@pytest.mark.parametrize("tests", [["starts", "refuses"], ["reads"], ["captures"]])
def test_line(tests):
    simulate(VirtualCharacterizer(gateware=GATEWARE, admin_baud=BAUD), __name__, tests=tests)


def test_same_ports_as_the_device():
    """The compiled harness of virtual boards runs either."""
    from ringpair_boards.virtual import VirtualBoard

    tops = [VirtualCharacterizer(), VirtualBoard()]
    widths = [{name: (m.flow, m.shape) for name, m in top.signature.members.items()} for top in tops]
    assert widths[0] == widths[1]
    for top in tops:
        assert contains_simulated_rings(rtlil.convert(top, name="top", emit_src=False))


def test_no_key_path():
    """Neither sponge nor flash nor program: nothing but port, reader, buffer."""
    identity = Identity(Profile.CHARACTERIZE, False, 12, bytes(8), bytes(8), 0)
    core = Characterizer(identity)
    names = {name for name, _ in core.signature.members.items()}
    assert not [name for name in names if "flash" in name or "peer" in name]
    modules = {
        line for line in rtlil.convert(core, name="top", emit_src=False).splitlines() if line.startswith("module")
    }
    known = ("port", "reader", "identity", "buffer")
    assert all(line == "module \\top" or line.split(".")[1].split("$")[0] in known for line in modules), modules
    assert isinstance(core, wiring.Component)


def test_profile_is_checked():
    with pytest.raises(ValueError, match="not PAIR"):
        Characterizer(Identity(Profile.PAIR, False, 12, bytes(8), bytes(8), 0))
