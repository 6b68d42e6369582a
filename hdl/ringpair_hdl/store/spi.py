"""SPI NOR flash at its pins: bytes out and in, mode 0."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class SpiEngine(wiring.Component):
    """One byte at a time to and from an SPI NOR flash (`ringpair_protocol.nor`), mode 0, SCK at half the clock.

    A byte goes out when one waits on `i`. When none does and `o.ready` is high, a byte is read: zeros go out, what
    comes in is on `o`. So a command is `select` high, bytes into `i`, bytes out of `o`, `select` low. `o` has room for
    one byte, and the clock stops until it is taken. What comes in while a byte of `i` goes out is lost.

    Timing in cycles: 17 a byte (16 with SCK, one to decide). A byte under way is finished before chip select rises,
    and `select` may be high again by then: chip select rises all the same, and bytes of `i` wait. It stays high for
    4 cycles at least (166 ns at 24 MHz; W25Q: 50 ns after a write or erase), and low for one before SCK rises. The
    output changes with the falling edge of SCK, the input is sampled with the rising one.

    Attributes
    ----------
    i : In(stream.Signature(8))
        Bytes to send. Ready only while chip select is low.
    o : Out(stream.Signature(8))
        Bytes read. `valid` stays until the byte is taken, or until `select` falls, which discards it.
    select : In(1)
        Chip select, active high.
    sck, cs_n, copi, cipo : Out(1), Out(1), Out(1), In(1)
        The pins; all outputs come from flip-flops and are idle in reset.
    """

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))
    select: In(1)
    sck: Out(1)
    cs_n: Out(1, init=1)
    copi: Out(1)
    cipo: In(1)

    def elaborate(self, platform):
        m = Module()
        below = Signal(7)
        shift = Cat(below, self.copi)  # leaves at the top, comes in at the bottom
        count = Signal(4)  # half bits left, and cycles of rest when chip select is high
        input_ = Signal()
        running, reading = Signal(), Signal()
        fell = Signal()  # select was low meanwhile, even if for a cycle only

        m.d.comb += self.o.payload.eq(shift)
        with m.If(running):
            m.d.sync += [self.sck.eq(~self.sck), count.eq(count - 1)]
            with m.If(~self.sck):
                m.d.sync += input_.eq(self.cipo)  # the edge that raises SCK samples
            with m.Else():
                m.d.sync += shift.eq(Cat(input_, shift[:7]))
                with m.If(count == 0):
                    m.d.sync += [running.eq(0), self.o.valid.eq(reading)]
        with m.Elif(~self.cs_n):
            with m.If(self.o.valid & self.o.ready):
                m.d.sync += self.o.valid.eq(0)
            with m.If(~self.select | fell):
                m.d.sync += [self.cs_n.eq(1), self.o.valid.eq(0), count.eq(3)]
            with m.Elif(~self.o.valid):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [shift.eq(self.i.payload), reading.eq(~self.i.valid), count.eq(15)]
                with m.If(self.i.valid):
                    m.d.sync += running.eq(1)
                with m.Elif(self.o.ready):
                    m.d.sync += [running.eq(1), shift.eq(0)]
        with m.Elif(count != 0):
            m.d.sync += count.eq(count - 1)
        with m.Elif(self.select):
            m.d.sync += self.cs_n.eq(0)

        with m.If(self.cs_n):
            m.d.sync += fell.eq(0)
        with m.Elif(~self.select):
            m.d.sync += fell.eq(1)
        return m
