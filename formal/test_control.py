"""Proof of the sequencer: it never stands still while its ports are ready, whatever the code and the data are."""

import pytest
from amaranth.hdl import Assert, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import ReadPort, WritePort
from amaranth.lib.wiring import In, Out
from ringpair_hdl.control import Rom, Sequencer, isa
from ringpair_hdl.control.isa import ADDRESS
from ringpair_hdl.control.sequencer import Step

from formal.prove import Disproved, mutant, prove

STEPS = 12
"""Cycles between two instructions, or two bytes of a move: EXECUTE and a row, twice, then READ and KEEP."""


def rom(table=b""):
    return Rom(bytes(64), 32, table=table)


class AnyCode(wiring.Component):
    """In place of the code memory: any byte, which stays until the next is asked for; ``owner`` is its address."""

    def __init__(self, memory):
        self.memory = memory
        super().__init__({**memory.signature.members, "any": In(8), "owner": Out(isa.TARGET)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.unused = self.memory
        new, last = Signal(), Signal(8)
        m.d.comb += self.data.eq(Mux(new, self.any, last))
        m.d.sync += [new.eq(self.enable), last.eq(self.data)]
        with m.If(self.enable):
            m.d.sync += self.owner.eq(self.address)
        return m


class AnyPad(wiring.Component):
    """In place of the scratchpad: whatever byte comes."""

    any: In(8)

    def __init__(self, memory):
        self.memory = memory
        super().__init__()

    def read_port(self):
        self.read = ReadPort.Signature(addr_width=ADDRESS, shape=8).create()
        return self.read

    def write_port(self):
        return WritePort.Signature(addr_width=ADDRESS, shape=8).create()

    def elaborate(self, platform):
        m = Module()
        m.submodules.unused = self.memory
        m.d.comb += self.read.data.eq(self.any)
        return m


class Progress(wiring.Component):
    """Any code, any scratchpad, any bytes; all ports ready. Conditions from outside are free, but there is always a
    frame of one side or the other, for which a program may wait."""

    FREE = ("payload", "length", "error", "frames", "exhausted", "dead", "alarm", "trng_ready", "button", "tick")
    PAD = AnyPad

    def __init__(self, sequencer=Sequencer, table=b""):
        self.sequencer = sequencer(rom(table), bytes(1024), observe=False)
        self.sequencer.flow.code = self.code = AnyCode(self.sequencer.flow.code)
        self.sequencer.pad = self.memory = self.PAD(self.sequencer.pad)
        self.free = {"any_code": (8, self.code.any)}
        for path, _, value in self.memory.signature.flatten(self.memory):
            self.free["_".join(("pad", *path))] = (len(value), value)
        for path, member, value in self.sequencer.signature.flatten(self.sequencer):
            name = "__".join(map(str, path))
            if member.flow == In and any(part in name for part in self.FREE):
                self.free[name] = (len(value), value)
        super().__init__({name: In(width) for name, (width, _) in self.free.items()})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.sequencer
        m.d.comb += [value.eq(getattr(self, name)) for name, (_, value) in self.free.items()]
        m.d.comb += dut.frames.eq(Mux(self.frames.any(), self.frames, 1))
        for port in (dut.sponge_cmd, dut.puf_cmd, dut.sponge_i, dut.link_i, dut.spi_i, dut.puf_i):
            m.d.comb += port.ready.eq(1)
        for port in (dut.sponge_o, dut.link_o, dut.spi_o, dut.puf_o, dut.trng_o):
            m.d.comb += port.valid.eq(1)
        # cycles since an instruction began or a byte was moved
        waited, exchange = Signal(range(STEPS + 2)), dut.exchange
        m.d.sync += waited.eq(Mux((dut.step.as_value() == Step.DECODE.value) | exchange.moved, 0, waited + 1))
        m.d.comb += [
            Assert(waited <= STEPS),
            Assert(dut.step.as_value() <= Step.BYTE.value),
            Assert(~exchange.moving | exchange.moved | dut.trng_alarm),
        ]
        return m


def test_goes_on_while_ports_are_ready():
    prove(Progress(), depth=STEPS + 3)


@pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")  # of a module made from text
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("with m.Elif(op[0] | self.spi_i.ready):", "with m.Elif(op[0]):"),
        ("alu.keep.eq(1)]\n                m.d.sync += self.step.eq(Step.MOVE)", "alu.keep.eq(1)]"),
        ("m.d.comb += done.eq(~self.puf_cmd.valid)", "m.d.comb += done.eq(self.puf_cmd.valid)"),
    ],
)
def test_standing_still_is_noticed(old, new):
    with pytest.raises(Disproved):
        prove(Progress(mutant(Sequencer, old, new)), depth=STEPS + 3)
