"""Proof of the sequencer's moves: as many bytes as the instruction says, each from and to its place, nothing else."""

import pytest
from amaranth.hdl import Assert, Assume, Cat, Cover, Mux, Signal
from ringpair_hdl.control import Sequencer, isa, sequencer
from ringpair_hdl.control.alu import Alu
from ringpair_hdl.control.assembler import MOVES
from ringpair_hdl.control.decoder import TWO_ROWS
from ringpair_hdl.control.exchange import Exchange
from ringpair_hdl.control.flow import Flow
from ringpair_hdl.control.isa import Base, Direction, Move, Operand, Port, Strobe
from ringpair_hdl.control.pointers import Pointers
from ringpair_hdl.control.sequencer import Step

from formal.pad import PadWithByte
from formal.prove import Disproved, mutant, prove, reach
from formal.test_instructions import Execution

DEPTH = 6
LONG = 19
"""Cycles from reset to the end of a LESS of two bytes."""
TABLE = bytes(2 * isa.ROWS)
"""A memory of its own for the rows behind the vectors."""
KNOWN = sorted({isa.move(direction, port) for direction, ports in MOVES.items() for port in ports} | set(Move))
"""Opcodes of moves; `formal/shape.py` finds no others."""


class Moves(Execution):
    """Beside each MOVE or DERIVE: the rows that it names, and how many bytes have come through its ports."""

    PAD = PadWithByte

    def properties(self, m):
        dut = self.sequencer
        super().properties(m)
        self._names(m, dut)
        self._rows(m, dut)
        self._counts(m, dut)
        self._points(m, dut)
        self._gives_each(m, dut)
        self._takes_each(m, dut)
        self._writes_each(m, dut)
        self._lasts(m, dut)
        self._reckons(m, dut)
        self._sees(m, dut)
        return m

    def _names(self, m, dut):
        """What the instruction is; a DERIVE, once the sponge has begun, is a GIVE_END."""
        self.derives, self.code_of = self._is(Base.DERIVE, 4), Signal(8)
        self.moves = self._is(Base.MOVE, 3) | self.derives
        m.d.comb += self.code_of.eq(Mux(self.derives, Move.GIVE_END, self.op))
        code = dut.data
        m.d.comb += Assume(~self.at[Step.DECODE] | (code[5:8] != Base.MOVE >> 5) | code.matches(*KNOWN))
        m.d.comb += Assert(~(self.run & self.moves) | self.code_of.matches(*KNOWN))
        self.two, self.less = self._any(*TWO_ROWS), self._any(Move.LESS)
        self.crypts = self._any(isa.move(Direction.CRYPT, Port.SPONGE))
        self.sources = {
            Port.SPONGE: dut.sponge_o,
            Port.LINK: dut.link_o,
            Port.SPI: dut.spi_o,
            Port.PUF: dut.puf_o,
            Port.TRNG: dut.trng_o,
        }
        self.moved_here = Signal()  # a byte, in this cycle
        self.first, self.last = Signal(isa.ADDRESS), Signal(isa.ADDRESS)  # addresses that the rows say
        self.told, self.size = Signal(isa.LENGTH), Signal(isa.LENGTH)  # by the last row; how many bytes it means
        self.count = Signal(isa.LENGTH)  # bytes moved
        self.target = Mux(self.two, self.first, self.last)
        self.going = self.at[Step.MOVE] & (self.count != self.size)

    def _any(self, *opcodes):
        return self.moves & self.code_of.matches(*(int(opcode) for opcode in opcodes))

    def _port(self, direction, port):
        return self._any(isa.move(direction, port))

    def _rows(self, m, dut):
        """Rows are read at their places in the table, and mean what `isa` says."""
        at, code, data, second = self.at, self.code, dut.data, dut.second
        row, low, high, apart = Signal(8), Signal(8), at[Step.HIGH], Signal()
        if dut.flow.rom.table:
            with m.If(code.enable):
                m.d.sync += apart.eq(code.apart)
        with m.If(at[Step.EXECUTE]):
            m.d.sync += row.eq(Mux(self.derives, isa.LABEL_ROWS.start + self.op[:4], data))
        with m.If(at[Step.LOW]):
            m.d.sync += low.eq(data)
        reads_row = at[Step.LOW] | high
        place, length, address = 2 * row + high, data[2:], Cat(low, data[:2])
        separate = (row >= isa.VECTOR_ROWS.stop) if dut.flow.rom.table else 0
        m.d.comb += [
            Assert(~reads_row | (code.owner == place)),
            Assert(apart == (reads_row & separate)),
        ]
        with m.If(high & self.two & ~second):
            m.d.sync += self.first.eq(address)
        with m.Elif(high):
            m.d.sync += self.last.eq(address)
            m.d.sync += self.told.eq(Mux(length >= isa.EXACT, (length - isa.EXACT) * 4, length))
        self.row, self.low = row, low

    def _counts(self, m, dut):
        """A move has as many bytes as its row says, or the length byte."""
        at, pad = self.at, self.memory
        with m.If(at[Step.READ]):
            m.d.sync += [self.count.eq(0), self.size.eq(Mux(self.told == 0, dut.read.data, self.told))]
            m.d.comb += Assert(pad.owner == isa.LENGTH_ADDRESS)
            counted = (self.told == 0) & (pad.kept == isa.LENGTH_ADDRESS)
            m.d.comb += Assert(~counted | ~pad.known | (dut.read.data == pad.content))
        with m.If(self.moved_here):
            m.d.sync += self.count.eq(self.count + 1)
        self.alarmed, finished = Signal(), Signal()  # a generator that raised its alarm ended the move
        m.d.sync += self.alarmed.eq(at[Step.MOVE] & self._port(Direction.TAKE, Port.TRNG) & dut.trng_alarm)
        m.d.sync += finished.eq(at[Step.MOVE] & (self.count == self.size))
        runs, going = at[Step.KEEP] | at[Step.MOVE], self.going
        done = self.count == self.size
        m.d.comb += [
            Assert(~runs | (self.count <= self.size)),
            Assert(~(self.run & self.moves & at[Step.DECODE]) | done | self.alarmed),
            Assert(~at[Step.END] | done),
            Assert(~finished | at[Step.DECODE] | at[Step.END]),
            Assert(~at[Step.KEEP] | (pad.owner == self._nth(self.first))),
            Assert(~going | (pad.owner == self._nth(self.last))),
            Assert(~at[Step.BYTE] | (pad.owner == self.place)),
        ]

    def _nth(self, start, ahead=0):
        return (start + self.count + ahead)[: isa.ADDRESS]

    def _points(self, m, dut):
        """Where the pointers are at each step: what the induction needs, and nobody outside can see."""
        at, pad, pointers = self.at, self.memory, dut.pointers
        runs = at[Step.KEEP] | at[Step.MOVE]
        target = self.two | self._any(Move.INCREMENT) | (self.code_of[3:5] == Direction.TAKE)
        kept = (at[Step.KEEP] & (self._nth(self.first) == pad.kept)) | (self.going & (self._nth(self.last) == pad.kept))
        m.d.comb += [
            Assert(~(at[Step.ROW] | at[Step.LOW]) | (pointers.source == self.row)),
            Assert(~at[Step.HIGH] | (pointers.source == self.low)),
            Assert(~dut.second | (pointers.dest == self.first)),
            Assert(~at[Step.READ] | (pointers.count == self.told)),
            Assert(~at[Step.READ] | (pointers.source == self.last)),
            Assert(~(at[Step.READ] & target) | (pointers.dest == self.target)),
            Assert(~runs | (pointers.count == (self.size - self.count)[: isa.LENGTH])),
            Assert(~runs | (pointers.source == self._nth(self.last, at[Step.MOVE]))),
            Assert(~(runs & target) | (pointers.dest == self._nth(self.target, self.less))),
            Assert(~runs | (pad.owner == self._nth(Mux(at[Step.KEEP], self.first, self.last)))),
            Assert(~kept | ~pad.lost),
        ]

    def _gives_each(self, m, dut):
        """Of what is given each byte is the one at its place; and nothing else is given but by EMIT and ends."""
        at, byte, going = self.at, dut.read.data, self.going
        executes = at[Step.EXECUTE]
        ends = at[Step.END] | (executes & (self.op == Base.STROBE | Strobe.SPONGE_END))
        against = [(port, stream) for port, stream in ((Port.LINK, dut.link_o), (Port.SPI, dut.spi_o))]
        mixes = self.crypts | Cat(self._port(Direction.CRYPT, port) & o.valid for port, o in against).any()
        giving = [
            (Port.SPONGE, dut.sponge_i, Operand.EMIT_SPONGE, self._any(Move.GIVE_END) | mixes),
            (Port.LINK, dut.link_i, Operand.EMIT_LINK, 0),
            (Port.SPI, dut.spi_i, Operand.EMIT_SPI, 0),
            (Port.PUF, dut.puf_i, None, 0),
        ]
        for port, stream, unit, others in giving:
            gives = going & (self._port(Direction.GIVE, port) | others)
            emits = 0 if unit is None else executes & (self.op == Base.OPERAND | unit)
            also = ends if port == Port.SPONGE else 0
            payload = stream.payload.data if port == Port.SPONGE else stream.payload
            m.d.comb += [
                Assert(stream.valid == (gives | emits | also)),
                Assert(~gives | (payload == byte)),
            ]
        sponge, held, last = dut.sponge_i, Signal(), Signal(9)
        silent = Cat(self._port(Direction.CRYPT, port) & ~o.valid for port, o in against).any()
        m.d.sync += [held.eq(sponge.valid & ~sponge.ready), last.eq(sponge.payload.as_value())]
        m.d.comb += [
            Assert(~sponge.valid | (sponge.payload.end == ends)),
            # what the sponge is offered stays until it is taken, unless a port takes back its own byte
            Assert(~held | silent | (sponge.valid & (sponge.payload.as_value() == last))),
        ]
        # what is given, compared or reckoned with is what the scratchpad has there
        pad, ended, closes = self.memory, Signal(), self._any(Move.GIVE_END)
        for there, now in ((self.last, going), (self.first, at[Step.KEEP])):
            here = now & pad.known & (self._nth(there) == pad.kept)
            m.d.comb += Assert(~here | (byte == pad.content))
        with m.If(at[Step.READ]):
            m.d.sync += ended.eq(0)
        with m.Elif(at[Step.END] & dut.sponge_i.ready):
            m.d.sync += ended.eq(1)
        m.d.comb += [
            Assert(~at[Step.END] | (closes & ~ended)),
            Assert(~(at[Step.MOVE] & ended)),
            Assert(~(at[Step.DECODE] & self.run & closes) | ended),
        ]

    def _takes_each(self, m, dut):
        """A byte moves in each cycle in which all its ports are ready, and in no other; and nothing else is taken."""
        going, ready = self.going, Signal()
        targets = {Port.SPONGE: dut.sponge_i, Port.LINK: dut.link_i, Port.SPI: dut.spi_i, Port.PUF: dut.puf_i}
        m.d.comb += ready.eq(1)  # arithmetic, and what is known of a frame
        mixes = self.crypts
        for port, target in targets.items():
            with m.If(self._port(Direction.GIVE, port) | (self._any(Move.GIVE_END) if port == Port.SPONGE else 0)):
                m.d.comb += ready.eq(target.ready)
        for port, source in self.sources.items():
            takes, mixed = self._port(Direction.TAKE, port) | self._port(Direction.CHECK, port), 0
            with m.If(takes):
                m.d.comb += ready.eq(source.valid)
            if port in (Port.LINK, Port.SPI):
                mixed = self._port(Direction.CRYPT, port)
                mixes |= mixed & source.valid
                with m.If(mixed):
                    m.d.comb += ready.eq(source.valid & dut.sponge_i.ready)
            if port != Port.SPONGE:
                # where there is no byte yet it is asked for: the flash sends one only then
                asks = takes | (mixed & (dut.sponge_i.ready | ~source.valid))
                m.d.comb += Assert(source.ready == (going & asks))
        with m.If(self.crypts):
            m.d.comb += ready.eq(dut.sponge_i.ready)
        takes = self._port(Direction.TAKE, Port.SPONGE) | self._port(Direction.CHECK, Port.SPONGE)
        m.d.comb += [
            Assert(dut.sponge_o.ready == (going & (takes | mixes))),
            self.moved_here.eq(going & ready),
            Assert(dut.exchange.moved == self.moved_here),
        ]

    def _writes_each(self, m, dut):
        """The scratchpad afterwards: what a move takes is where it belongs, all else is as it was."""
        pad, byte, expected, value = self.memory, dut.read.data, Signal(8), Signal(8)
        self.carry = Signal()
        takes = {port: source.payload for port, source in self.sources.items()}
        takes |= {Port.ZERO: 0, Port.FRAME: Mux(dut.error.any(), 0x80 | dut.error, dut.length)}
        results = [(isa.move(Direction.TAKE, port), payload) for port, payload in takes.items()]
        results += [
            (Move.TAKE_CODE, dut.data),
            (Move.COPY, byte),
            (Move.INCREMENT, byte + self.carry),
            (isa.move(Direction.CRYPT, Port.SPONGE), dut.sponge_o.payload),
        ]
        for opcode, result in results:
            with m.If(self._any(opcode)):
                m.d.comb += value.eq(result)
        writes, now = self._any(*(opcode for opcode, _ in results)), Signal(8)
        m.d.comb += now.eq(Mux(pad.known, expected, pad.content))
        m.d.comb += Assert(pad.content == now)
        m.d.sync += expected.eq(now)
        with m.If(self.moved_here & writes & (self._nth(self.target) == pad.kept)):
            m.d.sync += expected.eq(value)
        with m.Elif(self.at[Step.BYTE] & dut.write.en & (self.place == pad.kept)):
            m.d.sync += expected.eq(dut.write.data)
        # a target just behind its source would be overwritten while it is read: the assembler refuses that
        ahead = self.first == (self.last + 1)[: isa.ADDRESS]
        m.d.comb += Assume(~((self._any(Move.COPY) | self.crypts) & self.at[Step.MOVE] & ahead & (self.size > 1)))
        taken = self._any(Move.TAKE_CODE) & self.going  # the byte of code in its turn
        m.d.comb += Assert(~taken | (self.code.owner == (self.here + 2 + self.count)[: isa.TARGET]))
        m.d.comb += Assert(~(self._any(Move.TAKE_CODE) & self.at[Step.MOVE]) | (self.moved == self.count))

    def _lasts(self, m, dut):
        """A move takes the cycles that `isa` says, and those in which a port makes it wait."""
        at, going, cycles = self.at, self.going, Signal(isa.LENGTH + 2)
        waits = (going & ~self.moved_here) | (at[Step.END] & ~dut.sponge_i.ready)
        waits |= at[Step.EXECUTE] & self.derives & ~dut.sponge_cmd.ready
        m.d.sync += cycles.eq(Mux(at[Step.DECODE], 1, cycles + ~waits))
        rows = 4 * self.two
        moved = self.count + Mux(self.less, self.count, 0)
        for before, step in enumerate((Step.EXECUTE, Step.ROW, Step.LOW, Step.HIGH), 1):
            m.d.comb += Assert(~(at[step] & self.moves) | (cycles == before + 4 * dut.second))
        whole = 7 + rows + moved + self.less + self._any(Move.GIVE_END)
        m.d.comb += [
            Assert(~at[Step.READ] | (cycles == 5 + rows)),
            Assert(~at[Step.KEEP] | (cycles == 6 + rows + moved)),
            Assert(~at[Step.MOVE] | (cycles == 6 + rows + moved + self.less)),
            Assert(~at[Step.END] | (cycles == 7 + moved)),
            Assert(~(at[Step.DECODE] & self.run & self.moves) | self.alarmed | (cycles == whole)),
        ]

    def _reckons(self, m, dut):
        """INCREMENT adds 1 to a number, LESS compares two, both with the lowest byte first: CARRY and ZERO say so."""
        at, alu, byte, kept = self.at, dut.alu, dut.read.data, Signal(8)
        increments, zero = self._any(Move.INCREMENT), Signal()
        with m.If(at[Step.KEEP]):
            m.d.sync += kept.eq(byte)
        with m.If(at[Step.READ]):
            m.d.sync += [self.carry.eq(1), zero.eq(1)]  # nothing so far: 0 + 1 is too much for it; both are equal
        with m.Elif(self.moved_here & increments):  # all bytes so far were 255, and are 0
            m.d.sync += [self.carry.eq(self.carry & byte.all()), zero.eq(zero & ((byte + self.carry)[:8] == 0))]
        with m.Elif(self.moved_here & self.less):  # a higher byte decides, unless it is equal
            m.d.sync += self.carry.eq((byte > kept) | ((byte == kept) & self.carry))
            m.d.sync += zero.eq(zero & (byte == kept))
        known = (self.less & (at[Step.KEEP] | at[Step.MOVE] | at[Step.DECODE])) | (
            increments & (at[Step.MOVE] | at[Step.DECODE])
        )
        m.d.comb += Assert(~(self.run & known) | ((alu.carry == self.carry) & (alu.zero == zero)))

    def _sees(self, m, dut):
        """CHECK, and CRYPT against a port, leave MATCH if all bytes were equal; TAKE from SPI leaves ONES and ZEROS."""
        at, exchange, byte, flash = self.at, dut.exchange, dut.read.data, self._port(Direction.TAKE, Port.SPI)
        equal, late, ones, zeros, same = Signal(), Signal(), Signal(), Signal(), Signal()
        compared = [(isa.move(Direction.CHECK, port), self.sources[port], byte) for port in MOVES[Direction.CHECK]]
        compared += [
            (isa.move(Direction.CRYPT, port), self.sources[port], dut.sponge_o.payload)
            for port in MOVES[Direction.CRYPT]
            if port != Port.SPONGE
        ]
        for opcode, source, other in compared:
            with m.If(self._any(opcode)):
                m.d.comb += same.eq(source.payload == other)
        m.d.sync += late.eq(equal)  # MATCH comes a cycle after that
        with m.If(at[Step.READ]):
            m.d.sync += [equal.eq(1), late.eq(1), ones.eq(1), zeros.eq(1)]
        with m.Elif(self.moved_here):
            m.d.sync += equal.eq(equal & same)
            m.d.sync += [ones.eq(ones & dut.spi_o.payload.all()), zeros.eq(zeros & ~dut.spi_o.payload.any())]
        seen = self.run & (at[Step.MOVE] | at[Step.DECODE])
        compares = self._any(*(opcode for opcode, *_ in compared))
        m.d.comb += [
            Assert(~(seen & flash) | ((exchange.ones == ones) & (exchange.zeros == zeros))),
            Assert(~(seen & compares) | (exchange.match == late)),
            Assert(~(seen & compares & at[Step.DECODE]) | (exchange.match == equal)),
        ]


class Visible(Moves):
    """Without the invariants on what is inside: bugs must show at the ports, at the memories or in the cycles."""

    def _points(self, m, dut):
        pass


class Happening(Visible):
    """Every move there is, of two bytes, and one of as many as the length byte says."""

    def properties(self, m):
        super().properties(m)
        ended = self.at[Step.DECODE] & self.run & (self.size == 2) & ~self.alarmed
        for opcode in KNOWN:
            m.d.comb += Cover(ended & (self.op == opcode))
        m.d.comb += Cover(ended & self.derives)
        m.d.comb += Cover(ended & self.moves & (self.told == 0) & (self.memory.kept == isa.LENGTH_ADDRESS))
        return m


@pytest.mark.parametrize("table", [b"", TABLE])
def test_moves(table):
    prove(Moves(table=table), depth=DEPTH)


def test_all_moves_happen():
    reach(Happening(), depth=LONG)


@pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")  # of a module made from text
@pytest.mark.parametrize(
    ("cls", "old", "new"),
    [
        (Pointers, "length[:5] << 2", "length[:5] << 1"),
        (Pointers, "count.eq(self.memory)", "count.eq(self.memory + 1)"),  # a byte too many
        (Pointers, "finished.eq(~count.any())", "finished.eq(~count[1:].any())"),  # one too few
        (Pointers, "pointer[8:].eq(high)", "pointer[8:].eq(0)"),  # another field
        (Pointers, "reads_dest | self.write", "reads_dest"),  # all to the first place
        (Pointers, "Mux(self.from_dest, dest, source)", "source"),  # a number compared with itself
        (Pointers, "eq(isa.LENGTH_ADDRESS)", "eq(isa.LENGTH_ADDRESS - 1)"),
        (
            Sequencer,  # goes on while the port waits
            "with m.If(exchange.moved):\n                m.d.comb += [\n                    self.read.en.eq(1),",
            "m.d.comb += self.read.en.eq(1)\n            with m.If(exchange.moved):\n                m.d.comb += [",
        ),
        (Sequencer, "alu.preset.eq(is_.less | is_.increment)", "alu.preset.eq(is_.less)"),  # adds nothing
        (Sequencer, "with m.If(is_.ends):", "with m.If(is_.ends & self.sponge_i.ready):"),  # an end is left out
        (Exchange, "self.sponge_i.ready & (both | against)", "both | against"),  # the sponge was not asked
        (Exchange, "(self.sponge_i.ready | ~source.valid)", "1"),  # a byte is lost
        (Exchange, "self.match.eq(0)", "self.match.eq(self.match & differs[0])"),  # a difference is missed
        (Exchange, "compared & differs.any()", "compared & differs[:3].any()"),
        (Exchange, "(self.ones, byte.all())", "(self.ones, byte[1:].all())"),
        (Alu, "& (self.zero | self.byte))", "| self.zero & ~self.byte)"),
        (Flow, "self.lookup & (row >= isa.VECTOR_ROWS.stop)", "row >= isa.VECTOR_ROWS.stop"),  # code from the table
    ],
)
def test_a_wrong_move_is_noticed(cls, old, new, monkeypatch):
    wrong = mutant(cls, old, new)
    if cls is not Sequencer:
        monkeypatch.setattr(sequencer, cls.__name__, wrong)
    with pytest.raises(Disproved):
        prove(Visible(wrong if cls is Sequencer else Sequencer, TABLE), depth=LONG, induction=False)
