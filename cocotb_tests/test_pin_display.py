"""The display of the PIN: what it tells and shows, when, and that nothing of it stays."""

import cocotb
import pytest
from ringpair_hdl.pin_display import PAIR_TICKS, PAIRS, ROUNDS, PinCommand, PinDisplay
from ringpair_protocol.binding import PIN_DIGITS, SEGMENTS, digits

from cocotb_tests.harness import Bench, simulate

BLANK = ((0, 0), (0, 0))


class Display:
    """The display, and a person before it."""

    def __init__(self, bench):
        self.bench, self.dut, self.stall = bench, bench.dut, bench.parameters["stall"]

    async def do(self, command, given=b""):
        await self.bench.driver("cmd").send([command])
        if given:
            await self.bench.driver("i", stall=self.stall).send(list(given))
            await self.bench.cycles()

    async def tell(self):
        await self.do(PinCommand.TELL)
        taken = bytearray()
        while len(taken) < PIN_DIGITS:
            ready = self.bench.random.random() >= self.stall
            self.dut.o__ready.value = ready
            await self.bench.cycles()
            if ready and int(self.dut.o__valid.value):
                taken.append(int(self.dut.o__payload.value))
        self.dut.o__ready.value = 0
        await self.bench.cycles()
        assert not int(self.dut.o__valid.value)
        return bytes(taken)

    async def look(self):
        """Both sides: segments, and which digit is lit."""
        seen = []
        for side in (0, 1):
            self.dut.side.value = side
            await self.bench.cycles()
            seen.append((int(self.dut.segments.value), int(self.dut.right.value)))
        return tuple(seen)

    async def pass_time(self, ticks):
        self.dut.tick.value = 1
        await self.bench.cycles(ticks)
        self.dut.tick.value = 0
        await self.bench.cycles()


def pair_of(pin, number):
    """What is lit for a pair of digits."""
    left, right = (SEGMENTS[digit & 7] for digit in pin[2 * number : 2 * number + 2])
    return (left, 0), (right, 1)


@cocotb.test()
async def shows(dut):
    """Pair after pair with a pause behind each, a longer one behind the last; telling does not disturb it."""
    display = Display(await Bench.start(dut))
    assert await display.look() == BLANK
    assert await display.tell() == bytes(PIN_DIGITS)
    for _ in range(4):
        raw = display.bench.random.randbytes(PIN_DIGITS)
        await display.do(PinCommand.SHOW, raw)
        for number in [*range(PAIRS), 0]:
            lit = PAIR_TICKS // 2 if number == PAIRS - 1 else PAIR_TICKS * 3 // 4
            for ticks, seen in ((0, pair_of(raw, number)), (lit - 1, pair_of(raw, number)), (1, BLANK)):
                await display.pass_time(ticks)
                assert await display.look() == seen
                assert await display.tell() == digits(raw)
            await display.pass_time(PAIR_TICKS - lit - 1)
            assert await display.look() == BLANK
            await display.pass_time(1)


@cocotb.test()
async def forgets(dut):
    """By a command, by another PIN, or when its time is over."""
    display = Display(await Bench.start(dut))
    raw = display.bench.random.randbytes(PIN_DIGITS)
    for kind in (PinCommand.SHOW, PinCommand.KEEP):
        await display.do(kind, raw)
        assert await display.look() == (pair_of(raw, 0) if kind is PinCommand.SHOW else BLANK)
        assert await display.tell() == digits(raw)
        for unfinished in (PinCommand.KEEP, PinCommand.SHOW):
            await display.do(kind, raw)
            await display.do(unfinished, raw[:-1])
            assert await display.look() == BLANK
            assert await display.tell() == bytes(PIN_DIGITS)
        await display.do(kind, raw)
        await display.pass_time(PAIR_TICKS * PAIRS * ROUNDS - 1)
        assert await display.tell() == digits(raw)
        await display.pass_time(1)
        assert await display.look() == BLANK
        assert await display.tell() == bytes(PIN_DIGITS)
        await display.do(kind, raw)
        await display.do(PinCommand.CLEAR)
        assert await display.look() == BLANK
        assert await display.tell() == bytes(PIN_DIGITS)


@pytest.mark.parametrize("stall", [0, 0.5])
def test_pin_display(stall):
    simulate(PinDisplay(), __name__, parameters={"stall": stall})
