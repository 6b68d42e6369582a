"""The ring array alone on a board, with as little around it as keeps it alive: for work on the rings and on the
build itself.

Selection comes in through a shift register on the admin port's receive line and the counts leave the same way.
"""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal
from ringpair_hdl.puf.ring_array import Floorplan, PhysicalRings

__all__ = ["RingHarness"]


class RingHarness(Elaboratable):
    """`rx` is shifted through all inputs of the array, the counts are shifted out on `tx`. Not a measuring device."""

    def __init__(self, floorplan: Floorplan, rx: Signal | None = None, tx: Signal | None = None):
        self.floorplan = floorplan
        self.rx = rx if rx is not None else Signal()
        self.tx = tx if tx is not None else Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.rings = rings = PhysicalRings(self.floorplan)
        inputs = Cat(rings.row, rings.col, rings.half, rings.clear)
        shift = Signal(len(inputs) + 2)
        m.d.sync += [shift.eq(Cat(self.rx, shift)), inputs.eq(Mux(shift[-1], shift, inputs))]
        counts = Signal(len(rings.count.as_value()))
        m.d.sync += counts.eq(Mux(shift[-2], rings.count.as_value(), counts >> 1))
        m.d.comb += self.tx.eq(counts[0])
        return m
