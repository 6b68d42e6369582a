"""The sequencer: runs the control program and moves bytes between scratchpad, sponge, ports, flash, PUF and noise."""

from types import SimpleNamespace

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ringpair_hdl.ascon import Item, Start

from . import isa
from .alu import Alu
from .code import CodeMemory
from .conditions import Conditions
from .isa import Base, Condition, Direction, Move, Operand, Port, Strobe
from .linker import Rom

BYTES = stream.Signature(8)


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
    observe
        Make ``phase``, from a memory beside the code; without it ``phase`` is 0. The default: in a simulation, that is
        without a platform.

    Attributes
    ----------
    sponge_cmd, sponge_i, sponge_o, sponge_clear
        To ``ascon.AsconModes``.
    side
        Which frame port the link members are connected to: 0 admin, 1 peer.
    link_o, link_i, length, error, send, drop, abort
        Of the chosen ``link.FramePort``.
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
    """

    def __init__(self, rom: Rom, pad: bytes, *, observe: bool | None = None):
        self._rom, self._init, self._observe = rom, bytes(pad), observe
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
                "error": In(3),
                "send": Out(1),
                "drop": Out(1),
                "abort": Out(1),
                "frames": In(2),
                "puf_cmd": Out(stream.Signature(3)),
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
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.code = self.code = CodeMemory(self._rom.data)
        m.submodules.pad = pad = Memory(shape=8, depth=len(self._init), init=self._init)
        m.submodules.alu = self.alu = Alu()
        m.submodules.conditions = self.conditions = Conditions()
        self.read, self.write = pad.read_port(), pad.write_port()
        self.data, self.memory = self.code.data, self.read.data
        self.op, self.starting = Signal(8), Signal()
        self.match, self.ones, self.zeros = (Signal(name=name) for name in ("match", "ones", "zeros"))
        self.source, self.dest, self.count = Signal(isa.ADDRESS), Signal(isa.ADDRESS), Signal(isa.LENGTH)
        # what a state asks for
        asks = ("advance", "branch", "skip", "enter", "leave", "row", "half", "push", "push_half")
        asks += ("load_operand", "load_low", "load_high", "from_dest")
        self.ask = SimpleNamespace(**{name: Signal(name=name) for name in asks})
        self._decode(m)
        self._flow(m)
        self._pointers(m)
        self._units(m)
        self._ports(m)
        self._control(m)
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
        define(byte=(op[5:8] == Base.BYTE >> 5) | (op[4:8] == 0xC))
        define(
            move=op[5:8] == Base.MOVE >> 5,
            short=(self.is_.byte & ~port.all()) | (op[4:8] == Base.DERIVE >> 4) | ~op[7],  # the row or address is in op
            derive=op[4:8] == Base.DERIVE >> 4,
            give=direction == Direction.GIVE,
            take=direction == Direction.TAKE,
            check=direction == Direction.CHECK,
            crypt=direction == Direction.CRYPT,
            inner=port[2] & port[0],  # no port: zero, increment, copy, code, less
            ends=op[:5] == Move.GIVE_END & 31,
            increment=op[:5] == Move.INCREMENT & 31,
            code=op[:5] == Move.TAKE_CODE & 31,
            less=op[:5] == Move.LESS & 31,
            two=((port == Port.PAD) & ~op[3]) | ((direction == Direction.CRYPT) & (port == Port.SPONGE)),
        )

    # ------------------------------------------------------------------ where the program goes
    def _flow(self, m):
        """The next address, the return stack, and rows of the table."""
        ask, op = self.ask, self.op
        pc, depth = (
            Signal(isa.TARGET, init=self._rom.start),
            Signal(range(isa.STACK_ROWS), init=isa.STACK_ROWS - 1),
        )  # the top entry
        straight, onward, row, level = Signal(isa.TARGET), Signal(isa.TARGET), Signal(8), Signal.like(depth)
        m.d.comb += [
            straight.eq(pc + (op[:3] & ask.skip.replicate(3)) + ask.advance),
            onward.eq(Mux(ask.branch, Cat(self.data, Mux(op[6], op[:4], pc[8:])), straight)),
            row.eq(Mux(ask.leave, depth, self.source[:8])),
            level.eq(depth + Cat(~ask.leave, ask.leave.replicate(3)) + ask.leave),
            self.code.enable.eq(1),
            self.code.address.eq(Mux(ask.row | ask.enter | ask.leave, Cat(ask.half, row), onward)),
            self.code.push.eq(ask.push),
            self.code.slot.eq(level),
            self.code.half.eq(ask.push_half),
            self.code.value.eq(Mux(ask.push_half, straight[:8], Cat(straight[8:], C(Base.JUMP >> 4, 4)))),
        ]
        with m.If(~ask.row):
            m.d.sync += pc.eq(self.code.address)
        with m.If(ask.leave | (ask.push & ask.push_half)):
            m.d.sync += depth.eq(level)

    def _pointers(self, m):
        """Addresses of both sides of a move, and its length: from an operand, then from a row of the table."""
        ask, is_, op = self.ask, self.is_, self.op
        loads, low, second = Signal(), Signal(isa.ADDRESS), Signal()
        hot = is_.byte & is_.short
        m.d.comb += [
            loads.eq(ask.load_operand | ask.load_low),
            low.eq(Cat(Mux(is_.short, op[:6] | Cat(C(0, 3), is_.byte.replicate(3)), self.data[:6]))),
            low[6:8].eq(Mux(is_.short, is_.byte.replicate(2), self.data[6:])),
            low[8:].eq(hot.replicate(2)),
        ]
        with m.If(loads):
            m.d.sync += self.source.eq(low)
        with m.Elif(ask.load_high):
            m.d.sync += self.source[8:].eq(self.data)
        with m.Elif(self.read.en & ~ask.from_dest):
            m.d.sync += self.source.eq(self.source + 1)

        to_dest = Signal()
        m.d.comb += to_dest.eq(is_.byte | is_.take | is_.increment | (is_.two & ~second))
        with m.If(loads & to_dest):
            m.d.sync += self.dest.eq(low)
        with m.Elif(ask.load_high & to_dest):
            m.d.sync += self.dest[8:].eq(self.data)
        with m.Elif(self.write.en | (ask.from_dest & self.read.en)):
            m.d.sync += self.dest.eq(self.dest + 1)
        with m.If(ask.load_high):
            m.d.sync += second.eq(is_.two & ~second)
        self.more = is_.two & ~second

        length = self.data[2:]
        with m.If(ask.load_high):
            m.d.sync += self.count.eq(Mux(length[5], length[:5] << 2, length))
        m.d.comb += [
            self.read.addr.eq(Mux(ask.from_dest, self.dest, self.source)),
            self.write.addr.eq(self.dest),
        ]
        with m.If(ask.load_high):
            m.d.comb += self.read.addr.eq(isa.LENGTH_ADDRESS)

    # ------------------------------------------------------------------ parts of the machine
    def _units(self, m):
        """Arithmetic and conditions, and what they see."""
        m.d.comb += [
            self.alu.op.eq(self.op),
            self.alu.byte.eq(self.is_.byte),
            self.alu.immediate.eq(self.data),
            self.alu.memory.eq(self.memory),
            self.conditions.op.eq(self.op),
            self.conditions.operand.eq(self.data),
            self.conditions.tick.eq(self.tick),
            self.conditions.short.eq(self.button_short),
            self.conditions.long.eq(self.button_long),
            self.timer_runs.eq(self.conditions.timer_runs),
        ]
        levels = {
            Condition.ZERO: self.alu.zero,
            Condition.CARRY: self.alu.carry,
            Condition.MATCH: self.match,
            Condition.ONES: self.ones,
            Condition.ZEROS: self.zeros,
            Condition.ADMIN_FRAME: self.frames[0],
            Condition.PEER_FRAME: self.frames[1],
            Condition.PUF_BUSY: self.puf_cmd.valid,
            Condition.PUF_EXHAUSTED: self.puf_exhausted,
            Condition.PUF_DEAD: self.puf_dead,
            Condition.TRNG_ALARM: self.trng_alarm,
            Condition.TRNG_READY: self.trng_ready,
            Condition.BUTTON: self.button,
        }
        m.d.comb += [self.conditions.levels[number].eq(level) for number, level in levels.items()]

    def _ports(self, m):
        """One byte of a move, or of an EMIT: ``moved`` in the cycle in which both sides are ready."""
        op, is_, memory = self.op, self.is_, self.memory
        port = op[:3]
        self.moving, self.emitting, self.ending = Signal(name="moving"), Signal(name="emitting"), Signal(name="ending")
        self.moved, value, valid = Signal(name="moved"), Signal(8, name="value"), Signal(name="valid")
        giving, taking, checking, crypting = (
            Signal(name=name) for name in ("giving", "taking", "checking", "crypting")
        )
        m.d.comb += [
            giving.eq(self.emitting | self.moving & is_.give & ~is_.inner),
            taking.eq(self.moving & is_.take),
            checking.eq(self.moving & is_.check),
            crypting.eq(self.moving & is_.crypt),
        ]

        # from the ports; the sponge is not a source of a CRYPT but its other half
        both = crypting & (port == Port.SPONGE)  # sponge in, sponge out
        sources = {Port.LINK: self.link_o, Port.SPI: self.spi_o, Port.PUF: self.puf_o, Port.TRNG: self.trng_o}
        outside = Signal(name="outside")  # a CRYPT against a port, which has a byte
        m.d.comb += outside.eq(crypting & valid)
        with m.Switch(port):
            for number, source in sources.items():
                with m.Case(number):
                    m.d.comb += [value.eq(source.payload), valid.eq(source.valid)]
                    # the flash sends a byte only when asked, so ready comes before valid
                    m.d.comb += source.ready.eq(taking | checking | crypting & (self.sponge_i.ready | ~source.valid))
            with m.Case(Port.SPONGE):
                m.d.comb += value.eq(self.sponge_o.payload)
            with m.Default():
                failed = self.error.any()
                m.d.comb += [value.eq(Cat(Mux(failed, self.error, self.length), failed)), valid.eq(1)]
        arrived = valid | is_.inner | ((port == Port.SPONGE) & self.sponge_o.valid)

        # to the ports
        outgoing = Mux(self.emitting, self.data, memory)
        ready, targets = Signal(name="ready"), (self.sponge_i, self.link_i, self.spi_i, self.puf_i)
        with m.Switch(op[:2]):
            for number, target in enumerate(targets):
                with m.Case(number):
                    m.d.comb += [target.valid.eq(giving), ready.eq(target.ready)]
        for target in targets[1:]:
            m.d.comb += target.payload.eq(outgoing)
        m.d.comb += [
            self.sponge_i.payload.data.eq(outgoing),
            self.sponge_i.payload.end.eq(self.ending),
            self.sponge_o.ready.eq((taking | checking) & (port == Port.SPONGE) | both | outside),
        ]
        with m.If(self.ending | both | outside):
            m.d.comb += self.sponge_i.valid.eq(1)
        self.given = ready

        with m.If(is_.crypt):
            m.d.comb += self.moved.eq(self.sponge_i.ready & (both | outside))
        with m.Elif(is_.give):
            m.d.comb += self.moved.eq(self.moving & (ready | is_.inner))
        with m.Else():
            m.d.comb += self.moved.eq(self.moving & arrived)

        # into the scratchpad
        writes = is_.take | is_.inner & is_.give | is_.crypt & (port == Port.SPONGE)
        alters = is_.byte & op[5]  # COMPARE and TEST do not
        m.d.comb += [
            self.write.en.eq(self.moved & writes | self.alu.update & alters),
            self.write.data.eq(Mux(is_.byte | is_.inner, self.alu.result, value)),
        ]

        # and what is seen on the way
        difference = value ^ Mux(is_.crypt, self.sponge_o.payload, memory)
        with m.If(self.moved & ~is_.inner & (is_.check | is_.crypt) & difference.any()):
            m.d.sync += self.match.eq(0)
        with m.If(self.moved & is_.take & (port == Port.SPI)):
            m.d.sync += [self.ones.eq(self.ones & value.all()), self.zeros.eq(self.zeros & ~value.any())]

    # ------------------------------------------------------------------ step by step
    def _control(self, m):
        ask, is_, op = self.ask, self.is_, self.op
        with m.If(self.puf_cmd.valid & self.puf_cmd.ready):
            m.d.sync += self.puf_cmd.valid.eq(0)
        m.d.comb += [
            self.sponge_cmd.payload.as_value().eq(Mux(is_.derive, 1 << 3, self.data[:5]) | 7 << 5),
            self.read.en.eq(0),
        ]
        with m.FSM(name="fsm"):
            with m.State("START"):  # the first byte of code is fetched
                m.next = "DECODE"
            with m.State("DECODE"):
                m.d.comb += [ask.advance.eq(1), self.starting.eq(1)]
                m.d.sync += op.eq(self.data)
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                self._execute(m)

            # a row of the table into the pointers
            with m.State("ROW"):
                m.d.comb += ask.row.eq(1)
                m.next = "LOW"
            with m.State("LOW"):
                m.d.comb += [ask.row.eq(1), ask.half.eq(1), ask.load_low.eq(1)]
                m.next = "HIGH"
            with m.State("HIGH"):
                m.d.comb += [ask.load_high.eq(1), self.read.en.eq(1)]  # the byte read tells a length
                with m.If(self.more):
                    m.next = "EXECUTE"
                with m.Else():
                    m.next = "READ"

            # the first byte, or the only one
            with m.State("READ"):
                m.d.comb += [self.read.en.eq(1), ask.from_dest.eq(is_.move & is_.less)]
                with m.If(is_.byte):
                    m.next = "BYTE"
                with m.Else():
                    with m.If(~self.count.any()):
                        m.d.sync += self.count.eq(self.memory)
                    with m.If(is_.take & (op[:3] == Port.SPI)):
                        m.d.sync += [self.ones.eq(1), self.zeros.eq(1)]
                    with m.If(is_.crypt | is_.check & ~is_.inner):
                        m.d.sync += self.match.eq(1)
                    with m.If(is_.less | is_.increment):
                        m.d.comb += self.alu.preset.eq(1)
                    m.next = "MOVE"
                    with m.If(is_.less):
                        m.next = "KEEP"
            with m.State("BYTE"):
                m.d.comb += [self.alu.update.eq(1), ask.advance.eq(1)]
                m.next = "DECODE"
            with m.State("KEEP"):
                m.d.comb += [self.read.en.eq(1), self.alu.keep.eq(1)]
                m.next = "MOVE"
            with m.State("MOVE"):
                self._move(m)
            with m.State("END"):
                m.d.comb += self.ending.eq(1)
                with m.If(self.sponge_i.ready):
                    m.next = "DECODE"
            with m.State("PUSH"):
                m.d.comb += [ask.push.eq(1), ask.push_half.eq(1)]
                m.d.comb += [ask.enter.eq(op[5]), ask.branch.eq(~op[5]), ask.advance.eq(~op[5])]
                m.next = "DECODE"

    def _move(self, m):
        """The state MOVE: byte after byte until the count is zero."""
        ask, is_ = self.ask, self.is_
        with m.If(~self.count.any()):
            m.next = "DECODE"
            with m.If(is_.ends):
                m.next = "END"
        with m.Else():
            m.d.comb += self.moving.eq(1)
            with m.If(self.moved):
                m.d.comb += [
                    self.read.en.eq(1),
                    ask.from_dest.eq(is_.less),
                    self.alu.update.eq(is_.increment | is_.less),
                    ask.advance.eq(is_.code),
                ]
                m.d.sync += self.count.eq(self.count - 1)
                with m.If(is_.less):
                    m.next = "KEEP"
            with m.If(is_.take & (self.op[:3] == Port.TRNG) & self.trng_alarm):
                m.next = "DECODE"

    def _execute(self, m):
        """The state EXECUTE: whatever needs no more than the operand behind the opcode."""
        ask, op = self.ask, self.op
        m.next = "DECODE"
        with m.Switch(op):
            with m.Case("000-----"):  # BRANCH
                m.d.comb += [ask.branch.eq(self.conditions.holds), ask.advance.eq(1)]
            with m.Case("001-----"):  # SKIP
                m.d.comb += [ask.skip.eq(self.conditions.holds), ask.advance.eq(self.conditions.holds)]
            with m.Case("0100----"):  # JUMP
                m.d.comb += ask.branch.eq(1)
            with m.Case("0101----", "011-----"):  # CALL, VECTOR: the return address is behind the operand, if any
                m.d.comb += [
                    ask.push.eq(1),
                    ask.load_operand.eq(1),
                    ask.advance.eq(~op[5]),
                    self.code.enable.eq(0),
                    ask.row.eq(1),
                ]
                m.next = "PUSH"
            with m.Case("100-----"):  # MOVE
                m.d.comb += [ask.load_operand.eq(1), ask.advance.eq(1)]
                m.next = "ROW"
            with m.Case("1101----"):  # DERIVE
                m.d.comb += [self.sponge_cmd.valid.eq(1), ask.load_operand.eq(1)]
                with m.If(self.sponge_cmd.ready):
                    m.d.sync += op.eq(Move.GIVE_END)
                    m.next = "ROW"
                with m.Else():
                    m.next = "EXECUTE"
            with m.Case("11100---"):  # RETURN_IF
                m.d.comb += ask.leave.eq(self.conditions.holds)
            with m.Case("11101---"):
                self._strobe(m)
            with m.Case("111100--"):  # SELECT
                with m.If(op[1]):
                    m.d.sync += self.side.eq(op[0])
                with m.Elif(op[0] | self.spi_i.ready):  # not before the last byte is through
                    m.d.sync += self.spi_select.eq(op[0])
                with m.Else():
                    m.next = "EXECUTE"
            with m.Case("11111---"):
                self._operand(m)
            with m.Default():  # BYTE
                m.d.comb += [ask.load_operand.eq(1), ask.advance.eq(~self.is_.short)]
                m.next = "READ"

    def _strobe(self, m):
        with m.Switch(self.op[:3]):
            with m.Case(Strobe.RETURN):
                m.d.comb += self.ask.leave.eq(1)
            with m.Case(Strobe.SPONGE_END):
                m.d.comb += self.ending.eq(1)
                with m.If(~self.sponge_i.ready):
                    m.next = "EXECUTE"
            with m.Case(Strobe.SPONGE_CLEAR):
                m.d.comb += self.sponge_clear.eq(1)
            with m.Case(Strobe.SEND):
                m.d.comb += self.send.eq(1)
            with m.Case(Strobe.DROP):
                m.d.comb += self.drop.eq(1)
            with m.Case(Strobe.ABORT):
                m.d.comb += self.abort.eq(1)

    def _operand(self, m):
        """A register or strobe of a unit; waits where the unit is not ready."""
        done, operand = Signal(), self.data
        m.d.comb += [done.eq(1), self.ask.advance.eq(done)]
        with m.If(~done):
            m.next = "EXECUTE"
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
                m.d.comb += [self.emitting.eq(1), done.eq(self.given)]

    def _observer(self, m):
        """``phase``: a memory beside the code tells which instructions begin a phase."""
        marks = [(16 | self._rom.phases[k]) if k in self._rom.phases else 0 for k in range(len(self._rom.data))]
        m.submodules.marks = memory = Memory(shape=5, depth=len(marks), init=marks)
        mark = memory.read_port()
        m.d.comb += [mark.addr.eq(self.code.address), mark.en.eq(self.code.enable)]
        with m.If(self.starting & mark.data[4]):
            m.d.sync += self.phase.eq(mark.data)
