"""The PUF engine with reader and simulated rings, against the reference model."""

import os
import random
from pathlib import Path

import cocotb
import pytest
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

    def __init__(self, window=SHORT, quantizer=QUANTIZER, **options):
        self.window, self.engine = window, PufEngine(quantizer, **options)
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


def table(shift=None, sigma=puf.SIGMA_PPM):
    """A random table that uses all five bits of each entry, in steps of 2**shift; without a shift, the model's."""
    if shift is None:
        return QUANTIZER
    rng = random.Random(shift)
    digits = [-16, 15, *(rng.randint(-16, 15) for _ in range(puf.RINGS - 2))]
    rng.shuffle(digits)
    return Quantizer(puf.Layout(9, tuple(digit << shift for digit in digits)), sigma)


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
    quantizer = table(**bench.bench.parameters.get("table", {}))
    rng = random.Random(5)
    for low, high in ((0, 65_535), (2200, 2400), (65_000, 65_535), (0, 1)):
        counts = [rng.randint(low, high) for _ in range(puf.RINGS)]
        helper = rng.randbytes(puf.HELPER_BYTES)
        await bench.reconstruct(counts, helper)
        for candidate in puf.candidates(*quantizer.reconstruct(counts, helper), 5):
            assert (await bench.bits()).hex() == candidate.hex()
            await bench.command(Command.NEXT)


@cocotb.test()
async def enrolls_with_a_table(dut):
    """Bits and helper data of random sums, with the table of the parameters."""
    bench = await PufBench.start(dut)
    quantizer = table(**bench.bench.parameters["table"])
    rng = random.Random(6)
    for spread in (0.005, 0.04):
        total = [round(36_864 * (1 + rng.gauss(0, spread))) for _ in range(puf.RINGS)]
        bits, helper, _ = await bench.enroll(total)
        assert (bits, helper) == quantizer.enroll(total)


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


@pytest.mark.parametrize(("shift", "sigma"), [(0, 2000), (7, 5200), (8, 5200), (9, 10_000)])
def test_other_tables(shift, sigma):
    chosen = {"shift": shift, "sigma": sigma}
    tests = ["any_counts", "enrolls_with_a_table"]
    simulate(Puf(quantizer=table(**chosen)), __name__, tests=tests, parameters={"table": chosen})


def test_a_table_that_does_not_fit_is_refused():
    fine = puf.Layout(1, (2771, -2445, *[1] * 190))
    with pytest.raises(
        ValueError, match=r"expected a table as Layout.packed makes it, in steps of 256, not \(2771, -2445"
    ):
        PufEngine(Quantizer(fine))
    PufEngine(Quantizer(fine.packed()))


def test_searches_in_order():
    simulate(Puf(), __name__, tests=["searches_in_order"], parameters={"candidates": 150})


@cocotb.test()
async def keeps_the_budget(dut):
    """After the last candidate NEXT is refused, the candidate stays; without a reconstruction there is none."""
    bench = await PufBench.start(dut)
    budget = bench.bench.parameters["budget"]
    await bench.command(Command.NEXT)
    assert (int(dut.exhausted.value), int(dut.tries.value)) == (1, 0)
    total = sums(4)
    helper = QUANTIZER.enroll(total)[1]
    counts = one_read(total, 4)
    await bench.reconstruct(counts, helper)
    assert not int(dut.exhausted.value)
    expected = list(puf.candidates(*QUANTIZER.reconstruct(counts, helper), budget))
    for number in range(budget + 3):
        assert await bench.bits() == expected[min(number, budget - 1)]
        assert int(dut.tries.value) == min(number + 1, budget)
        assert int(dut.exhausted.value) == (number >= budget)
        await bench.command(Command.NEXT)
    await bench.reconstruct(counts, helper)
    assert (int(dut.exhausted.value), int(dut.tries.value)) == (0, 1)
    assert await bench.bits() == expected[0]


@cocotb.test()
async def notices_dead_rings(dut):
    """A ring that stands still, a sum that overflows; neither outlives the next measurement."""
    bench = await PufBench.start(dut)
    good = sums(6)
    for ring, count, dead in ((191, 0, 1), (5, 65_536, 1), (77, 65_535, 0)):
        bad = list(good)
        bad[ring] = count
        bits, helper, _ = await bench.enroll(bad)
        assert int(dut.dead.value) == dead
        if not dead:
            assert (bits, helper) == QUANTIZER.enroll(bad)


REGISTERS = {
    "engine.datapath": {"n": 0, "p": 0, "borrow": 0, "node": 1, "byte": 0, "bits": 0, "data": 0, "dead": 0},
    "engine.datapath.comparator": {"total": 0, "level": 0, "carry": 0, "product": 0},
}
"""Registers that have seen secrets, and their values after clearing."""


def inside(dut, path):
    for name in path.split("."):
        dut = getattr(dut, name)
    return dut


def words(dut):
    """All words of the count memory, through the hierarchy."""
    return [int(inside(dut, "engine.datapath.memory")[n].value) for n in range(256)]


@cocotb.test()
async def clears(dut):
    """CLEAR and `clear`: every word is 0 and no register keeps a trace, whatever the engine was doing."""
    bench = await PufBench.start(dut)
    total = sums(7)
    helper = QUANTIZER.enroll(total)[1]
    for way in ("command", "pin in NEXT", "pin in BITS", "pin in RECONSTRUCT", "pin in MEASURE"):
        await bench.reconstruct(one_read(total, 7), helper)
        for _ in range(4):
            await bench.command(Command.NEXT)
        assert all(words(dut)[:192])
        if way == "command":
            assert await bench.command(Command.CLEAR) < 500
        else:
            dut.cmd__payload.value, dut.cmd__valid.value = (
                int(Command[way.split()[-1].replace("MEASURE", "MEASURE_1")].value),
                1,
            )
            await bench.bench.cycles(101)  # MEASURE: in the first window
            dut.cmd__valid.value = 0
            await bench.bench.pulse("clear")
            await bench.bench.cycles(10)
            assert not int(dut.o__valid.value)
            assert not int(dut.cmd__ready.value)
            assert not int(dut.ring_run.value)
            await bench.command(Command.NEXT)  # waits for the end of the overwriting, and is refused
            assert int(dut.exhausted.value)
        assert words(dut) == [0] * 256, way
        assert int(dut.tries.value) == 0
        for module, registers in REGISTERS.items():
            for name, value in registers.items():
                assert int(inside(dut, f"{module}.{name}").value) == value, f"{name} after {way}"
        assert await bench.bits() == bytes(24)


@cocotb.test()
async def takes_the_promised_time(dut):
    """Cycles of each command; they do not depend on the counts."""
    bench = await PufBench.start(dut)
    parameters = bench.bench.parameters
    await bench.command(Command.CLEAR)  # also waits for the overwriting after reset
    took = []
    for seed in (8, 9):
        total = sums(seed)
        helper = QUANTIZER.enroll(total)[1]
        measure = await bench.measure_once(one_read(total, seed))
        sending = cocotb.start_soon(bench.i.send(helper))
        reconstruct = await bench.command(Command.RECONSTRUCT)
        await sending
        receiving = cocotb.start_soon(bench.o.bytes(puf.BITS_BYTES))
        took.append((measure, reconstruct, await bench.command(Command.BITS)))
        await receiving
    dut._log.info("MEASURE_1, RECONSTRUCT, BITS: %s", took)
    assert took[0] == took[1]
    measure, reconstruct, bits = took[0]
    assert measure <= 48 * (parameters["window"] + 50)
    assert reconstruct <= 6300  # two cycles a ring of them for the layout table
    assert bits <= 650
    assert set(bench.windows) == {parameters["window"]}
    assert bench.places[:48] == list(puf.PLACES)
    if parameters["window"] == 512:
        assert measure + reconstruct + bits <= 36_000 - 1_500


def test_keeps_the_budget():
    simulate(Puf(budget=12), __name__, tests=["keeps_the_budget"], parameters={"budget": 12})


def test_notices_dead_rings():
    simulate(Puf(), __name__, tests=["notices_dead_rings"])


def test_clears():
    simulate(Puf(window=120), __name__, tests=["clears"])


@pytest.mark.parametrize("frequency", [12_000_000, 24_000_000])
def test_takes_the_promised_time(frequency):
    window = puf.window_clocks(frequency)
    simulate(Puf(window), __name__, tests=["takes_the_promised_time"], parameters={"window": window})


def test_replays_measured_silicon():
    folder = os.environ.get("RINGPAIR_RO_DATA")
    if not folder:
        pytest.skip("RINGPAIR_RO_DATA (folder of spartan3e_ro_dev97.npz) is not set")
    numpy = pytest.importorskip("numpy")
    frequency = numpy.load(Path(folder, "spartan3e_ro_dev97.npz"))["freq_hz"][3, :192].astype(float)
    counts = numpy.round(frequency * 2304 / frequency.mean()).astype(int)
    parameters = {"reads": counts[:, :16].T.tolist(), "later": counts[:, 50].tolist()}
    simulate(Puf(), __name__, tests=["measured_silicon"], parameters=parameters)


@cocotb.test()
async def measured_silicon(dut):
    """Sixteen reads of a real chip, then one more."""
    bench = await PufBench.start(dut)
    bench.reads, later = bench.bench.parameters["reads"], bench.bench.parameters["later"]
    expected = QUANTIZER.enroll([sum(column) for column in zip(*bench.reads, strict=True)])
    await bench.command(Command.MEASURE_16)
    receiving = cocotb.start_soon(bench.o.bytes(puf.HELPER_BYTES))
    await bench.command(Command.ENROLL)
    assert (await receiving, await bench.bits()) == (expected[1], expected[0])
    await bench.reconstruct(later, expected[1])
    assert await bench.bits() == QUANTIZER.reconstruct(later, expected[1])[0] == expected[0]
