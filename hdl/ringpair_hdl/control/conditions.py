"""What a program can ask for, with the timer and the button's events."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .isa import Base, Condition

TIMER_BITS = 8
STEP_BITS = 2
"""A step of the timer is 4 ticks."""


class Conditions(wiring.Component):
    """The condition named by an instruction; the timer; button events, kept until they are forgotten.

    Attributes
    ----------
    op
        BRANCH, SKIP or RETURN_IF, in the cycle before it is executed.
    holds
        Its condition held then.
    levels
        Those conditions that come from elsewhere, by number.
    tick, short, long
        Strobes: a tick of the timer, a press of the button.
    operand, set_timer, forget
        Start the timer (0: stop it) with an operand; forget the events that are set in it.
    timer_runs
        The timer counts.
    event
        A frame is there, the timer is done, or the button was pressed.
    """

    op: In(8)
    holds: Out(1)
    levels: In(len(Condition))
    tick: In(1)
    short: In(1)
    long: In(1)
    operand: In(8)
    set_timer: In(1)
    forget: In(1)
    timer_runs: Out(1)
    event: Out(1)

    def elaborate(self, platform):
        m = Module()
        timer, ran, done = Signal(TIMER_BITS + STEP_BITS), Signal(), Signal()
        short, long = Signal(), Signal()
        m.d.comb += self.timer_runs.eq(timer.any())
        m.d.sync += ran.eq(self.timer_runs)
        with m.If(self.tick & self.timer_runs):
            m.d.sync += timer.eq(timer - 1)
        with m.If(ran & ~self.timer_runs):
            m.d.sync += done.eq(1)
        with m.If(self.set_timer):
            m.d.sync += [timer.eq(self.operand << STEP_BITS), ran.eq(0), done.eq(0)]
        for event, strobe, bit in ((short, self.short, 0), (long, self.long, 1)):
            with m.If(strobe):
                m.d.sync += event.eq(1)
            with m.Elif(self.forget & self.operand[bit]):
                m.d.sync += event.eq(0)

        frames = [self.levels[c] for c in (Condition.ADMIN_FRAME, Condition.PEER_FRAME)]
        m.d.comb += self.event.eq(Cat(done, short, long, frames).any())

        own = {Condition.TIMER_DONE: done, Condition.BUTTON_SHORT: short, Condition.BUTTON_LONG: long}
        level = Cat(own.get(c, self.levels[c]) for c in Condition)
        skip = self.op[5] & ~self.op[7]
        of_skip = Mux(self.op[4], level[Condition.CARRY], level[Condition.ZERO]) ^ self.op[3]
        of_others = level.bit_select(self.op[1:5], 1) ^ self.op[0]
        assert Base.SKIP >> 5 == 1
        m.d.sync += self.holds.eq(Mux(skip, of_skip, of_others))
        return m
