"""Button: bounces, short and long presses, at both clock frequencies."""

import cocotb
import pytest
from ringpair_hdl.link.button import Button

from cocotb_tests.harness import Bench, simulate

TICK, SECOND = 8, 3  # cycles, ticks


class Events:
    """Counts the strobes."""

    def __init__(self, bench):
        self.bench, self.short, self.long = bench, 0, 0
        cocotb.start_soon(self.run())

    async def run(self):
        while True:
            await self.bench.cycles()
            self.short += int(self.bench.dut.short.value)
            self.long += int(self.bench.dut.long.value)

    def take(self):
        events = self.short, self.long
        self.short = self.long = 0
        return events


async def bounce(bench, level):
    """Within less than a tick the pin changes several times before it is at `level`."""
    for _ in range(5):
        bench.dut.pin.value = bench.random.getrandbits(1)
        await bench.cycles(1)
    bench.dut.pin.value = level


async def hold(bench, seconds):
    await bounce(bench, 1)
    await bench.cycles(round(seconds * SECOND * TICK) - 5)
    await bounce(bench, 0)
    await bench.cycles(4 * TICK)


@cocotb.test()
async def presses(dut):
    bench = await Bench.start(dut)
    events = Events(bench)
    await bench.cycles(100)
    assert events.take() == (0, 0)
    for seconds, expected in ((1.2, (1, 0)), (1.6, (1, 0)), (2.9, (0, 0)), (9, (0, 0)), (11, (0, 1)), (40, (0, 1))):
        await hold(bench, seconds)
        assert events.take() == expected, f"{seconds} s"
        assert not int(dut.pressed.value)
    await hold(bench, 1)
    assert events.take() == (1, 0)


@cocotb.test()
async def long_comes_while_held(dut):
    bench = await Bench.start(dut)
    dut.pin.value = 1
    waited = await bench.until(dut.long, limit=12 * SECOND * TICK)
    assert 10 * SECOND * TICK <= waited <= (10 * SECOND + 4) * TICK
    assert int(dut.pressed.value)
    await bench.cycles(1)
    assert not int(dut.long.value)


@cocotb.test()
async def ignores_glitches(dut):
    bench = await Bench.start(dut)
    events = Events(bench)
    for level in (1, 0):  # resting low, then resting high: pulses shorter than a tick change nothing
        for _ in range(30):
            dut.pin.value = level
            await bench.cycles(bench.random.randrange(1, TICK))
            dut.pin.value = 1 - level
            await bench.cycles(bench.random.randrange(TICK + 2, 3 * TICK))
            assert int(dut.pressed.value) == 1 - level
        dut.pin.value = level
        await bench.cycles(4 * TICK)
        assert int(dut.pressed.value) == level
    await bench.cycles(4 * TICK)
    assert sum(events.take()) <= 1


@cocotb.test()
async def ticks(dut):
    bench = await Bench.start(dut)
    await bench.until(dut.tick)
    for _ in range(5):
        assert await bench.until(dut.tick) == TICK


def test_button():
    simulate(Button(12_000_000, tick_clocks=TICK, ticks_per_second=SECOND), __name__)


def test_times():
    sizes = {}
    for clk_hz in (12_000_000, 24_000_000):
        button = Button(clk_hz)
        button._MustUse__silence = True
        assert 0.005 < button.tick_clocks / clk_hz < 0.015
        sizes[clk_hz] = button.tick_clocks, button.ticks_per_second
    assert sizes == {12_000_000: (131_072, 92), 24_000_000: (262_144, 92)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clk_hz": 0}, "clock frequency in hertz, at least 1000, not 0"),
        ({"clk_hz": 12_000_000, "tick_clocks": 12}, "power of two, at least 2, not 12"),
        ({"clk_hz": 12_000, "tick_clocks": 1 << 20}, "a second must be at least one tick"),
    ],
)
def test_bad_arguments(arguments, message):
    button = Button.__new__(Button)
    button._MustUse__silence = True
    with pytest.raises(ValueError, match=message):
        button.__init__(**arguments)
