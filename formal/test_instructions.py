"""Proof that the sequencer does what its instructions say: where it goes, what it gives, what a BYTE calculates."""

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Const, Module, Mux, Signal
from ringpair_hdl.control import Sequencer, isa, sequencer
from ringpair_hdl.control.alu import Alu
from ringpair_hdl.control.flow import Flow
from ringpair_hdl.control.isa import Base, Direction, Move, Op, Operand, Port, Strobe
from ringpair_hdl.control.sequencer import Step

from formal.prove import Disproved, mutant, prove
from formal.test_control import Progress

DEPTH = 8
UNUSED = 0xF4
"""The first of four opcodes that mean nothing; nor does a GIVE to FRAME. `formal/shape.py` finds neither."""
OUTSIDE = isa.Condition.BUTTON + 1
"""Conditions below this are levels; the others are kept in the sequencer."""


class Execution(Progress):
    """Any code, any scratchpad; all ports do whatever they like. Beside the sequencer stands what `isa` says of each
    instruction: its size, its target, its effect."""

    FREE = (*Progress.FREE, "ready", "valid")

    def __init__(self, sequencer=Sequencer, table=b""):
        super().__init__(sequencer, table)
        elaborate = self.sequencer.elaborate
        self.sequencer.elaborate = lambda platform: self.properties(elaborate(platform))

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.sequencer
        m.d.comb += [value.eq(getattr(self, name)) for name, (_, value) in self.free.items()]
        return m

    def properties(self, m):
        """What is asserted, inside of the sequencer, where its parts are."""
        dut = self.sequencer
        self.op, self.operand = Signal(8), Signal(8)  # of the present instruction
        self.here = Signal(isa.TARGET)  # where it stands
        self.moved = Signal(isa.TARGET)  # bytes of code that it has moved
        self.run = Signal(init=0)  # there is a present instruction
        self.at = {step: dut.step.as_value() == step.value for step in Step}
        self._follow(m, dut)
        self._goes(m, dut)
        self._gives(m, dut)
        self._calculates(m, dut)
        return m

    def _is(self, base: Base, bits: int):
        return self.op[8 - bits :] == base >> (8 - bits)

    def _follow(self, m, dut):
        """The instruction that is being done, as its bytes come."""
        began = Signal()
        m.d.sync += began.eq(self.at[Step.DECODE])
        unused = (dut.data[2:] == UNUSED >> 2) | (dut.data == isa.move(Direction.GIVE, Port.FRAME))
        m.d.comb += Assume(~(self.at[Step.DECODE] & unused))
        with m.If(self.at[Step.DECODE]):
            m.d.sync += [self.op.eq(dut.data), self.here.eq(self.code.owner), self.moved.eq(0), self.run.eq(1)]
        with m.Elif(began):
            m.d.sync += self.operand.eq(dut.data)
        with m.Elif(self.at[Step.MOVE] & dut.exchange.moved & (self.op == Move.TAKE_CODE)):
            m.d.sync += self.moved.eq(self.moved + 1)
        derived = self._is(Base.DERIVE, 4)  # goes on as a GIVE_END of the label's row
        m.d.comb += [
            Assert(dut.step.as_value() <= Step.BYTE.value),
            Assert(~began | (self.at[Step.EXECUTE] & (self.code.owner == (self.here + 1)[: isa.TARGET]))),
            Assert(self.run | self.at[Step.START] | self.at[Step.DECODE]),
            Assert(self.at[Step.START] | self.at[Step.DECODE] | (dut.op == Mux(derived, dut.op, self.op))),
            Assert(~(derived & ~self.at[Step.EXECUTE] & ~self.at[Step.DECODE]) | (dut.op == Move.GIVE_END)),
            Assert(~(derived & self.at[Step.EXECUTE]) | (dut.op == self.op)),
        ]
        self.began = began

    def _goes(self, m, dut):
        """At the next DECODE the byte is the one that the instruction leads to."""
        op, operand, here, flow = self.op, self.operand, self.here, dut.flow
        two = (op == Move.COPY) | (op == Move.LESS) | (op == isa.move(Direction.CRYPT, Port.SPONGE))
        byte = (op[5:8] == Base.BYTE >> 5) | (op[4:8] == 0xC)
        size = Signal(2)
        with m.If(self._is(Base.MOVE, 3)):
            m.d.comb += size.eq(Mux(two, 3, 2))
        with m.Elif(byte):
            m.d.comb += size.eq(Mux(op[:3].all(), 3, 2))
        with m.Elif(
            self._is(Base.BRANCH, 3) | self._is(Base.JUMP, 4) | self._is(Base.CALL, 4) | self._is(Base.OPERAND, 5)
        ):
            m.d.comb += size.eq(2)
        with m.Else():
            m.d.comb += size.eq(1)
        self.following = Signal(isa.TARGET)
        m.d.comb += self.following.eq(here + size + self.moved)
        holds, target = dut.conditions.holds, Signal(isa.TARGET)
        taken = Signal()  # decided in the first cycle, when the condition is known
        with m.If(self.began):
            m.d.sync += taken.eq(holds)
        m.d.comb += target.eq(self.following)
        with m.If(self._is(Base.BRANCH, 3) & taken):
            m.d.comb += target.eq(Cat(operand, (here + 1)[8 : isa.TARGET]))
        with m.Elif(self._is(Base.SKIP, 3) & taken):
            m.d.comb += target.eq(here + op[:3] + 2)
        with m.Elif(self._is(Base.JUMP, 4) | self._is(Base.CALL, 4)):
            m.d.comb += target.eq(Cat(operand, op[:4]))
        with m.Elif(self._is(Base.VECTOR, 3)):
            m.d.comb += target.eq(Cat(Const(0, 1), op[:5], Const(1, 1)))
        self.top = left = Signal.like(flow.top)  # of the return stack when the instruction came
        returns = (self._is(Base.RETURN_IF, 5) & taken) | (op == Base.STROBE | Strobe.RETURN)
        with m.If(self.at[Step.DECODE]):
            m.d.sync += left.eq(flow.top)
        with m.If(returns):
            m.d.comb += target.eq(left << 1)
        with m.If(self.at[Step.DECODE]):
            m.d.comb += Assert(self.code.owner == Mux(self.run, target, dut.flow.rom.start))
            m.d.comb += Assert(flow.pc == self.code.owner)
            calls = self._is(Base.CALL, 4) | self._is(Base.VECTOR, 3)
            m.d.comb += Assert(~self.run | (flow.top == (left + calls - returns)[: len(left)]))
        self._between(m, dut, size, two, byte)
        self._conditions(m, dut)
        self._stack(m, dut)

    def _between(self, m, dut, size, two, byte):
        """Where the program counter is at each step on the way: what the induction needs."""
        at, flow, here, second = self.at, dut.flow, self.here, dut.second
        moves, derives = self._is(Base.MOVE, 3), self._is(Base.DERIVE, 4)
        rows = at[Step.ROW] | at[Step.LOW] | at[Step.HIGH]
        runs = at[Step.READ] | at[Step.KEEP] | at[Step.MOVE] | at[Step.END]
        pc = Signal(isa.TARGET)
        with m.If(at[Step.EXECUTE] | at[Step.PUSH]):
            m.d.comb += pc.eq(here + 1 + second)
        with m.Elif(rows):
            m.d.comb += pc.eq(here + Mux(derives, 1, 2 + second))
        with m.Elif(runs):
            m.d.comb += pc.eq(self.following)
        with m.Else():
            m.d.comb += pc.eq(here + size - 1)
        ends = derives | (self.op == Move.GIVE_END)
        m.d.comb += [
            Assert(at[Step.START] | at[Step.DECODE] | (flow.pc == pc)),
            Assert(at[Step.START] | at[Step.LOW] | at[Step.HIGH] | (flow.pc == self.code.owner)),
            Assert(~second | (moves & two & (at[Step.EXECUTE] | rows))),
            Assert(~(second & self.began)),
            Assert(~(rows | runs) | moves | derives),
            Assert(~at[Step.KEEP] | (self.op == Move.LESS)),
            Assert(~at[Step.END] | ends),
            Assert(~(at[Step.FETCH] | at[Step.BYTE]) | byte),
            Assert(~at[Step.PUSH] | self._is(Base.CALL, 4) | self._is(Base.VECTOR, 3)),
            Assert((self.moved == 0) | (self.op == Move.TAKE_CODE)),
            Assert((self.moved == 0) | at[Step.MOVE] | at[Step.DECODE]),
            Assert(at[Step.START] | at[Step.DECODE] | (flow.top == self.top)),
        ]

    def _conditions(self, m, dut):
        """The condition that an instruction names is what it was when the instruction came."""
        levels, data, expected, known = dut.conditions.levels, dut.data, Signal(), Signal()
        skips = data[5:8] == Base.SKIP >> 5
        number = Signal(4)
        m.d.comb += number.eq(Mux(skips, data[4], Mux(data[7], data[1:3], data[1:5])))
        m.d.sync += expected.eq(levels.bit_select(number, 1) ^ Mux(skips, data[3], data[0]))
        m.d.sync += known.eq(number < OUTSIDE)
        tests = self._is(Base.BRANCH, 3) | self._is(Base.SKIP, 3) | self._is(Base.RETURN_IF, 5)
        m.d.comb += Assert(~(self.began & tests & known) | (dut.conditions.holds == expected))

    def _stack(self, m, dut):
        """Calls, and nothing else, write a JUMP to what follows them into the next row."""
        code, top = dut.flow.code, self.top
        calls = self._is(Base.CALL, 4) | self._is(Base.VECTOR, 3)
        jump = Cat(self.following[8:], Const(Base.JUMP >> 4, 4))
        with m.If(code.push):
            m.d.comb += [
                Assert(calls & (self.at[Step.EXECUTE] | self.at[Step.PUSH]) & (code.half == self.at[Step.PUSH])),
                Assert(code.slot == (top + 1)[: len(top)]),
                Assert(code.value == Mux(code.half, self.following[:8], jump)),
            ]
        with m.If(self.at[Step.EXECUTE] | self.at[Step.PUSH]):
            m.d.comb += Assert(~calls | code.push)

    def _gives(self, m, dut):
        """Lines, flash and strobes are touched by those instructions only that name them."""
        op, moves, executes = self.op, self.at[Step.MOVE], self.at[Step.EXECUTE]
        for port, stream, unit in (
            (Port.LINK, dut.link_i, Operand.EMIT_LINK),
            (Port.SPI, dut.spi_i, Operand.EMIT_SPI),
        ):
            gives = moves & (op == isa.move(Direction.GIVE, port))
            emits = executes & (op == Base.OPERAND | unit)
            with m.If(stream.valid):
                m.d.comb += Assert(gives | emits)
                m.d.comb += Assert(stream.payload == Mux(emits, dut.data, dut.read.data))
            m.d.comb += Assert(~emits | stream.valid)
        for strobe, signal in (
            (Strobe.SEND, dut.send),
            (Strobe.DROP, dut.drop),
            (Strobe.SPONGE_CLEAR, dut.sponge_clear),
        ):
            m.d.comb += Assert(signal == (executes & (op == Base.STROBE | strobe)))
        select, side, last = Signal(), Signal(), Signal()
        m.d.sync += [select.eq(dut.spi_select), side.eq(dut.side), last.eq(executes)]
        selects = last & self._is(Base.SELECT, 6)
        m.d.comb += [
            Assert((dut.spi_select == select) | (selects & ~op[1] & (dut.spi_select == op[0]))),
            Assert((dut.side == side) | (selects & op[1] & (dut.side == op[0]))),
            Assert(~(self.at[Step.DECODE] & selects & op[1]) | (dut.side == op[0])),
            Assert(~(self.at[Step.DECODE] & selects & ~op[1]) | (dut.spi_select == op[0])),
        ]

    def _calculates(self, m, dut):
        """A BYTE writes what it says, where it says, and leaves ZERO and CARRY so."""
        op, memory, data, alu, write = self.op, dut.read.data, dut.data, dut.alu, dut.write
        kind, result, carry = Signal(3), Signal(8), Signal()
        sum_, difference = (memory + data)[:9], (memory - data)[:9]
        m.d.comb += kind.eq(op[3:6])
        m.d.comb += result.eq(
            Array([difference[:8], memory & data, 0, 0, data, sum_[:8], memory & data, memory | data])[kind]
        )
        m.d.comb += carry.eq(Mux(kind == Op.COMPARE, ~difference[8], sum_[8]))
        keeps = (kind == Op.COMPARE) | (kind == Op.TEST)
        sets_carry = (kind == Op.COMPARE) | (kind == Op.ADD)
        byte = (op[5:8] == Base.BYTE >> 5) | (op[4:8] == 0xC)
        self.place = place = Signal(isa.ADDRESS)
        zero, was, over = Signal(), Signal(), Signal()
        hot = Const(isa.HOT.start, isa.ADDRESS)
        m.d.comb += place.eq(Mux(op[:3].all(), self.operand, hot | op[:3]))
        m.d.sync += [zero.eq(~result.any()), was.eq(Mux(sets_carry, carry, alu.carry)), over.eq(self.at[Step.BYTE])]
        m.d.comb += Assert(~over | ((alu.zero == zero) & (alu.carry == was) & self.at[Step.DECODE]))
        with m.If(self.at[Step.BYTE]):
            m.d.comb += Assert(byte)
            m.d.comb += Assert(write.en == ~keeps)
            m.d.comb += Assert(keeps | (write.data == result))
            m.d.comb += Assert(write.addr == place)
        # nothing else writes but moves that take
        takes = (op[3:5] == Direction.TAKE) | (op[:5] == isa.move(Direction.CRYPT, Port.SPONGE) & 31)
        takes |= (op == Move.COPY) | (op == Move.INCREMENT)
        with m.If(write.en & ~self.at[Step.BYTE]):
            m.d.comb += Assert(self.at[Step.MOVE] & self._is(Base.MOVE, 3) & takes & dut.exchange.moved)


def test_instructions():
    prove(Execution(), depth=DEPTH)


@pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")  # of a module made from text
@pytest.mark.parametrize(
    ("cls", "old", "new"),
    [
        (Flow, "Mux(self.op[6], self.op[:4], pc[8:])", "self.op[:4]"),  # a branch leaves its page
        (Flow, "level.eq(top + Cat(C(1, 1), self.leave.replicate(3)))", "level.eq(top + Cat(C(1, 1), self.leave))"),
        (
            Sequencer,
            "m.d.comb += [flow.branch.eq(holds), flow.hold.eq(0)]",
            "m.d.comb += [flow.branch.eq(1), flow.hold.eq(0)]",
        ),
        (Sequencer, "m.d.comb += self.send.eq(1)", "m.d.comb += [self.send.eq(1), self.drop.eq(1)]"),
        (Alu, "with m.If(~self.byte | compare | (code == Op.ADD)):", "with m.If(~self.byte | (code == Op.ADD)):"),
    ],
)
def test_a_wrong_sequencer_is_noticed(cls, old, new, monkeypatch):
    wrong = mutant(cls, old, new)
    if cls is not Sequencer:
        monkeypatch.setattr(sequencer, cls.__name__, wrong)
    with pytest.raises(Disproved):
        prove(Execution(wrong if cls is Sequencer else Sequencer), depth=DEPTH)
