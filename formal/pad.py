"""The scratchpad as the proofs of the sequencer's moves see it."""

from amaranth.hdl import Assert, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import ReadPort, WritePort
from amaranth.lib.wiring import In
from ringpair_hdl.control import isa


class PadWithByte(wiring.Component):
    """In place of the scratchpad: one byte of it, wherever, which is kept; all others are whatever comes.

    Attributes
    ----------
    any, place, first
        What comes; where the byte is, and its contents, both in the first cycle.
    owner
        Address of what was read last, which stays until the next is read.
    kept, content
        Where the byte is; what it is now.
    known
        It has been the same place for a cycle at least.
    lost
        It was written after it was read, or meanwhile: then the RAM gives anything.
    """

    any: In(8)
    place: In(isa.ADDRESS)
    first: In(8)

    def __init__(self, memory):
        self.memory = memory
        self.owner, self.kept, self.content = Signal(isa.ADDRESS), Signal(isa.ADDRESS), Signal(8)
        self.known, self.lost = Signal(), Signal(init=1)
        super().__init__()

    def read_port(self):
        self.read = ReadPort.Signature(addr_width=isa.ADDRESS, shape=8).create()
        return self.read

    def write_port(self):
        self.write = WritePort.Signature(addr_width=isa.ADDRESS, shape=8).create()
        return self.write

    def elaborate(self, platform):
        m = Module()
        m.submodules.unused = self.memory
        read, write = self.read, self.write
        place, content, new, last = Signal(isa.ADDRESS), Signal(8), Signal(), Signal(8)
        m.d.comb += [
            self.kept.eq(Mux(self.known, place, self.place)),
            self.content.eq(Mux(self.known, content, self.first)),
            read.data.eq(Mux(new, Mux((self.owner == self.kept) & ~self.lost, self.content, self.any), last)),
        ]
        writes = write.en & (write.addr == self.kept)
        m.d.sync += [self.known.eq(1), place.eq(self.kept), content.eq(Mux(writes, write.data, self.content))]
        m.d.sync += [new.eq(read.en), last.eq(read.data), self.lost.eq(writes | (self.lost & ~read.en))]
        with m.If(read.en):
            m.d.sync += self.owner.eq(read.addr)
        m.d.comb += Assert((self.owner != self.kept) | self.lost | ~self.known | (read.data == self.content))
        return m
