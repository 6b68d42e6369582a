"""Which limbs the steps of one instruction use: a repetition, or all products of a multiplication column by column."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["IndexGenerator"]

LAST_LIMB = 15
LAST_COLUMN = 30


class IndexGenerator(wiring.Component):
    """Counts the steps of an instruction: limb i of A, j of B, k of what is written.

    A repetition goes up: i = j = k. A scan goes through the columns k = 0 … 30 of a product, in each through all i and
    j = k - i; squaring, i only goes up to k/2 and all but i = j counts double.

    Attributes
    ----------
    repeat, scan : In
        Of the instruction: steps - 1; both 0 for a single one.
    squaring : In(1)
    i, j, k : Out
    more : Out(1)
        This is not the last step.
    begins : Out(1)
        The first of a repetition, or not the first of a column: the accumulator is not shifted.
    ends : Out(1)
        The last of a column, or no scan: what may be written.
    double : Out(1)
        The product counts twice.
    """

    repeat: In(4)
    scan: In(1)
    squaring: In(1)
    i: Out(4)
    j: Out(4)
    k: Out(5)
    more: Out(1)
    holds: Out(1)
    ends: Out(1)
    double: Out(1)

    def elaborate(self, platform):
        m = Module()
        i, j, k = self.i, self.j, self.k
        first, shifts = Signal(4), Signal()  # first i of the column; this step shifts the accumulator
        last, high = Signal(), Signal()
        following, first_following = Signal(5), Signal(4)
        m.d.comb += [
            high.eq(k[4] | k[:4].all()),  # from the next column on, i does not begin at 0
            last.eq(i == Mux(self.squaring, k[1:], Mux(k[4], LAST_LIMB, k[:4]))),
            self.more.eq(Mux(self.scan, ~(last & (k == LAST_COLUMN)), i != self.repeat)),
            self.holds.eq(~shifts),
            self.ends.eq(last | ~self.scan),
            self.double.eq(self.scan & self.squaring & ~(last & ~k[0])),
            following.eq(k + 1),
            first_following.eq(first + high),
        ]
        with m.If(~self.more):
            m.d.sync += [i.eq(0), j.eq(0), k.eq(0), first.eq(0), shifts.eq(0)]
        with m.Else():
            m.d.sync += shifts.eq(self.ends)
            with m.If(self.scan & last):
                m.d.sync += [i.eq(first_following), first.eq(first_following)]
                m.d.sync += j.eq(Mux(following[4], LAST_LIMB, following[:4]))
            with m.Else():
                m.d.sync += [i.eq(i + 1), j.eq(j + Mux(self.scan, LAST_LIMB, 1))]
            with m.If(self.ends):
                m.d.sync += k.eq(following)
        return m
