"""Check sequence of the frames, a bit a cycle."""

from amaranth.hdl import Const, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from ringpair_protocol.frames import CRC_GOOD, CRC_INIT, CRC_POLYNOMIAL, crc_step


def residue(zeros=0):
    """Register after an undamaged message with its CRC and `zeros` more bits of 0."""
    crc = CRC_GOOD
    for _ in range(zeros):
        crc = crc_step(crc, 0)
    return crc


class SerialCrc(wiring.Component):
    """CRC-16/IBM-SDLC (`ringpair_protocol.frames`), one bit of the message a cycle, bytes least significant bit first.

    Attributes
    ----------
    step, bit : In(1), In(1)
        Take one bit.
    out : In(1)
        With `step`: shift only. The register, inverted, leaves through `crc[0]` in the order of the line.
    restart : In(1)
        Begin a message; goes before `step`.
    crc : Out(16)
        The register.
    """

    step: In(1)
    bit: In(1)
    out: In(1)
    restart: In(1)
    crc: Out(16, init=CRC_INIT)

    def elaborate(self, platform):
        m = Module()
        feedback = (self.crc[0] ^ self.bit) & ~self.out
        with m.If(self.restart):
            m.d.sync += self.crc.eq(CRC_INIT)
        with m.Elif(self.step):
            m.d.sync += self.crc.eq(self.crc[1:] ^ Mux(feedback, Const(CRC_POLYNOMIAL, 16), 0))
        return m
