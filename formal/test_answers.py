"""Proof of the serial ports: a byte of the shown frame comes soon when it is asked for, one to send is taken soon."""

import pytest
from amaranth.hdl import Assert, Assume, Cover, Mux, Signal
from ringpair_hdl.link.ports import LinkPorts, bit, pick

from formal.prove import Disproved, mutant, prove, reach
from formal.test_link import PortsProperties

SOON = 16
"""Cycles: a turn of the other side, one of a byte from the line, one of a byte to it, and one for what is asked."""


class AnswerProperties(PortsProperties):
    """Any memory, any lines; the user does not give and take at once, as the sequencer does not.

    A byte is taken while its frame is not full and has room: that is, as long as nothing that is on its way to the line
    is in the same place.
    """

    def properties(self, m):
        dut = self.dut
        side, asked, offered = Signal(), Signal(range(SOON + 2)), Signal(range(SOON + 2))
        used = [dut.closed[s] | dut.sending[s] for s in range(2)]
        shared = [used[s][1] | (dut.begun[s] & dut.giving[s]) for s in range(2)]
        full = [bit(used[s], dut.giving[s]) | (dut.giving[s] & shared[1 - s]) for s in range(2)]
        longest = dut.is_["take"] & dut.second & dut.last  # no further byte is accepted
        shown = dut.shown & (dut.shown_side == dut.side) & ~dut.drop
        takes = ~pick(full, dut.side) & ~longest & ~dut.send
        stays = dut.side == side
        m.d.sync += [
            side.eq(dut.side),
            asked.eq(Mux(stays & shown & dut.o.ready & ~dut.o.valid, asked + 1, 0)),
            offered.eq(Mux(stays & takes & dut.i.valid & ~dut.i.ready, offered + 1, 0)),
        ]
        m.d.comb += [
            Assume(~(dut.o.ready & dut.i.valid)),
            Assert(asked <= SOON),
            Assert(offered <= SOON),
            Cover(offered == 5),
        ]
        return m


def test_bytes_come_and_go_soon():
    prove(AnswerProperties(), depth=SOON + 4)
    reach(AnswerProperties(), depth=40)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"show": self.o.ready & ~self.o.valid', '"show": self.o.ready & ~self.o.valid & ~self.held'),
        ("asks = self.i.valid | Mux(self.shown, self.o.ready,", "asks = self.i.valid | Mux(self.shown, 0,"),
        ("asks = self.i.valid | Mux", "asks = Mux"),
        ('"take": self.i.valid & chosen', '"take": self.i.valid & chosen & ~self.shown'),
    ],
)
def test_a_byte_that_waits_is_noticed(old, new):
    with pytest.raises(Disproved, match="Assert failed"):
        prove(AnswerProperties(mutant(LinkPorts, old, new)), depth=SOON + 4)
