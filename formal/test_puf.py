"""Proofs of the PUF: the window is exact and rings run one at a time; NEXT keeps the budget."""

import pytest
from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from ringpair_hdl.puf.engine import PufEngine
from ringpair_hdl.puf.microcode import Action
from ringpair_hdl.puf.rings import RingReader

from formal.prove import Disproved, mutant, prove, reach

WINDOW = 5
LENGTH = WINDOW + RingReader.CYCLES


class ReaderProperties(wiring.Component):
    """Any starts, places and clears."""

    start: In(1)
    clear: In(1)
    index: In(6)

    def __init__(self, reader=RingReader):
        self.dut = reader(WINDOW)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        read, rings = dut.read, dut.rings
        m.d.comb += [read.start.eq(self.start), read.clear.eq(self.clear), read.index.eq(self.index)]

        # Cycles since the last start; 0 when none is under way. The place stays as it was at the start.
        age, held = Signal(range(LENGTH + 1)), Signal(6)
        with m.If(self.start):
            m.d.sync += [age.eq(1), held.eq(self.index)]
        with m.Elif(self.clear | (age == LENGTH - 1)):
            m.d.sync += age.eq(0)
        with m.Elif(age != 0):
            m.d.sync += age.eq(age + 1)
        with m.If(age != 0):
            m.d.comb += Assume(self.start | (self.index == held))

        running = Signal()
        first = 2 + RingReader.SETTLE
        m.d.comb += running.eq((age >= first) & (age < first + WINDOW))
        with m.If(running):
            m.d.comb += Assert(rings.row == 1 << held[:2])
            m.d.comb += Assert(rings.half == Mux(held[5], 2, 1))
            with m.If(held[2:5] < 6):
                m.d.comb += Assert(rings.col == 1 << held[2:5])
            m.d.comb += Assert(~rings.clear)
        ended = Signal()  # the line drops one cycle after an early end
        m.d.sync += ended.eq(self.start | self.clear)
        with m.If(~running & ~ended):
            m.d.comb += Assert(rings.row == 0)
        for lines in (rings.row, rings.col, rings.half):
            m.d.comb += Assert((lines & (lines - 1)[: len(lines)]) == 0)
        m.d.comb += Assert(read.done == (age == LENGTH - 1))
        m.d.comb += Cover(read.done)
        return m


def test_reader():
    prove(ReaderProperties(), depth=2 * LENGTH + 4, induction=False)
    reach(ReaderProperties(), depth=LENGTH + 2)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("timer == cycles - 1", "timer == cycles"),
        ("phase == Phase.RUN,", "phase == Phase.REST,"),
        ("read.done.eq(ends)", "read.done.eq(ends | read.clear)"),
        ("Cat(~half, half)", "Cat(half, half)"),
    ],
)
def test_reader_can_fail(text, wrong):
    with pytest.raises(Disproved):
        prove(ReaderProperties(mutant(RingReader, text, wrong)), depth=2 * LENGTH, induction=False)


def with_budget_properties(engine=PufEngine, budget=20):
    """The engine with free inputs (any commands, streams, counts, clears), and what is asserted of its search."""

    class Checked(engine):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            # The order of the stream: a command stays until it is taken.
            waiting, last = Signal(), Signal(3)
            m.d.sync += [waiting.eq(self.cmd.valid & ~self.cmd.ready), last.eq(self.command)]
            with m.If(waiting):
                m.d.comb += Assume(self.cmd.valid & (self.command == last))
            # A valid instruction of NEXT advances only below the budget, and refuses only without a next candidate.
            live, held = Signal(), Signal(3)
            m.d.comb += live.eq(~m.submodules.sequencer.stale & ~self.clear & self.command[2])
            m.d.sync += held.eq(Cat(waiting, held))  # NEXT comes to both only cycles after the command
            nothing_left = (self.tries == 0) | (self.tries == budget)
            for action, right in ((Action.COUNT, ~nothing_left), (Action.REFUSE, nothing_left)):
                reached = Signal(name=f"reached_{action.name}")
                m.d.comb += reached.eq(live & held.all() & self.action(action))
                with m.If(reached):
                    m.d.comb += Assert(right)
                m.d.comb += Cover(reached)
            return m

    return Checked(budget=budget)


def test_next_keeps_the_budget():
    prove(with_budget_properties(), depth=4)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("self.tries == self.budget)", "self.tries == self.budget + 1)"),
        ("(self.tries == 0) | (self", "(self"),
    ],
)
def test_next_can_pass_the_budget(text, wrong):
    """The induction notices, although no short run from reset shows it."""
    with pytest.raises(Disproved):
        prove(with_budget_properties(mutant(PufEngine, text, wrong)), depth=4)
