"""Frames in memory, a byte at a time: the check of one that was received, the encoding of one to be sent.

One job is at work at any time. It takes slots of `LinkPorts` that nobody else wants: in the first cycle a context is
read, the *pointer* into the frame's buffer or the *count*; in the second one it is written back, changed, and a byte
of the buffer may be read; in the third one that byte is there, or a byte is written to the place of the pointer.

Both jobs are one walk. A frame is a code, which tells how many bytes follow up to the next code, and these bytes. A
code becomes the zero that it stands for; each byte goes through the CRC, together with the zero of the first code,
which `crc.START` makes up for. Before it is encoded, a frame to send is a single block: its "code" is where the
pointer stands. Encoding adds the CRC and the delimiter and then walks back: each zero becomes the distance to the next
one, with the zero of the first code as the last to be found.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import In, Out
from ringpair_protocol.frames import CRC_GOOD, ErrorKind

from ringpair_hdl.link.crc import HIGH, LOW, ByteCrc


class Step(Enum, shape=4):
    """One slot each; the values are those that map best."""

    IDLE = 0
    START = 1  # read the first code, or take the pointer of a frame to be sent
    CODE = 2  # a code: it is the count; the delimiter in its place is the end
    ZERO = 3  # in the place of the code, and through the CRC
    BYTE = 4  # any other byte, through the CRC; the delimiter is an error
    COUNT = 5  # count down; 1: the next one is a code
    FETCH = 6  # read the next one
    CRC_LOW = 7  # to be sent: check sequence and delimiter
    CRC_STEP = 8
    CRC_HIGH = 9
    DELIMITER = 10  # and the count begins again, with 1
    UP = 11  # count up
    BACK = 12  # to the byte before; there is none before place 0
    PEEK = 13  # read it
    PUT = 14  # a zero becomes the count, which begins again
    DONE = 15  # checked: the pointer goes to the first byte of the payload


COUNTING = (Step.COUNT, Step.UP)
"""Steps that read the count; the others read the pointer or nothing."""
TO_COUNT = (Step.CODE, Step.COUNT, Step.UP, Step.DELIMITER, Step.PUT)
"""Steps that write the count; the others write the pointer or nothing."""
FOLLOWING = {
    Step.START: Step.CODE,
    Step.CODE: Step.ZERO,
    Step.ZERO: Step.COUNT,
    Step.BYTE: Step.COUNT,
    Step.COUNT: Step.FETCH,
    Step.FETCH: Step.BYTE,
    Step.CRC_LOW: Step.CRC_STEP,
    Step.CRC_STEP: Step.CRC_HIGH,
    Step.CRC_HIGH: Step.DELIMITER,
    Step.DELIMITER: Step.UP,
    Step.UP: Step.BACK,
    Step.BACK: Step.PEEK,
    Step.PEEK: Step.PUT,
    Step.PUT: Step.UP,
    Step.DONE: Step.IDLE,
}
"""Where nothing special happens."""


class FrameJob(wiring.Component):
    """Sequence of the jobs, with all that they know of a frame.

    Cycles a byte, of slots one after the other: 6 to check it (8 for a code), 14 to encode it.

    Attributes
    ----------
    check, encode : In(1), In(1)
        There is a frame of that kind to start with; looked at while the job is idle.
    for_side, for_half : In(1), In(1)
        Whose it is.
    active, after : In(1), In(1)
        The second and the third cycle of a slot of the job.
    data : In(8)
        From the memory.
    last, zero, one : In(1), In(1), In(1)
        What `data` is: the last place of a buffer, 0, or 1.
    step : Out(Step)
        Of the next slot, or of this one up to its second cycle.
    side, half, encoding, fresh : Out(1)
        Of the job; `fresh`: the pointer is to be taken from its beginning.
    update, read, write : Out(1)
        In the second cycle: write back the context, read the byte, write it in the third cycle.
    hold : Out(8)
        The byte to write; or, with `Step.CODE`, the new count.
    shown, refused, encoded : Out(1)
        Strobe at the end of a job. A frame of side 0 is shown even if it is damaged.
    length, error : Out(7), Out(2)
        Of the frame shown; `error` is 0 or an `ErrorKind`.
    """

    check: In(1)
    encode: In(1)
    for_side: In(1)
    for_half: In(1)
    active: In(1)
    after: In(1)
    data: In(8)
    last: In(1)
    zero: In(1)
    one: In(1)
    step: Out(Step)
    side: Out(1)
    half: Out(1)
    encoding: Out(1)
    fresh: Out(1)
    update: Out(1)
    read: Out(1)
    write: Out(1)
    hold: Out(8)
    shown: Out(1)
    refused: Out(1)
    encoded: Out(1)
    length: Out(7)
    error: Out(2)

    def at(self, *steps):
        return self.step.as_value().matches(*(step.value for step in steps))

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = self.crc = crc = ByteCrc()
        at = self.at
        self.found = found = Signal()  # of the slot before: 0, or for COUNT 1
        side, half, encoding = Signal(reset_less=True), Signal(reset_less=True), Signal(reset_less=True)
        m.d.comb += [self.side.eq(side), self.half.eq(half), self.encoding.eq(encoding)]
        with m.If(self.step == Step.IDLE):
            m.d.comb += crc.restart.eq(1)
            m.d.sync += [side.eq(self.for_side), half.eq(self.for_half), encoding.eq(~self.check)]
            m.d.sync += self.fresh.eq(self.check)
            with m.If(self.check | self.encode):
                m.d.sync += self.step.eq(Step.START)

        with m.If(self.after):  # COUNT is over when FETCH is next
            m.d.sync += found.eq(Mux(at(Step.FETCH), self.one, self.zero))
        with m.If(self.active):
            m.d.comb += [
                self.update.eq(
                    at(Step.CODE, Step.ZERO, Step.COUNT, Step.CRC_LOW, Step.CRC_HIGH)
                    | at(Step.DELIMITER, Step.UP, Step.DONE)
                    | (at(Step.FETCH) & ~found)
                    | (at(Step.BACK) & ~self.zero)
                    | (at(Step.PUT) & found)
                ),
                self.read.eq(at(Step.FETCH, Step.PEEK) | (at(Step.START) & ~encoding)),
                self.write.eq(at(Step.ZERO, Step.CRC_LOW, Step.CRC_HIGH, Step.DELIMITER) | (at(Step.PUT) & found)),
                crc.step.eq(at(Step.ZERO, Step.BYTE, Step.CRC_STEP)),
            ]
        self._hold(m)
        self._follow(m)
        self._verdict(m)
        return m

    def _hold(self, m):
        """A byte between its way out of the memory and its use, or on its way into it."""
        hold, at = Signal(8, reset_less=True), self.at
        m.d.comb += [self.hold.eq(hold), self.crc.byte.eq(hold)]
        arrives = Signal()
        m.d.sync += arrives.eq(self.active & at(Step.START, Step.FETCH, Step.UP))
        leaves = self.active & at(Step.CRC_LOW, Step.CRC_HIGH)
        with m.If(arrives | leaves):
            m.d.sync += hold.eq(Mux(leaves, self.crc.crc[:8] ^ Mux(at(Step.CRC_LOW), LOW, HIGH), self.data))
        with m.If(self.active & at(Step.CODE, Step.DELIMITER)):
            m.d.sync += hold.eq(0)

    def _follow(self, m):
        """Which step is next."""
        step, found, encoding = self.step, self.found, self.encoding
        self.ends, self.inside = Signal(), Signal()  # the delimiter of a frame to check, and not where it should be
        with m.If(self.active):
            with m.Switch(step):
                for now, following in FOLLOWING.items():
                    with m.Case(now):
                        m.d.sync += step.eq(following)
                        if now == Step.START:
                            m.d.sync += self.fresh.eq(1)
                        if now == Step.ZERO:
                            m.d.sync += self.fresh.eq(0)
                        if now in (Step.CODE, Step.BYTE):
                            m.d.comb += [self.ends.eq(found & ~encoding), self.inside.eq(now == Step.BYTE)]
                        if now == Step.FETCH:
                            with m.If(found):
                                m.d.sync += step.eq(Mux(encoding, Step.CRC_LOW, Step.CODE))
                        if now == Step.PEEK:
                            m.d.comb += self.encoded.eq(found)
            with m.If(self.encoded):
                m.d.sync += step.eq(Step.IDLE)
            m.d.comb += self.shown.eq(step == Step.DONE)
        with m.If(self.ends):
            m.d.sync += [step.eq(Mux(self.refused, Step.IDLE, Step.DONE)), self.fresh.eq(1)]

    def _verdict(self, m):
        """Length and error; the order is that of `ringpair_protocol.frames.Decoder`."""
        long, short, verdict = Signal(reset_less=True), Signal(reset_less=True), Signal(2)
        length, error = Signal(7, reset_less=True), Signal(2, reset_less=True)
        m.d.comb += [self.length.eq(length), self.error.eq(error)]
        with m.If(self.active & self.at(Step.FETCH) & ~self.encoding):  # the last time it points to the delimiter
            m.d.sync += [length.eq(self.data), long.eq(self.last), short.eq(self.data[7] | self.zero)]
        with m.If(long):
            m.d.comb += verdict.eq(ErrorKind.LENGTH)
        with m.Elif(self.inside):
            m.d.comb += verdict.eq(ErrorKind.COBS)
        with m.Elif(short):
            m.d.comb += verdict.eq(ErrorKind.LENGTH)
        with m.Elif(self.crc.crc != CRC_GOOD):
            m.d.comb += verdict.eq(ErrorKind.CRC)
        m.d.comb += self.refused.eq(self.ends & self.side & (verdict != 0))
        with m.If(self.ends):
            m.d.sync += error.eq(verdict)
