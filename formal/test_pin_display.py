"""Proofs of the PIN's display: blank without a PIN, or with one that shall not be seen; nothing outlives a command."""

import pytest
from amaranth.hdl import Assert, Cat, Cover, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from ringpair_hdl.pin_display import PinCommand, PinDisplay
from ringpair_protocol.binding import PIN_DIGITS

from formal.prove import Disproved, mutant, prove, reach


class DisplayProperties(wiring.Component):
    """Any commands and bytes at any time."""

    cmd: In(stream.Signature(2))
    i: In(stream.Signature(8))
    ready: In(1)
    tick: In(1)
    side: In(1)

    def __init__(self, display=PinDisplay):
        self.dut = display()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [
            dut.cmd.valid.eq(self.cmd.valid),
            dut.cmd.payload.eq(self.cmd.payload),
            self.cmd.ready.eq(dut.cmd.ready),
            dut.i.valid.eq(self.i.valid),
            dut.i.payload.eq(self.i.payload),
            self.i.ready.eq(dut.i.ready),
            dut.o.ready.eq(self.ready),
            dut.tick.eq(self.tick),
            dut.side.eq(self.side),
        ]
        # By the commands alone: how many digits have come for the present PIN, and whether it may be seen.
        given, show, loads = Signal(range(PIN_DIGITS + 1)), Signal(), Signal()
        ended, had, digits = Signal(), Signal(), Cat(dut.digits)
        m.d.sync += [ended.eq(0), had.eq(dut.valid)]
        with m.If(self.cmd.valid):
            m.d.sync += loads.eq(self.cmd.payload >= PinCommand.KEEP)
            with m.If(self.cmd.payload != PinCommand.TELL):
                m.d.sync += [given.eq(0), show.eq(self.cmd.payload == PinCommand.SHOW), ended.eq(1)]
        with m.Elif(loads & self.i.valid & (given != PIN_DIGITS)):
            m.d.sync += given.eq(given + 1)
        whole = given == PIN_DIGITS
        m.d.comb += [
            Assert(~dut.segments.any() | (show & whole & dut.valid)),
            Assert(dut.valid | ~(dut.segments.any() | dut.right | dut.o.payload.any())),
            Assert(~ended | ~(dut.valid | digits.any())),
            Assert(~(had & ~dut.valid) | ~digits.any() | ResetSignal()),
            # what the induction needs
            Assert(~dut.valid | whole),
            Assert(dut.shown == show),
            Assert(dut.telling | (dut.left == Mux(loads, PIN_DIGITS - given, 0))),
            Assert(~(loads & dut.telling)),
            Cover(dut.segments.any() & dut.right),
        ]
        return m


def test_pin_display():
    prove(DisplayProperties(), depth=3)
    reach(DisplayProperties(), depth=14)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("shown.eq(command == PinCommand.SHOW)", "shown.eq(1)"),
        ("lit.eq(shown & valid", "lit.eq(shown"),
        ("Mux(valid, Cat(digits[0], C(0b00110, 5)), 0)", "Cat(digits[0], C(0b00110, 5))"),
        ("valid.eq(0), time.eq(0), Cat(digits).eq(0)", "valid.eq(0), time.eq(0)"),
        ("[valid.eq(0), Cat(digits).eq(0)]", "[valid.eq(0)]"),
        ("valid.eq(valid | ~telling)", "valid.eq(1)"),
    ],
)
def test_proof_can_fail(text, wrong):
    with pytest.raises(Disproved):
        prove(DisplayProperties(mutant(PinDisplay, text, wrong)), depth=3)
