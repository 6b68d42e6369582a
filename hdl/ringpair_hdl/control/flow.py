"""Where the program goes: its counter, the return stack, and rows of the table."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import isa
from .code import CodeMemory
from .isa import Base
from .linker import Rom


class Flow(wiring.Component):
    """The byte of code at the program counter is always on ``data``; each cycle may move the counter.

    Where it moves is told early in a cycle, whether it does, by ``hold``, may be known late.

    Parameters
    ----------
    rom
        The program.

    Attributes
    ----------
    op
        The present instruction.
    row
        A row of the table.
    advance
        To the next byte.
    skip
        ``op[:3]`` bytes further.
    branch
        To the low byte on ``data``, in this page, or in that of ``op`` if it is a JUMP or a CALL.
    lookup, half
        The counter stays; ``data`` becomes the lower or upper half of ``row``.
    enter, leave
        To the jump in ``row``, or in the top of the return stack, which is taken off.
    hold
        Counter and ``data`` stay.
    push, push_half
        Put a jump to where ``advance`` leads on the return stack: first the lower half, then the upper one.
    address, data
        Of the code memory; the data belong to the address of the cycle before.
    """

    def __init__(self, rom: Rom):
        self.rom, self.code = rom, CodeMemory(rom.data, rom.table)
        self.pc = Signal(isa.TARGET, init=rom.start)
        self.top = Signal(range(isa.STACK_ROWS), init=isa.STACK_ROWS - 1)  # of the return stack
        strobes = ("advance", "skip", "branch", "lookup", "half", "enter", "leave", "hold", "push", "push_half")
        super().__init__(
            {
                "op": In(8),
                "row": In(8),
                **dict.fromkeys(strobes, In(1)),
                "address": Out(isa.TARGET),
                "data": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.code = code = self.code
        pc, top = self.pc, self.top
        level, row = Signal.like(top), Signal(8)
        straight, onward = Signal(isa.TARGET), Signal(isa.TARGET)
        stays = self.lookup | self.hold
        m.d.comb += [
            straight.eq(pc + (self.op[:3] & self.skip.replicate(3)) + self.advance),
            onward.eq(Mux(self.branch, Cat(self.data, Mux(self.op[6], self.op[:4], pc[8:])), straight)),
            row.eq(Mux(self.leave, top, self.row)),
            self.address.eq(Mux(self.lookup | self.enter | self.leave, Cat(self.half, row), onward)),
            level.eq(top + Cat(C(1, 1), self.leave.replicate(3))),  # one up or down
            code.address.eq(self.address),
        ]
        if self.rom.table:
            m.d.comb += code.apart.eq(self.lookup & (row >= isa.VECTOR_ROWS.stop))
        m.d.comb += [
            code.enable.eq(~self.hold),
            self.data.eq(code.data),
            code.push.eq(self.push),
            code.slot.eq(level),
            code.half.eq(self.push_half),
            code.value.eq(Mux(self.push_half, straight[:8], Cat(straight[8:], C(Base.JUMP >> 4, 4)))),
        ]
        with m.If(~stays):
            m.d.sync += pc.eq(self.address)
        with m.If(self.leave | (self.push & self.push_half)):
            m.d.sync += top.eq(level)
        return m
