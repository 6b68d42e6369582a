"""From ring counts to candidate bits: measurement control, quantizer and search around one block of memory."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from ringpair_protocol import puf

from ringpair_hdl.puf.microcode import Access, Action, Address, Condition, Jump, Operand
from ringpair_hdl.puf.program import control_words
from ringpair_hdl.puf.quantizer import LEVEL_PLACES, Comparator
from ringpair_hdl.puf.rings import ReadSignature

__all__ = ["Command", "Entry", "PufEngine"]


class Command(enum.Enum, shape=3):
    """Orders to the engine."""

    MEASURE_1 = 0
    """Read every ring once into the memory."""
    MEASURE_16 = 1
    """Read every ring 16 times; the memory holds the sums."""
    ENROLL = 2
    """Quantize sums: 72 bytes of helper data go out on `o`, the bits stay in the memory."""
    RECONSTRUCT = 3
    """Quantize single counts with 72 bytes of helper data from `i`; the first candidate is present."""
    BITS = 4
    """The 24 bytes of the present candidate go out on `o`. Secret."""
    NEXT = 5
    """On to the next candidate, or `exhausted`."""
    CLEAR = 6
    """Overwrite memory and registers."""


class Entry(data.Struct):
    """A ring in the memory, after the quantizer."""

    margin: puf.MARGIN_BITS
    ranked: 1  # has a rank
    unused: 6
    bit: 1


class Sequencer(wiring.Component):
    """Control ROM and program counter: one instruction a cycle.

    Parameters
    ----------
    words : list of int
        The control ROM, 256 words.
    has_layout : bool
        There are layout entries among them.

    Attributes
    ----------
    clear : In(1)
        Begin again. `stale` is then high for one cycle, in which the instruction must have no effect; so after reset.
    page : In(1)
        Upper half of the ROM.
    conditions : In(16)
        By number of `Condition`.
    level : In(1)
        The word after this instruction is that of `LEVEL_PLACES` that `place` names, or, if its target is LAYOUT, that
        of `layout_place` of `ring`; then it goes on.
    place : In(5)
    ring : In(6)
    instruction : Out(16)
    stale : Out(1)
    loading : Out(1)
        `instruction` is the level, or what lies in the place of the layout entry, that was asked for.
    """

    def __init__(self, words, has_layout):
        self.words, self.has_layout = words, has_layout
        super().__init__(
            {
                "clear": In(1),
                "page": In(1),
                "conditions": In(16),
                "level": In(1),
                "place": In(5),
                "ring": In(6),
                "instruction": Out(16),
                "stale": Out(1, init=1),
                "loading": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.control = control = Memory(shape=16, depth=256, init=self.words)
        port = control.read_port()
        jump = data.View(Jump, port.data)
        following = Signal(7)
        address = Signal(7)
        holds, taken, level = Signal(), Signal(), Signal()
        data_place = Signal(8)
        is_access = port.data[14:].all()
        m.d.comb += [
            self.instruction.eq(port.data),
            holds.eq(self.conditions.bit_select(jump.condition.as_value(), 1)),
            taken.eq(holds & ~is_access & ~self.stale & ~self.loading),
            level.eq(self.level & ~self.stale),
            address.eq(Mux(taken, jump.target, following)),
            data_place.eq(Cat(self.place, Const(LEVEL_PLACES.start >> 5, 3))),
            port.addr.eq(Mux(level, data_place, Cat(address, self.page))),
        ]
        if self.has_layout:
            low, high = self.ring[:5], self.ring[5]
            with m.If(jump.target[0]):  # LAYOUT
                m.d.comb += data_place.eq(Cat(low, high, 1, high))  # layout_place
        m.d.sync += [
            self.stale.eq(self.clear),
            self.loading.eq(level & ~self.clear),
            following.eq(Mux(self.clear, 0, address + ~level)),
        ]
        return m


class PufEngine(wiring.Component):
    """PUF without the rings: counts in, candidate bits out, bit for bit as `ringpair_protocol.puf`.

    A command is taken when it is done: `cmd` must hold it until `ready`, which comes in its last cycle. An unknown
    command is taken at once and does nothing.

    ==============  ======================================================================
    MEASURE_1       48 * (window + 35) + 10: 26 264 cycles at 12 MHz
    MEASURE_16      16 times that
    ENROLL          18 700 cycles, and the waiting for `o`
    RECONSTRUCT     5 881 cycles, and the waiting for `i`
                    a layout table takes 384 cycles more for both
    BITS            630 cycles, and the waiting for `o`
    NEXT            at most 1 700 cycles, usually below 150
    CLEAR, `clear`  456 cycles
    ==============  ======================================================================

    Apart from NEXT, whose duration depends on the number of tries, no duration depends on counts or bits.

    The engine is a small microprogrammed machine: `microcode.py` has its instructions, `program.py` the program. The
    memory has 256 words of 16 bits: 0..191 counts or, after ENROLL and RECONSTRUCT, `Entry`; the rest belongs to the
    search. After ENROLL the margins mean nothing.

    Parameters
    ----------
    quantizer : ringpair_protocol.puf.Quantizer
        Layout table, as `Layout.packed` makes it, and spread.
    budget : int
        Candidates of a search, 1..21751.

    Attributes
    ----------
    clear : In(1)
        All registers are reset at the next clock edge, whatever runs is given up (streams drop their offers), and when
        `clear` is low again the memory is overwritten. The same happens after reset. Commands wait meanwhile.
    cmd : In(stream.Signature(Command))
    i, o : streams of bytes
    read : Out(ReadSignature())
        To the ring reader.
    tries : Out
        Number of the present candidate, from 1; 0 when there is none. During MEASURE_16 it counts reads.
    exhausted : Out(1)
        NEXT was refused: the budget is used up, or nothing was reconstructed. The candidate is unchanged. Until the
        next MEASURE, ENROLL or RECONSTRUCT.
    dead : Out(1)
        A sum overflowed, or a ring had 0 at ENROLL: neither bits nor helper data must be used. Until the next MEASURE.
    """

    def __init__(self, quantizer: puf.Quantizer | None = None, *, budget: int = puf.SEARCH_BUDGET):
        if not 1 <= budget <= puf.MAX_BUDGET:
            raise ValueError(f"the search budget must be 1..{puf.MAX_BUDGET} candidates, not {budget}")
        self.quantizer = quantizer or puf.Quantizer()
        if self.quantizer.layout != self.quantizer.layout.packed():
            raise ValueError(
                f"the gateware holds {puf.PACKED_BITS} bits of a layout entry: expected a table as Layout.packed makes "
                f"it, in steps of {1 << self.quantizer.layout.shift}, not {self.quantizer.layout.entries[:4]}…"
            )
        self.has_layout = any(self.quantizer.layout.entries)
        self.budget = budget
        super().__init__(
            {
                "clear": In(1),
                "cmd": In(stream.Signature(Command)),
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "read": Out(ReadSignature()),
                "tries": Out(range(max(budget, puf.ENROLL_READS) + 1)),
                "exhausted": Out(1),
                "dead": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        words = control_words(self.quantizer)
        m.submodules.sequencer = self.sequencer = sequencer = Sequencer(words, self.has_layout)
        instruction = Signal(16)
        m.d.comb += instruction.eq(sequencer.instruction)
        self.entries_come = Signal()  # the word is no level, but layout entries, which would look like actions
        if self.has_layout:
            m.d.comb += instruction[13:15].eq(sequencer.instruction[13:15] & ~self.entries_come.replicate(2))
        self.jump = data.View(Jump, instruction)
        self.access = data.View(Access, instruction)
        self.is_access = instruction[14:].all()
        self.command = self.cmd.payload.as_value()
        m.d.comb += [sequencer.clear.eq(self.clear), sequencer.page.eq(self.command[2])]

        datapath = Module()
        datapath.submodules.memory = memory = Memory(shape=16, depth=256, init=[])
        layout_shift = self.quantizer.layout.shift if self.has_layout else None
        datapath.submodules.comparator = self.comparator = Comparator(layout_shift)
        self.words, self.writer = memory.read_port(domain="comb"), memory.write_port()
        self.data = Signal(16, reset_less=True)  # what was read last
        self.n = Signal(8)  # ring, or place and channel
        self.p = Signal(9)
        self.borrow = Signal()
        self.node = Signal(5, init=1)  # decisions or helper bits behind a leading 1
        self.byte = Signal(8)  # on its way in or out
        self.bits = Signal(3)  # how many bits of it are there
        self.registers(datapath)
        self.memory_access(datapath)
        self.comparison(datapath)
        self.outside(datapath, ~sequencer.stale)
        m.d.comb += sequencer.conditions.eq(self.conditions())
        m.submodules.datapath = ResetInserter(self.clear | sequencer.stale | self.action(Action.FORGET))(datapath)
        return m

    def action(self, *actions):
        """Whether the instruction is one of these."""
        return Cat(self.jump.action.as_value() == action.value for action in actions).any()

    def conditions(self):
        """Value of each `Condition`, by number."""
        values = {
            Condition.NEVER: Const(0),
            Condition.ALWAYS: Const(1),
            Condition.NO_COMMAND: ~self.cmd.valid,
            Condition.COMMAND_0: self.command[0],
            Condition.COMMAND_1: self.command[1],
            Condition.MEASURING: ~self.read.done,
            Condition.NO_BYTE: ~self.i.valid,
            Condition.NOT_TAKEN: ~self.o.ready,
            Condition.ALL: self.n[6:].all(),
            Condition.IN_ROW: self.n[:4].any(),
            Condition.NOT_LAST: ~self.n[:4].all(),
            Condition.IN_BYTE: self.bits.any(),
            Condition.STEPS: ~self.comparator.last,
            Condition.LIMIT: Mux(self.command[2], (self.tries == 0) | (self.tries == self.budget), self.tries[4]),
            Condition.BORROW: self.borrow,
            Condition.ZERO: ~self.p.any(),
        }
        return Cat(values[condition] for condition in Condition)

    def registers(self, m):
        """Counters and shift registers."""
        n, last_in_row = self.n, self.n[:4].all()
        step = self.action(Action.WIPE, Action.COLLECT, Action.STORE, Action.BIT, Action.NEXT_N)
        in_row = self.action(Action.ROW) | self.action(Action.ADD) & n[:4].any()
        m.d.sync += [n[:4].eq(n[:4] + (step | in_row)), n[4:].eq(n[4:] + (step & last_in_row))]
        with m.If(self.action(Action.COUNT, Action.PREPARE, Action.READY)):
            m.d.sync += n.eq(0)

        with m.If(self.action(Action.COUNT)):
            m.d.sync += self.tries.eq(self.tries + 1)
        with m.If(self.action(Action.PREPARE)):
            m.d.sync += [self.tries.eq(0), self.exhausted.eq(0)]
        with m.If(self.action(Action.REFUSE)):
            m.d.sync += self.exhausted.eq(1)

        bit = Signal()
        takes, decides = self.action(Action.TAKE_BIT), self.action(Action.DECIDE_BIT, Action.DECIDE_HELPER)
        m.d.comb += bit.eq(Mux(self.action(Action.BIT), self.data[15], self.comparator.above))
        with m.If(self.action(Action.TAKE_BIT, Action.DECIDE_HELPER, Action.BIT)):
            m.d.sync += [self.byte.eq(Cat(self.byte[1:], bit)), self.bits.eq(self.bits + 1)]
        with m.If(self.action(Action.TAKE)):
            m.d.sync += self.byte.eq(self.i.payload)
        with m.If(takes | decides):
            m.d.sync += self.node.eq(Cat(Mux(takes, self.byte[0], self.comparator.above), self.node))
        with m.If(self.action(Action.STORE, Action.READY)):
            m.d.sync += self.node.eq(1)

    def memory_access(self, m):
        """One address for reading and writing; what is written is data + operand or, with `replace`, the operand."""
        access, n, p, words = self.access, self.n, self.p, self.words
        address = Signal(8)
        place = self.action(Action.FETCH, Action.COLLECT)
        channel, half, row, col = n[0:2], n[2], n[3:5], n[5:8]
        x = Signal(4)
        m.d.comb += [x.eq(col + Mux(channel[1], puf.COLUMNS, 0)), self.read.index.eq(Cat(row, col, half))]
        m.d.comb += address.eq(Mux(place, Cat(x[:2], row, channel[0], half, x[2:]), n))  # puf.ring_number
        with m.If(self.is_access):
            with m.Switch(access.address):
                with m.Case(Address.WORD):
                    m.d.comb += address.eq(Cat(access.word, 1))
                with m.Case(Address.P):
                    m.d.comb += address.eq(p)
                with m.Case(Address.RANK):
                    m.d.comb += address.eq(~p)

        def operand_is(*operands):
            return self.is_access & Cat(access.operand == operand for operand in operands).any()

        entry = data.View(Entry, Signal(16, name="entry"))
        m.d.comb += [
            entry.margin.eq(self.comparator.margin),
            entry.bit.eq(Mux(self.command[0], self.comparator.above, self.node[3])),
        ]
        collect, fresh = self.action(Action.COLLECT), ~self.tries[:4].any()
        inverted = operand_is(Operand.MINUS_P, Operand.DECREMENT)
        operand = Signal(16)
        total = Signal(17)
        replace = Signal()
        p_part = Mux(operand_is(Operand.PLUS_P, Operand.MINUS_P), p, 0) ^ inverted.replicate(16)
        selected = [Mux(collect & (channel == c), self.read.count[c], 0) for c in range(puf.CHANNELS)]
        m.d.comb += [
            operand.eq(
                p_part
                | (selected[0] | selected[1] | selected[2] | selected[3])
                | Mux(self.action(Action.STORE), entry.as_value(), 0)
                | Mux(operand_is(Operand.N), n, 0)
                | Cat(Const(0, 8), operand_is(Operand.RANKED), Const(0, 6), operand_is(Operand.FLIP))
            ),
            total.eq(self.data + operand + operand_is(Operand.INCREMENT, Operand.MINUS_P)),
            replace.eq(self.action(Action.WIPE, Action.STORE) | collect & fresh | operand_is(Operand.N)),
            words.addr.eq(address),
            self.writer.addr.eq(address),
            self.writer.data.eq(Mux(replace, operand, total)),
            self.writer.en.eq(self.action(Action.WIPE, Action.STORE, Action.COLLECT) | self.is_access & access.write),
        ]
        # Reading or writing: Yosys then sees that no word is read while it is written, and the register becomes the one
        # in the block RAM. With a synchronous port it would add 60 cells for a case that never happens.
        with m.If(~self.writer.en):
            m.d.sync += self.data.eq(words.data)
        with m.If(self.is_access & access.load_p):
            m.d.sync += p.eq(total)
        with m.If(self.is_access):
            m.d.sync += self.borrow.eq(total[len(p)])
        with m.If(collect):
            m.d.sync += self.dead.eq(~fresh & (self.dead | total[16]))

    def comparison(self, m):
        """Orders to the comparator; levels and layout entries."""
        comparator, sequencer = self.comparator, self.sequencer
        level = Signal()
        m.d.comb += [
            comparator.count.eq(self.data),
            comparator.level.eq(sequencer.instruction),
            comparator.clear_total.eq(self.action(Action.ROW)),
            comparator.add.eq(self.action(Action.ADD)),
            level.eq(sequencer.loading),
            comparator.load.eq(level),
            comparator.step.eq(self.action(Action.STEP)),
            sequencer.level.eq(self.action(Action.LEVEL)),
            sequencer.place.eq(Cat(self.node[:4], ~self.command[0])),
            sequencer.ring.eq(self.n),
        ]
        with m.If(level & ~self.command[0] & (self.data == 0)):
            m.d.sync += self.dead.eq(1)
        if self.has_layout:
            entry = Signal(puf.PACKED_BITS)  # of ring n; public
            entries = [sequencer.instruction.word_select(n, puf.PACKED_BITS) for n in range(3)]
            m.d.sync += self.entries_come.eq(self.action(Action.LEVEL) & self.jump.target[0])
            m.d.comb += [level.eq(sequencer.loading & ~self.entries_come), comparator.layout.eq(entry)]
            with m.If(self.entries_come):
                m.d.sync += entry.eq(Mux(self.n[7], entries[2], Mux(self.n[6], entries[1], entries[0])))

    def outside(self, m, valid):
        """Streams and orders to the reader."""
        m.d.comb += [
            self.cmd.ready.eq(self.action(Action.READY) & valid),
            self.i.ready.eq(self.action(Action.TAKE) & valid),
            self.o.valid.eq(self.action(Action.EMIT) & valid),
            self.o.payload.eq(self.byte),
            self.read.start.eq(self.action(Action.START) & valid),
            self.read.clear.eq(self.action(Action.WIPE)),
        ]
