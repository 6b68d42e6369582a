"""A push button, and the slow tick that times it."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

SHORT_SECONDS = 2
LONG_SECONDS = 10


class Button(wiring.Component):
    """Debounced button: short press, long press.

    The pin is looked at once a tick, about every 10 ms: a level that differs from the last one in two looks in a row
    counts. So bounces of less than a tick are not seen, and `pressed` follows the pin 1 to 2 ticks later.

    Parameters
    ----------
    clk_hz : int
        Clock frequency.
    tick_clocks : int, optional
        Cycles of a tick, a power of two; the one nearest to 10 ms without it (131 072 at 12 MHz: 10.9 ms, and 262 144
        at 24 MHz).
    ticks_per_second : int, optional
        What counts as a second; `clk_hz / tick_clocks` without it. A test takes a few.

    Attributes
    ----------
    pin : In(1)
        1 while the button is held, asynchronous.
    pressed : Out(1)
        Debounced level.
    short : Out(1)
        Strobe when the button is released after less than 2 s.
    long : Out(1)
        Strobe once when it has been held for 10 s.
    tick : Out(1)
        Strobe every `tick_clocks` cycles, for all slow timers of the device.
    clocks
        The cycles of a tick, counted; for whoever wants a faster beat.
    """

    def __init__(self, clk_hz, *, tick_clocks=None, ticks_per_second=None):
        if clk_hz < 1000:
            raise ValueError(f"clk_hz is the clock frequency in hertz, at least 1000, not {clk_hz}")
        self.tick_clocks = tick_clocks or 1 << (round(clk_hz * 0.0075)).bit_length()
        if self.tick_clocks < 2 or self.tick_clocks & (self.tick_clocks - 1):
            raise ValueError(f"tick_clocks must be a power of two, at least 2, not {self.tick_clocks}")
        self.ticks_per_second = ticks_per_second or round(clk_hz / self.tick_clocks)
        if self.ticks_per_second < 1:
            raise ValueError(f"a second must be at least one tick: tick_clocks {self.tick_clocks} is too long")
        self.clocks = Signal(range(self.tick_clocks))
        super().__init__(
            {
                "pin": In(1),
                "pressed": Out(1),
                "short": Out(1),
                "long": Out(1),
                "tick": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        level, seen = Signal(), Signal()
        m.submodules.synchronizer = FFSynchronizer(self.pin, level)
        held = Signal(range(LONG_SECONDS * self.ticks_per_second + 1))  # ticks; stops at the end

        m.d.sync += self.clocks.eq(self.clocks + 1)
        m.d.comb += self.tick.eq(self.clocks.all())
        with m.If(self.tick):
            m.d.sync += seen.eq(level)
            with m.If(seen == level):
                m.d.sync += self.pressed.eq(level)
            with m.If(~self.pressed):
                m.d.sync += held.eq(0)
            with m.Else():
                with m.If(held != LONG_SECONDS * self.ticks_per_second):
                    m.d.sync += held.eq(held + 1)
                m.d.comb += self.long.eq(held == LONG_SECONDS * self.ticks_per_second - 1)
                released = (seen == level) & ~level
                m.d.comb += self.short.eq(released & (held < SHORT_SECONDS * self.ticks_per_second))
        return m
