"""A stream joint for two slow ends."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Relay(wiring.Component):
    """Passes a stream on with registers in both directions of its handshake: no path leads from one end to the other,
    but that of the payload, which nobody keeps.

    It costs two flip-flops, and three cycles an item. The giver holds `valid` and the payload until `ready`.

    Parameters
    ----------
    shape
        Of the payload.

    Attributes
    ----------
    i, o
        In and out.
    clear : In(1)
        Forget an item that was offered, or taken but not yet acknowledged: with the giver, when it is reset.
    """

    def __init__(self, shape=8):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "clear": In(1)})

    def elaborate(self, platform):
        m = Module()
        offered, taken = Signal(), Signal()
        m.d.comb += [self.o.payload.eq(self.i.payload), self.o.valid.eq(offered), self.i.ready.eq(taken)]
        m.d.sync += [
            offered.eq(self.i.valid & ~taken & ~(offered & self.o.ready) & ~self.clear),
            taken.eq(offered & self.o.ready & ~self.clear),
        ]
        return m
