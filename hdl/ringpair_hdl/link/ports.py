"""Two serial ports that carry frames, served by one small machine with one memory of 1024 bytes.

Each line has its own shift registers; all the rest is there once. A byte that was received goes into the memory as it
is, a byte to be sent comes from there; `FrameJob` decodes and encodes whole frames in their places.

The machine works in slots of two cycles, in turn for side 0 and side 1, while there is anything to do. A slot does one
thing for its side, the first of these that is wanted: store a received byte, fetch one to be sent, give a byte of
payload to the user or take one from the user. If nothing is, it is the job's, for either side. Whatever it is, it goes
like this::

    cycle 0   read a context: the pointer into a buffer                write the byte of the slot before
    cycle 1   read the byte at the pointer (unless one is written)     write the context, with the pointer advanced
    cycle 2   (cycle 0 of the next slot) the byte that was read is there, or is written to the place of the pointer

Addresses, most significant bit first; each buffer of 128 bytes has 16 more elsewhere::

    0 side half p6..p0                  place p of a received frame
    1 side 0 p6..p0                     of one to send, half 0
    1 0 1 p6..p0                        half 1, of the side that needs two
    1 1 1 side send half p3..p0         places beyond: 0x80 and 0x81, or -3 to -1
    1 1 1 side send half 1 0 0 0        pointer
    1 1 1 side send half 1 0 1 0        count of the job
    1 1 1 side send half 0 1 x x        where pointers begin: constants

    received   -3 first code   -2 ... payload, CRC, delimiter: at the place that is the length; 127 if it is too long
    to send     0 first code    1 ... payload, CRC, delimiter
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from ringpair_protocol.frames import MAX_PAYLOAD

from ringpair_hdl.link.job import COUNTING, TO_COUNT, FrameJob, Step
from ringpair_hdl.link.uart import BitClock, UartReceiver, UartTransmitter, check_divisor

RECEIVED, UNUSED, CODED, GIVEN = 0xFD, 0, 0x00, 0x01
LAST = MAX_PAYLOAD + 1
"""Place of the last payload byte to send plus 1, and of the delimiter of a received frame that is too long."""
KINDS = ("store", "fetch", "show", "take", "work")
"""What a slot can be for, in the order of precedence."""


def starts():
    """Initial contents of the memory: the constants."""
    contents = [0] * 1024
    for buffer in range(8):
        address = 0b111_000_0100 | buffer << 4
        contents[address : address + 4] = [RECEIVED, UNUSED, CODED, GIVEN]
    return contents


def pick(pair, side):
    return Mux(side, pair[1], pair[0])


def bit(halves, half):
    return halves.bit_select(half, 1)


class Flag:
    """A bit for each side that logic for one side serves: `now` in a slot's cycles 1 and 2, `next` in its cycle 0.

    In cycle 0 the sides change places, and the one that is finished becomes `after`, by default what it was.
    """

    def __init__(self, m, name, init=0):
        self.now, self.next = Signal(name=f"{name}_now", init=init), Signal(name=f"{name}_next", init=init)
        self.after = Signal(name=f"{name}_after")
        m.d.comb += self.after.eq(self.now)


class LinkPorts(wiring.Component):
    """Frames of `ringpair_protocol.frames` on two lines, both ways at full line rate.

    Side 0 shows damaged frames as an `error`, on side 1 they vanish. One frame is shown at a time, whichever side it
    came from, the sides in turn if both have one: the user must look at both. While it is there, two complete ones can
    wait for each side, the one shown included; one more is dropped whole. Two frames can
    be on their way out for one side and one for the other: each has a buffer of its own, and may use the one that both
    share. Else a frame waits until the last byte of one before it is on the line. It must be complete before one of
    the other side begins.

    Timing in cycles: `i` takes a byte every 4, `o` gives one every 4, 4 or 8 more if the line of the same side has a
    byte as well. A received frame of n bytes shows up about 6 (n + 3) cycles after its delimiter, 12 (n + 3) if it is
    all zeros; a frame to send begins about 20 (n + 3) after `send`; together with a job that goes before. A byte from
    a line is in memory 7 cycles after the middle of its stop bit at the latest: before the next one moves, with any
    divisor.

    Parameters
    ----------
    divisors : (int, int)
        Clock cycles of a bit of each line, at least 4. Lines of the same divisor share the clock of their bits.

    Attributes
    ----------
    rx, tx : In(1).array(2), Out(1).array(2)
        The lines; idle is 1.
    side : In(1)
        Which one `o`, `drop`, `i` and `send` mean. It may change whenever no byte is asked for or offered.
    frames : Out(2)
        A frame is shown, by side.
    length, error : Out(7), Out(2)
        Bytes of its payload, if `error` is 0; else an `ErrorKind`.
    o : Out(stream.Signature(8))
        Its payload. A byte is fetched when `ready` asks for it: do not wait for `valid`, and do not ask for more than
        `length` bytes. `valid` stays until the byte is taken, or until `drop`.
    drop : In(1)
        Strobe: forget the frame shown, whatever was read of it. It is gone in the next cycle.
    i : In(stream.Signature(8))
        Payload of a frame to send. Further bytes after `MAX_PAYLOAD` are not accepted. Not ready between `send` and
        the last byte's way to the line.
    send : In(1)
        Strobe: the frame is complete, with one byte at least.
    busy : Out(1)
        Something is to be stored, checked, shown, encoded or sent, up to the beginning of its last stop bit.
    """

    def __init__(self, divisors):
        self.divisors = [check_divisor(divisor) for divisor in divisors]
        if len(self.divisors) != 2:
            raise ValueError(f"divisors are those of the two lines, not {divisors!r}")
        super().__init__(
            {
                "rx": In(1, init=1).array(2),
                "tx": Out(1, init=1).array(2),
                "side": In(1),
                "frames": Out(2),
                "length": Out(7),
                "error": Out(2),
                "o": Out(stream.Signature(8)),
                "drop": In(1),
                "i": In(stream.Signature(8)),
                "send": In(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.job = self.job = FrameJob()
        self._read, self._write = self._memory(m)
        self.second, self.turn = Signal(), Signal()  # cycle 1; the side of the slot whose cycle 1 or 2 this is
        self.side_next = ~self.turn  # in cycle 0
        self.first, self.skip = Flag(m, "first", init=1), Flag(m, "skip")
        self.one, self.two, self.half = Flag(m, "one"), Flag(m, "two"), Flag(m, "half")
        self.arrived, self.begun = Signal(2), Signal(2)
        self.closed, self.sending = (
            Signal(data.ArrayLayout(2, 2), name=n) for n in ("closed", "sending")
        )  # side, half
        self.giving, self.taking = Signal(2), Signal(2)  # the half that the user fills; that is sent, or next to be
        self.held, self.shown, self.shown_side = Signal(), Signal(), Signal()
        self.update, self.write, self.off = Signal(), Signal(), Signal()
        self.finished = Signal()
        self.complete = Cat(self.one.now, self.one.next).any()
        self.waits = Cat(self.arrived, self.finished, self.closed, self.sending).any()
        self._lines(m)
        self._slots(m)
        self._addresses(m)
        self._contents(m)
        self._receive(m)
        self._show(m)
        self._send(m)
        return m

    def _memory(self, m):
        """Read port and write port. They never meet at one address."""
        m.submodules.memory = memory = Memory(shape=8, depth=1024, init=starts())
        return memory.read_port(), memory.write_port()

    def _lines(self, m):
        clocks = {}
        for divisor in sorted(set(self.divisors)):
            m.submodules[f"clock_{divisor}"] = clocks[divisor] = BitClock(divisor)
        self.receivers = [UartReceiver(divisor) for divisor in self.divisors]
        self.transmitters = [UartTransmitter() for _ in self.divisors]
        for side, divisor in enumerate(self.divisors):
            m.submodules[f"receiver_{side}"] = receiver = self.receivers[side]
            m.submodules[f"transmitter_{side}"] = transmitter = self.transmitters[side]
            m.d.comb += [
                receiver.rx.eq(self.rx[side]),
                self.tx[side].eq(transmitter.tx),
                transmitter.tick.eq(clocks[divisor].tick),
                transmitter.near.eq(clocks[divisor].near),
                transmitter.data.eq(self._read.data),
            ]

    def _slots(self, m):
        """What the next slot is for, in cycle 0."""
        job, side = self.job, self.side_next
        self.next_is, self.is_ = ({kind: Signal(name=f"{kind}{end}") for kind in KINDS} for end in ("_next", ""))
        soon = pick([transmitter.soon for transmitter in self.transmitters], side)
        self.used = used = [self.closed[s] | self.sending[s] for s in range(2)]
        shared = [used[s][1] | (self.begun[s] & self.giving[s]) for s in range(2)]
        full = [bit(used[s], self.giving[s]) | (self.giving[s] & shared[1 - s]) for s in range(2)]
        sending = pick([bit(self.sending[s], self.taking[s]) for s in range(2)], side)
        self.waiting = pick([self.taking[s] ^ ~bit(self.closed[s], self.taking[s]) for s in range(2)], side)
        chosen = self.side == side
        wanted = {
            "store": pick(self.arrived, side),
            "fetch": sending & soon,
            "show": self.o.ready & ~self.o.valid & chosen & self.shown,
            "take": self.i.valid & chosen & ~pick(full, side),
            "work": job.step != Step.IDLE,
        }
        free = Const(1)
        for kind in KINDS:
            m.d.comb += self.next_is[kind].eq(wanted[kind] & free)
            free = free & ~wanted[kind]
        go = Signal()  # else everything rests: after a slot for nothing, until there is something, or the user asks
        asks = self.i.valid | Mux(self.shown, self.o.ready, self.complete)
        m.d.comb += go.eq(Cat(self.is_.values()).any() | self.waits | asks)
        m.d.sync += self.second.eq(~self.second & go)
        with m.If(~self.second & go):
            m.d.sync += [self.is_[kind].eq(self.next_is[kind]) for kind in KINDS]
            m.d.sync += self.turn.eq(side)
            for flag in (self.first, self.skip, self.one, self.two, self.half):
                m.d.sync += [flag.now.eq(flag.next), flag.next.eq(flag.after)]
        m.d.comb += [job.active.eq(self.is_["work"] & self.second), job.after.eq(self.is_["work"] & ~self.second)]
        m.d.comb += job.data.eq(self._read.data)

    def _addresses(self, m):
        """Context and place, for reading and, a cycle later, for writing."""
        next_is, job, pointer = self.next_is, self.job, self._read.data
        oldest = self.half.next ^ ~self.two.next  # of the complete ones
        side, send, half, start = (Signal(name=f"{name}_next") for name in ("side", "send", "half", "start"))
        m.d.comb += [
            side.eq(Mux(next_is["work"], job.side, self.side_next)),
            send.eq(next_is["fetch"] | next_is["take"] | (next_is["work"] & job.encoding)),
            half.eq(
                (next_is["work"] & job.half)
                | (next_is["store"] & self.half.next)
                | (next_is["show"] & oldest)
                | (next_is["fetch"] & pick(self.taking, self.side_next))
                | (next_is["take"] & pick(self.giving, self.side_next))
            ),
            start.eq(
                (next_is["store"] & self.first.next)
                | (next_is["take"] & ~pick(self.begun, self.side_next))
                | (next_is["work"] & job.fresh)
            ),
            job.for_side.eq(self.side_next),
            job.for_half.eq(Mux(job.check, oldest, self.waiting)),  # the first of what is closed
        ]
        self.its_side, self.its_send, self.its_half = (
            Signal(name=f"its_{name}", reset_less=True) for name in ("side", "send", "half")
        )
        with m.If(~self.second):
            m.d.sync += [self.its_side.eq(side), self.its_send.eq(send), self.its_half.eq(half)]

        count = next_is["work"] & job.at(*COUNTING)
        which = Cat(start & next_is["take"], (start & send) | count)  # of the constants, or of pointer and count
        context = Cat(which, start, ~start, half, send, side, Const(7, 3))
        count = self.is_["work"] & job.at(*TO_COUNT)
        buffer = Cat(self.its_half, self.its_send, self.its_side)
        same = Cat(0, count, Const(0b10, 2), buffer, Const(7, 3))
        tail = pointer[7]
        place = Cat(
            pointer[:4],
            Mux(tail, buffer, pointer[4:7]),
            self.its_half | tail,
            (self.its_side & ~(self.its_send & self.its_half)) | tail,
            self.its_send | tail,
        )
        m.d.comb += [
            self._read.addr.eq(Mux(self.second, place, context)),
            self._write.addr.eq(Mux(self.second, same, place)),
        ]

    def _contents(self, m):
        """What is written, and what is known of what was read."""
        is_, job, pointer = self.is_, self.job, self._read.data
        down = is_["work"] & job.at(Step.COUNT, Step.BACK)
        moved = Signal(8)
        m.d.comb += moved.eq(pointer + Cat(1, down.replicate(7)))
        self.byte = Signal(8)  # received
        m.d.comb += self.byte.eq(Mux(is_["store"], pick([receiver.data for receiver in self.receivers], self.turn), 0))
        given = Mux(is_["take"], self.i.payload, 0)
        held = Mux(is_["work"] & (~self.second | job.at(Step.CODE)), job.hold, 0)
        begins = job.active & job.at(Step.DELIMITER, Step.PUT)
        with m.If(self.second & ~(is_["work"] & job.at(Step.CODE, Step.DELIMITER, Step.PUT))):
            m.d.comb += self._write.data.eq(moved)
        with m.Else():
            m.d.comb += self._write.data.eq(self.byte | given | held | begins)

        self.last = Signal()
        nearly = pointer[1:] == 0
        m.d.comb += [
            self.last.eq(pointer == LAST),
            job.last.eq(self.last),
            job.zero.eq(nearly & ~pointer[0]),
            job.one.eq(nearly & pointer[0]),
        ]
        keeps, takes = is_["store"] & ~self.off, is_["take"] & ~self.last
        with m.If(self.second):
            m.d.comb += self.update.eq(job.update | is_["fetch"] | is_["show"] | (keeps & ~self.last) | takes)
        m.d.sync += self.write.eq(self.second & (job.write | keeps | takes))
        m.d.comb += [
            self._read.en.eq(~self.second | is_["fetch"] | is_["show"] | job.read),
            self._write.en.eq(self.update | self.write),
        ]

    def _receive(self, m):
        """Bytes of frames that come in, and how many frames are complete: `one`, `two`."""
        is_, job, off = self.is_, self.job, self.off
        finished = self.finished
        zero = self.byte == 0
        zero_was, off_was = Signal(reset_less=True), Signal(reset_less=True)
        m.d.comb += off.eq(Mux(self.first.now, self.two.now, self.skip.now))  # dropped from its first byte on, or not
        m.d.sync += [
            zero_was.eq(zero),
            off_was.eq(off),
            finished.eq(self.second & is_["store"] & zero & ~self.first.now & ~self.skip.now),
        ]
        with m.If(is_["store"]):
            m.d.comb += [self.first.after.eq(zero_was), self.skip.after.eq(off_was)]
        for side, receiver in enumerate(self.receivers):
            stored = self.second & is_["store"] & (self.turn == side)
            m.d.sync += self.arrived[side].eq(receiver.valid | (self.arrived[side] & ~stored))

        released = Signal()
        one, two = self.one.now | finished, self.two.now | (self.one.now & finished)
        m.d.comb += [
            released.eq(self.held & ~self.shown & (self.shown_side == self.turn)),
            self.half.after.eq(self.half.now ^ finished),
            self.one.after.eq(Mux(released, self.two.now | finished, one)),
            self.two.after.eq(Mux(released, self.two.now & finished, two)),
        ]
        with m.If(released & ~self.second):
            m.d.sync += self.held.eq(0)
        turn_of_other = self.one.now & (self.shown_side == self.side_next)
        m.d.comb += job.check.eq(~self.second & self.one.next & ~self.held & ~turn_of_other)

    def _show(self, m):
        """The frame that was checked, to the user. `held`: its buffer is not free yet."""
        is_, job, payload = self.is_, self.job, Signal(8, reset_less=True)
        m.d.comb += [
            self.frames.eq(Cat(self.shown & ~self.shown_side, self.shown & self.shown_side)),
            self.length.eq(job.length),
            self.error.eq(job.error),
            self.o.payload.eq(payload),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(is_["show"] & ~self.second):
            m.d.sync += [payload.eq(self._read.data), self.o.valid.eq(self.shown)]
        with m.If(self.drop & (self.side == self.shown_side)):
            m.d.sync += [self.shown.eq(0), self.o.valid.eq(0)]
        with m.If(job.shown | job.refused):
            m.d.sync += [self.held.eq(1), self.shown.eq(job.shown), self.shown_side.eq(job.side)]

    def _send(self, m):
        """From the user's bytes to those on the line: a frame is `begun`, `closed`, then encoded and `sending`."""
        is_, job = self.is_, self.job
        given = is_["take"] & self.write
        sent = is_["fetch"] & ~self.second & job.zero
        m.d.comb += [
            self.i.ready.eq(given),
            job.encode.eq(~self.second & pick([half.any() for half in self.closed], self.side_next)),
        ]
        for side, transmitter in enumerate(self.transmitters):
            m.d.comb += transmitter.load.eq(is_["fetch"] & ~self.second & (self.turn == side))
            send, ours = self.send & (self.side == side), self.turn == side
            with m.If(send):
                m.d.sync += self.begun[side].eq(0)
            with m.Elif(given & ours):
                m.d.sync += self.begun[side].eq(1)
            for half in range(2):
                with m.If(send & (self.giving[side] == half)):
                    m.d.sync += self.closed[side][half].eq(1)
                with m.If(job.encoded & (job.side == side) & (job.half == half)):
                    m.d.sync += [self.closed[side][half].eq(0), self.sending[side][half].eq(1)]
                with m.If(sent & ours & (self.taking[side] == half)):
                    m.d.sync += self.sending[side][half].eq(0)
            used, giving, taking = self.used[side], self.giving[side], self.taking[side]
            starts = self.next_is["take"] & ~self.second & (self.side_next == side)
            with m.If(~self.begun[side] & ~(is_["take"] & ours) & ~starts):
                m.d.sync += giving.eq(used[0])
            with m.If(sent & ours):  # the other one is next, if there is one
                m.d.sync += taking.eq(taking ^ (bit(used, ~taking) | send))
            with m.Elif(send & ~used.any()):
                m.d.sync += taking.eq(giving)
        silent = Cat(transmitter.empty for transmitter in self.transmitters).all()
        m.d.comb += self.busy.eq(self.waits | self.complete | ~silent)
