"""The PUF engine with reader and simulated rings, against the reference model."""

import random

import cocotb
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import RisingEdge
from ringpair_hdl.puf.engine import Command, PufEngine
from ringpair_hdl.puf.rings import RingReader, SimulatedRings, connect_rings
from ringpair_protocol import puf
from ringpair_protocol.puf import MODELED_LAYOUT, Quantizer

from cocotb_tests.harness import Bench, simulate

QUANTIZER = Quantizer(MODELED_LAYOUT)
SHORT = 4  # window of most tests: the bench gives the counts, so its length changes nothing


class Puf(wiring.Component):
    """Engine, reader and simulated rings, as in a virtual board."""

    def __init__(self, window=SHORT, **options):
        self.window, self.engine = window, PufEngine(QUANTIZER, **options)
        counts = {f"ring_count{channel}": In(16) for channel in range(puf.CHANNELS)}
        engine = {name: member for name, member in self.engine.signature.members.items() if name != "read"}
        super().__init__({**engine, "ring_index": Out(6), "ring_run": Out(1), **counts})

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = self.engine
        m.submodules.reader = reader = RingReader(self.window)
        m.submodules.rings = rings = SimulatedRings()
        wiring.connect(m, engine.read, reader.read)
        connect_rings(m, reader.rings, rings)
        for name in ("cmd", "i", "o"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(engine, name))
        for inner, names in ((engine, ("tries", "exhausted", "dead")), (rings, ("ring_index", "ring_run"))):
            m.d.comb += [getattr(self, name).eq(getattr(inner, name)) for name in names]
        m.d.comb += engine.clear.eq(self.clear)
        for name in (f"ring_count{channel}" for channel in range(puf.CHANNELS)):
            m.d.comb += getattr(rings, name).eq(getattr(self, name))
        return m


def sums(seed, spread=0.0049):
    """Sums of 16 reads of a modeled board."""
    rng = random.Random(seed)
    return [round(36_864 * (1 + rng.gauss(0, spread) + entry / 2**18)) for entry in MODELED_LAYOUT.entries]


def reads_of(total):
    """16 reads with a given sum."""
    return [(total + n) // 16 for n in range(16)]


class PufBench:
    """Gives counts when rings run, and orders commands."""

    def __init__(self, bench):
        self.bench, self.dut = bench, bench.dut
        self.reads, self.windows, self.places = [], [], []

    @classmethod
    async def start(cls, dut, stall=0.0):
        bench = cls(await Bench.start(dut))
        bench.i, bench.o = bench.bench.driver("i", stall=stall), bench.bench.monitor("o", stall=stall)
        cocotb.start_soon(bench.rings())
        return bench

    async def rings(self):
        """Counts of `self.reads[k]` in the k-th measurement of each place; lengths of the windows."""
        dut, edge, seen = self.dut, RisingEdge(self.bench.clk), {}
        while True:
            await edge
            if not int(dut.ring_run.value):
                continue
            place, length = int(dut.ring_index.value), 0
            number = seen[place] = seen.get(place, -1) + 1
            counts = self.reads[number % len(self.reads)] if self.reads else [0] * puf.RINGS
            for channel in range(puf.CHANNELS):
                getattr(dut, f"ring_count{channel}").value = counts[puf.ring_number(channel, place)]
            while int(dut.ring_run.value):
                assert int(dut.ring_index.value) == place
                length += 1
                await edge
            self.windows.append(length)
            self.places.append(place)

    async def command(self, command, *, limit=700_000):
        """Order it and wait for its end; returns the cycles it took."""
        dut, edge = self.dut, RisingEdge(self.bench.clk)
        dut.cmd__payload.value, dut.cmd__valid.value = int(command.value), 1
        cycles = 0
        while True:
            await edge
            cycles += 1
            if int(dut.cmd__ready.value):
                break
            assert cycles < limit, f"{command} did not end within {limit} cycles"
        dut.cmd__valid.value = 0
        await edge
        return cycles

    async def measure_once(self, counts):
        self.reads = [list(counts)]
        return await self.command(Command.MEASURE_1)

    async def enroll(self, total):
        """(bits, helper, cycles of ENROLL) from sums of 16 reads."""
        columns = [reads_of(count) for count in total]
        self.reads = [[column[k] for column in columns] for k in range(16)]
        await self.command(Command.MEASURE_16)
        helper = cocotb.start_soon(self.o.bytes(puf.HELPER_BYTES))
        cycles = await self.command(Command.ENROLL)
        return await self.bits(), await helper, cycles

    async def reconstruct(self, counts, helper):
        """Cycles of RECONSTRUCT."""
        await self.measure_once(counts)
        sending = cocotb.start_soon(self.i.send(helper))
        cycles = await self.command(Command.RECONSTRUCT)
        await sending
        return cycles

    async def bits(self):
        receiving = cocotb.start_soon(self.o.bytes(puf.BITS_BYTES))
        await self.command(Command.BITS)
        return await receiving


def one_read(total, seed, spread=0.00035):
    rng = random.Random(1000 + seed)
    return [round(count / 16 * (1 + rng.gauss(0, spread))) for count in total]


@cocotb.test()
async def enrolls_and_reconstructs(dut):
    """Modeled counts, with stalls: bits, helper data and status as in the reference."""
    bench = await PufBench.start(dut, stall=0.4)
    for seed in (1, 2):
        total = sums(seed)
        expected = QUANTIZER.enroll(total)
        bits, helper, _ = await bench.enroll(total)
        assert (bits.hex(), helper.hex()) == tuple(part.hex() for part in expected)
        assert not int(dut.dead.value)
        assert int(dut.tries.value) == 0
        counts = one_read(total, seed)
        await bench.reconstruct(counts, helper)
        assert await bench.bits() == QUANTIZER.reconstruct(counts, helper)[0] == bits
        assert int(dut.tries.value) == 1


@cocotb.test()
async def any_counts(dut):
    """Random counts of the whole range, and random helper data: bits and search as in the reference."""
    bench = await PufBench.start(dut)
    rng = random.Random(5)
    for low, high in ((0, 65_535), (2200, 2400), (65_000, 65_535), (0, 1)):
        counts = [rng.randint(low, high) for _ in range(puf.RINGS)]
        helper = rng.randbytes(puf.HELPER_BYTES)
        await bench.reconstruct(counts, helper)
        for candidate in puf.candidates(*QUANTIZER.reconstruct(counts, helper), 8):
            assert (await bench.bits()).hex() == candidate.hex()
            await bench.command(Command.NEXT)


@cocotb.test()
async def searches_in_order(dut):
    """Some hundred candidates, one after the other."""
    bench = await PufBench.start(dut)
    total = sums(3)
    helper = QUANTIZER.enroll(total)[1]
    counts = one_read(total, 3, spread=0.002)
    counts[11] = counts[12]  # equal margins or not: ties go by ring number
    await bench.reconstruct(counts, helper)
    start, margins = QUANTIZER.reconstruct(counts, helper)
    longest = 0
    for number, candidate in enumerate(puf.candidates(start, margins, bench.bench.parameters["candidates"])):
        if number:
            longest = max(longest, await bench.command(Command.NEXT))
        assert int(dut.tries.value) == number + 1
        assert (await bench.bits()).hex() == candidate.hex(), f"candidate {number}"
    assert longest <= 1700
    dut._log.info("longest NEXT: %d cycles", longest)


def test_enrolls_and_reconstructs():
    simulate(Puf(), __name__, tests=["enrolls_and_reconstructs", "any_counts"])


def test_searches_in_order():
    simulate(Puf(), __name__, tests=["searches_in_order"], parameters={"candidates": 150})
