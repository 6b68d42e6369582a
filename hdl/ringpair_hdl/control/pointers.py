"""Both sides of a move in the scratchpad, and how many bytes are left."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import isa


class Pointers(wiring.Component):
    """``source`` is read, ``dest`` is written (and read by LESS); both count up.

    Attributes
    ----------
    op, data
        The present instruction; its operand, or half of a row of the table.
    short
        The operand is in ``op``: a hot byte if it is a ``byte`` instruction, else a row.
    byte
    load_operand, load_low, load_high
        Take an operand, the lower or the upper half of a row.
    to_dest
        Not only ``source`` is loaded.
    read, write
        The byte at ``read_address`` is read in this cycle; that at ``write_address`` is written.
    from_dest
        Read at ``dest``.
    memory, load_count
        Take the count from the scratchpad.
    moved
        A byte less to go.
    row
        The row that was taken as an operand.
    read_address, write_address, finished
        ``finished``: the count is 0.
    source, dest, count
        The registers; for proofs.
    """

    op: In(8)
    data: In(8)
    short: In(1)
    byte: In(1)
    load_operand: In(1)
    load_low: In(1)
    load_high: In(1)
    to_dest: In(1)
    read: In(1)
    write: In(1)
    from_dest: In(1)
    memory: In(8)
    load_count: In(1)
    moved: In(1)
    row: Out(8)
    read_address: Out(isa.ADDRESS)
    write_address: Out(isa.ADDRESS)
    finished: Out(1)

    def __init__(self):
        self.source = Signal(isa.ADDRESS, reset_less=True)
        self.dest = Signal(isa.ADDRESS, reset_less=True)
        self.count = Signal(isa.LENGTH, reset_less=True)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        source, dest, count = self.source, self.dest, self.count
        low, high, length = Signal(8), Signal(2), self.data[2:]
        loads = self.load_operand | self.load_low
        hot = Cat(C(0, 3), self.byte.replicate(5))  # hot bytes are at the top
        m.d.comb += [
            low.eq(Mux(self.short, Cat(self.op[:6], C(0, 2)) | hot, self.data)),
            high.eq(Mux(self.load_high, self.data[:2], (self.short & self.byte).replicate(2))),
            self.row.eq(source),
            self.read_address.eq(Mux(self.from_dest, dest, source)),
            self.write_address.eq(dest),
            self.finished.eq(~count.any()),
        ]
        with m.If(self.load_high):
            m.d.comb += self.read_address.eq(isa.LENGTH_ADDRESS)

        reads_source = self.read & ~self.from_dest
        reads_dest = self.read & self.from_dest
        for pointer, takes, counts in ((source, C(1, 1), reads_source), (dest, self.to_dest, reads_dest | self.write)):
            with m.If(takes & loads):
                m.d.sync += pointer.eq(Cat(low, high))
            with m.Elif(takes & self.load_high):
                m.d.sync += pointer[8:].eq(high)
            with m.Elif(counts):
                m.d.sync += pointer.eq(pointer + 1)

        with m.If(self.load_high):
            m.d.sync += count.eq(Mux(length[5], length[:5] << 2, length))
        with m.Elif(self.load_count):
            m.d.sync += count.eq(self.memory)
        with m.Elif(self.moved):
            m.d.sync += count.eq(count - 1)
        return m
