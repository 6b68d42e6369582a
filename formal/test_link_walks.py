"""Proofs that the walks over a frame's bytes end: its check, its encoding, its way to the line; and where they go."""

import pytest
from amaranth.hdl import Assert, Assume, Cat, Cover, Mux, ResetSignal, Signal
from ringpair_hdl.link import ports as gateware
from ringpair_hdl.link.job import FrameJob, Step
from ringpair_hdl.link.ports import LAST, LinkPorts, bit, pick

from formal.link_buffers import BEFORE, CONSTANT, LONGEST, LONGEST_SENT, BufferProperties, implied
from formal.prove import Disproved, mutant, prove, reach
from formal.test_link import DIVISOR

DEPTH = 10


class ReceivedProperties(BufferProperties):
    """A complete frame has its delimiter in the buffer, the last place at the latest; its check comes to it and ends.

    `ended`: the frame that was completed last has its delimiter at the place, whichever that is. Of any frame at any
    time this is so with one choice of the place. Pointers are counted from the first code on.
    """

    def walks(self, m):
        dut, job = self.dut, self.dut.job
        mine = dut.turn == self.side_of
        one, two, half, first, skip = (
            Mux(mine, flag.now, flag.next) for flag in (dut.one, dut.two, dut.half, dut.first, dut.skip)
        )
        oldest = half ^ ~two
        complete = two | (one & (oldest == self.half_of))
        filling = (half == self.half_of) & ~first & ~skip
        pointer, now, last = ((value + BEFORE)[:8] for value in (self.pointer, dut.read.data, self.place))
        completed, ended = dut.finished & mine & (half == self.half_of), Signal()
        with m.If(completed):
            m.d.sync += ended.eq(now == last)
        checks = ~self.at(Step.IDLE) & ~job.encoding
        m.d.comb += [
            implied(two, one & (first | skip)),
            implied(filling, (pointer >= 1) & (pointer <= LONGEST)),
            implied(completed, (now >= 1) & (now <= LONGEST)),
            implied(complete & ended, self.byte == 0),
            implied(checks, ~dut.held),
            implied(checks & (job.side == self.side_of), one & (job.half == oldest)),
        ]
        self.walked = Mux(job.fresh, 0, pointer)
        self.check(m, ended, self.walked, last)
        shown = dut.held & (dut.shown_side == self.side_of) & (oldest == self.half_of)
        self.show(m, one, shown, pointer)
        self.decode(m, ended, filling, completed, complete, shown)
        self.pointers(m, ~dut.is_["work"] | ended, now <= LONGEST + 1)

    def check(self, m, ended, at, last):
        """Four slots a place: `slots` by the one that was reached."""
        on, found, slots = self.on, self.found, self.slots

        def when(*steps):
            return ended & on(*steps)

        m.d.comb += [
            implied(on(Step.START, Step.DONE), self.dut.job.fresh),
            implied(on(Step.BYTE, Step.COUNT, Step.FETCH), ~self.dut.job.fresh),
            implied(on(Step.ZERO), self.dut.job.hold == 0),
            implied(when(Step.CODE), (at < last) | ((at == last) & found)),
            implied(when(Step.ZERO), at < last),
            implied(when(Step.COUNT, Step.FETCH), (at >= 1) & (at <= last)),
            implied(when(Step.BYTE), (at >= 2) & ((at <= last) | ((at == last + 1) & found))),
            implied(when(Step.START), slots == 0),
            implied(when(Step.CODE), slots <= 4 * at + 1),
            implied(when(Step.ZERO), slots <= 4 * at + 2),
            implied(when(Step.COUNT), slots + 1 <= 4 * at),
            implied(when(Step.FETCH), slots <= 4 * at),
            implied(when(Step.BYTE), slots + 3 <= 4 * at),
            implied(self.at_work & ended, slots < 4 * last + 3),
            Cover(when(Step.DONE)),
        ]

    def show(self, m, one, shown, pointer):
        """The user asks for `length` bytes at most, so the pointer stays in the buffer."""
        dut, valid, show = self.dut, self.dut.o.valid, self.dut.is_["show"]
        m.d.comb += [
            implied(dut.shown | valid | show, dut.held),
            implied(valid, dut.shown),
            implied(dut.shown, self.taken <= dut.length),
            implied(dut.held & (dut.shown_side == self.side_of), one),
            implied(dut.shown & shown, pointer == 1 + self.taken + valid + (show & ~dut.second)),
        ]

    def decode(self, m, *states):
        """What is in the buffer, if the proof is of that, too."""


class DecodedProperties(ReceivedProperties):
    """Bytes are stored in order, a code becomes zero where the one before says, and what is shown are these bytes.

    `early`: a second byte of the buffer, any one before the delimiter.
    """

    bytes = ("byte", "early")

    def decode(self, m, ended, filling, completed, complete, shown):
        dut, job, on, active, count, at = self.dut, self.dut.job, self.on, self.dut.job.active, self.count, self.walked
        pointer, now, last, place = (
            (value + BEFORE)[:8] for value in (self.pointer, dut.read.data, self.place, self.places["early"])
        )
        received, coded, next_code, arrives = Signal(8), Signal(), Signal(9), Signal()
        storing = dut.is_["store"] & dut.second & self.its & ~dut.off
        m.d.sync += arrives.eq(active & self.at(Step.START, Step.FETCH))
        hold = Mux(arrives, dut.read.data, job.hold)
        with m.If(storing & (now == place)):
            m.d.sync += received.eq(dut.byte)
        with m.If(active & on(Step.START)):
            m.d.sync += [next_code.eq(0), coded.eq(0)]
        with m.If(active & on(Step.CODE)):
            m.d.sync += next_code.eq(at + hold)
        with m.If(active & on(Step.ZERO) & (at == place)):
            m.d.sync += coded.eq(1)
        inside = ended & (place < last)
        works = ended & self.at_work
        m.d.comb += [
            Assume(place != last),  # it is another byte
            implied(filling & (place < pointer), (self.byte_next == received) & ((received != 0) | completed)),
            implied(inside & complete, received != 0),
            implied(inside & complete & ~shown & (~self.at_work | on(Step.START)), self.early == received),
            implied(inside & self.at_work & ~on(Step.START), self.byte_next == Mux(coded, 0, received)),
            implied(inside & shown, self.early == Mux(coded, 0, received)),
            implied(works & on(Step.CODE), (at == next_code) & (self.found == (hold == 0))),
            implied(works & on(Step.ZERO), (count >= 1) & (at + count == next_code)),
            implied(works & on(Step.COUNT, Step.BYTE), (count >= 1) & (at + count == next_code + 1)),
            implied(works & on(Step.FETCH), (at + count == next_code) & (self.found == (count == 0))),
            implied(inside & on(Step.CODE) & (at == place), hold == received),
            implied(inside & on(Step.BYTE) & (at == place + 1), hold == received),
            implied(works & on(Step.BYTE), self.found == (hold == 0)),
            implied(inside & self.at_work & ~on(Step.START, Step.DONE) & (at <= place), ~coded),
            implied(inside & dut.shown & shown & dut.o.valid & (place == self.taken + 1), dut.o.payload == self.early),
        ]


class ToSendProperties(BufferProperties):
    """The encoding of a frame ends, and its way to the line ends with its delimiter and not before.

    Its bytes are those that were given, in order, behind a zero, and two more, then zeros became distances.
    `end`: where the delimiter was put. The byte at the place is it, or is one before.
    """

    to_send = 1

    def walks(self, m):
        dut = self.dut
        self.closed, self.sending = (bit(pick(of, self.side_of), self.half_of) for of in (dut.closed, dut.sending))
        self.end = Signal(8)
        self.is_end = self.place == self.end
        self.back = self.on(Step.UP, Step.BACK, Step.PEEK, Step.PUT)
        self.fills(m)
        self.encode(m)
        self.count_back(m)
        self.encoded(m)
        self.sends(m)
        self.pointers(m, ~dut.is_["fetch"] | self.is_end, dut.read.data <= LONGEST_SENT)

    def fills(self, m):
        """Who fills which buffer, in order; the second half is never for both sides."""
        dut, job, takes, fetches = self.dut, self.dut.job, self.dut.is_["take"], self.dut.is_["fetch"]
        seconds = []
        for side in range(2):
            used, giving, mine = dut.closed[side] | dut.sending[side], dut.giving[side], dut.turn == side
            fills = dut.begun[side] | (takes & mine)
            seconds.append(used[1] | (fills & giving))
            m.d.comb += [
                Assert((dut.closed[side] & dut.sending[side]) == 0),
                implied(fills, ~bit(used, giving)),
                implied(used.any(), bit(used, dut.taking[side])),
                implied(fetches & mine, bit(dut.sending[side], dut.taking[side])),
                implied(~self.at(Step.IDLE) & job.encoding & (job.side == side), bit(dut.closed[side], job.half)),
            ]
        giving, taking = (pick(of, self.side_of) == self.half_of for of in (dut.giving, dut.taking))
        m.d.comb += [
            Assert(~(seconds[0] & seconds[1])),
            implied(takes, (dut.side == dut.turn) & dut.i.valid),
            implied(takes & self.its, giving),
            implied(fetches & self.its, taking),
        ]
        begun = (pick(dut.begun, self.side_of) & giving) | (takes & self.its & ~dut.second & dut.write)
        filled = begun | (self.closed & ~self.at_work) | self.on(Step.START, Step.CODE, Step.ZERO)
        self.given = Signal(8)
        gives = takes & self.its & ~dut.second & dut.write & (self.pointer == self.place + 1)
        with m.If(gives):
            m.d.sync += self.given.eq(dut.i.payload)
        m.d.comb += [
            implied(filled, (self.pointer >= 2) & (self.pointer <= LAST)),
            implied(filled & (self.place >= 1) & (self.place < self.pointer) & ~gives, self.byte == self.given),
        ]

    def encode(self, m):
        """Up to the delimiter: three slots a place, `slots` by the one that was reached."""
        on, job, at, count, slots, arrives = self.on, self.dut.job, self.pointer, self.count, self.slots, Signal()
        m.d.sync += arrives.eq(job.active & self.at(Step.START, Step.FETCH, Step.UP))
        self.hold = Mux(arrives, self.dut.read.data, job.hold)  # or as it will be
        length, adds = Signal(8), on(Step.CRC_LOW, Step.CRC_STEP, Step.CRC_HIGH, Step.DELIMITER)
        forward = on(Step.COUNT, Step.FETCH, Step.BYTE) | adds
        with m.If(on(Step.START) & job.active):
            m.d.sync += length.eq(self.dut.read.data)  # with the first code
        self.payload = (self.place >= 1) & (self.place < length)
        m.d.comb += [
            implied(self.at_work & ~on(Step.START), (length >= 2) & (length <= LAST)),
            implied(self.at_work, job.fresh == self.at(Step.CODE, Step.ZERO)),
            implied(on(Step.CODE), self.hold == at),
            implied(on(Step.ZERO), (count == at) & (job.hold == 0)),
            implied(on(Step.COUNT, Step.FETCH), at >= 1),
            implied(on(Step.BYTE), at >= 2),
            implied(on(Step.COUNT, Step.BYTE), (count >= 1) & (at + count == length + 1)),
            implied(on(Step.FETCH), (at + count == length) & (self.found == (count == 0))),
            implied(on(Step.CODE, Step.ZERO, Step.CRC_LOW), at == length),
            implied(on(Step.CRC_STEP, Step.CRC_HIGH), at == length + 1),
            implied(on(Step.DELIMITER), at == length + 2),
            implied(self.back | self.sending, self.end == length + 2),
            implied(forward & self.payload, self.byte_next == self.given),
            implied(forward & (self.place == 0), self.byte_next == 0),
            implied(on(Step.START), slots == 0),
            implied(on(Step.CODE), slots == 1),
            implied(on(Step.ZERO), slots == 2),
            implied(on(Step.COUNT), slots <= 3 * at),
            implied(on(Step.FETCH), slots <= 3 * at + 1),
            implied(on(Step.BYTE), slots + 1 <= 3 * at),
            implied(on(Step.CRC_LOW), slots <= 3 * at + 2),
            implied(on(Step.CRC_STEP), slots <= 3 * at),
            implied(on(Step.CRC_HIGH), slots <= 3 * at + 1),
            implied(on(Step.DELIMITER), slots + 1 <= 3 * at),
        ]
        with m.If(on(Step.DELIMITER) & job.active):
            m.d.sync += self.end.eq(self.dut.read.data)

    def count_back(self, m):
        """To the first code, four slots a place; `hold` is the distance to the `next_zero`, and so never 0."""
        on, at, end, count, hold, slots = self.on, self.pointer, self.end, self.count, self.hold, self.slots
        at_first = on(Step.PEEK) & self.found
        self.next_zero = Signal(8)
        with m.If(self.dut.job.active & (on(Step.DELIMITER) | (on(Step.PUT) & self.found))):
            m.d.sync += self.next_zero.eq(self.dut.read.data)
        m.d.comb += [
            implied(self.back | self.sending, (end >= 3) & (end <= LONGEST_SENT)),
            implied(on(Step.UP, Step.BACK), at <= end),
            implied(on(Step.PEEK, Step.PUT), at < end),
            implied(at_first, at == 0),
            implied(on(Step.UP), (count >= 1) & (at + count == self.next_zero + 1)),
            implied(on(Step.BACK, Step.PEEK, Step.PUT), (hold >= 1) & (count == hold + 1)),
            implied(on(Step.BACK), at + hold == self.next_zero + 1),
            implied(on(Step.PEEK, Step.PUT), at + hold == self.next_zero + at_first),
            implied(self.back, self.next_zero <= end),
            implied(on(Step.UP), slots + 4 * at <= 7 * end),
            implied(on(Step.BACK), slots + 4 * at <= 7 * end + 1),
            implied(on(Step.PEEK), slots + 4 * at + 2 <= 7 * end + 4 * at_first),
            implied(on(Step.PUT), slots + 4 * at + 1 <= 7 * end),
            implied(self.back, slots < 7 * end + 3),
            implied(self.at_work, slots < 7 * LONGEST_SENT + 3),
        ]

    def encoded(self, m):
        """The delimiter stays; behind the walk back a zero is the distance to the next one, all else is as it was."""
        on, at, place, active = self.on, self.pointer, self.place, self.dut.job.active
        plain, distance = Signal(8), Signal(8)
        with m.If(active & on(Step.DELIMITER)):
            m.d.sync += plain.eq(self.byte)
        with m.If(active & on(Step.PUT) & (at == place)):
            m.d.sync += distance.eq(self.next_zero - place)
        passed = (on(Step.UP, Step.BACK) & (at <= place)) | (on(Step.PEEK, Step.PUT) & (at < place))
        passed |= (on(Step.PEEK) & self.found) | self.sending
        before = place < self.end
        m.d.comb += [
            implied((self.back | self.sending) & self.is_end, self.byte_next == 0),
            implied((self.back | self.sending) & self.payload, plain == self.given),
            implied((self.back | self.sending) & (place == 0), plain == 0),
            implied(self.back & ~passed & before, self.byte_next == plain),
            implied(passed & before, (self.byte_next == Mux(plain == 0, distance, plain)) & (distance != 0)),
            implied(on(Step.PUT) & (at == place), self.found == (self.byte == 0)),
        ]

    def sends(self, m):
        """All bytes are fetched in order; the last is the delimiter, and no other is 0."""
        dut, at, end = self.dut, self.pointer, self.end
        fetch = dut.is_["fetch"] & self.its
        there, fetched = fetch & ~dut.second, Signal(8)
        with m.If(self.at_work & dut.job.encoded):
            m.d.sync += fetched.eq(0)
        with m.Elif(fetch & dut.second):
            m.d.sync += fetched.eq(fetched + 1)
        m.d.comb += [
            implied(self.sending, fetched == at),
            implied(self.sending & self.is_end, fetched <= end + there),
            implied(there & (at == self.place + 1) & (self.place <= end), dut.read.data == self.byte),
            implied(self.sending & (self.place <= end), (self.byte_next == 0) == self.is_end),
            Cover(self.sending & (end == 4)),
        ]


class ReceivedRun(ReceivedProperties):
    """A code that is too long, and the delimiter: the shortest frame there is."""

    def _user(self, m):
        super()._user(m)
        dut, time, line = self.dut, Signal(range(DIVISOR)), Signal(20, init=0b1_00000000_0_1_00000101_0)
        m.d.sync += time.eq(time + 1)
        with m.If(time == DIVISOR - 1):
            m.d.sync += line.eq(Cat(line[1:], 1))
        m.d.comb += [
            Assume(~ResetSignal()),
            Assume((dut.rx[0] == line[0]) & dut.rx[1]),
            Assume(~(dut.i.valid | dut.o.ready | dut.drop | dut.side)),
        ]


class SentRun(ToSendProperties):
    """A frame of one byte, as soon as it goes."""

    def _user(self, m):
        super()._user(m)
        dut, given, closed = self.dut, Signal(), Signal()
        m.d.sync += [given.eq(given | dut.i.ready), closed.eq(given)]
        m.d.comb += [
            Assume(~ResetSignal()),
            Assume(Cat(dut.rx) == 3),
            Assume(~(dut.o.ready | dut.drop | dut.side)),
            Assume((dut.i.valid == ~given) & (dut.send == (given & ~closed))),
        ]


def show_walks(properties, ports=LinkPorts):
    prove(properties(ports), depth=DEPTH, sources=(CONSTANT,))


def test_received():
    show_walks(ReceivedProperties)


def test_decoded():
    show_walks(DecodedProperties)


def test_to_send():
    show_walks(ToSendProperties)


def test_walks_are_reached():
    reach(ReceivedRun(), depth=95, sources=(CONSTANT,))
    reach(SentRun(), depth=75, sources=(CONSTANT,))


@pytest.mark.parametrize(
    ("properties", "old", "new"),
    [
        (ReceivedProperties, '["store"] & ~self.off, ', '["store"], '),  # a third frame goes over one that waits
        (ReceivedProperties, "(keeps & ~self.last)", "keeps"),  # one that is too long goes on
        (ReceivedProperties, "oldest = self.half.next ^ ~self.two.next", "oldest = ~self.half.next"),  # not the first
        (DecodedProperties, 'Mux(is_["store"], pick(', "Mux(self.second, pick("),  # zeros are stored
        (DecodedProperties, "& job.at(*COUNTING)\n", "& job.at(*TO_COUNT)\n"),
        (DecodedProperties, 'm.If(is_["show"] & ~self.second)', 'm.If(is_["show"])'),  # shown too early
        (ToSendProperties, '["take"] & ~self.last', '["take"]'),  # one that is too long goes on
        (ToSendProperties, 'Cat(start & next_is["take"], ', "Cat(0, "),  # begins where the first code will be
        (ToSendProperties, "begins = job.active & job.at(Step.DELIMITER, Step.PUT)", "begins = 0"),  # a code of 0
        (ToSendProperties, "| (self.begun[s] & self.giving[s]) for s", "for s"),  # both fill the second half
        (ToSendProperties, "(bit(used, ~taking) | send)", "bit(used, ~taking)"),  # the next to be sent is none
        (ToSendProperties, "~self.second & job.zero", "~self.second & job.zero & ~self.send"),  # on beyond its end
        (ReceivedProperties, "Const(0b10, 2), buffer", "Const(0b01, 2), buffer"),  # over the constants
        (ToSendProperties, "Const(0b10, 2), buffer", "Const(0b01, 2), buffer"),
    ],
)
def test_wrong_ports_are_noticed(properties, old, new):
    with pytest.raises(Disproved):
        show_walks(properties, mutant(LinkPorts, old, new))


@pytest.mark.parametrize(
    ("properties", "old", "new"),
    [
        (ReceivedProperties, "now in (Step.CODE, Step.BYTE)", "now == Step.CODE"),  # on beyond a delimiter in a block
        (ReceivedProperties, "(at(Step.FETCH) & ~found)", "at(Step.FETCH)"),  # a place too far at each code
        (ReceivedProperties, "at(Step.CODE, Step.ZERO, Step.COUNT,", "at(Step.CODE, Step.COUNT,"),  # from anywhere on
        (DecodedProperties, "self.active & at(Step.CODE, Step.DELIMITER)", "self.active & at(Step.DELIMITER)"),
        (DecodedProperties, "at(Step.FETCH), self.one, self.zero", "at(Step.FETCH), self.zero, self.zero"),  # too late
        (ToSendProperties, "self.encoded.eq(found)", "self.encoded.eq(found & self.side)"),  # on and on
        (ToSendProperties, "Step.START, Step.FETCH, Step.UP)", "Step.START, Step.FETCH)"),  # codes are not counted
    ],
)
def test_wrong_jobs_are_noticed(monkeypatch, properties, old, new):
    job = mutant(FrameJob, old, new)
    for name in ("FrameJob", "Step"):
        monkeypatch.setattr(gateware, name, job.at.__globals__[name])
    with pytest.raises(Disproved):
        show_walks(properties)
