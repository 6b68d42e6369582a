"""BufferedModes against the reference model: as AsconModes, some cycles later."""

import cocotb
from amaranth.back import rtlil
from cocotb.triggers import RisingEdge
from ringpair_hdl.ascon import BufferedModes, Item, Start
from ringpair_protocol import ascon

from cocotb_tests.harness import Bench, simulate
from cocotb_tests.test_ascon import KEY, NONCE, AsconBench, aead, hash_cycles, hash_family, items, random_operation


class BufferedBench(AsconBench):
    """The state lies a level deeper."""

    @classmethod
    async def start(cls, dut):
        self = cls()
        self.dut, self.bench = dut, await Bench.start(dut)
        self.cmd = self.bench.driver("cmd", shape=Start)
        self.i = self.bench.driver("i", shape=Item)
        self.o = self.bench.monitor("o", stable=False)  # `o` does not wait in AEAD128
        cocotb.start_soon(self.compare())
        self.words = [getattr(dut.modes.sponge.state, f"x{k}") for k in range(5)]
        return self

    async def compare(self):
        """The shorter way to `modes.i.ready` is always right."""
        edge, modes = RisingEdge(self.bench.clk), self.dut.modes
        while True:
            await edge
            if int(self.dut.full.value):
                reads = int(modes.sponge.reading.value) and not int(self.dut.silent.value)
                assert bool(reads) == bool(int(modes.i__ready.value))


@cocotb.test()
async def stalled(dut):
    """Random operations with bytes held up; nothing is left after a tag."""
    bench = await BufferedBench.start(dut)
    for number in range(bench.bench.parameters["operations"]):
        operation = random_operation(bench.bench.random)
        bench.stall((0, 0.5, 0.8)[number % 3], 0)
        await bench.check(operation)
        if operation.start["aead"]:
            await bench.bench.cycles(3)
            assert bench.zero()


@cocotb.test()
async def asked(dut):
    """A hash gives each byte once when it is asked for in pieces, with pauses."""
    bench = await BufferedBench.start(dut)
    random = bench.bench.random
    for pause in (0, 0, 1, 2, 5, 20):
        message = random.randbytes(random.randrange(20))
        operation = hash_family("xof", message, 40)
        await bench.cmd.send([operation.start])
        await bench.i.send(operation.feed)
        got = b""
        while len(got) < 40:
            got += await bench.o.bytes(min(random.randrange(1, 12), 40 - len(got)))
            await bench.bench.cycles(1 + pause)
        assert got == operation.expected


@cocotb.test()
async def full_rate(dut):
    """Absorbing loses a few cycles an operation, not one a byte."""
    bench = await BufferedBench.start(dut)
    for n in range(0, 90, 8):
        operation = hash_family("xof", bytes(n), 8)
        began = bench.bench.now()
        await bench.cmd.send([operation.start])
        await bench.i.send(operation.feed)
        assert await bench.o.bytes(8) == operation.expected
        assert bench.bench.now() - began <= hash_cycles(n, 8) + 12  # 8 of them for the output


@cocotb.test()
async def in_place(dut):
    """The counterpart of a byte is there in the cycle that accepts it."""
    bench = await BufferedBench.start(dut)
    edge = RisingEdge(dut.clk)
    for length in (0, 1, 15, 16, 17, 40):
        text = bench.bench.random.randbytes(length)
        sealed = ascon.aead128_encrypt(KEY, NONCE, b"data", text)
        await bench.cmd.send([aead(KEY, NONCE, b"data", text).start])
        await bench.i.send(items(KEY, NONCE, KEY, b"data"))
        await bench.i.send([{"data": 0, "end": 1}])
        got = bytearray()
        dut.o__ready.value = 1
        for byte in text:
            dut.i__valid.value, dut.i__payload.value = 1, byte
            await edge
            while not int(dut.i__ready.value):
                await edge
            assert int(dut.o__valid.value)
            got.append(int(dut.o__payload.value))
        dut.i__valid.value = dut.o__ready.value = 0
        sending = cocotb.start_soon(bench.i.send([{"data": 0, "end": 1}, *items(KEY, KEY)]))
        assert bytes(got) + await bench.o.bytes(16) == sealed
        await sending
        await bench.bench.cycles(3)


@cocotb.test()
async def cleared(dut):
    """Two cycles after `clear` in any cycle of an operation: zero, silent, at rest, and the next operation is right."""
    bench = await BufferedBench.start(dut)
    random = bench.bench.random
    for _ in range(bench.bench.parameters["clears"]):
        bench.stall(random.choice((0, 0.5)), 0)
        running = cocotb.start_soon(bench.run(random_operation(random)))
        await bench.bench.cycles(random.randrange(4, 150))
        running.cancel()
        if hasattr(bench, "sending"):
            bench.sending.cancel()
        dut.cmd__valid.value = dut.i__valid.value = 0
        await bench.bench.pulse("clear")
        for cycle in range(20):
            await bench.bench.cycles()
            assert not int(dut.o__valid.value), "o is valid after clear"
            assert not cycle or bench.zero(), "the state is not zero after clear"
        assert int(dut.item.value) == 0
        bench.stall(0, 0)
        await bench.check(random_operation(random))


def simulate_modes(*tests, **parameters):
    simulate(BufferedModes(), __name__, tests=tests, parameters=parameters)


def test_operations():
    simulate_modes("stalled", "asked", "full_rate", "in_place", operations=40)


def test_cleared():
    simulate_modes("cleared", clears=40)


def test_converts():
    rtlil.convert(BufferedModes(), name="top")
