"""Whole devices in Icarus: a top with one or two of them, shortened where they only wait, and their surroundings.

Shortened are the waits (2 s are 100 000 cycles), the rings' window, the decimation of the noise, the number of places
for peers and the blank check of the flash. Everything else is the device as it is.
"""

import random
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import cocotb
from amaranth.hdl import Cat, Instance, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import RisingEdge
from ringpair_boards.virtual import LAYOUTS, VirtualBoard
from ringpair_hdl import device as device_module
from ringpair_hdl.link import Button
from ringpair_hdl.program import handshake, journal, pairing_program
from ringpair_hdl.trng import Trng
from ringpair_protocol import frames, puf, records
from ringpair_protocol.admin import Code, Event, Identity, Opcode, Status
from ringpair_protocol.device import DeviceModel
from ringpair_protocol.nor import NorFlash
from ringpair_protocol.pairing import finish_enrollment, start_enrollment
from ringpair_protocol.store import NorPort
from ringpair_protocol.vault import RingPuf

from cocotb_tests.flash import FLASH_SHIFTER, FlashBytes
from cocotb_tests.harness import Bench, simulate
from cocotb_tests.line import Line

DIVISOR = 4
BUDGET = 16
PEERS = {1: 2, 2: 1}
"""Places for pairings, by the number of boards."""
TICK_CLOCKS, TICKS_PER_SECOND = 1024, 49
PRESS_TICKS_PER_SECOND = 4
SHORT_PRESS, LONG_PRESS = 4 * TICK_CLOCKS, (10 * PRESS_TICKS_PER_SECOND + 4) * TICK_CLOCKS
"""Cycles."""
JEDEC = bytes.fromhex("ef4014")
QUANTIZER = puf.Quantizer(LAYOUTS["modeled"])


def short_program(identity, _):
    return pairing_program(identity, TICKS_PER_SECOND)


@contextmanager
def shortened(peers):
    """While a top is elaborated: see the head of this module."""
    button = partial(Button, tick_clocks=TICK_CLOCKS, ticks_per_second=PRESS_TICKS_PER_SECOND)
    with (
        patch.object(records, "MAX_PEERS", peers),
        patch.object(handshake, "MAX_PEERS", peers),
        patch.object(journal, "CHUNKS", 1),
        patch.object(device_module, "Trng", partial(Trng, decimation=4)),
        patch.object(device_module, "Button", button),
        patch.object(device_module, "pairing_program", short_program),
    ):
        yield


def board(clock_mhz=1):
    baud = clock_mhz * 1_000_000 // DIVISOR
    one = VirtualBoard(clock_mhz=clock_mhz, budget=BUDGET, admin_baud=baud, peer_baud=baud)
    one.device.window = 4  # cycles; the counts come from outside
    return one


def simulate_boards(count, test_module, test, *, clock_mhz=1):
    """Run one cocotb test on so many boards."""
    with shortened(PEERS[count]):
        boards, parameters = Boards(count, clock_mhz), {"clock_mhz": clock_mhz}
        simulate(boards, test_module, tests=[test], parameters=parameters, sources=[FLASH_SHIFTER])


class Boards(wiring.Component):
    """Some boards side by side; ports and a reset of each with a prefix: ``a_``, ``b_``."""

    def __init__(self, count, clock_mhz=1):
        self.boards = {"ab"[number]: board(clock_mhz) for number in range(count)}
        shifter = {"answer": In(8), "data": Out(8), "place": Out(3), "full": Out(1)}
        ports = {}
        for name, one in self.boards.items():
            ports |= {f"{name}_{port}": member for port, member in self.outer(one)}
            ports |= {f"{name}_flash_{port}": member for port, member in shifter.items()}
            ports[f"{name}_reset"] = In(1)
        super().__init__(ports)

    @staticmethod
    def outer(one):
        """Ports of a board that are not joined to something inside of the top."""
        members = one.signature.members.items()
        return [(port, member) for port, member in members if not port.startswith("trng_") and port != "flash_cipo"]

    def elaborate(self, platform):
        m = Module()
        for number, (name, one) in enumerate(self.boards.items()):
            noise = Signal(31, init=0x1234567 + number, name=f"{name}_noise")  # x^31 + x^3 + 1
            m.d.comb += one.trng_sample.eq(noise[0])
            with m.If(one.trng_take):
                m.d.sync += noise.eq(Cat(noise[1:], noise[0] ^ noise[3]))
            m.submodules[name] = ResetInserter({"sync": getattr(self, f"{name}_reset")})(one)
            for port, member in self.outer(one):
                inner, outer = getattr(one, port), getattr(self, f"{name}_{port}")
                m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
            m.submodules[f"{name}_flash"] = Instance(
                "flash_shifter",
                i_sck=one.flash_sck,
                i_cs_n=one.flash_cs_n,
                i_copi=one.flash_copi,
                o_cipo=one.flash_cipo,
                i_answer=getattr(self, f"{name}_flash_answer"),
                **{f"o_{port}": getattr(self, f"{name}_flash_{port}") for port in ("data", "place", "full")},
            )
        return m


def silicon(seed):
    """Counts of 192 rings, the same in every read."""
    rng = random.Random(seed)
    entries = LAYOUTS["modeled"].entries
    return [round(2316 * (1 + entry / (1 << puf.FRACTION_BITS) + 0.0049 * rng.gauss(0, 1))) for entry in entries]


def blank(seed=0):
    return NorFlash(bytearray(b"\xff" * records.STORE_END), jedec=JEDEC, seed=seed)


def copy(flash):
    return NorFlash(bytearray(flash.memory), jedec=JEDEC)


def reference(identity, counts, flash):
    """The reference model of a device with this silicon and this flash, powered up."""
    model = DeviceModel(
        RingPuf(lambda: counts, QUANTIZER, BUDGET), random.Random(1).randbytes, NorPort(flash), identity, JEDEC
    )
    model.boot()
    return model


def model_command(model, opcode, body=b""):
    """A command to a model; the body of the reply, which must be OK."""
    reply = model.admin(bytes([opcode]) + body)[0].payload
    assert reply[:2] == bytes([0x80 | opcode, Code.OK]), reply.hex()
    return reply[2:]


def enroll_model(model):
    """Enrolls a model as `Board.enroll` does a board."""
    model.button = True
    entry, e3 = finish_enrollment(bytes(16), model_command(model, Opcode.ENROLL, start_enrollment(bytes(16))))
    model.button = False
    model_command(model, Opcode.ENROLL_CONFIRM, e3)
    return entry


def own_identity(clock_mhz=1):
    return board(clock_mhz).device.identity


async def power_up(dut, *boards):
    """A bench and its boards, running. `boards` are (silicon, flash); each is told of by STARTED."""
    bench = await Bench.start(dut)
    around = [Board(bench, name, *one) for name, one in zip("ab", boards, strict=False)]
    dut.rst.value = 1
    await bench.cycles(4)
    dut.rst.value = 0
    for one in around:
        hello = await one.until(one.events)
        assert hello[0] == Event.STARTED
        one.identity = Identity.from_bytes(hello[1:])
    return bench, *around


class Board:
    """What is around one board: rings, noise, flash, button, and a host on the admin port.

    Attributes
    ----------
    events, replies : list
        Payloads of the admin port.
    """

    def __init__(self, bench, name, counts, flash):
        self.bench, self.name, self.counts, self.flash = bench, name, counts, flash
        self.admin = Line(bench, DIVISOR, rx=f"{name}_admin_rx", tx=f"{name}_admin_tx")
        self.peer = Line(bench, DIVISOR, rx=f"{name}_peer_rx", tx=f"{name}_peer_tx")
        self.admin.patience = self.peer.patience = 10**7
        self.events, self.replies = [], []
        for work in (self.rings(), self.listen()):
            cocotb.start_soon(work)
        FlashBytes(bench, self.flash, speedup=1000.0, prefix=f"{name}_flash_")

    def port(self, name):
        return getattr(self.bench.dut, f"{self.name}_{name}")

    async def rings(self):
        run, place = RisingEdge(self.port("ring_run")), self.port("ring_index")
        ports = [self.port(f"ring_count{channel}") for channel in range(puf.CHANNELS)]
        while True:
            await run
            await RisingEdge(self.bench.clk)  # the place comes in the same cycle as `run`, not before it
            index = int(place.value)
            for channel, port in enumerate(ports):
                port.value = self.counts[puf.ring_number(channel, index)]

    async def listen(self):
        while True:
            (payload,) = frames.Decoder().feed(await self.admin.receive_frame())
            (self.replies if payload[0] < Event.STARTED else self.events).append(payload)

    async def until(self, queue, limit=1_500_000):
        """The next entry of a list that others fill."""
        end = self.bench.now() + limit
        while not queue:
            await self.bench.cycles(100)
            assert self.bench.now() < end, (
                f"{self.name}: nothing within {limit} cycles, phase {self.port('phase').value}"
            )
        return queue.pop(0)

    async def ask(self, payload):
        """Send a command; its reply."""
        await self.admin.send(frames.encode(payload))
        return await self.until(self.replies)

    async def command(self, opcode, body=b""):
        """Send a command; the body of the reply, which must be OK."""
        reply = await self.ask(bytes([opcode]) + body)
        assert reply[:2] == bytes([0x80 | opcode, Code.OK]), reply.hex()
        return reply[2:]

    async def refused(self, opcode, body, code):
        reply = await self.ask(bytes([opcode]) + body)
        assert reply == bytes([0x80 | opcode, code]), f"opcode {opcode:#x}: expected {code!r}, got {reply.hex()}"

    async def status(self):
        return Status.from_bytes(await self.command(Opcode.STATUS))

    async def message(self):
        """The next frame on the peer port."""
        (payload,) = frames.Decoder().feed(await self.peer.receive_frame())
        return payload

    async def enroll(self):
        self.port("button").value = 1
        await self.bench.cycles(SHORT_PRESS)
        e2 = await self.command(Opcode.ENROLL, start_enrollment(bytes(16)))
        self.port("button").value = 0
        entry, e3 = finish_enrollment(bytes(16), e2)
        assert await self.command(Opcode.ENROLL_CONFIRM, e3) == entry.device_id
        return entry

    async def press(self, cycles):
        self.port("button").value = 1
        await self.bench.cycles(cycles)
        self.port("button").value = 0

    async def rest(self):
        """Until the device waits for something to come."""
        for calm in range(3):
            while int(self.port("phase").value):
                await self.bench.cycles(100)
            await self.bench.cycles(200 + calm)

    def leds(self):
        return int(self.port("led").value)

    def secrets(self, *allowed):
        """Names of the secret fields of the scratchpad in which anything is left, but those allowed."""
        pad = self.scratchpad()
        _, memory = pairing_program(self.identity, TICKS_PER_SECOND)
        fields = [field for field in memory.pad.fields.values() if field.secret and field.name not in allowed]
        return [field.name for field in fields if any(int(pad[k].value) for k in range(field.address, field.end))]

    def scratchpad(self):
        return getattr(self.bench.dut, self.name).device.sequencer.pad

    async def cut_power(self):
        """Off, now: a running flash operation stays half done; then on, with all memories as in the bitstream."""
        await self.bench.until(self.port("flash_cs_n"))  # the model of the flash takes whole bytes only
        self.port("reset").value = 1
        await self.bench.cycles(2)
        self.flash.cut_power()
        program, _ = pairing_program(self.identity, TICKS_PER_SECOND)
        pad = self.scratchpad()
        for address, byte in enumerate(program.pad.init):
            pad[address].value = byte
        await self.bench.cycles(2)
        self.port("reset").value = 0
