"""The serial ports as the proofs of walks over frames have them (`formal/test_link_walks.py`).

Their memory is any memory but for a few words: pointer, count and one byte or two of one buffer. Which buffer, and
which of its bytes, is free, so what holds of these holds of all; whatever else is read is free.
"""

from amaranth.hdl import Array, Assert, Assume, Cat, Const, Instance, Mux, Signal
from ringpair_hdl.link.job import COUNTING, Step
from ringpair_hdl.link.ports import CODED, GIVEN, LAST, RECEIVED, UNUSED, LinkPorts, pick

from formal.test_link import PortsProperties

CONSTANT = "module constant #(parameter WIDTH = 1) (output [WIDTH-1:0] y); assign y = $anyconst; endmodule"
"""Verilog: any value, the same in every cycle."""
BEFORE = 0x100 - RECEIVED
"""Places before 0 of a received frame."""
LONGEST = LAST + BEFORE
"""Where the delimiter of a received frame is at the latest, from its first code on."""
LONGEST_SENT = LAST + 2
"""Where that of a frame to send is at the latest: behind the check sequence."""
ENCODING = (Step.CRC_LOW, Step.CRC_STEP, Step.CRC_HIGH, Step.DELIMITER, Step.UP, Step.BACK, Step.PEEK, Step.PUT)
"""Steps of a frame to send only."""


def implied(when, what):
    return Assert(~when | what, src_loc_at=1)


class BufferProperties(PortsProperties):
    """The ports with the words of one buffer, and a user who does what they demand."""

    to_send = 0
    bytes = ("byte",)

    def __init__(self, ports=LinkPorts):
        super().__init__(ports)
        self.dut.word = Signal(8)

    def properties(self, m):
        self.stored(m)
        job = self.dut.job.elaborate(None)  # now: for its inner signals
        self.dut.job.elaborate = lambda platform: job
        self.side_of, self.half_of = (self.constant(m, 1, name) for name in ("side_of", "half_of"))
        self.places = {name: self.constant(m, 8, f"place_of_{name}") for name in self.bytes}
        self.place = self.places["byte"]
        self.buffer = Cat(self.half_of, Const(self.to_send, 1), self.side_of)
        self._words(m)
        self._user(m)
        self._job(m)
        self.walks(m)
        return m

    def constant(self, m, width, name):
        value = Signal(width, name=name)
        m.submodules[f"constant_{name}"] = Instance("constant", p_WIDTH=width, o_y=value)
        return value

    def _words(self, m):
        """What is read and written; the addresses are those of the table in `ringpair_hdl.link.ports`."""
        dut = self.dut
        near = Cat(self.half_of, self.side_of & ~(self.half_of & self.to_send), Const(self.to_send, 1))
        tail = Cat(self.buffer, Const(7, 3))
        addresses = {"pointer": Cat(Const(0b1000, 4), tail), "count": Cat(Const(0b1010, 4), tail)}
        for name, place in self.places.items():
            addresses[name] = Mux(place[7], Cat(place[:4], tail), Cat(place[:7], near))
            from_first = (place + BEFORE * (not self.to_send))[:8]
            m.d.comb += Assume(from_first <= (LONGEST_SENT if self.to_send else LONGEST))
        read, write = dut.read, dut.write_
        m.d.comb += dut.word.eq(dut.free)
        with m.If(read.addr.matches("111---01--")):
            m.d.comb += dut.word.eq(Array((RECEIVED, UNUSED, CODED, GIVEN))[read.addr[:2]])
        for name, address in addresses.items():
            word = Signal(8, name=name, reset_less=True)
            setattr(self, name, word)
            with m.If(read.addr == address):
                m.d.comb += dut.word.eq(word)
            with m.If(write.en & (write.addr == address)):
                m.d.sync += word.eq(write.data)
        self.byte_next = Mux(write.en & (write.addr == addresses[self.bytes[-1]]), write.data, word)

    def _user(self, m):
        """A byte offered stays until it is taken, a frame to send has a byte, no more is asked for than is there."""
        dut, i, o = self.dut, self.dut.i, self.dut.o
        side, offered = Signal(), Signal()
        m.d.sync += [side.eq(dut.side), offered.eq(i.valid & ~i.ready)]
        self.taken = taken = Signal(8)  # bytes of the frame shown
        with m.If(dut.job.shown):
            m.d.sync += taken.eq(0)
        with m.Elif(o.valid & o.ready):
            m.d.sync += taken.eq(taken + 1)
        begun = pick(dut.begun, dut.side) | (i.valid & i.ready)
        m.d.comb += [
            Assume(~offered | (i.valid & (dut.side == side))),
            Assume(~dut.send | (begun & ~(i.valid & ~i.ready))),
            Assume(~(o.ready & dut.shown) | ((dut.side == dut.shown_side) & (taken < dut.length))),
        ]

    def _job(self, m):
        """Is it at work on this buffer, `at_work`, and for how many slots before the present one, `slots`."""
        dut, job, now = self.dut, self.dut.job, self.dut.read.data
        working = ~self.at(Step.IDLE)
        self.at_work = working & (self.buffer == Cat(job.half, job.encoding, job.side))
        self.slots = Signal(10)
        m.d.sync += self.slots.eq(Mux(self.at_work, self.slots + job.active, 0))
        self.found = Mux(job.after, Mux(self.at(Step.FETCH), now == 1, now == 0), job.found)  # or as it will be
        self.its = self.buffer == Cat(dut.its_half, dut.its_send, dut.its_side)  # the slot's in cycles 1 and 2
        m.d.comb += [
            implied(working & ~job.encoding, ~self.at(*ENCODING)),
            implied(working & job.encoding, ~self.at(Step.DONE)),
        ]

    def at(self, *steps):
        return self.dut.job.at(*steps)

    def on(self, *steps):
        return self.at_work & self.at(*steps)

    def pointers(self, m, known, within):
        """They stay `within` their buffer, so the ports of the memory never meet, and nothing writes a constant."""
        dut, read, write = self.dut, self.dut.read, self.dut.write_
        uses_it = dut.second & (dut.update | read.en) & ~(dut.is_["work"] & self.at(*COUNTING))
        known &= self.its
        m.d.comb += [
            implied(known & uses_it, within),
            implied(known & write.en, ~write.addr.matches("111---01--")),
            implied(known & write.en & read.en, write.addr != read.addr),
        ]
