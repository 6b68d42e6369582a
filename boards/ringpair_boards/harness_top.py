"""The ring array alone on a board, with as little around it as keeps it alive: for work on the rings and on the
build itself.

Selection comes in through a shift register on the admin port's receive line and the counts leave the same way.
"""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal
from amaranth.lib import io
from ringpair_hdl.puf.ring_array import PhysicalRings

from .board import Board

__all__ = ["RingHarness"]


class RingHarness(Elaboratable):
    """`rx` is shifted through all inputs of the array, the counts are shifted out on `tx`. Not a measuring device.

    The arguments are those of `build.Top`.
    """

    def __init__(self, board: Board, profile: str = "characterize", gateware_hash: bytes = bytes(8)):
        self.floorplan = board.floorplan

    def elaborate(self, platform):
        m = Module()
        port = platform.request("admin", dir={"rx": "-", "tx": "-"})
        m.submodules.rx = rx = io.Buffer("i", port.rx)
        m.submodules.tx = tx = io.Buffer("o", port.tx)
        m.submodules.rings = rings = PhysicalRings(self.floorplan)
        inputs = Cat(rings.row, rings.col, rings.half, rings.clear)
        shift = Signal(len(inputs) + 2)
        m.d.sync += [shift.eq(Cat(rx.i, shift)), inputs.eq(Mux(shift[-1], shift, inputs))]
        counts = Signal(len(rings.count.as_value()))
        m.d.sync += counts.eq(Mux(shift[-2], rings.count.as_value(), counts >> 1))
        m.d.comb += tx.o.eq(counts[0])
        return m
