"""Proofs of the serial line and the frames: lengths on the line, no hang, no byte outside of its part of the memory."""

import pytest
from amaranth.hdl import Assert, Assume, Cover, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from ringpair_hdl.link.cobs import TX_START, FrameDecoder, FrameEncoder, Step
from ringpair_hdl.link.uart import UartReceiver, UartTransmitter
from ringpair_protocol.frames import MAX_PAYLOAD

from formal.prove import Disproved, mutant, prove, reach

DIVISOR = 4


class TransmitterProperties(wiring.Component):
    """A byte takes ten bits, begins with a start bit and ends with a stop bit; the idle line is high."""

    i: In(stream.Signature(8))

    def __init__(self, transmitter=UartTransmitter):
        self.dut = transmitter(DIVISOR)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [dut.i.payload.eq(self.i.payload), dut.i.valid.eq(self.i.valid), self.i.ready.eq(dut.i.ready)]
        age = Signal(range(64))  # cycles since the byte was accepted; 0: none
        byte = Signal(8)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [age.eq(1), byte.eq(self.i.payload)]
        with m.Elif(self.i.ready):
            m.d.sync += age.eq(0)
        with m.Else():
            m.d.sync += age.eq(age + 1)
        place = age - 1
        with m.If((age == 0) | (place >= 9 * DIVISOR)):
            m.d.comb += Assert(dut.tx)
        with m.Elif(place < DIVISOR):
            m.d.comb += Assert(~dut.tx)
        with m.Else():
            m.d.comb += Assert(dut.tx == byte.bit_select((place // DIVISOR - 1)[:3], 1))
        m.d.comb += Assert(self.i.ready == ((age == 0) | (place == 10 * DIVISOR - 1)))
        m.d.comb += Assert(age <= 10 * DIVISOR)
        with m.If(self.i.valid & self.i.ready):
            m.d.comb += Assert(dut.idle)
        m.d.comb += Cover((age == 10 * DIVISOR) & self.i.valid)
        return m


def test_transmitter():
    prove(TransmitterProperties(), depth=42)
    reach(TransmitterProperties(), depth=45)


def test_transmitter_proof_can_fail():
    wrong = mutant(UartTransmitter, "Cat(0, self.i.payload, 1)", "Cat(0, self.i.payload[:7], 1)")
    with pytest.raises(Disproved):
        prove(TransmitterProperties(wrong), depth=42, induction=False)


class LineProperties(wiring.Component):
    """Transmitter to receiver, any bytes at any time: each byte arrives once, none is damaged."""

    i: In(stream.Signature(8))

    def __init__(self, receiver=UartReceiver):
        self.tx, self.rx = UartTransmitter(DIVISOR), receiver(DIVISOR)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.tx, m.submodules.rx = tx, rx = self.tx, self.rx
        m.d.comb += [tx.i.payload.eq(self.i.payload), tx.i.valid.eq(self.i.valid), rx.rx.eq(tx.tx)]
        m.d.comb += Assume(~ResetSignal())  # a reset in the middle of a byte cuts it
        new, old, flying = Signal(8), Signal(8), Signal(2)  # the receiver is behind: two bytes can be on their way
        m.d.sync += flying.eq(flying + (tx.i.valid & tx.i.ready) - rx.valid)
        m.d.comb += Assert(flying <= 2)
        with m.If(rx.valid):
            m.d.comb += Assert((flying != 0) & (rx.data == Mux(flying == 2, old, new)))
        with m.If(tx.i.valid & tx.i.ready):
            m.d.sync += [new.eq(self.i.payload), old.eq(new)]
        m.d.comb += Assert(~rx.error)
        return m


def test_line():
    prove(LineProperties(), depth=64, induction=False)


def test_line_proof_can_fail():
    wrong = mutant(UartReceiver, "self.data.eq(shift[1:])", "self.data.eq(shift[:8])")
    with pytest.raises(Disproved):
        prove(LineProperties(wrong), depth=64, induction=False)


class EncoderProperties(wiring.Component):
    """It never hangs, and writes only where frames to send are."""

    i: In(stream.Signature(8))
    send: In(1)
    abort: In(1)
    free: In(1)
    grant: In(1)

    def __init__(self, encoder=FrameEncoder):
        self.dut = encoder()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [dut.i.payload.eq(self.i.payload), dut.i.valid.eq(self.i.valid), dut.wipe.eq(0)]
        m.d.comb += [getattr(dut, name).eq(getattr(self, name)) for name in ("send", "abort", "free", "grant")]
        refused = Signal()
        m.d.sync += refused.eq(~self.grant)
        m.d.comb += Assume(~refused | self.grant)  # the line takes the memory for single cycles

        idle = Signal(range(64))  # cycles in which something is to be done and nothing is written
        working = Signal()
        m.d.comb += working.eq(dut.running | dut.storing | dut.busy)
        with m.If(~working | (dut.write & dut.grant) | self.abort):
            m.d.sync += idle.eq(0)
        with m.Elif(idle != 63):
            m.d.sync += idle.eq(idle + 1)
        m.d.comb += Assert(idle <= 18)

        used, code = Signal(8), Signal(8)  # bytes of the frame so far, and where the code is due
        m.d.comb += [used.eq(dut.here - TX_START), code.eq(dut.code - TX_START)]
        most = MAX_PAYLOAD + 1  # the first code, and the payload
        m.d.comb += [Assert(used >= 1), Assert(code < used), Assert(dut.step.as_value() <= Step.END.value)]
        with m.Switch(dut.step):
            with m.Case(Step.DATA):
                m.d.comb += Assert(used <= most)
                m.d.comb += Assert(~dut.running & ~dut.storing | (used < most))
            for number, step in enumerate((Step.CRC_LOW, Step.CRC_HIGH, Step.CODE, Step.END)):
                with m.Case(step):
                    m.d.comb += Assert(used <= most + number)
                    m.d.comb += Assert(dut.busy)
        with m.If(dut.write):
            m.d.comb += Assert((dut.address < 0x80) | (dut.address >= TX_START))
        with m.If(self.i.ready):
            m.d.comb += Assert(~dut.busy)
        m.d.comb += self.i.ready.eq(dut.i.ready)
        m.d.comb += Cover(dut.done)
        return m


def test_encoder():
    prove(EncoderProperties(), depth=22)


def test_encoder_proof_can_fail():
    with pytest.raises(Disproved):
        prove(EncoderProperties(mutant(FrameEncoder, "count.all()", "count == 16")), depth=22)
    with pytest.raises(Disproved):
        prove(EncoderProperties(mutant(FrameEncoder, "+ 1 + MAX_PAYLOAD", "+ 2 + MAX_PAYLOAD")), depth=22)


class DecoderProperties(wiring.Component):
    """Any bits and bytes, any time: payload stays in its place, a complete frame stays as it is until accepted."""

    sample: In(1)
    bit: In(1)
    data: In(8)
    valid: In(1)
    accept: In(1)
    clear: In(1)

    def __init__(self, decoder=FrameDecoder):
        self.dut = decoder()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        names = ("sample", "bit", "data", "valid", "accept", "clear")
        m.d.comb += [getattr(dut, name).eq(getattr(self, name)) for name in names]
        with m.If(dut.write):
            m.d.comb += Assert((dut.address >= 0x80) & (dut.address < TX_START) & ~dut.done)
        m.d.comb += Assert((dut.address >= 0x7F) | (dut.address <= 1))
        with m.If(dut.done & (dut.error == 0)):
            m.d.comb += Assert((dut.length >= 1) & (dut.length <= MAX_PAYLOAD))
        held, length, error = Signal(), Signal(7), Signal(2)
        m.d.sync += [held.eq(dut.done & ~self.accept & ~self.clear), length.eq(dut.length), error.eq(dut.error)]
        with m.If(held):
            m.d.comb += Assert(dut.done & (dut.length == length) & (dut.error == error))
        m.d.comb += Cover(dut.done & (dut.error == 0))
        return m


def test_decoder():
    prove(DecoderProperties(), depth=3)
    reach(DecoderProperties(), depth=25)


def test_decoder_proof_can_fail():
    with pytest.raises(Disproved):
        prove(DecoderProperties(mutant(FrameDecoder, " & here[7] & ", " & ")), depth=3)
    with pytest.raises(Disproved):
        prove(DecoderProperties(mutant(FrameDecoder, "self.done | skip", "skip")), depth=3)
