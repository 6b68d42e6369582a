"""Check sequence of the frames, a byte a cycle."""

from functools import reduce
from operator import xor

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from ringpair_protocol.frames import CRC_INIT, crc_step


def step_byte(crc, byte):
    """Register of the CRC after one more byte of the message."""
    for i in range(8):
        crc = crc_step(crc, byte >> i & 1)
    return crc


LOW = 0xFF
"""The first byte of the check sequence is the low half of the register after the message, XOR this."""
HIGH = step_byte(LOW, 0) & 0xFF ^ 0xFF
"""The second one is the low half of the register after the first one, XOR this: a step is linear, the low half and the
first byte make LOW, and what they leave beside the high half is a constant."""

START = next(crc for crc in range(1 << 16) if step_byte(crc, 0) == CRC_INIT)
"""A byte of zero in front of the message brings the register from here to where a message begins."""


class ByteCrc(wiring.Component):
    """CRC-16/IBM-SDLC (`ringpair_protocol.frames`) of a zero and a message.

    Attributes
    ----------
    step, byte : In(1), In(8)
        Take one byte.
    restart : In(1)
        Begin a message; goes before `step`.
    crc : Out(16)
        The register.
    """

    step: In(1)
    byte: In(8)
    restart: In(1)
    crc: Out(16)

    def elaborate(self, platform):
        m = Module()
        crc = Signal(16, reset_less=True)
        m.d.comb += self.crc.eq(crc)
        into = crc ^ self.byte  # a byte goes into the low half
        bits = [[into[i] if i < 8 else crc[i] for i in range(16) if step_byte(1 << i, 0) >> k & 1] for k in range(16)]
        with m.If(self.restart):
            m.d.sync += crc.eq(START)
        with m.Elif(self.step):
            m.d.sync += crc.eq(Cat(reduce(xor, terms) for terms in bits))
        return m
