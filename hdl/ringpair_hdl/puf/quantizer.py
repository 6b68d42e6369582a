"""The arithmetic of the quantizer: is a ring above a decision level, and by how much?"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from ringpair_protocol import puf

__all__ = ["LEVEL_PLACES", "Comparator", "boundary_place", "layout_words", "level_words", "threshold_place"]

WORD = 16
"""Bits of a layout entry, with its sign repeated."""
SHIFT = puf.MARGIN_SHIFT
TOTAL_BITS = puf.COUNT_BITS + 4
STEPS = puf.FRACTION_BITS + 1
"""Bits of the factor 2**18 + layout + level."""


LEVEL_PLACES = range(0x60, 0x80)
"""Where decision levels lie in the control ROM."""


def threshold_place(helper: int) -> int:
    """Which of the levels is the decision threshold of a helper value."""
    return 8 | helper


def boundary_place(node: int) -> int:
    """Which of the levels is the boundary of a node of the binary search: root 1, children 2 n and 2 n + 1."""
    return 16 | node


def level_words(quantizer: puf.Quantizer) -> list[int]:
    """Thresholds and boundaries, two's complement."""
    words = [0] * len(LEVEL_PLACES)
    for helper, level in enumerate(quantizer.thresholds):
        words[threshold_place(helper)] = level
    for node in range(1, 16):
        depth = node.bit_length() - 1
        code = (2 * (node - (1 << depth)) + 1) << (3 - depth)
        words[boundary_place(node)] = quantizer.boundaries[code - 1]
    return [word & (1 << puf.LEVEL_BITS) - 1 for word in words]


def layout_words(quantizer: puf.Quantizer) -> list[int]:
    """Layout entries of rings 0..191, two's complement."""
    return [entry & (1 << WORD) - 1 for entry in quantizer.layout.entries]


class Comparator(wiring.Component):
    """R = 16 count - floor(total * (2**18 + layout + level) / 2**18), as defined in `ringpair_protocol.puf`.

    A serial multiplier, least significant bit of the factor first: the product moves right and drops its lowest bits,
    which is the floor. `layout` is picked bit by bit from the ROM's output and added to `level` on the way. In the
    last step the one adder takes 16 count away from the product, and -R - 1 remains.

    1. `clear_total`, then `add` with each of the 16 counts of the row on `count`;
    2. `load` with the `level`;
    3. `step` with the entry on `layout` and the count of the ring on `count`, for 20 cycles, to the one in which
       `last` is high;
    4. from the next cycle on: `above`, `margin`.

    Attributes
    ----------
    count : In(16)
    level, layout : In(13), In(16)
        Two's complement.
    clear_total, add, load, step : In(1)
        Orders, at most one of them at a time.
    last : Out(1)
    above : Out(1)
        R >= 0.
    margin : Out(8)
        min(R >> 2, 255) or min((-R - 1) >> 2, 255).
    """

    def __init__(self):
        orders = {name: In(1) for name in ("clear_total", "add", "load", "step")}
        super().__init__(
            {
                "count": In(puf.COUNT_BITS),
                "level": In(puf.LEVEL_BITS),
                "layout": In(WORD),
                **orders,
                "last": Out(1),
                "above": Out(1),
                "margin": Out(puf.MARGIN_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        total = Signal(TOTAL_BITS)
        with m.If(self.add):
            m.d.sync += total.eq(total + self.count)
        with m.If(self.clear_total):
            m.d.sync += total.eq(0)

        # One bit of the factor a cycle: layout + level + 2**18. Both are sign-extended.
        level = Signal(puf.LEVEL_BITS)
        carry = Signal()
        sign = Signal()
        position = Signal(range(STEPS + 1))
        layout = Signal()
        factor = Signal()
        m.d.comb += [
            layout.eq(Mux(position[4], sign, self.layout.bit_select(position[:4], 1))),
            factor.eq(layout ^ level[0] ^ carry ^ (position == STEPS - 1)),
            self.last.eq(position == STEPS),
        ]
        with m.If(self.step):
            m.d.sync += [
                level.eq(Cat(level[1:], level[-1])),
                carry.eq(layout & level[0] | layout & carry | level[0] & carry),
                sign.eq(layout),
                position.eq(position + 1),
            ]
        with m.If(self.load):
            m.d.sync += [level.eq(self.level), carry.eq(0), position.eq(0)]

        # The product has one more fraction bit than the sum in the end, because the last step shifts, too.
        product = Signal(TOTAL_BITS + 2)
        summand = Signal(TOTAL_BITS + 2)
        m.d.comb += summand.eq(
            Mux(
                self.last,
                ~Cat(Const(0, 4), self.count, Const(0, 2)),
                Cat(Const(0, 1), total) & factor.replicate(TOTAL_BITS + 1),
            )
        )
        with m.If(self.step):
            m.d.sync += product.eq((product >> 1) + summand)
        with m.If(self.load):
            m.d.sync += product.eq(0)

        m.d.comb += self.above.eq(product[-1])
        excess = Signal()
        m.d.comb += excess.eq(Cat(bit ^ self.above for bit in product[SHIFT + puf.MARGIN_BITS : -1]).any())
        m.d.comb += self.margin.eq(Cat(bit ^ self.above | excess for bit in product[SHIFT : SHIFT + puf.MARGIN_BITS]))
        return m
