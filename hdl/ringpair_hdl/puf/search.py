"""Reliability-ordered search: which bits to flip next."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from ringpair_protocol import puf

__all__ = ["Entry", "Search", "rank_address", "stack_address"]

RANK_BITS = puf.MAX_RANK.bit_length()


class Entry(data.Struct):
    """A ring in the memory, after the quantizer."""

    margin: puf.MARGIN_BITS
    unused: 14 - puf.MARGIN_BITS
    ranked: 1  # has a rank
    bit: 1


def rank_address(rank: int) -> int:
    """Where the memory keeps the number of the ring with a rank 1..47."""
    return 0xC0 | rank


def stack_address(depth: int) -> int:
    """Where the memory keeps the ranks of the present pattern except the highest, in rising order."""
    return 0xF0 | depth


class Search(wiring.Component):
    """Turns the flip pattern in the memory into its successor, in the order of `ringpair_protocol.puf.flip_patterns`.

    Bits are flipped where they lie: taking a rank out of the pattern, or in, inverts the bit of its ring. The ring of
    the next rank is looked for (384 cycles) only when a pattern needs it, that is once per weight. How long an advance
    takes depends on the number of the pattern only: at most 450 cycles.

    Attributes
    ----------
    restart : In(1)
        The memory has new entries: the pattern is empty, no ring has a rank.
    start : In(1)
        Advance; one cycle, at rest.
    done : Out(1)
        Last cycle of the advance.
    address : Out(8)
        To read (data come in the next cycle) or to write.
    data : In(16)
    write, replace : Out(1)
        Write ``data + operand``, or with `replace` just ``operand``.
    operand : Out(16)
    ring : In(8)
        Counter for the scan; 0 at `start`.
    next_ring : Out(1)
        Count it up.
    """

    def __init__(self):
        super().__init__(
            {
                "restart": In(1),
                "start": In(1),
                "done": Out(1),
                "address": Out(8),
                "data": In(16),
                "write": Out(1),
                "replace": Out(1),
                "operand": Out(16),
                "ring": In(8),
                "next_ring": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        entry = data.View(Entry, self.data)
        low, high, depth = Signal(RANK_BITS), Signal(RANK_BITS), Signal(4)
        pointer, phase = Signal(8), Signal(2)
        least = Signal(puf.MARGIN_BITS + 1)  # inverted: the comparison below is then nothing but a carry chain
        key, greater_or_equal = Cat(entry.margin, entry.ranked), Signal()
        m.d.comb += Cat(Signal(len(key)), greater_or_equal).eq(key + least + 1)

        # high + low, high + low + 1 or high - low
        subtract, increment, changed = Signal(), Signal(), Signal(RANK_BITS)
        m.d.comb += changed.eq(high + (low ^ subtract.replicate(RANK_BITS)) + (subtract | increment))

        rank, by_pointer, by_ring = Signal(RANK_BITS), Signal(), Signal()
        give_pointer, give_low, mark, flip = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.address.eq(Mux(by_ring, self.ring, Mux(by_pointer, pointer, Cat(rank, Const(3, 2))))),
            self.operand.eq(
                (pointer & give_pointer.replicate(8))
                | (low & give_low.replicate(RANK_BITS))
                | Cat(Const(0, 14), mark, flip)
            ),
        ]

        def invert(of, then):
            """Four cycles: invert the bit of the ring with a rank, through the table of ranks."""
            m.d.comb += [rank.eq(of), by_pointer.eq(phase[1])]
            m.d.sync += phase.eq(phase + 1)
            with m.If(phase == 1):
                m.d.sync += pointer.eq(self.data)
            with m.If(phase == 3):
                m.d.comb += [flip.eq(1), self.write.eq(1)]
                m.next = then

        with m.FSM(name="walk"):
            with m.State("REST"):
                with m.If(self.start):
                    m.next = "REMOVE_HIGH"
                    with m.If(~high.any()):  # the empty pattern
                        m.next = "GROW"

            # Take the two highest ranks away …
            with m.State("REMOVE_HIGH"):
                invert(high, "POP")
            with m.State("POP"):
                m.d.sync += [low.eq(0), depth.eq(depth - 1)]
                m.next = "POP_READ"
                with m.If(~depth.any()):
                    m.d.sync += depth.eq(0)
                    m.next = "GROW"
            with m.State("POP_READ"):
                m.d.comb += rank.eq(Cat(depth, Const(3, 2)))
                m.next = "POP_LOAD"
            with m.State("POP_LOAD"):
                m.d.sync += low.eq(self.data)
                m.next = "REMOVE_LOW"
            with m.State("REMOVE_LOW"):
                invert(low, "MERGE")
            with m.State("MERGE"):
                m.d.sync += [high.eq(changed), low.eq(low + 1)]
                m.next = "FILL"

            # … or, after the last pattern of a weight, begin the next one: it needs a new rank.
            with m.State("GROW"):
                m.d.comb += increment.eq(1)
                m.d.sync += [high.eq(changed), low.eq(low + 1), least.eq(0)]
                m.next = "SCAN"
            with m.State("SCAN"):
                m.d.comb += by_ring.eq(1)
                m.next = "COMPARE"
                with m.If(self.ring[6:].all()):  # 192
                    m.next = "MARK_READ"
            with m.State("COMPARE"):
                m.d.comb += self.next_ring.eq(1)
                with m.If(~greater_or_equal):
                    m.d.sync += [least.eq(~key), pointer.eq(self.ring)]
                m.next = "SCAN"
            with m.State("MARK_READ"):
                m.d.comb += by_pointer.eq(1)
                m.next = "MARK"
            with m.State("MARK"):
                m.d.comb += [by_pointer.eq(1), mark.eq(1), self.write.eq(1)]
                m.next = "RANK"
            with m.State("RANK"):
                m.d.comb += [rank.eq(high), give_pointer.eq(1), self.replace.eq(1), self.write.eq(1)]
                m.next = "FILL"

            # Then fill the sum up again with rising ranks, until what remains cannot be split.
            with m.State("FILL"):
                m.d.comb += subtract.eq(1)
                m.next = "ADD_HIGH"
                with m.If(changed > low):
                    m.next = "PUSH"
            with m.State("PUSH"):
                m.d.comb += [rank.eq(Cat(depth, Const(3, 2))), give_low.eq(1), self.replace.eq(1), self.write.eq(1)]
                m.next = "ADD_LOW"
            with m.State("ADD_LOW"):
                invert(low, "TAKE")
            with m.State("TAKE"):
                m.d.comb += subtract.eq(1)
                m.d.sync += [high.eq(changed), low.eq(low + 1), depth.eq(depth + 1)]
                m.next = "FILL"
            with m.State("ADD_HIGH"):
                invert(high, "DONE")
            with m.State("DONE"):
                m.d.comb += self.done.eq(1)
                m.next = "REST"

        with m.If(self.restart):
            m.d.sync += [high.eq(0), low.eq(0), depth.eq(0)]
        return m
