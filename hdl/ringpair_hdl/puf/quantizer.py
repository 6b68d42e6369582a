"""The arithmetic of the quantizer: is a ring above a decision level, and by how much?"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from ringpair_protocol import puf

__all__ = ["LEVEL_PLACES", "Comparator", "boundary_place", "layout_place", "layout_words", "level_words"]
__all__ += ["threshold_place"]

SHIFT = puf.MARGIN_SHIFT
TOTAL_BITS = puf.COUNT_BITS + 4
STEPS = puf.FRACTION_BITS + 1
"""Bits of the factor 2**18 + layout + level."""


LEVEL_PLACES = range(0x60, 0x80)
"""Where decision levels lie in the control ROM, at `threshold_place` and `boundary_place`; 0x60 to 0x67 are free."""


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


def layout_place(ring: int) -> int:
    """Where the layout entry of a ring lies in the control ROM: 32 words at the end of each page are left for them."""
    return 0x40 | ring & 0x1F | (ring >> 5 & 1) * 0xA0


def layout_words(quantizer: puf.Quantizer) -> dict[int, int]:
    """Layout entries by their place in the control ROM, three a word; none if all are 0."""
    words: dict[int, int] = {}
    if any(quantizer.layout.entries):
        for ring, digit in enumerate(quantizer.layout.digits):
            entry = (digit & (1 << puf.PACKED_BITS) - 1) << (ring >> 6) * puf.PACKED_BITS
            words[layout_place(ring)] = words.get(layout_place(ring), 0) | entry
    return words


class Comparator(wiring.Component):
    """R = 16 count - floor(total * (2**18 + layout + level) / 2**18), as defined in `ringpair_protocol.puf`.

    A serial multiplier, least significant bit of the factor first: the product moves right and drops its lowest bits,
    which is the floor. `layout` is picked bit by bit and added to `level` on the way. In the last step the one adder
    takes 16 count away from the product, and -R - 1 remains.

    1. `clear_total`, then `add` with each of the 16 counts of the row on `count`;
    2. `load` with the `level`;
    3. `step` with the entry on `layout` and the count of the ring on `count`, for 20 cycles, to the one in which
       `last` is high;
    4. from the next cycle on: `above`, `margin`.

    Parameters
    ----------
    layout_shift : int, optional
        The unit of `layout` is 2**layout_shift. Without it there is no layout.

    Attributes
    ----------
    count : In(16)
    level, layout : In(13), In(5)
        Two's complement.
    clear_total, add, load, step : In(1)
        Orders, at most one of them at a time.
    last : Out(1)
    above : Out(1)
        R >= 0.
    margin : Out(8)
        min(R >> 2, 255) or min((-R - 1) >> 2, 255).
    """

    def __init__(self, layout_shift: int | None = None):
        self.layout_shift = layout_shift
        orders = {name: In(1) for name in ("clear_total", "add", "load", "step")}
        super().__init__(
            {
                "count": In(puf.COUNT_BITS),
                "level": In(puf.LEVEL_BITS),
                "layout": In(puf.PACKED_BITS),
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
        position = Signal(range(STEPS + 1))
        layout = Signal()
        factor = Signal()
        if self.layout_shift is not None:
            first = self.layout_shift
            with m.Switch(position):
                for place, bit in enumerate(self.layout[:-1], first):
                    with m.Case(place):
                        m.d.comb += layout.eq(bit)
                with m.Case(*range(first)):
                    m.d.comb += layout.eq(0)
                with m.Default():
                    m.d.comb += layout.eq(self.layout[-1])
        m.d.comb += [
            factor.eq(layout ^ level[0] ^ carry ^ (position == STEPS - 1)),
            self.last.eq(position == STEPS),
        ]
        with m.If(self.step):
            m.d.sync += [
                level.eq(Cat(level[1:], level[-1])),
                carry.eq(layout & level[0] | layout & carry | level[0] & carry),
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
