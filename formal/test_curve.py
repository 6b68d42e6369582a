"""Proof of the curve engine's `clear`: in any state, one cycle later nothing of what ran goes on, and wiping begins."""

import pytest
from amaranth.hdl import Assert, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from ringpair_hdl.curve import isa
from ringpair_hdl.curve.engine import CurveEngine
from ringpair_hdl.curve.program import curve_program

from formal import prove as recipe
from formal.prove import Disproved, mutant, prove

BYTES = stream.Signature(8)


class ClearProperties(wiring.Component):
    """Any bytes, commands and clears."""

    clear: In(1)
    cmd: In(BYTES)
    i: In(BYTES)
    o: Out(BYTES)

    def __init__(self, engine=CurveEngine):
        self.dut = engine()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        dut = self.dut
        m.submodules.dut = dut.elaborate(platform)  # now, so that its parts can be named
        for name in ("cmd", "i"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(dut, name))
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        m.d.comb += dut.clear.eq(self.clear)

        cleared, wiping = Signal(), Signal()
        m.d.sync += [cleared.eq(self.clear), wiping.eq(cleared & ~self.clear)]
        with m.If(cleared):  # the cycle after: silent, and on the way to the first word of wiping
            m.d.comb += [Assert(~dut.o.valid), Assert(~dut.i.ready), Assert(~dut.cmd.ready)]
            m.d.comb += [Assert(dut.code_port.en), Assert(dut.wide_port.en), Assert(dut.code_port.addr == isa.WIPE)]
        with m.If(wiping):
            m.d.comb += Assert(dut.code_port.data == curve_program().words[isa.WIPE])
            m.d.comb += [Assert(~dut.o.valid), Assert(~dut.i.ready), Assert(~dut.cmd.ready)]
            m.d.comb += [Assert(dut.index.i == 0), Assert(dut.index.k == 0), Assert(~dut.stale)]
        return m


@pytest.fixture(autouse=True)
def registers_behind_memories(monkeypatch):
    """Memories that are written keep their read registers outside: the solver's format has no clocked reads."""
    monkeypatch.setattr(recipe, "RECIPE", recipe.RECIPE.replace("-rom-only; ", "-rom-only; memory_nordff; "))


def test_clear():
    prove(ClearProperties(), depth=4)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ResetInserter(self.clear)(index)", "index"),
        ("m.d.sync += self.stale.eq(self.clear)", "m.d.sync += self.stale.eq(0)"),
        ("self.takes & self.i.valid & ~self.clear", "self.takes & self.i.valid"),
        ("~(self.emitting & self.o.ready) & ~self.clear)", "~(self.emitting & self.o.ready))"),
        ("following.eq(isa.WIPE)", "following.eq(isa.BOOT)"),
    ],
)
def test_clear_can_fail(old, new):
    with pytest.raises(Disproved):
        prove(ClearProperties(mutant(CurveEngine, old, new)), depth=4)


def test_wiping_reaches_everything():
    """What begins at WIPE runs through without a branch, and writes zeros to all limbs but BROKEN."""
    code = curve_program()
    written, address, stack, pointer = set(), isa.WIPE, [], 0
    while True:
        instruction = code.listing[address]
        address += 1
        if instruction.op is None and instruction.w is not None:
            first = 16 * (pointer if instruction.w.pointer else instruction.w.element) + instruction.w.limb
            written |= set(range(first, first + instruction.repeat))
        elif instruction.op in (isa.Op.CALL, isa.Op.POINT):
            stack.append(address)
            pointer = instruction.pointers[2] if instruction.op == isa.Op.POINT else pointer
            address = code.labels[instruction.target]
        elif instruction.op == isa.Op.JUMP:
            address = code.labels[instruction.target]
        elif instruction.op == isa.Op.RETURN:
            address = stack.pop()
        elif instruction.op is not None:
            assert instruction.op == isa.Op.IDLE
            break
    assert set(range(512)) - written == {16 * 30 + 15}
