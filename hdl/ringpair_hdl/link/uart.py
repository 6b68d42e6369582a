"""Serial line: 8 data bits, least significant first, no parity, one stop bit (8N1)."""

from functools import lru_cache

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out


def divisor_of(clk_hz, baud):
    """Clock cycles of one bit. ValueError when the line would run more than 2 % off, or below 4 cycles a bit."""
    divisor = round(clk_hz / baud)
    if divisor < 4 or abs(clk_hz / divisor / baud - 1) > 0.02:
        raise ValueError(f"{baud} baud cannot be made from {clk_hz} Hz: expected clk_hz / baud near an integer >= 4")
    return divisor


def check_divisor(divisor):
    if not isinstance(divisor, int) or divisor < 4:
        raise ValueError(f"divisor must be an integer >= 4 (clk_hz / baud), not {divisor!r}")
    return divisor


@lru_cache
def register(length):
    """Taps of a shift register that runs through at least `length` states, and these from 1 on.

    A bit of it depends on one or two others, where a counter needs all that are lower.
    """
    width = max(2, length.bit_length())
    for taps in range(1 << width - 1, 1 << width):
        states = [1]
        while (after := states[-1] << 1 & (1 << width) - 1 | (states[-1] & taps).bit_count() & 1) != 1:
            states.append(after)
        if len(states) == (1 << width) - 1:
            return taps, states
    raise AssertionError(f"a shift register of {width} bits has taps for all its states but 0")


class Timer:
    """Goes through the cycles of a bit; `tick` in the last one."""

    def __init__(self, divisor):
        self.taps, states = register(divisor)
        self.states = states[:divisor]
        self.value = Signal(divisor.bit_length(), init=states[0], reset_less=True, name="timer")
        self.tick = self.value == self.states[-1]
        self.near = Cat(self.value == state for state in self.states[-3:]).any()

    def following(self):
        shifted = Cat((self.value & self.taps).xor(), self.value[:-1])
        return Mux(self.tick, self.states[0], shifted)


class UartReceiver(wiring.Component):
    """Bytes from a serial line.

    A start bit counts when the line was low without a break up to its middle; each bit is sampled once, in its middle.
    A byte whose stop bit is low is dropped. The next start bit is looked for from the middle of the stop bit on, so
    that a sender may be faster than nominal by up to 2 %.

    Attributes
    ----------
    rx : In(1)
        The line; asynchronous, two flip-flops synchronize it.
    data, valid : Out(8), Out(1)
        A byte arrived: `valid` is a strobe, in the middle of the stop bit. Nobody can hold a line back, but `data`
        stays until the middle of the next byte's first bit: at least 2 * divisor - 1 cycles more.
    error : Out(1)
        Strobe in the place of `valid`: the stop bit was low.
    """

    def __init__(self, divisor):
        self.divisor = check_divisor(divisor)
        super().__init__({"rx": In(1, init=1), "data": Out(8), "valid": Out(1), "error": Out(1)})

    def elaborate(self, platform):
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, rx, init=1)

        timer = Timer(self.divisor)
        active, first = Signal(), Signal(reset_less=True)
        shift = Signal(9, reset_less=True)  # a 1 runs ahead of the data; when it is in bit 0, the stop bit is next
        tick, stop = Signal(), Signal()

        m.d.comb += [tick.eq(timer.tick), stop.eq(shift[0] & ~first)]
        m.d.sync += timer.value.eq(timer.following())
        with m.If(~active & rx):
            m.d.sync += timer.value.eq(timer.states[-1 - (self.divisor - 1) // 2])  # half a bit is left
        with m.If(tick):  # a stop bit that is low must last a bit longer to be a start bit
            m.d.sync += [active.eq(Mux(active, ~stop, ~rx)), first.eq(~active)]
        with m.If(active & tick & ~stop):
            m.d.sync += shift.eq(Cat(Mux(first, Const(1 << 7, 8), shift[1:]), rx))

        m.d.comb += [
            self.data.eq(shift[1:]),
            self.valid.eq(active & tick & stop & rx),
            self.error.eq(active & tick & stop & ~rx),
        ]
        return m


class BitClock(wiring.Component):
    """A strobe every `divisor` cycles, for transmitters; those of one rate can share it. `near` includes the two cycles
    before."""

    tick: Out(1)
    near: Out(1)

    def __init__(self, divisor):
        self.divisor = check_divisor(divisor)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        timer = Timer(self.divisor)
        m.d.comb += [self.tick.eq(timer.tick), self.near.eq(timer.near)]
        m.d.sync += timer.value.eq(timer.following())
        return m


class UartTransmitter(wiring.Component):
    """Bytes to a serial line, ten bits each, without a gap if the next one comes within the stop bit.

    Attributes
    ----------
    tick : In(1)
        Strobe at the border between two bits, from a `BitClock`.
    near : In(1)
        `tick`, or it comes within two cycles.
    data, load : In(8), In(1)
        Strobe: send this byte. Only when `empty`, or two cycles after `soon`. The start bit begins with the next `tick`
        that does not begin a stop bit.
    empty : Out(1)
        The stop bit of the last byte has begun, or the line is idle.
    soon : Out(1)
        In two cycles it will have, or begin: time to fetch a byte from a memory, and never too late.
    tx : Out(1)
        The line, from a flip-flop.
    """

    tick: In(1)
    data: In(8)
    load: In(1)
    near: In(1)
    empty: Out(1)
    soon: Out(1)
    tx: Out(1, init=1)

    def elaborate(self, platform):
        m = Module()
        shift = Signal(10)  # stop bit, data, start bit
        last = shift[1:] == 0
        m.d.comb += [self.empty.eq(last & ~shift[0]), self.soon.eq(last & (~shift[0] | self.near))]
        with m.If(self.tick):
            m.d.sync += self.tx.eq(shift[0] | self.empty)
        with m.If(self.tick | self.load):
            m.d.sync += shift.eq(shift[1:] | Mux(self.load, Cat(0, self.data, 1), 0))
        return m
