"""The sequencer: runs the control program and moves bytes between scratchpad, sponge, ports, flash, PUF and noise."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ringpair_hdl.ascon import Item, Start

from . import isa
from .assembler import STACK_DEPTH
from .isa import Class, Condition, Direction, Op, Port, Unit

BYTES = stream.Signature(8)


class Word(data.Struct):
    """All views of an instruction word, from bit 0 up."""

    address: isa.ADDRESS
    length: isa.LENGTH
    port: 3
    direction: 2
    kind: 2


class Sequencer(wiring.Component):
    """A machine of 15 kinds of instruction (see :mod:`.isa`) for programs made by :class:`.assembler.Program`.

    Every peripheral is a stream or a level; the sequencer is the only master of all of them. Nothing that it does in a
    move depends on the bytes moved, so a program's timing shows its branches and nothing else.

    Parameters
    ----------
    words
        The program.
    pad
        Initial contents of the scratchpad; their number is its size.

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

    def __init__(self, words: list[int], pad: bytes):
        if not words or not pad:
            raise ValueError("the sequencer needs a program and a scratchpad")
        self._words, self._init = words, bytes(pad)
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
                "output": Out(8),
                "phase": Out(4),
                "timer_runs": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.code = code = Memory(shape=isa.WORD, depth=len(self._words), init=self._words)
        m.submodules.pad = pad = Memory(shape=8, depth=len(self._init), init=self._init)
        m.submodules.stack = stack = Memory(shape=isa.TARGET, depth=STACK_DEPTH, init=[])
        self._read, self._write = pad.read_port(transparent_for=()), pad.write_port()
        self._push, self._top = stack.write_port(), stack.read_port()
        fetch = code.read_port()

        word = Signal(isa.WORD)
        view = data.View(Word, word)
        pc, depth = Signal(isa.TARGET), Signal(range(STACK_DEPTH))
        carry, zero, match = Signal(), Signal(), Signal()
        ones, zeros = Signal(), Signal()
        count, length = Signal(isa.LENGTH), Signal(isa.LENGTH)
        source, dest = Signal(isa.ADDRESS), Signal(isa.ADDRESS)

        m.d.comb += [
            word.eq(fetch.data),
            fetch.addr.eq(pc),
            fetch.en.eq(0),
            self._read.en.eq(0),
            self._write.addr.eq(dest),
            self._top.addr.eq(depth - 1),
            self._push.addr.eq(depth),
            self._push.data.eq(pc),
        ]

        test = Signal()
        conditions = self._conditions(m, carry, zero, match, ones, zeros)
        holds = Signal()
        m.d.comb += [test.eq(conditions.bit_select(word[15:20], 1)), holds.eq(test ^ word[20])]

        done = Signal()  # of a CONTROL instruction
        unit = Signal(Unit)
        m.d.comb += unit.eq(word[18:22])
        byte, moved, finished = Signal(8), Signal(), Signal()
        self._emits = Signal()
        outgoing = Mux(self._emits, word[:8], self._read.data)
        m.d.comb += [
            self.sponge_cmd.payload.eq(word[: len(self.sponge_cmd.payload.as_value())]),
            self.sponge_i.payload.data.eq(outgoing),
            self.link_i.payload.eq(outgoing),
            self.spi_i.payload.eq(outgoing),
            self.puf_i.payload.eq(self._read.data),
        ]
        with m.If(self.puf_cmd.valid & self.puf_cmd.ready):
            m.d.sync += self.puf_cmd.valid.eq(0)

        with m.FSM(name="fsm"):
            with m.State("FETCH"):
                m.d.comb += fetch.en.eq(1)
                m.d.sync += pc.eq(pc + 1)
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                m.d.comb += [self._read.addr.eq(view.address), self._read.en.eq(1)]
                with m.Switch(view.kind):
                    with m.Case(Class.BYTE):
                        m.next = "BYTE"
                    with m.Case(Class.CONTROL):
                        self._control(m, word, unit, done, length, dest)
                        with m.If(done):
                            m.next = "FETCH"
                        with m.If(unit == Unit.RETURN):
                            m.d.sync += depth.eq(depth - 1)
                            m.next = "RETURN"
                    with m.Case(Class.BRANCH):
                        with m.If(holds):
                            m.d.sync += pc.eq(word)
                            with m.If(word[21]):
                                m.d.comb += self._push.en.eq(1)
                                m.d.sync += depth.eq(depth + 1)
                        m.next = "FETCH"
                    with m.Case(Class.MOVE):
                        m.d.sync += [count.eq(Mux(view.length.any(), view.length, length)), source.eq(view.address + 1)]
                        with m.If(view.direction == Direction.TAKE):
                            m.d.sync += [dest.eq(view.address), ones.eq(1), zeros.eq(1)]
                        with m.If(view.direction[1]):
                            m.d.sync += match.eq(1)
                        m.next = "MOVE"
            with m.State("RETURN"):
                m.d.sync += pc.eq(self._top.data)
                m.next = "FETCH"
            with m.State("BYTE"):
                m.d.comb += self._write.addr.eq(view.address)
                self._byte(m, word, carry, zero)
                m.next = "FETCH"
            with m.State("MOVE"):
                m.d.comb += [self._read.addr.eq(source), self._read.en.eq(moved), finished.eq(~count.any())]
                with m.If(finished):
                    m.next = "FETCH"
                with m.Else():
                    self._move(m, view, byte, moved)
                with m.If(view.port == Port.TRNG):
                    with m.If(self.trng_alarm):
                        m.next = "FETCH"
                with m.If(moved):
                    m.d.sync += [count.eq(count - 1), source.eq(source + 1)]
                    with m.If(view.direction == Direction.TAKE):
                        m.d.sync += [ones.eq(ones & byte.all()), zeros.eq(zeros & ~byte.any())]
                    with m.If(view.direction[1] & (byte != self._read.data)):
                        m.d.sync += match.eq(0)
                with m.If(self._write.en):
                    m.d.sync += dest.eq(dest + 1)
        return m

    # ------------------------------------------------------------------ parts of the machine
    def _conditions(self, m, carry, zero, match, ones, zeros):
        """All conditions side by side; the timer and the latched button events live here."""
        self._timer = Signal(10)
        self._timer_done, self._short, self._long = Signal(), Signal(), Signal()
        m.d.comb += self.timer_runs.eq(self._timer.any())
        with m.If(self.tick & self.timer_runs):
            m.d.sync += [self._timer.eq(self._timer - 1), self._timer_done.eq(self._timer == 1)]
        with m.If(self.button_short):
            m.d.sync += self._short.eq(1)
        with m.If(self.button_long):
            m.d.sync += self._long.eq(1)
        levels = {
            Condition.ALWAYS: Const(1),
            Condition.ZERO: zero,
            Condition.CARRY: carry,
            Condition.MATCH: match,
            Condition.ONES: ones,
            Condition.ZEROS: zeros,
            Condition.ADMIN_FRAME: self.frames[0],
            Condition.PEER_FRAME: self.frames[1],
            Condition.FRAME_ERROR: self.error.any(),
            Condition.PUF_BUSY: self.puf_cmd.valid,
            Condition.PUF_EXHAUSTED: self.puf_exhausted,
            Condition.PUF_DEAD: self.puf_dead,
            Condition.TRNG_ALARM: self.trng_alarm,
            Condition.TRNG_READY: self.trng_ready,
            Condition.BUTTON: self.button,
            Condition.BUTTON_SHORT: self._short,
            Condition.BUTTON_LONG: self._long,
            Condition.TIMER_RUNS: self.timer_runs,
            Condition.TIMER_DONE: self._timer_done,
        }
        return Cat(levels[c] for c in Condition)

    def _byte(self, m, word, carry, zero):
        """One byte of the scratchpad through the arithmetic unit; source and standard: :class:`.isa.Op`."""
        op, immediate, memory = word[18:22], word[10:18], self._read.data
        accumulator, result = Signal(8, name="accumulator"), Signal(8, name="result")
        left, right, carry_in = Signal(8, name="left"), Signal(8, name="right"), Signal(name="carry_in")
        from_accumulator = Signal()
        m.d.comb += [
            from_accumulator.eq((op == Op.SUB) | (op == Op.SBC)),
            left.eq(Mux(from_accumulator, accumulator, memory)),
            right.eq(Mux(from_accumulator, ~memory, Mux(op == Op.COMPARE, ~immediate, immediate))),
        ]
        chained = (op == Op.ADC) | (op == Op.SBC)
        m.d.comb += carry_in.eq(Mux(chained, carry, op != Op.ADD))
        total = Signal(9, name="total")
        m.d.comb += [total.eq(left + right + carry_in), result.eq(total[:8])]
        writes, arithmetic = Signal(), Signal()
        with m.Switch(op):
            with m.Case(Op.SET):
                m.d.comb += [result.eq(immediate), writes.eq(1)]
            with m.Case(Op.ADD, Op.ADC):
                m.d.comb += [writes.eq(1), arithmetic.eq(1)]
            with m.Case(Op.AND):
                m.d.comb += [result.eq(memory & immediate), writes.eq(1)]
            with m.Case(Op.OR):
                m.d.comb += [result.eq(memory | immediate), writes.eq(1)]
            with m.Case(Op.TEST):
                m.d.comb += result.eq(memory & immediate)
            with m.Case(Op.COMPARE, Op.SUB, Op.SBC):
                m.d.comb += arithmetic.eq(1)
            with m.Case(Op.LOAD):
                m.d.sync += accumulator.eq(memory)
            with m.Case(Op.STORE):
                m.d.comb += [result.eq(accumulator), writes.eq(1)]
        m.d.comb += [self._write.en.eq(writes), self._write.data.eq(result)]
        with m.If((op != Op.LOAD) & (op != Op.STORE)):
            m.d.sync += zero.eq(~result.any() & (zero | ~chained))
        with m.If(arithmetic):
            m.d.sync += carry.eq(total[8])

    def _move(self, m, view, byte, moved):
        """One byte of a move, in the cycle in which both sides are ready."""
        memory = self._read.data
        sources = {
            Port.SPONGE: self.sponge_o,
            Port.LINK: self.link_o,
            Port.SPI: self.spi_o,
            Port.PUF: self.puf_o,
            Port.TRNG: self.trng_o,
        }
        targets = {Port.SPONGE: self.sponge_i, Port.LINK: self.link_i, Port.SPI: self.spi_i, Port.PUF: self.puf_i}
        value, valid, ready = Signal(8, name="value"), Signal(), Signal()  # of the port as a source
        outside, crypts = Signal(), Signal()  # valid and ready of a port that is not the sponge, in a CRYPT
        with m.Switch(view.port):
            for port, source in sources.items():
                with m.Case(port):
                    m.d.comb += [value.eq(source.payload), valid.eq(source.valid)]
                    if port == Port.SPONGE:
                        m.d.comb += source.ready.eq(ready)
                    else:
                        m.d.comb += [source.ready.eq(ready | crypts), outside.eq(source.valid)]
            with m.Case(Port.FRAME):
                failed = self.error.any()
                m.d.comb += [value.eq(Cat(Mux(failed, self.error, self.length), failed)), valid.eq(1)]
            with m.Case(Port.ZERO):
                m.d.comb += valid.eq(1)
        with m.Switch(view.direction):
            with m.Case(Direction.GIVE):
                with m.Switch(view.port):
                    for port, target in targets.items():
                        with m.Case(port):
                            m.d.comb += [target.valid.eq(1), moved.eq(target.ready)]
                    with m.Case(Port.PAD):
                        m.d.comb += [self._write.en.eq(1), self._write.data.eq(memory), moved.eq(1)]
            with m.Case(Direction.TAKE):
                m.d.comb += [ready.eq(1), moved.eq(valid), byte.eq(value)]
                m.d.comb += [self._write.en.eq(valid), self._write.data.eq(value)]
            with m.Case(Direction.CHECK):
                m.d.comb += [ready.eq(1), moved.eq(valid), byte.eq(value)]
            with m.Case(Direction.CRYPT):
                self._crypt(m, view, byte, moved, value, outside, crypts)

    def _crypt(self, m, view, byte, moved, value, valid, ready):
        """Pad to sponge, and in the same cycle the sponge's byte to the pad, or against the byte of a port."""
        with m.If(view.port == Port.SPONGE):
            m.d.comb += [
                self.sponge_i.valid.eq(1),
                self.sponge_o.ready.eq(1),
                moved.eq(self.sponge_i.ready),
                self._write.en.eq(moved),
                self._write.data.eq(self.sponge_o.payload),
            ]
        with m.Else():
            m.d.comb += [
                self.sponge_i.valid.eq(valid),
                self.sponge_o.ready.eq(valid),
                moved.eq(valid & self.sponge_i.ready),
                ready.eq(self.sponge_i.ready | ~valid),  # the flash sends a byte only when asked
                byte.eq(value ^ self.sponge_o.payload ^ self._read.data),  # equal to memory if both agree
            ]

    def _control(self, m, word, unit, done, length, dest):
        """A strobe or a register of a unit; waits where the unit is not ready."""
        argument = word[:18]
        m.d.comb += done.eq(1)
        with m.Switch(unit):
            with m.Case(Unit.SPONGE):
                m.d.comb += [self.sponge_cmd.valid.eq(1), done.eq(self.sponge_cmd.ready)]
            with m.Case(Unit.SPONGE_END):
                m.d.comb += [self.sponge_i.valid.eq(1), self.sponge_i.payload.end.eq(1), done.eq(self.sponge_i.ready)]
            with m.Case(Unit.SPONGE_CLEAR):
                m.d.comb += self.sponge_clear.eq(1)
            with m.Case(Unit.EMIT):
                m.d.comb += self._emits.eq(1)
                for port, target in ((Port.SPONGE, self.sponge_i), (Port.LINK, self.link_i), (Port.SPI, self.spi_i)):
                    with m.If(word[8:11] == port):
                        m.d.comb += [target.valid.eq(1), done.eq(target.ready)]
            with m.Case(Unit.PUF):
                m.d.comb += done.eq(~self.puf_cmd.valid)
                with m.If(done):
                    m.d.sync += [self.puf_cmd.payload.eq(argument), self.puf_cmd.valid.eq(1)]
            with m.Case(Unit.SPI):
                m.d.comb += done.eq(argument[0] | self.spi_i.ready)  # not before the last byte is through
                with m.If(done):
                    m.d.sync += self.spi_select.eq(argument[0])
            with m.Case(Unit.SIDE):
                m.d.sync += self.side.eq(argument[0])
            with m.Case(Unit.FRAME):
                m.d.comb += Cat(self.send, self.drop, self.abort).eq(argument)
            with m.Case(Unit.LENGTH):
                m.d.sync += length.eq(Mux(argument[7], self.length - argument[:7], argument))
            with m.Case(Unit.TIMER):
                m.d.sync += [self._timer.eq(argument), self._timer_done.eq(0)]
            with m.Case(Unit.OUTPUT):
                m.d.sync += self.output.eq((self.output & ~argument[8:16]) | argument[:8])
            with m.Case(Unit.PHASE):
                m.d.sync += self.phase.eq(argument)
            with m.Case(Unit.DEST):
                m.d.sync += dest.eq(argument)
            with m.Case(Unit.EVENTS):
                with m.If(argument[0]):
                    m.d.sync += self._short.eq(0)
                with m.If(argument[1]):
                    m.d.sync += self._long.eq(0)
