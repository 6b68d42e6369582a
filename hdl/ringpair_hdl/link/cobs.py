"""From serial bits to the bytes of a frame in memory, and from payload bytes to a stuffed frame in memory.

Both halves of a frame port's block RAM look like this (8-bit addresses, the places of the two parts wrap around)::

    0x80 .. 0xfd   126 B   received payload, without CRC and stuffing
    0xfe .. 0x7f   130 B   frame to send: COBS of payload and CRC, then the delimiter
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import In, Out
from ringpair_protocol.frames import CRC_BYTES, MAX_PAYLOAD, ErrorKind

from ringpair_hdl.link.crc import SerialCrc, residue

RX_START = 0x80
TX_START = 0xFE


class FrameDecoder(wiring.Component):
    """COBS decoder and CRC check behind a `UartReceiver`; keeps up with any line.

    The CRC takes the bits as they come, zeros in the place of COBS codes (the first one excepted, which stands for
    nothing). The delimiter comes where a code could be: one more byte of zeros, which shifts the residue only.

    Attributes
    ----------
    sample, bit, data, valid : In
        From the receiver.
    write, address, byte : Out(1), Out(8), Out(8)
        Strobe: a payload byte for the memory, within the cycle of `valid`.
    done : Out(1)
        A frame is complete; further ones are dropped whole until `accept`.
    length, error : Out(7), Out(2)
        Of that frame; `error` is 0 or an `ErrorKind`.
    accept : In(1)
        Strobe: look for the next frame.
    clear : In(1)
        Forget everything.
    """

    sample: In(1)
    bit: In(1)
    data: In(8)
    valid: In(1)
    write: Out(1)
    address: Out(8)
    byte: Out(8)
    done: Out(1)
    length: Out(7)
    error: Out(2)
    accept: In(1)
    clear: In(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = SerialCrc()

        before = RX_START - 1
        here = Signal(8, init=before)  # where the next decoded byte goes
        code = Signal(8, init=before)  # where the next COBS code is due
        skip = Signal()  # a frame under way is not for us: wait for its end
        zero = Signal()

        first = ~here[7] & here[6]  # before: nothing of the frame has come
        long = ~here[7] & ~here[6] & here[0]  # 129 bytes have come: stays there
        short = (here[2:] == RX_START >> 2) & ~here[:2].all()  # at most CRC_BYTES
        at_code = Signal()
        m.d.comb += [
            zero.eq(self.data == 0),
            at_code.eq(here == code),
            crc.bit.eq(self.bit & ~at_code),
            crc.step.eq(self.sample),
            crc.restart.eq(first),
            self.address.eq(here),
            self.byte.eq(Mux(at_code, 0, self.data)),
            self.write.eq(self.valid & ~self.done & ~skip & here[7] & ~here[1:7].all()),
            self.length.eq(here[:7] - CRC_BYTES),
        ]
        with m.If(self.valid):
            with m.If(self.done | skip):
                m.d.sync += skip.eq(~zero)
            with m.Elif(~zero):
                with m.If(at_code):
                    m.d.sync += code.eq(here + self.data)
                with m.If(~long):
                    m.d.sync += here.eq(here + 1)
            with m.Elif(~first):
                m.d.sync += self.done.eq(1)
                with m.If(long):
                    m.d.sync += self.error.eq(ErrorKind.LENGTH)
                with m.Elif(~at_code):
                    m.d.sync += self.error.eq(ErrorKind.COBS)
                with m.Elif(short):
                    m.d.sync += self.error.eq(ErrorKind.LENGTH)
                with m.Elif(crc.crc != residue(zeros=8)):
                    m.d.sync += self.error.eq(ErrorKind.CRC)
        with m.If(self.accept | self.clear):
            m.d.sync += [here.eq(before), code.eq(before), self.done.eq(0), self.error.eq(0)]
        with m.If(self.clear):
            m.d.sync += skip.eq(0)
        return m


class Step(Enum, shape=3):
    """What the encoder adds to the frame."""

    DATA = 0
    CRC_LOW = 1
    CRC_HIGH = 2
    CODE = 3
    END = 4


class FrameEncoder(wiring.Component):
    """Stuffs a frame into memory: payload bytes as they come, then CRC, last code and delimiter.

    A byte takes 18 cycles, fewer than its ten bits on the fastest line: eight for the CRC (a bit a cycle), eight to put
    the distance from the last code in the place of a byte of zero, one to take it and one to write. A zero is not
    written where it stands: that is where the next code will be; the place of the last code gets the distance. The
    delimiter is a zero in this sense, too: it closes the last block. After `send` a frame takes 72 cycles more.

    Attributes
    ----------
    i : In(stream.Signature(8))
        Payload. Not ready after MAX_PAYLOAD bytes, between `send` and `done`, and while not `free`.
    send : In(1)
        Strobe: that was all. Without any byte before it does nothing.
    abort : In(1)
        Strobe: forget the payload given so far. After `send` it does nothing.
    free : In(1)
        The half of the memory in turn can be written.
    write, address, byte, grant : Out(1), Out(8), Out(8), In(1)
        Write to memory when granted.
    done : Out(1)
        Strobe: the frame is complete in memory.
    busy : Out(1)
        From `send` to `done`.
    wipe : In(1)
        Write a zero to the next address in each cycle. The frame under way is lost.
    last : Out(1)
        With `wipe`: the next address is the one where a frame begins, so that the turn of a half is over.
    """

    i: In(stream.Signature(8))
    send: In(1)
    abort: In(1)
    free: In(1)
    write: Out(1)
    address: Out(8)
    byte: Out(8)
    grant: In(1)
    done: Out(1)
    busy: Out(1)
    wipe: In(1)
    last: Out(1)

    def __init__(self):
        super().__init__()
        self.here = Signal(8, init=(TX_START + 1) % 256)  # where the next byte goes
        self.code = Signal(8, init=TX_START)  # where the code of this block goes
        self.step = Signal(Step)
        self.running, self.storing = Signal(), Signal()  # the two turns of a byte, and its way to memory

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = SerialCrc()
        here, code, step, running, storing = self.here, self.code, self.step, self.running, self.storing

        distance = Signal(8, init=1)  # here - code; least significant bit first through bit 0
        carry = Signal(init=1)
        shift = self.byte
        zero = Signal()  # the byte is zero
        count = Signal(4)
        begun = Signal()
        bit = Signal()
        full = here == (TX_START + 1 + MAX_PAYLOAD) % 256
        restart = Signal()

        m.d.comb += [
            crc.restart.eq(restart),
            crc.out.eq(step != Step.DATA),
            crc.bit.eq(shift[0]),
            self.address.eq(Mux(zero, code, here)),
            self.write.eq(storing | self.wipe),
            self.last.eq(here == TX_START),
            self.i.ready.eq(~running & ~storing & ~self.busy & self.free & ~full),
        ]
        with m.Switch(step):
            with m.Case(Step.DATA):
                m.d.comb += bit.eq(shift[0])
            with m.Case(Step.CRC_LOW, Step.CRC_HIGH):
                m.d.comb += bit.eq(~crc.crc[0])

        with m.If(running):
            m.d.sync += count.eq(count + 1)
            with m.If(~count[3]):  # once around: CRC, and is it a zero?
                m.d.comb += crc.step.eq(1)
                m.d.sync += [shift.eq(Cat(shift[1:], bit)), zero.eq(zero & ~bit), carry.eq(1)]
            with m.Else():  # once more: distance + 1, or 1 after a zero, which becomes the distance
                old = distance[0] & ~zero
                m.d.sync += [distance.eq(Cat(distance[1:], old ^ carry)), carry.eq(old & carry)]
                m.d.sync += shift.eq(Cat(shift[1:], Mux(zero & (step != Step.END), distance[0], shift[0])))
            with m.If(count.all()):
                m.d.sync += [running.eq(0), storing.eq(1)]
        with m.Elif(storing):
            with m.If(self.grant):
                m.d.sync += [storing.eq(0), here.eq(here + 1)]
                with m.If(zero):
                    m.d.sync += code.eq(here)
                with m.If(step == Step.END):
                    m.d.comb += [self.done.eq(1), restart.eq(1)]
                with m.Elif(self.busy):
                    m.d.sync += step.eq(step.as_value() + 1)
        with m.Else():
            m.d.sync += [shift.eq(self.i.payload), zero.eq(1)]
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += [running.eq(1), begun.eq(1)]
            with m.Elif(self.busy):
                m.d.sync += running.eq(1)
                with m.If(step == Step.DATA):
                    m.d.sync += step.eq(Step.CRC_LOW)

        with m.If(self.send & (begun | (self.i.valid & self.i.ready))):
            m.d.sync += self.busy.eq(1)
        with m.If(self.abort & ~self.busy):
            m.d.comb += restart.eq(1)
        with m.If(self.wipe):
            m.d.comb += restart.eq(1)
        with m.If(restart):
            m.d.sync += [here.eq(here.init), code.eq(code.init), distance.eq(1), step.eq(Step.DATA)]
            m.d.sync += [running.eq(0), storing.eq(0), begun.eq(0), self.busy.eq(0), count.eq(0)]
        with m.If(self.wipe):
            m.d.sync += [here.eq(here + 1), shift.eq(0), zero.eq(0)]
        return m
