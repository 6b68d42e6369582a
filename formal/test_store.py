"""Proofs of the SPI engine: a byte takes its time, chip select comes back, what goes out is what came in."""

import pytest
from amaranth.hdl import Assert, Assume, Cover, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from ringpair_hdl.store import SpiEngine

from formal.prove import Disproved, mutant, prove, reach

BYTE = 17
"""Cycles of a byte."""
REST = 4
"""Cycles for which chip select stays high."""


class SpiProperties(wiring.Component):
    """Any bytes, any pauses, any use of chip select."""

    i: In(stream.Signature(8))
    ready: In(1)
    select: In(1)
    cipo: In(1)

    def __init__(self, engine=SpiEngine):
        self.dut = engine()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [
            dut.i.payload.eq(self.i.payload),
            dut.i.valid.eq(self.i.valid),
            self.i.ready.eq(dut.i.ready),
            dut.o.ready.eq(self.ready),
            dut.select.eq(self.select),
            dut.cipo.eq(self.cipo),
            Assume(~ResetSignal()),
        ]
        self._returns(m, dut)
        self._sends(m, dut)
        return m

    def _returns(self, m, dut):
        """Deselected: chip select is high within a byte. Selected and asked: a byte goes within a byte and a rest; and
        within this time one could go, which the sequencer waits for before it deselects."""
        low, asked, shut = (Signal(range(64)) for _ in range(3))
        moves = (dut.i.valid & dut.i.ready) | dut.o.valid
        m.d.sync += shut.eq(Mux(self.select & ~dut.i.ready & ~dut.o.valid, shut + 1, 0))
        m.d.sync += low.eq(Mux(self.select | dut.cs_n, 0, low + 1))
        m.d.sync += asked.eq(Mux(self.select & (self.i.valid | self.ready) & ~moves, asked + 1, 0))
        m.d.comb += [
            Assert(low <= BYTE + 1),
            Assert(asked <= 2 * BYTE + REST),
            Assert(shut <= 2 * BYTE + REST),
            Assert(~dut.cs_n | ~dut.sck),
            Cover((low == BYTE - 2) & dut.cs_n),
        ]

    def _sends(self, m, dut):
        """The bits of a byte that was taken, at the edges that raise SCK."""
        byte, bits, sck = Signal(8), Signal(range(9)), Signal()  # bits of it that are still to come
        m.d.sync += sck.eq(dut.sck)
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += [byte.eq(self.i.payload), bits.eq(8)]
            m.d.comb += Assert(bits == 0)
        with m.Elif(dut.sck & ~sck & (bits != 0)):
            m.d.sync += bits.eq(bits - 1)
            m.d.comb += [Assert(~dut.cs_n), Assert(dut.copi == byte.bit_select((bits - 1)[:3], 1))]


def test_spi():
    prove(SpiProperties(), depth=46, induction=False)
    reach(SpiProperties(), depth=40)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("with m.If(~self.select | fell):", "with m.If(~self.select & self.o.valid):"),
        ("shift.eq(Cat(input_, shift[:7]))", "shift.eq(Cat(shift[:7], input_))"),
        ("count.eq(15)]", "count.eq(13)]"),
        ("with m.Elif(~self.o.valid):", "with m.Elif(~self.o.valid & ~self.i.payload.all()):"),
        ("self.i.ready.eq(1)", "self.i.ready.eq(self.i.valid)"),
    ],
)
def test_spi_proof_can_fail(old, new):
    with pytest.raises(Disproved):
        prove(SpiProperties(mutant(SpiEngine, old, new)), depth=46, induction=False)
