"""Health tests and byte output of the TRNG against the reference model."""

import cocotb
import pytest
from amaranth.back import rtlil
from cocotb.triggers import FallingEdge
from ringpair_hdl.trng import HealthTests, RingNoise, Trng
from ringpair_protocol import health

from cocotb_tests.harness import Bench, simulate

DECIMATION = 4  # the default in the last test


class Source:
    """Drives `sample` with what `draw()` returns at each `take`, and feeds the model; junk in the cycles between."""

    def __init__(self, bench, model, draw):
        self.bench, self.model, self.draw, self.samples = bench, model, draw, []
        cocotb.start_soon(self.run())

    async def run(self):
        dut, random = self.bench.dut, self.bench.random
        while True:
            await FallingEdge(self.bench.clk)
            if int(dut.take.value) and not int(dut.clear.value):
                bit = self.draw()
                self.samples.append(bit)
                self.model.feed(bit)
                dut.sample.value = bit
            else:
                dut.sample.value = random.getrandbits(1)


async def start(dut, draw, repetition=None, proportion=None, stable=False):
    bench = await Bench.start(dut)
    source = Source(bench, health.HealthTests(repetition, proportion), draw)
    sink = bench.monitor("o", stall=bench.parameters.get("stall", 0), stable=stable)
    return bench, source, sink


def bytes_of(samples):
    return {
        start: sum(bit << i for i, bit in enumerate(samples[start : start + 8])) for start in range(len(samples) - 7)
    }


@cocotb.test()
async def good_source(dut):
    bench, source, sink = await start(dut, lambda: bench.random.getrandbits(1), stable=True)
    await bench.cycles(100)
    assert source.samples == [], "nothing is taken before enable"
    dut.enable.value = 1
    await bench.until(dut.ready, limit=1025 * 32)
    assert len(source.samples) == health.WINDOW, "the start-up test takes a window"
    got = await sink.bytes(100)
    used = bytes_of(source.samples)
    place = health.WINDOW
    for byte in got:  # in order, without overlap, each eight samples in a row
        place = next(start for start in range(place, len(source.samples) - 7) if used[start] == byte) + 8
    assert place - health.WINDOW <= len(source.samples)
    if not bench.parameters.get("stall"):
        assert place == health.WINDOW + 800, "an eager consumer gets every sample"
    assert not int(dut.alarm.value)


@cocotb.test()
async def dead_sources(dut):
    """Stuck from the start, stuck later, biased: alarm at the model's sample, and never a byte after it."""
    state = {"mode": "good"}

    def draw():
        random = source.bench.random
        return {"good": random.getrandbits(1), "0": 0, "1": 1, "biased": int(random.random() < 0.87)}[state["mode"]]

    bench, source, _ = await start(dut, draw)
    dut.enable.value = 1
    dut.o__ready.value = 1
    for mode, good_first in (("0", False), ("1", False), ("0", True), ("1", True), ("biased", True), ("biased", False)):
        source.model.clear()
        await bench.pulse("clear")
        state["mode"] = "good" if good_first else mode
        if good_first:
            await bench.until(dut.ready, limit=40_000)
            await bench.cycles(bench.random.randrange(1000))
            dut.o__ready.value = bench.random.getrandbits(1)  # a byte may be waiting
            state["mode"] = mode
        for _ in range(100_000):
            await FallingEdge(bench.clk)
            assert not (int(dut.alarm.value) and int(dut.o__valid.value))
            assert int(dut.ready.value) <= (not int(dut.alarm.value))
            if int(dut.alarm.value):
                break
        assert source.model.alarm, mode
        state["mode"] = "good"
        dut.o__ready.value = 1
        for step in range(2500 * DECIMATION):  # it stays, whatever comes, enabled or not
            await FallingEdge(bench.clk)
            dut.enable.value = step // 500 % 2 == 0
            assert (int(dut.alarm.value), int(dut.ready.value), int(dut.o__valid.value)) == (1, 0, 0)
        dut.enable.value = 1


@cocotb.test()
async def alarm_matches_the_model(dut):
    """Small cutoffs, many alarms: the same samples raise them in gateware and model."""
    share = [0.5]
    parameters = ("repetition", "proportion")
    bench, source, _ = await start(
        dut, lambda: int(bench.random.random() < share[0]), *(HEALTH_SMALL[name] for name in parameters)
    )
    dut.enable.value = 1
    alarms = 0
    for _ in range(60):
        share[0] = bench.random.choice((0.5, 0.55, 0.6, 0.4))
        for _ in range(3000):
            await bench.cycles()
            if source.model.alarm:
                break
        await bench.cycles(2)
        assert int(dut.alarm.value) == source.model.alarm
        assert int(dut.ready.value) == source.model.ready
        alarms += source.model.alarm
        source.model.clear()
        await bench.pulse("clear")
    assert alarms > 10


@cocotb.test()
async def enable_and_clear_forget(dut):
    bench, source, sink = await start(dut, lambda: bench.random.getrandbits(1))
    for port, off in (("enable", 0), ("clear", 1)):
        dut.enable.value = 1
        await bench.until(dut.o__valid, limit=1100 * DECIMATION)
        getattr(dut, port).value = off
        await bench.cycles(2)
        assert (int(dut.o__valid.value), int(dut.ready.value)) == (0, 0)
        assert int(dut.o__payload.value) in (0, 0x80), "the byte is gone"
        getattr(dut, port).value = 1 - off
        source.model.clear()
        before = len(source.samples)
        await bench.until(dut.ready, limit=1100 * DECIMATION)
        assert len(source.samples) - before == health.WINDOW, "the start-up test runs again"
    await sink.bytes(3)


HEALTH_SMALL = {"repetition": 14, "proportion": 560}


@pytest.mark.parametrize("stall", [0, 0.99])
def test_trng(stall):
    simulate(Trng(DECIMATION), __name__, tests=["good_source"], parameters={"stall": stall})


def test_failures():
    simulate(Trng(DECIMATION), __name__, tests=["dead_sources", "enable_and_clear_forget"])


def test_alarms_match():
    simulate(Trng(2, HealthTests(**HEALTH_SMALL)), __name__, tests=["alarm_matches_the_model"])


def test_default_decimation():
    simulate(Trng(), __name__, tests=["good_source"])


def test_source_is_rings_of_lookup_tables():
    """RTLIL of the physical source: loops of kept cells that carry the ring's name, and two flip-flops."""
    text = rtlil.convert(RingNoise(), emit_src=False)
    for number, length in enumerate((3, 5, 7, 11)):
        assert text.count(f'attribute \\RING "trng_{number}"') == length
    assert text.count("cell \\SB_LUT4") == 3 + 5 + 7 + 11 + 1
    assert text.count("$dff") == 2 or text.count("$sdff") == 2 or text.count("update") == 2


def test_bad_arguments():
    with pytest.raises(ValueError, match="power of two, at least 2, not 3"):
        check(Trng, 3)
    with pytest.raises(ValueError, match="one to four odd ring lengths"):
        check(RingNoise, (4,))
    with pytest.raises(ValueError, match="got 1 and 810"):
        check(HealthTests, 1)


def check(component, *arguments):
    """Argument checks only: Amaranth warns of a component that is made and not used."""
    self = component.__new__(component)
    self._MustUse__silence = True
    self.__init__(*arguments)
