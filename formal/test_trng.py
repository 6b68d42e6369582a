"""Proofs of the TRNG: with an alarm, or before the start-up test, no byte comes out; the tests see what they must."""

import pytest
from amaranth.hdl import Assert, Cover, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from ringpair_hdl.trng import HealthTests, Trng

from formal.prove import Disproved, mutant, prove, reach

REPETITION, PROPORTION, WINDOW = 4, 6, 8  # small, so that windows fit into a proof; the logic is the same


class HealthProperties(wiring.Component):
    """Any samples: the alarm of a plain description of both tests, with counters and comparisons."""

    step: In(1)
    bit: In(1)
    clear: In(1)

    def __init__(self, tests=HealthTests):
        self.dut = tests(REPETITION, PROPORTION, WINDOW)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [dut.step.eq(self.step), dut.bit.eq(self.bit), dut.clear.eq(self.clear)]
        number, last, first = Signal(range(WINDOW)), Signal(), Signal()
        run, count = Signal(8), Signal(8)
        started, alarm, passed = Signal(), Signal(), Signal()
        now_run, now_count = Signal(8), Signal(8)
        m.d.comb += [
            now_run.eq(Mux(started & (self.bit == last), run + 1, 1)),
            now_count.eq(Mux(number == 0, 1, count + (self.bit == first))),
        ]
        with m.If(self.clear):
            m.d.sync += [number.eq(0), started.eq(0), alarm.eq(0), passed.eq(0)]
        with m.Elif(self.step):
            m.d.sync += [started.eq(1), last.eq(self.bit), number.eq(number + 1), run.eq(now_run), count.eq(now_count)]
            with m.If(number == 0):
                m.d.sync += first.eq(self.bit)
            with m.If(number == WINDOW - 1):
                m.d.sync += passed.eq(1)
            with m.If((now_run >= REPETITION) | (now_count >= PROPORTION)):
                m.d.sync += alarm.eq(1)
        m.d.comb += [Assert(dut.alarm == alarm), Assert(dut.ready == (passed & ~alarm))]
        m.d.comb += Cover(alarm & passed)
        return m


def test_health_tests():
    prove(HealthProperties(), depth=16, induction=False)
    reach(HealthProperties(), depth=20)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("- self.repetition", "- self.repetition - 1"),
        ("- self.proportion", "- self.proportion - 1"),
        ("passed & ~self.alarm", "passed"),
        ("begun & (self.bit == last)", "self.bit == last"),
        ("position == self.window - 1", "position == self.window - 2"),
    ],
)
def test_health_proof_can_fail(text, wrong):
    with pytest.raises(Disproved):
        prove(HealthProperties(mutant(HealthTests, text, wrong)), depth=16, induction=False)


class TrngProperties(wiring.Component):
    """Any samples, any use."""

    sample: In(1)
    enable: In(1)
    clear: In(1)
    ready: In(1)

    def __init__(self, trng=Trng):
        self.dut = trng(2, HealthTests(REPETITION, PROPORTION, WINDOW))
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [dut.sample.eq(self.sample), dut.enable.eq(self.enable), dut.clear.eq(self.clear)]
        m.d.comb += dut.o.ready.eq(self.ready)
        alarmed = Signal()
        with m.If(self.clear):
            m.d.sync += alarmed.eq(0)
        with m.Elif(dut.alarm):
            m.d.sync += alarmed.eq(1)
        with m.If(alarmed):
            m.d.comb += Assert(dut.alarm)  # it stays
        with m.If(dut.alarm):
            m.d.comb += Assert(~dut.o.valid & ~dut.ready)
        with m.If(dut.o.valid):
            m.d.comb += Assert(dut.ready & self.enable)
        fresh = Signal(4)  # samples since the last byte, or since the start-up test
        with m.If(~dut.ready | (dut.o.valid & self.ready)):
            m.d.sync += fresh.eq(0)
        with m.Elif(dut.take & (fresh != 8)):
            m.d.sync += fresh.eq(fresh + 1)
        with m.If(dut.o.valid):
            m.d.comb += Assert(fresh == 8)  # eight samples for each byte, none used twice
        m.d.comb += Cover(dut.o.valid & dut.take)
        return m


def test_trng():
    prove(TrngProperties(), depth=45, induction=False)
    reach(TrngProperties(), depth=60)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("shift[0] & health.ready & self.enable", "shift[0] & self.enable"),
        ("(~self.enable & ~self.alarm)", "~self.enable"),
        ("restart | ~health.ready | (self.o.valid", "restart | ~health.ready | (0 & self.o.valid"),
    ],
)
def test_trng_proof_can_fail(text, wrong):
    with pytest.raises(Disproved):
        prove(TrngProperties(mutant(Trng, text, wrong)), depth=45, induction=False)
