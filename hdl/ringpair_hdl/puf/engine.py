"""From ring counts to candidate bits: measurement control, quantizer and search around one block of memory."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from ringpair_protocol import puf

from .quantizer import Comparator, rom_words
from .rings import ReadSignature
from .search import Entry, Search

__all__ = ["Command", "PufEngine"]


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


class PufEngine(wiring.Component):
    """PUF without the rings: counts in, candidate bits out, bit for bit as `ringpair_protocol.puf`.

    A command is taken when it is done: `cmd` must hold it until `ready`, which comes in its last cycle. An unknown
    command is taken at once and does nothing.

    ==============  ======================================================================
    MEASURE_1       48 * (window + 36): 26 400 cycles at 12 MHz
    MEASURE_16      16 times that
    ENROLL          18 300 cycles, and the waiting for `o`
    RECONSTRUCT     5 100 cycles, and the waiting for `i`
    BITS            410 cycles, and the waiting for `o`
    NEXT            at most 450 cycles
    CLEAR, `clear`  257 cycles
    ==============  ======================================================================

    Apart from NEXT, whose duration depends on the number of tries, no duration depends on counts or bits.

    Memory, 256 words of 16 bits: 0..191 counts or, after ENROLL and RECONSTRUCT, `Entry`; 193..239 ring numbers by
    rank; 240..255 the ranks of the present pattern. After ENROLL the margins mean nothing.

    Parameters
    ----------
    quantizer : ringpair_protocol.puf.Quantizer
        Layout table and spread.
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
        Number of the present candidate, from 1; 0 when there is none.
    exhausted : Out(1)
        NEXT was refused: the budget is used up, or nothing was reconstructed. The candidate is unchanged.
    dead : Out(1)
        At ENROLL: a ring gave 0, or a sum overflowed. Neither bits nor helper data must be used.
    """

    def __init__(self, quantizer: puf.Quantizer | None = None, *, budget: int = puf.SEARCH_BUDGET):
        if not 1 <= budget <= puf.MAX_BUDGET:
            raise ValueError(f"the search budget must be 1..{puf.MAX_BUDGET} candidates, not {budget}")
        self.quantizer = quantizer or puf.Quantizer()
        self.budget = budget
        super().__init__(
            {
                "clear": In(1),
                "cmd": In(stream.Signature(Command)),
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "read": Out(ReadSignature()),
                "tries": Out(range(budget + 1)),
                "exhausted": Out(1),
                "dead": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=16, depth=256, init=[])
        m.submodules.rom = rom = Memory(shape=16, depth=256, init=rom_words(self.quantizer))
        m.submodules.comparator = self.comparator = Comparator()
        m.submodules.search = self.search = Search()
        self.rom, self.port, self.writer = rom.read_port(), memory.read_port(), memory.write_port()

        # The ring (or place and channel) at hand; its number goes up to 192 and, to overwrite all, to 255.
        self.n, self.next_n, self.next_in_row = Signal(8), Signal(), Signal()
        self.all_rings = self.n[6:].all()
        self.row_ends = self.n[:4].all()
        step = self.next_n | self.search.next_ring
        low = self.n[:4] + (step | self.next_in_row)
        m.d.sync += self.n.eq(Cat(low[:4], self.n[4:] + (low[4] & step)))

        self.node = Signal(5, init=1)  # decisions of the binary search, or helper bits, behind a leading 1
        self.shift, self.bit = Signal(8), Signal(3)  # a byte on its way in or out, and its bits so far
        self.reads = Signal(range(puf.ENROLL_READS))
        self.overflow = Signal()
        self.start_clear = Signal()
        self.enrolling = self.cmd.payload == Command.ENROLL
        m.d.comb += self.o.payload.eq(self.shift)

        self.memory_access(m)
        with m.FSM(name="step"):
            self.commands(m)
            self.measurement(m)
            self.quantization(m)
            self.output(m)
        return ResetInserter(self.clear | self.start_clear)(m)

    def memory_access(self, m):
        """One address for reading and writing; what is written is a sum or, with `replace`, one operand."""
        search, comparator = self.search, self.comparator
        self.address, self.write, self.replace = Signal(8), Signal(), Signal()
        self.by_place, self.searching, self.give_count, self.give_entry = Signal(), Signal(), Signal(), Signal()
        self.entry = data.View(Entry, Signal(16, name="entry"))
        channel, half, row, col = self.n[0:2], self.n[2], self.n[3:5], self.n[5:8]
        x = Signal(4)
        m.d.comb += [
            x.eq(col + Mux(channel[1], puf.COLUMNS, 0)),
            self.read.index.eq(Cat(row, col, half)),
            self.entry.margin.eq(comparator.margin),
        ]
        operand = Signal(16)
        count = self.read.count[channel]
        m.d.comb += operand.eq(
            Mux(self.give_count, count, 0) | Mux(self.give_entry, self.entry.as_value(), 0) | search.operand
        )
        total = Signal(17)
        m.d.comb += [
            self.address.eq(self.n),
            total.eq(operand + self.port.data),
            search.data.eq(self.port.data),
            search.ring.eq(self.n),
            comparator.count.eq(self.port.data),
            comparator.rom.eq(self.rom.data),
            self.rom.addr.eq(self.n),
            self.port.addr.eq(self.address),
            self.writer.addr.eq(self.address),
            self.writer.en.eq(self.write | search.write),
            self.writer.data.eq(Mux(self.replace | search.replace, operand, total)),
        ]
        with m.If(self.by_place):  # ringpair_protocol.puf.ring_number
            m.d.comb += self.address.eq(Cat(x[:2], row, channel[0], half, x[2:]))
        with m.If(self.searching):
            m.d.comb += self.address.eq(search.address)
        with m.If(self.give_count & ~self.replace & total[16]):
            m.d.sync += self.overflow.eq(1)

    def commands(self, m):
        """Overwriting, the choice of what to do, and the end of a command."""
        with m.State("OVERWRITE"):
            m.d.comb += [self.write.eq(1), self.replace.eq(1), self.next_n.eq(1), self.read.clear.eq(1)]
            with m.If(self.n.all()):
                m.d.comb += self.cmd.ready.eq(self.cmd.payload == Command.CLEAR)
                m.next = "REST"
        with m.State("REST"):
            with m.If(self.cmd.valid):
                with m.Switch(self.cmd.payload):
                    with m.Case(Command.MEASURE_1, Command.MEASURE_16):
                        m.d.sync += [self.tries.eq(0), self.overflow.eq(0)]
                        m.next = "MEASURE"
                    with m.Case(Command.ENROLL, Command.RECONSTRUCT):
                        m.d.sync += [self.tries.eq(0), self.exhausted.eq(0), self.dead.eq(self.overflow)]
                        m.d.comb += self.search.restart.eq(1)
                        m.next = "ROW"
                    with m.Case(Command.BITS):
                        m.next = "BITS_READ"
                    with m.Case(Command.NEXT):
                        m.next = "SEARCH"
                        with m.If((self.tries == 0) | (self.tries == self.budget)):
                            m.d.sync += self.exhausted.eq(1)
                            m.next = "DONE"
                        with m.Else():
                            m.d.sync += self.tries.eq(self.tries + 1)
                            m.d.comb += self.search.start.eq(1)
                    with m.Case(Command.CLEAR):
                        m.d.comb += self.start_clear.eq(1)
                    with m.Default():
                        m.next = "DONE"
        with m.State("SEARCH"):
            m.d.comb += self.searching.eq(1)
            with m.If(self.search.done):
                m.next = "DONE"
        with m.State("DONE"):
            m.d.comb += self.cmd.ready.eq(1)
            m.d.sync += [self.n.eq(0), self.node.eq(1), self.bit.eq(0)]
            m.next = "REST"

    def measurement(self, m):
        """Place after place, four rings at a time; 16 rounds for enrollment."""
        with m.State("MEASURE"):
            with m.If(~self.all_rings):
                m.d.comb += self.read.start.eq(1)
                m.next = "AWAIT"
            with m.Else():
                m.d.sync += [self.n.eq(0), self.reads.eq(self.reads + 1)]
                with m.If((self.cmd.payload == Command.MEASURE_1) | self.reads.all()):
                    m.d.sync += self.reads.eq(0)
                    m.next = "DONE"
        with m.State("AWAIT"):
            with m.If(self.read.done):
                m.next = "FETCH"
        with m.State("FETCH"):
            m.d.comb += self.by_place.eq(1)
            m.next = "COLLECT"
        with m.State("COLLECT"):
            m.d.comb += [
                *(self.by_place.eq(1), self.write.eq(1), self.give_count.eq(1)),
                *(self.replace.eq(~self.reads.any()), self.next_n.eq(1)),
            ]
            m.next = "FETCH"
            with m.If(self.n[:2].all()):
                m.next = "MEASURE"

    def quantization(self, m):
        """Row after row: the sum of its 16 counts, then ring after ring one decision or four."""
        comparator = self.comparator
        with m.State("ROW"):
            m.d.comb += [comparator.clear_total.eq(1), self.next_in_row.eq(1)]
            m.next = "SUM"
            with m.If(self.all_rings):
                m.d.sync += self.tries.eq(~self.enrolling)
                m.next = "DONE"
        with m.State("SUM"):
            m.d.comb += comparator.add.eq(1)
            with m.If(self.n[:4].any()):
                m.d.comb += self.next_in_row.eq(1)
            with m.Else():
                m.next = "RING"
        with m.State("RING"):
            m.next = "HELPER"
            with m.If(self.enrolling):
                m.next = "LEVEL"

        with m.State("HELPER"):  # three bits; at a byte boundary straight from the stream
            byte = Mux(self.bit == 0, self.i.payload, self.shift)
            m.d.comb += self.i.ready.eq(self.bit == 0)
            with m.If(self.i.valid | (self.bit != 0)):
                m.d.sync += [
                    self.node.eq(Cat(byte[0], self.node)),
                    self.shift.eq(byte[1:]),
                    self.bit.eq(self.bit + 1),
                ]
                with m.If(self.node[2]):
                    m.next = "LEVEL"

        with m.State("LEVEL"):
            m.d.comb += self.rom.addr.eq(Cat(self.node[:4], self.enrolling, Const(6, 3)))
            m.next = "LOAD"
        with m.State("LOAD"):
            m.d.comb += comparator.load.eq(1)
            with m.If(self.enrolling & (self.port.data == 0)):
                m.d.sync += self.dead.eq(1)
            m.next = "MULTIPLY"
        with m.State("MULTIPLY"):
            m.d.comb += comparator.step.eq(1)
            with m.If(comparator.last):
                m.next = "STORE"
                with m.If(self.enrolling):
                    m.next = "DECIDE"
        with m.State("DECIDE"):  # the first decision is the bit, the others are helper bits and go out
            m.d.sync += self.node.eq(Cat(comparator.above, self.node))
            m.next = "LEVEL"
            with m.If(self.node[3]):
                m.next = "STORE"
            with m.If(~self.node[0] | self.node[1:].any()):
                m.d.sync += [self.shift.eq(Cat(self.shift[1:], comparator.above)), self.bit.eq(self.bit + 1)]
                with m.If(self.bit.all()):
                    m.next = "EMIT"
        with m.State("STORE"):
            m.d.comb += [
                self.entry.bit.eq(Mux(self.enrolling, self.node[3], comparator.above)),
                *(self.give_entry.eq(1), self.replace.eq(1), self.write.eq(1), self.next_n.eq(1)),
            ]
            m.d.sync += self.node.eq(1)
            m.next = "RING"
            with m.If(self.row_ends):
                m.next = "ROW"

    def output(self, m):
        """Bits of the candidate, and bytes to the stream."""
        with m.State("BITS_READ"):
            m.next = "BITS_SHIFT"
            with m.If(self.all_rings):
                m.next = "DONE"
        with m.State("BITS_SHIFT"):
            m.d.comb += self.next_n.eq(1)
            m.d.sync += [self.shift.eq(Cat(self.shift[1:], self.port.data[15])), self.bit.eq(self.bit + 1)]
            m.next = "BITS_READ"
            with m.If(self.bit.all()):
                m.next = "EMIT"
        with m.State("EMIT"):
            m.d.comb += self.o.valid.eq(1)
            with m.If(self.o.ready):
                m.next = "BITS_READ"
                with m.If(self.enrolling):
                    m.next = "LEVEL"
                    with m.If(self.node[4]):
                        m.next = "STORE"
