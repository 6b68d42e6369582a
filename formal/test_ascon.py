"""Proofs of the Ascon gateware: the round is the standard's, times are fixed, clear clears, nothing depends on data."""

import pytest
from amaranth.hdl import Array, Assert, C, Cat, Cover, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from ringpair_hdl.ascon import AsconModes, AsconSponge, AsconState, Start, modes
from ringpair_hdl.ascon.modes import Step

from formal.prove import Disproved, mutant, prove, reach

SB_LUT4 = """
module SB_LUT4(output O, input I0, I1, I2, I3);
  parameter [15:0] LUT_INIT = 0;
  assign O = LUT_INIT >> {I3, I2, I1, I0};
endmodule
"""


def standard_round(words, number):
    """A round as SP 800-232 writes it: constant (3.2), S-box by its circuit (3.3), rotations (3.4)."""
    constants = Array(C(0xF0 - 0xF * k, 8) for k in range(16))
    x0, x1, x2, x3, x4 = words
    x2 = x2 ^ constants[number]
    x0, x4, x2 = x0 ^ x4, x4 ^ x3, x2 ^ x1
    y = [x0 ^ ~x1 & x2, x1 ^ ~x2 & x3, x2 ^ ~x3 & x4, x3 ^ ~x4 & x0, x4 ^ ~x0 & x1]
    y = [y[0] ^ y[4], y[1] ^ y[0], ~y[2], y[3] ^ y[2], y[4]]
    rotations = ((19, 28), (61, 39), (1, 6), (10, 17), (7, 41))
    return [v[:64] ^ v[:64].rotate_right(p) ^ v[:64].rotate_right(q) for v, (p, q) in zip(y, rotations, strict=True)]


class StateProperties(wiring.Component):
    """All that AsconState does in one cycle, and how long a permutation lasts."""

    d: In(8)
    word: In(range(5))
    over: In(1)
    step: In(1)
    start: In(1)
    short: In(1)
    clear: In(1)

    def __init__(self, dut):
        self.dut = dut
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        names = ("d", "word", "over", "step", "start", "short", "clear")
        m.d.comb += [getattr(dut, name).eq(getattr(self, name)) for name in names]
        m.d.comb += dut.step.eq(self.step & ~dut.busy)
        x = dut.words

        # what the registers must be in the next cycle
        turning = Array(x)[self.word]
        back = Mux(self.over, self.d, turning[:8] ^ self.d)
        after_round = standard_round(x, dut.round)
        known = Signal()
        m.d.sync += known.eq(1)
        for i in range(5):
            expected = Signal(64, name=f"expected{i}")
            with m.If(self.clear):
                m.d.sync += expected.eq(0)
            with m.Elif(dut.busy):
                m.d.sync += expected.eq(after_round[i])
            with m.Elif(self.step & (self.word == i)):
                m.d.sync += expected.eq(Cat(turning[8:], back))
            with m.Else():
                m.d.sync += expected.eq(x[i])
            m.d.comb += Assert(~known | (x[i] == expected))
        m.d.comb += Assert((self.word > 4) | (dut.c == turning[:8] ^ self.d))

        # a permutation takes exactly 12 or 8 cycles, with the right constants, and ends
        count, length, cleared = Signal(4), Signal(4), Signal()
        m.d.sync += cleared.eq(self.clear)
        with m.If(dut.busy):
            m.d.sync += count.eq(count + 1)
            m.d.comb += [Assert(count < length), Assert(dut.round == 12 - length + count)]
            m.d.comb += Assert((length == 12) | (length == 8))
        with m.Else():
            m.d.comb += Assert(dut.round == 12)
            m.d.comb += Assert(count == length)
        with m.If(self.clear):
            m.d.sync += [count.eq(0), length.eq(0)]
        with m.Elif(self.start & ~dut.busy):
            m.d.sync += [count.eq(0), length.eq(Mux(self.short, 8, 12))]
        m.d.comb += Assert(~cleared | ~dut.busy)
        m.d.comb += Cover(~dut.busy & (length == 12))
        return m


class ModesProperties(wiring.Component):
    """Two AsconModes under the same control with different data: silence after clear, progress, and equal timing."""

    cmd: In(Start)
    cmd_valid: In(1)
    data: In(8).array(2)
    end: In(1)
    i_valid: In(1)
    o_ready: In(1)
    clear: In(1)

    def __init__(self, make=AsconModes):
        self.duts = [make(), make()]
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        a, b = self.duts
        for k, dut in enumerate(self.duts):
            m.submodules[f"dut{k}"] = dut
            m.d.comb += [
                dut.cmd.payload.eq(self.cmd),
                dut.cmd.valid.eq(self.cmd_valid),
                dut.i.payload.data.eq(self.data[k]),
                dut.i.payload.end.eq(self.end),
                dut.i.valid.eq(self.i_valid),
                dut.o.ready.eq(self.o_ready),
                dut.clear.eq(self.clear),
            ]
        # timing does not depend on data
        m.d.comb += Assert(a.sponge.control == b.sponge.control)
        idle = a.step.as_value() == Step.IDLE.value
        m.d.comb += Assert(a.step.as_value() == b.step.as_value())
        m.d.comb += [Assert(a.step.as_value() != code) for code in sorted(set(range(16)) - {s.value for s in Step})]
        phases = a.sponge.control[:3]
        m.d.comb += Assert((phases == 0b001) | (phases == 0b010) | (phases == 0b100))
        m.d.comb += Assert(a.mode.as_value() == b.mode.as_value())
        for dut_a, dut_b in ((a.cmd.ready, b.cmd.ready), (a.i.ready, b.i.ready), (a.o.valid, b.o.valid)):
            m.d.comb += Assert(dut_a == dut_b)

        # from clear to the next start: zero, silent, at rest
        quiet = Signal(init=1)
        with m.If(self.clear):
            m.d.sync += quiet.eq(1)
        with m.Elif(self.cmd_valid & a.cmd.ready):
            m.d.sync += quiet.eq(0)
        m.d.comb += Assert(~quiet | idle)
        with m.If(idle):  # also after a tag
            m.d.comb += [Assert(word == 0) for word in a.sponge.state.words]
            m.d.comb += [Assert(a.sponge.resting), Assert(a.sponge.state.round == 12)]
            m.d.comb += [Assert(~a.o.valid), Assert(~a.i.ready), Assert(a.cmd.ready)]

        # a mode at work, given bytes and room, never rests longer than a permutation
        waited = Signal(5)
        moving = a.sponge.state.step | a.sponge.cmd.ready | idle | (self.cmd_valid & a.cmd.ready)
        with m.If(self.clear | moving | ~self.i_valid | ~self.o_ready):
            m.d.sync += waited.eq(0)
        with m.Else():
            m.d.sync += waited.eq(waited + 1)
        resting, _, permuting = phases
        m.d.comb += Assert(waited <= 13)
        m.d.comb += Assert(~resting | (waited <= 1))
        m.d.comb += Assert(~permuting | (waited <= a.sponge.state.round))
        m.d.comb += Assert(a.sponge.state.round <= 12)
        return m


@pytest.mark.parametrize("mapped", [False, True])
def test_state(mapped):
    prove(StateProperties(AsconState(mapped=mapped)), depth=1, sources=[SB_LUT4] if mapped else ())


def test_state_permutes():
    reach(StateProperties(AsconState()), depth=15)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(7, 41)", "(7, 40)"),  # a rotation
        ("((e ^ d) & ~a) ^ a ^ b", "((e ^ d) & ~a) ^ a"),  # the S-box
        ("Cat(r, ~r)", "Cat(r, r)"),  # the constants
        ("ROUNDS - SHORT_ROUNDS, 0", "ROUNDS - SHORT_ROUNDS, 1"),  # 11 rounds
        (
            "with m.If(self.clear):\n                m.d.sync += x",
            "with m.If(self.clear & ~self.busy):\n                m.d.sync += x",
        ),
        ("Mux(self.over, self.d, self.c)", "self.c"),  # decryption
        ("p_LUT_INIT=Const(table, 16)", "p_LUT_INIT=Const(table ^ 0x8000, 16)"),  # the cells
    ],
)
def test_state_bugs_are_found(old, new):
    mapped = "LUT" in old
    properties = StateProperties(mutant(AsconState, old, new)(mapped=mapped))
    with pytest.raises(Disproved, match="Assert failed"):
        prove(properties, depth=1, sources=[SB_LUT4] if mapped else ())


def test_modes():
    prove(ModesProperties(), depth=2)


@pytest.mark.parametrize(
    ("cls", "old", "new"),
    [
        (AsconModes, "self.clear | begin | over", "begin | over"),  # clear leaves the state
        (AsconModes, "self.clear | begin | over", "self.clear | begin"),  # the tag leaves the state
        (AsconModes, "with m.If(self.clear):", "with m.If(self.clear & (step == Step.IDLE)):"),  # clear does not stop
        (AsconSponge, "(i.valid & i.ready)),", "(i.valid & i.ready & ~i.payload.data[7])),"),  # time tells a bit
        (AsconSponge, "with m.If(~state.busy):", "with m.If(~state.busy & cmd.final):"),  # waits for ever
    ],
)
def test_modes_bugs_are_found(monkeypatch, cls, old, new):
    bug = mutant(cls, old, new)
    if cls is AsconSponge:
        monkeypatch.setattr(modes, "AsconSponge", bug)
    with pytest.raises(Disproved, match="Assert failed"):
        prove(ModesProperties(bug if cls is AsconModes else AsconModes), depth=2)
