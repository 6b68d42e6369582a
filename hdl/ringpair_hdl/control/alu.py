"""What is calculated on a byte, and the flags that it leaves."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .isa import Move, Op


class Alu(wiring.Component):
    """A BYTE instruction in one cycle, or one byte of a move that calculates.

    ``result`` is ``left + right + carry in``. ``left`` is 0, the memory's byte, or that byte masked by the immediate or
    its complement; ``right`` is 0, the immediate, its complement, or that of the byte kept from another field.

    Attributes
    ----------
    op
        The instruction: BYTE, ZERO, COPY, INCREMENT, TAKE_CODE or LESS.
    byte
        It is a BYTE.
    immediate, memory
        Operands.
    keep
        Keep the memory's byte: the right side of LESS.
    preset
        Before a move: INCREMENT adds 1, LESS begins as equal.
    update
        Let ``zero`` and ``carry`` follow the result.
    result, zero, carry
    """

    op: In(8)
    byte: In(1)
    immediate: In(8)
    memory: In(8)
    keep: In(1)
    preset: In(1)
    update: In(1)
    result: Out(8)
    zero: Out(1)
    carry: Out(1)

    def elaborate(self, platform):
        m = Module()
        code, kept, total = self.op[3:6], Signal(8), Signal(9)
        take, less = self.op[3:5] == 1, self.op[:5] == Move.LESS & 31
        test, compare = Signal(), Signal()
        masked, whole, first, second, carry = (
            Signal(name=n) for n in ("masked", "whole", "first", "second", "carry_in")
        )
        m.d.comb += [test.eq(code == Op.TEST), compare.eq(code == Op.COMPARE)]
        with m.If(self.byte):
            m.d.comb += [
                masked.eq(test | code[1]),  # TEST, AND, OR
                whole.eq(compare | (code[0] & ~test)),  # COMPARE, ADD, and OR: there it inverts the mask
                first.eq(code[2] & (code != Op.AND)),  # SET, ADD, OR
                second.eq(compare),
                carry.eq(compare),
            ]
        with m.Else():
            m.d.comb += [
                whole.eq(~take),
                first.eq(less | (take & self.op[1])),  # LESS, TAKE_CODE
                second.eq(less),
                carry.eq(self.carry & ~take & ~self.op[1] | self.carry & less),  # INCREMENT, LESS
            ]
        left = self.memory & Mux(masked, self.immediate ^ whole.replicate(8), whole.replicate(8))
        right = Mux(second, ~Mux(first, kept, self.immediate), self.immediate & first.replicate(8))
        m.d.comb += [total.eq(left + right + carry), self.result.eq(total)]
        with m.If(self.keep):
            m.d.sync += kept.eq(self.memory)
        with m.If(self.preset):
            m.d.sync += [self.zero.eq(1), self.carry.eq(1)]
        with m.If(self.update):
            m.d.sync += self.zero.eq(~self.result.any() & (self.zero | self.byte))
            with m.If(~self.byte | compare | (code == Op.ADD)):
                m.d.sync += self.carry.eq(total[8])
        return m
