"""Memory besides the scratchpad, for what must stay between messages and is used as a whole."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

UNIT = 32
UNITS = 16


class Shelf(wiring.Component):
    """512 bytes in 16 units, read or written in a row from the beginning of any unit.

    A command chooses the unit and is taken at once. Each byte given is written, and each byte taken read, at the next
    address; what is offered is withdrawn when a byte is given or a command comes. A byte is there 2 cycles after a
    command or after the one before it. Nothing is ever cleared but by bytes that are given; contents after power-up
    are anything.

    Parameters
    ----------
    mapped
        Use a single-port RAM of the iCE40UP5K, half of its width; else a memory that any tool knows.

    Attributes
    ----------
    cmd, i, o
        Number of a unit; bytes in, bytes out.
    """

    def __init__(self, *, mapped: bool = False):
        self.mapped = mapped
        signature = {"cmd": In(stream.Signature(4)), "i": In(stream.Signature(8)), "o": Out(stream.Signature(8))}
        super().__init__(signature)

    def elaborate(self, platform):
        m = Module()
        address, write = Signal(range(UNIT * UNITS)), Signal()
        m.d.comb += [self.cmd.ready.eq(1), self.i.ready.eq(~self.cmd.valid), write.eq(self.i.valid & self.i.ready)]
        m.d.sync += self.o.valid.eq(~self.cmd.valid & ~write & ~(self.o.valid & self.o.ready))
        with m.If(self.cmd.valid):
            m.d.sync += address.eq(Cat(Const(0, 5), self.cmd.payload))
        with m.Elif(write | (self.o.valid & self.o.ready)):
            m.d.sync += address.eq(address + 1)
        if self.mapped:
            m.submodules.memory = Instance(
                "SB_SPRAM256KA",
                i_ADDRESS=Cat(address, Const(0, 5)),
                i_DATAIN=Cat(self.i.payload, Const(0, 8)),
                i_MASKWREN=Const(0b0011, 4),
                i_WREN=write,
                i_CHIPSELECT=Const(1),
                i_CLOCK=ClockSignal(),
                i_STANDBY=Const(0),
                i_SLEEP=Const(0),
                i_POWEROFF=Const(1),
                o_DATAOUT=Cat(self.o.payload, Signal(8, name="unused")),
            )
        else:
            m.submodules.memory = memory = Memory(shape=8, depth=UNIT * UNITS, init=[])
            read, port = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.addr.eq(address),
                self.o.payload.eq(read.data),
                port.addr.eq(address),
                port.data.eq(self.i.payload),
                port.en.eq(write),
            ]
        return m
