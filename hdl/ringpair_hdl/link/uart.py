"""Serial line: 8 data bits, least significant first, no parity, one stop bit (8N1)."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
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
        A byte arrived: `valid` is a strobe, in the middle of the stop bit. Nobody can hold a line back.
    error : Out(1)
        Strobe in the place of `valid`: the stop bit was low.
    sample, bit : Out(1), Out(1)
        Strobe with each of the eight data bits, for logic that works bit by bit.
    clear : In(1)
        Forget the byte under way and the last one.
    """

    def __init__(self, divisor):
        self.divisor = check_divisor(divisor)
        super().__init__(
            {
                "rx": In(1, init=1),
                "data": Out(8),
                "valid": Out(1),
                "error": Out(1),
                "sample": Out(1),
                "bit": Out(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, rx, init=1)

        half = (self.divisor - 1) // 2
        timer = Signal(range(self.divisor), init=half)
        active = Signal()
        shift = Signal(9)  # a 1 runs ahead of the data; when it is in bit 0, the stop bit is next
        tick = Signal()

        m.d.comb += tick.eq(timer == 0)
        m.d.sync += timer.eq(timer - 1)
        with m.If(tick):
            m.d.sync += timer.eq(self.divisor - 1)
        with m.If(~active):
            with m.If(rx):
                m.d.sync += timer.eq(half)
            with m.Elif(tick):
                m.d.sync += active.eq(1)
        with m.Elif(tick & shift[0]):  # a stop bit that is low must last a bit longer to be a start bit
            m.d.sync += active.eq(0)

        with m.If(~active & ~rx):  # the last byte stays in place until the next start bit
            m.d.sync += shift.eq(1 << 8)
        with m.If(self.sample):
            m.d.sync += shift.eq(Cat(shift[1:], rx))
        with m.If(self.clear):
            m.d.sync += [active.eq(0), shift.eq(0)]

        m.d.comb += [
            self.data.eq(shift[1:]),
            self.bit.eq(rx),
            self.sample.eq(active & tick & ~shift[0]),
            self.valid.eq(active & tick & shift[0] & rx),
            self.error.eq(active & tick & shift[0] & ~rx),
        ]
        return m


class UartTransmitter(wiring.Component):
    """Bytes to a serial line: 10 * divisor cycles a byte, without a gap if the next one waits.

    Attributes
    ----------
    i : In(stream.Signature(8))
        Accepted in the last cycle of the stop bit before, or at once when the line is idle.
    tx : Out(1)
        The line, from a flip-flop.
    soon : Out(1)
        The next cycle can accept a byte: time to fetch it from a memory.
    idle : Out(1)
        The last stop bit is over.
    clear : In(1)
        Break off; the line is idle at once.
    """

    def __init__(self, divisor):
        self.divisor = check_divisor(divisor)
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "tx": Out(1, init=1),
                "soon": Out(1),
                "idle": Out(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        timer = Signal(range(self.divisor))
        shift = Signal(10, init=1)  # stop bit, data, start bit; a lone 1 is the stop bit or an idle line
        last = Signal()

        m.d.comb += [
            last.eq(shift[1:] == 0),
            self.tx.eq(shift[0]),
            self.idle.eq(last & (timer == 0)),
            self.i.ready.eq(self.idle),
            self.soon.eq(last & (timer[1:] == 0)),
        ]
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(~last):
            m.d.sync += [timer.eq(self.divisor - 1), shift.eq(shift >> 1)]
        with m.Elif(self.i.valid):
            m.d.sync += [timer.eq(self.divisor - 1), shift.eq(Cat(0, self.i.payload, 1))]
        with m.If(self.clear):
            m.d.sync += [timer.eq(0), shift.eq(1)]
        return m
