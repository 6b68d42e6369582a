"""The code memory: program, table of fields and return stack."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from . import isa

BANK = 2048
"""Bytes of the first bank: four block RAMs of 2 bits width on iCE40, which need no multiplexer behind them."""


class CodeMemory(wiring.Component):
    """One byte a cycle out of two banks, data in the next cycle; only the rows of the return stack can be written.

    Parameters
    ----------
    image
        Contents.
    table
        Contents of the table, if its rows behind the vectors are not in ``image``.

    Attributes
    ----------
    address, enable, data
        Reading. Without ``enable`` the data stay.
    apart
        The byte meant is in ``table``; there only with one.
    push, slot, half, value
        Writes the lower or the upper half of a row of the return stack.
    """

    def __init__(self, image: bytes, table: bytes = b""):
        self.image, self.table = bytes(image), bytes(table)
        super().__init__(
            {
                "address": In(isa.TARGET),
                "enable": In(1),
                **({"apart": In(1)} if self.table else {}),
                "data": Out(8),
                "push": In(1),
                "slot": In(range(isa.STACK_ROWS)),
                "half": In(1),
                "value": In(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.low = low = Memory(shape=8, depth=BANK, init=self.image[:BANK])
        read, write = low.read_port(), low.write_port()
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(self.enable),
            self.data.eq(read.data),
            write.addr.eq((self.slot << 1) | self.half),
            write.en.eq(self.push),
            write.data.eq(self.value),
        ]
        if len(self.image) > BANK:
            above = Signal()
            m.submodules.high = high = Memory(shape=8, depth=len(self.image) - BANK, init=self.image[BANK:])
            upper = high.read_port()
            m.d.comb += [
                upper.addr.eq(self.address),
                upper.en.eq(self.enable),
                self.data.eq(Mux(above, upper.data, read.data)),
            ]
            with m.If(self.enable):
                m.d.sync += above.eq(self.address[BANK.bit_length() - 1])
        if self.table:
            apart = Signal()
            m.submodules.table = table = Memory(shape=8, depth=len(self.table), init=self.table)
            row = table.read_port()
            m.d.comb += [row.addr.eq(self.address), row.en.eq(self.enable)]
            with m.If(apart):
                m.d.comb += self.data.eq(row.data)
            with m.If(self.enable):
                m.d.sync += apart.eq(self.apart)
        return m
