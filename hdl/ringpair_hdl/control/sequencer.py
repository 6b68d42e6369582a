"""The sequencer: runs the control program and moves bytes between scratchpad, sponge, ports, flash, PUF and noise."""

from types import SimpleNamespace

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ringpair_hdl.ascon import Item, Start

from . import isa
from .alu import Alu
from .conditions import Conditions
from .exchange import BYTES, Exchange
from .flow import Flow
from .isa import Base, Condition, Direction, Move, Operand, Port, Strobe
from .linker import Rom
from .pointers import Pointers


class Step(enum.Enum, shape=4):
    """What is done with an instruction."""

    START = 0
    DECODE = 1
    EXECUTE = 2
    PUSH = 3
    ROW = 4
    LOW = 5
    HIGH = 6
    READ = 7
    KEEP = 8
    MOVE = 9
    END = 10
    FETCH = 11
    BYTE = 12


class Sequencer(wiring.Component):
    """A machine for programs made by :class:`.assembler.Program`; what it can do is told in :mod:`.isa`.

    Every peripheral is a stream or a level; the sequencer is the only master of all of them. Nothing that it does in a
    move depends on the bytes moved, so a program's timing shows its branches and nothing else.

    A byte of code is always at the output of the code memory: the one at ``pc``. The first rows of that memory are
    the return stack: a CALL writes a JUMP behind itself there, a RETURN goes to it. Nothing else is ever written.

    Parameters
    ----------
    rom
        The program.
    pad
        Initial contents of the scratchpad; their number is its size.
    command
        Bits of a command to the PUF engine: 3, or 8 where other engines share its streams.
    observe
        Make ``phase``, from a memory beside the code; without it ``phase`` is 0. The default: in a simulation, that is
        without a platform.

    Attributes
    ----------
    sponge_cmd, sponge_i, sponge_o, sponge_clear
        To ``ascon.AsconModes``.
    side
        Which line the link members mean: 0 admin, 1 peer.
    link_o, link_i, length, error, send, drop
        Of ``link.LinkPorts``.
    frames
        A frame waits: bit 0 admin, bit 1 peer.
    puf_cmd, puf_i, puf_o, puf_exhausted, puf_dead
        To ``puf.PufEngine``.
    spi_select, spi_i, spi_o
        To ``store.SpiEngine``.
    trng_o, trng_alarm, trng_ready
        Of ``trng.Trng``.
    button, button_short, button_long, tick
        Of ``link.Button``: level, strobes, and the strobe that the timer counts.
    output, phase, timer_runs
        Output register (``isa.Output``), ``isa.Phase``, and whether time matters at the moment.
    mark
        A strobe of the program for whoever observes it.
    """

    def __init__(self, rom: Rom, pad: bytes, *, command: int = 3, observe: bool | None = None):
        self._rom, self._observe = rom, observe
        self.pad = Memory(shape=8, depth=len(pad), init=pad)
        self.step, self.flow, self.exchange = Signal(Step), Flow(rom), Exchange()
        super().__init__(
            {
                "sponge_cmd": Out(stream.Signature(Start)),
                "sponge_i": Out(stream.Signature(Item)),
                "sponge_o": In(BYTES),
                "sponge_clear": Out(1),
                "side": Out(1),
                "link_o": In(BYTES),
                "link_i": Out(BYTES),
                "length": In(isa.LENGTH),
                "error": In(2),
                "send": Out(1),
                "drop": Out(1),
                "frames": In(2),
                "puf_cmd": Out(stream.Signature(command)),
                "puf_i": Out(BYTES),
                "puf_o": In(BYTES),
                "puf_exhausted": In(1),
                "puf_dead": In(1),
                "spi_select": Out(1),
                "spi_i": Out(BYTES),
                "spi_o": In(BYTES),
                "trng_o": In(BYTES),
                "trng_alarm": In(1),
                "trng_ready": In(1),
                "button": In(1),
                "button_short": In(1),
                "button_long": In(1),
                "tick": In(1),
                "output": Out(len(isa.Output)),
                "phase": Out(4),
                "timer_runs": Out(1),
                "mark": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.pad = pad = self.pad
        m.submodules.flow = self.flow
        m.submodules.pointers = self.pointers = Pointers()
        m.submodules.alu = self.alu = Alu()
        m.submodules.exchange = self.exchange
        m.submodules.conditions = self.conditions = Conditions()
        self.read, self.write = pad.read_port(), pad.write_port()
        self.op, self.data = Signal(8, reset_less=True), self.flow.data
        self._decode(m)
        self._connect(m)
        self._steps(m)
        if platform is None if self._observe is None else self._observe:
            self._observer(m)
        return m

    def _decode(self, m):
        """What kind of instruction ``op`` is."""
        op, self.is_ = self.op, SimpleNamespace()

        def define(**kinds):
            for name, value in kinds.items():
                setattr(self.is_, name, signal := Signal(name=f"is_{name}"))
                m.d.comb += signal.eq(value)

        direction, port = op[3:5], op[:3]
        define(byte=(op[5:8] == Base.BYTE >> 5) | (op[4:8] == 0xC), derive=op[4:8] == Base.DERIVE >> 4)
        define(
            short=(self.is_.byte & ~port.all()) | self.is_.derive | ~op[7],  # operand or row are in op
            take=direction == Direction.TAKE,
            inner=port[2] & port[0],  # no port: zero, increment, copy, code, less
            ends=op[:5] == Move.GIVE_END & 31,
            increment=op[:5] == Move.INCREMENT & 31,
            code=op[:5] == Move.TAKE_CODE & 31,
            less=op[:5] == Move.LESS & 31,
            crypt=op[:5] == isa.move(Direction.CRYPT, Port.SPONGE) & 31,
        )
        define(two=((port == Port.PAD) & ~op[3]) | self.is_.crypt)  # indexes

    def _connect(self, m):
        """The parts to each other and to the ports."""
        op, is_, flow, pointers, alu = self.op, self.is_, self.flow, self.pointers, self.alu
        exchange, conditions = self.exchange, self.conditions
        for part in (flow, pointers, alu, exchange):
            m.d.comb += part.op.eq(op)
        for name in ("sponge_i", "sponge_o", "link_i", "link_o", "spi_i", "spi_o", "puf_i", "puf_o", "trng_o"):
            wiring.connect(m, getattr(exchange, name), wiring.flipped(getattr(self, name)))

        self.second = Signal()  # the second index of an instruction with two comes
        with m.If(pointers.load_high):
            m.d.sync += self.second.eq(is_.two & ~self.second)
        m.d.comb += [
            flow.row.eq(pointers.row),
            pointers.data.eq(self.data),
            pointers.short.eq(is_.short),
            pointers.byte.eq(is_.byte),
            pointers.to_dest.eq(is_.byte | is_.take | is_.increment | (is_.two & ~self.second)),
            pointers.memory.eq(self.read.data),
            pointers.moved.eq(exchange.moved),
            pointers.read.eq(self.read.en),
            pointers.write.eq(self.write.en),
            self.read.addr.eq(pointers.read_address),
            self.write.addr.eq(pointers.write_address),
            # what is written: the result of BYTE but COMPARE and TEST, or of a move
            self.write.en.eq(
                (exchange.moved & (is_.take | is_.crypt | (is_.inner & ~op[4]))) | (alu.update & is_.byte & op[5])
            ),
            self.write.data.eq(Mux(is_.byte | is_.inner, alu.result, exchange.value)),
            alu.byte.eq(is_.byte),
            alu.immediate.eq(self.data),
            alu.memory.eq(self.read.data),
            exchange.operand.eq(self.data),
            exchange.memory.eq(self.read.data),
            exchange.length.eq(self.length),
            exchange.error.eq(self.error),
            conditions.op.eq(self.data),  # in DECODE
            conditions.operand.eq(self.data),
            conditions.tick.eq(self.tick),
            conditions.short.eq(self.button_short),
            conditions.long.eq(self.button_long),
            self.timer_runs.eq(conditions.timer_runs),
        ]
        levels = {
            Condition.ZERO: alu.zero,
            Condition.CARRY: alu.carry,
            Condition.MATCH: exchange.match,
            Condition.ONES: exchange.ones,
            Condition.ZEROS: exchange.zeros,
            Condition.ADMIN_FRAME: self.frames[0],
            Condition.PEER_FRAME: self.frames[1],
            Condition.PUF_BUSY: self.puf_cmd.valid,
            Condition.PUF_EXHAUSTED: self.puf_exhausted,
            Condition.PUF_DEAD: self.puf_dead,
            Condition.TRNG_ALARM: self.trng_alarm,
            Condition.TRNG_READY: self.trng_ready,
            Condition.BUTTON: self.button,
        }
        m.d.comb += [conditions.levels[number].eq(level) for number, level in levels.items()]

    # ------------------------------------------------------------------ step by step
    def _steps(self, m):
        op, is_, flow, pointers, alu, exchange = self.op, self.is_, self.flow, self.pointers, self.alu, self.exchange
        with m.If(self.puf_cmd.valid & self.puf_cmd.ready):
            m.d.sync += self.puf_cmd.valid.eq(0)
        m.d.comb += [
            self.sponge_cmd.payload.as_value().eq(Mux(is_.derive, isa.CUSTOM, self.data[:5]) | 7 << 5),
            self.read.en.eq(0),
        ]
        vector = op[5:8] == Base.VECTOR >> 5  # no operand
        m.d.comb += flow.advance.eq((self.step != Step.START) & (self.step != Step.HIGH) & ~vector)
        with m.Switch(self.step):
            with m.Case(Step.START):  # the first byte of code is fetched
                m.d.sync += self.step.eq(Step.DECODE)
            with m.Case(Step.DECODE):
                m.d.comb += flow.advance.eq(1)
                m.d.sync += op.eq(self.data)
                m.d.sync += self.step.eq(Step.EXECUTE)
            with m.Case(Step.EXECUTE):
                self._execute(m)
            with m.Case(Step.PUSH):  # the second half of a CALL or VECTOR
                m.d.comb += [flow.push.eq(1), flow.push_half.eq(1)]
                m.d.comb += [flow.enter.eq(op[5]), flow.branch.eq(~op[5])]
                m.d.sync += self.step.eq(Step.DECODE)

            # a row of the table into the pointers
            with m.Case(Step.ROW):
                m.d.comb += flow.lookup.eq(1)
                m.d.sync += self.step.eq(Step.LOW)
            with m.Case(Step.LOW):
                m.d.comb += [flow.lookup.eq(1), flow.half.eq(1), pointers.load_low.eq(1)]
                m.d.sync += self.step.eq(Step.HIGH)
            with m.Case(Step.HIGH):
                m.d.comb += [pointers.load_high.eq(1), self.read.en.eq(1)]  # the byte read tells a length
                m.d.sync += self.step.eq(Step.READ)
                with m.If(is_.two & ~self.second):
                    m.d.sync += self.step.eq(Step.EXECUTE)

            # the first byte of a move; LESS reads two
            with m.Case(Step.READ):
                m.d.comb += [
                    flow.hold.eq(1),
                    self.read.en.eq(1),
                    pointers.from_dest.eq(is_.less),
                    pointers.load_count.eq(pointers.finished),
                    exchange.begin.eq(1),
                    alu.preset.eq(is_.less | is_.increment),
                ]
                m.d.sync += self.step.eq(Step.MOVE)
                with m.If(is_.less):
                    m.d.sync += self.step.eq(Step.KEEP)
            with m.Case(Step.KEEP):
                m.d.comb += [flow.hold.eq(1), self.read.en.eq(1), alu.keep.eq(1)]
                m.d.sync += self.step.eq(Step.MOVE)
            with m.Case(Step.MOVE):
                self._move(m)
            with m.Case(Step.END):
                m.d.comb += [flow.hold.eq(1), exchange.ending.eq(1)]
                with m.If(self.sponge_i.ready):
                    m.d.sync += self.step.eq(Step.DECODE)

            # an instruction BYTE
            with m.Case(Step.FETCH):
                m.d.comb += [flow.hold.eq(1), self.read.en.eq(1)]
                m.d.sync += self.step.eq(Step.BYTE)
            with m.Case(Step.BYTE):
                m.d.comb += alu.update.eq(1)
                m.d.sync += self.step.eq(Step.DECODE)

    def _move(self, m):
        """The step MOVE: byte after byte until the count is zero."""
        is_, exchange = self.is_, self.exchange
        m.d.comb += self.flow.hold.eq(~(exchange.moved & is_.code))
        with m.If(self.pointers.finished):
            m.d.sync += self.step.eq(Step.DECODE)
            with m.If(is_.ends):
                m.d.sync += self.step.eq(Step.END)
        with m.Else():
            m.d.comb += exchange.moving.eq(1)
            with m.If(exchange.moved):
                m.d.comb += [
                    self.read.en.eq(1),
                    self.pointers.from_dest.eq(is_.less),
                    self.alu.update.eq(is_.increment | is_.less),
                ]
                with m.If(is_.less):
                    m.d.sync += self.step.eq(Step.KEEP)
            with m.If(is_.take & (self.op[:3] == Port.TRNG) & self.trng_alarm):
                m.d.sync += self.step.eq(Step.DECODE)

    def _execute(self, m):
        """The step EXECUTE: whatever needs no more than the operand behind the opcode."""
        op, flow, pointers, holds = self.op, self.flow, self.pointers, self.conditions.holds
        m.d.sync += self.step.eq(Step.DECODE)
        m.d.comb += flow.hold.eq(1)
        with m.Switch(op):
            with m.Case("000-----"):  # BRANCH
                m.d.comb += [flow.branch.eq(holds), flow.hold.eq(0)]
            with m.Case("001-----"):  # SKIP
                m.d.comb += [flow.skip.eq(1), flow.hold.eq(~holds)]
            with m.Case("0100----"):  # JUMP
                m.d.comb += [flow.branch.eq(1), flow.hold.eq(0)]
            with m.Case("0101----", "011-----"):  # CALL, VECTOR: the return address is behind the operand, if any
                m.d.comb += [flow.push.eq(1), pointers.load_operand.eq(1)]
                m.d.sync += self.step.eq(Step.PUSH)
            with m.Case("100-----"):  # MOVE
                m.d.comb += [pointers.load_operand.eq(1), flow.hold.eq(0)]
                m.d.sync += self.step.eq(Step.ROW)
            with m.Case("1101----"):  # DERIVE
                m.d.comb += [self.sponge_cmd.valid.eq(1), pointers.load_operand.eq(1)]
                with m.If(self.sponge_cmd.ready):
                    m.d.sync += op.eq(Move.GIVE_END)
                    m.d.sync += self.step.eq(Step.ROW)
                with m.Else():
                    m.d.sync += self.step.eq(Step.EXECUTE)
            with m.Case("11100---"):  # RETURN_IF
                m.d.comb += [flow.leave.eq(holds), flow.hold.eq(~holds)]
            with m.Case("11101---"):
                self._strobe(m)
            with m.Case("111100--"):  # SELECT
                with m.If(op[1]):
                    m.d.sync += self.side.eq(op[0])
                with m.Elif(op[0] | self.spi_i.ready):  # not before the last byte is through
                    m.d.sync += self.spi_select.eq(op[0])
                with m.Else():
                    m.d.sync += self.step.eq(Step.EXECUTE)
            with m.Case("11111---"):
                self._operand(m)
            with m.Default():  # BYTE
                m.d.comb += [pointers.load_operand.eq(1), flow.hold.eq(self.is_.short)]
                m.d.sync += self.step.eq(Step.FETCH)

    def _strobe(self, m):
        with m.Switch(self.op[:3]):
            with m.Case(Strobe.RETURN):
                m.d.comb += [self.flow.leave.eq(1), self.flow.hold.eq(0)]
            with m.Case(Strobe.SPONGE_END):
                m.d.comb += self.exchange.ending.eq(1)
                with m.If(~self.sponge_i.ready):
                    m.d.sync += self.step.eq(Step.EXECUTE)
            with m.Case(Strobe.WAIT):
                with m.If(~self.conditions.event):
                    m.d.sync += self.step.eq(Step.EXECUTE)
            with m.Case(Strobe.SPONGE_CLEAR):
                m.d.comb += self.sponge_clear.eq(1)
            with m.Case(Strobe.SEND):
                m.d.comb += self.send.eq(1)
            with m.Case(Strobe.DROP):
                m.d.comb += self.drop.eq(1)
            with m.Case(Strobe.MARK):
                m.d.comb += self.mark.eq(1)

    def _operand(self, m):
        """A register or strobe of a unit; waits where the unit is not ready."""
        done, operand = Signal(), self.data
        m.d.comb += [done.eq(1), self.flow.hold.eq(~done)]
        with m.If(~done):
            m.d.sync += self.step.eq(Step.EXECUTE)
        with m.Switch(self.op[:3]):
            with m.Case(Operand.START):
                m.d.comb += [self.sponge_cmd.valid.eq(1), done.eq(self.sponge_cmd.ready)]
            with m.Case(Operand.PUF):
                m.d.comb += done.eq(~self.puf_cmd.valid)
                with m.If(done):
                    m.d.sync += [self.puf_cmd.payload.eq(operand), self.puf_cmd.valid.eq(1)]
            with m.Case(Operand.TIMER):
                m.d.comb += self.conditions.set_timer.eq(1)
            with m.Case(Operand.OUTPUT):
                m.d.sync += self.output.eq((self.output & ~operand[4:]) | operand[:4])
            with m.Case(Operand.EVENTS):
                m.d.comb += self.conditions.forget.eq(1)
            with m.Default():
                m.d.comb += [self.exchange.emitting.eq(1), done.eq(self.exchange.given)]

    def _observer(self, m):
        """``phase``: a memory beside the code tells which instructions begin a phase."""
        marks = [(16 | self._rom.phases[k]) if k in self._rom.phases else 0 for k in range(len(self._rom.data))]
        m.submodules.marks = memory = Memory(shape=5, depth=len(marks), init=marks)
        mark = memory.read_port()
        m.d.comb += [mark.addr.eq(self.flow.address), mark.en.eq(~self.flow.hold)]
        with m.If((self.step == Step.DECODE) & mark.data[4]):
            m.d.sync += self.phase.eq(mark.data)
