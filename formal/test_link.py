"""Proofs of the serial lines and their frames: what is on the line, and that no byte is missed or goes astray."""

from types import SimpleNamespace

import pytest
from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from ringpair_hdl.link.job import Step
from ringpair_hdl.link.ports import LinkPorts, bit, pick
from ringpair_hdl.link.uart import BitClock, UartReceiver, UartTransmitter

from formal.prove import Disproved, mutant, prove, reach

DIVISOR = 4


class TransmitterProperties(wiring.Component):
    """A byte begins with a start bit and takes ten bits, the last one a stop bit; the idle line is high."""

    i: In(stream.Signature(8))

    def __init__(self, transmitter=UartTransmitter):
        self.dut, self.clock = transmitter(), BitClock(DIVISOR)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut, m.submodules.clock = dut, clock = self.dut, self.clock
        load = Signal()
        m.d.comb += [
            load.eq(self.i.valid & dut.empty),
            self.i.ready.eq(dut.empty),
            dut.data.eq(self.i.payload),
            dut.load.eq(load),
            dut.tick.eq(clock.tick),
            Assume(~ResetSignal()),
        ]
        begun, byte = Signal(range(11), init=10), Signal(8)  # bits of the byte that have begun
        with m.If(load):
            m.d.sync += [begun.eq(0), byte.eq(self.i.payload)]
        with m.Elif(clock.tick & (begun != 10)):
            m.d.sync += begun.eq(begun + 1)
        with m.If((begun == 0) | (begun == 10)):
            m.d.comb += Assert(dut.tx)
        with m.Elif(begun == 1):
            m.d.comb += Assert(~dut.tx)
        with m.Else():
            m.d.comb += Assert(dut.tx == byte.bit_select((begun - 2)[:3], 1))
        m.d.comb += [Assert(begun <= 10), Assert(dut.empty == (begun == 10))]
        m.d.comb += Cover((begun == 10) & (byte == 0xA5) & self.i.valid)
        return m


def test_transmitter():
    prove(TransmitterProperties(), depth=48)
    reach(TransmitterProperties(), depth=48)


def test_transmitter_proof_can_fail():
    wrong = mutant(UartTransmitter, "Cat(0, self.data, 1)", "Cat(0, self.data[:7], 1)")
    with pytest.raises(Disproved):
        prove(TransmitterProperties(wrong), depth=48, induction=False)


class LineProperties(wiring.Component):
    """What a transmitter sends, a receiver receives, whatever the pauses."""

    i: In(stream.Signature(8))

    def __init__(self, receiver=UartReceiver):
        self.tx, self.rx, self.clock = UartTransmitter(), receiver(DIVISOR), BitClock(DIVISOR)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.tx, m.submodules.rx, m.submodules.clock = tx, rx, clock = self.tx, self.rx, self.clock
        load = Signal()
        m.d.comb += [
            load.eq(self.i.valid & tx.empty),
            tx.data.eq(self.i.payload),
            tx.load.eq(load),
            tx.tick.eq(clock.tick),
            rx.rx.eq(tx.tx),
            Assume(~ResetSignal()),  # in the middle of a byte it cuts it
        ]
        new, old, flying = Signal(8), Signal(8), Signal(2)  # the receiver is behind: two bytes can be on their way
        m.d.sync += flying.eq(flying + load - rx.valid)
        m.d.comb += Assert(flying <= 2)
        with m.If(rx.valid):
            m.d.comb += Assert((flying != 0) & (rx.data == Mux(flying == 2, old, new)))
        with m.If(load):
            m.d.sync += [new.eq(self.i.payload), old.eq(new)]
        m.d.comb += Assert(~rx.error)
        return m


def test_line():
    prove(LineProperties(), depth=64, induction=False)


def test_line_proof_can_fail():
    wrong = mutant(UartReceiver, "self.data.eq(shift[1:])", "self.data.eq(shift[:8])")
    with pytest.raises(Disproved):
        prove(LineProperties(wrong), depth=64, induction=False)


class KeptProperties(wiring.Component):
    """A byte received stays for 2 * DIVISOR - 1 cycles, whatever the line does."""

    rx: In(1)

    def __init__(self, receiver=UartReceiver):
        self.dut = receiver(DIVISOR)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        since, byte = Signal(range(2 * DIVISOR), init=2 * DIVISOR - 1), Signal(8)
        m.d.comb += dut.rx.eq(self.rx)
        with m.If(dut.valid):
            m.d.sync += [since.eq(0), byte.eq(dut.data)]
        with m.Elif(since != 2 * DIVISOR - 1):
            m.d.sync += since.eq(since + 1)
            m.d.comb += Assert(dut.data == byte)
        return m


def test_byte_is_kept():
    prove(KeptProperties(), depth=14)


def test_byte_is_kept_proof_can_fail():
    wrong = mutant(UartReceiver, "active & tick & ~stop)", "tick & ~stop)")
    with pytest.raises(Disproved):
        prove(KeptProperties(wrong), depth=60, induction=False)


class PortsProperties(wiring.Component):
    """Whatever is in the memory: received bytes are stored in time."""

    rx: In(2)
    side: In(1)
    ready: In(1)
    drop: In(1)
    i: In(stream.Signature(8))
    send: In(1)
    data: In(8)

    def __init__(self, ports=LinkPorts):
        class Ports(ports):
            """The ports with any memory."""

            def _memory(self, m):
                with m.If(self.read.en):
                    m.d.sync += self.read.data.eq(self.word)
                return self.read, self.write_

        self.dut = dut = Ports((DIVISOR, DIVISOR))
        dut.free, dut.read, dut.write_ = Signal(8), SimpleNamespace(), SimpleNamespace()
        for port in (dut.read, dut.write_):
            port.addr, port.data, port.en = Signal(10), Signal(8, reset_less=True), Signal()
        dut.word = dut.free
        dut.elaborate, elaborate = lambda platform: self.properties(elaborate(platform)), dut.elaborate
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [
            Cat(dut.rx).eq(self.rx),
            dut.o.ready.eq(self.ready),
            dut.i.payload.eq(self.i.payload),
            dut.i.valid.eq(self.i.valid),
            dut.free.eq(self.data),
        ]
        m.d.comb += [getattr(dut, name).eq(getattr(self, name)) for name in ("side", "drop", "send")]
        return m

    def properties(self, m):
        m.d.comb += [Cover(late) for late in self.stored(m)]
        return m

    def stored(self, m):
        """Assert that bytes are stored in time; as late as that, by side."""
        dut, lates = self.dut, []
        store, end = dut.is_["store"], 2 * DIVISOR
        for side, receiver in enumerate(dut.receivers):
            since = Signal(range(end + 1), init=end, name=f"since_{side}")  # the cycle after `valid` is 0
            m.d.sync += since.eq(Mux(receiver.valid, 0, since + (since != end)))
            storing = store & (dut.turn == side)
            m.d.comb += [
                Assert(~dut.arrived[side] | (since < 4) | storing),  # it begins
                Assert(~storing | (since < end - 1)),  # and ends while the byte is there
            ]
            lates.append(storing & ~dut.second & (since == 5))
        m.d.comb += Assert(sum(dut.is_.values()) <= 1)
        return lates


def test_ports():
    prove(PortsProperties(), depth=10)
    reach(PortsProperties(), depth=60)


def test_ports_proof_can_fail():
    late = mutant(LinkPorts, "self.turn.eq(side)", "self.turn.eq(side & ~self.drop)")
    with pytest.raises(Disproved):
        prove(PortsProperties(late), depth=10)


WAIT = 24


class WorkProperties(PortsProperties):
    """A job goes on: however the user gives and takes bytes of one side, it waits for a few slots only."""

    def properties(self, m):
        dut, job = self.dut, self.dut.job
        waited, at_work, side = Signal(range(WAIT + 2)), Signal(), Signal()
        m.d.comb += at_work.eq(job.step.as_value() != Step.IDLE.value)
        m.d.sync += side.eq(dut.side)
        m.d.sync += waited.eq(Mux(~at_work | job.active | (dut.side != side), 0, waited + 1))
        closed = bit(pick(dut.closed, job.side), job.half)
        m.d.comb += [
            Assert(waited <= WAIT),
            Assert(~dut.shown | dut.held),
            Assert(~at_work | Mux(job.encoding, closed, dut.complete & ~dut.held)),  # so it does not rest meanwhile
            Cover(waited > 3),
        ]
        return m


def test_job_goes_on():
    prove(WorkProperties(), depth=WAIT + 4)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"work": job.step != Step.IDLE,', '"work": (job.step != Step.IDLE) & ~self.held,'),
        ("go.eq(Cat(self.is_.values()).any() | self.waits | asks)", "go.eq(Cat(self.is_.values()).any() | asks)"),
        ("chosen = self.side == side", "chosen = 1"),
    ],
)
def test_a_job_that_stands_still_is_noticed(old, new):
    with pytest.raises(Disproved):
        prove(WorkProperties(mutant(LinkPorts, old, new)), depth=WAIT + 4)


BEGIN, FETCH = 8, 10 * DIVISOR + 2


class WaitProperties(PortsProperties):
    """Whatever lines and user do: a job begins, and the next byte of a frame on its way is fetched, in time."""

    def properties(self, m):
        dut, tick = self.dut, self.dut.transmitters[0].tick
        quiet, waited = Signal(range(DIVISOR), reset_less=True), Signal(range(BEGIN + 2))
        idle = dut.job.step.as_value() == Step.IDLE.value
        wanted = dut.closed.as_value().any() | (dut.complete & ~dut.shown)
        m.d.sync += [quiet.eq(Mux(tick, 0, quiet + 1)), waited.eq(Mux(idle & wanted, waited + 1, 0))]
        m.d.comb += [Assert(tick == (quiet == DIVISOR - 1)), Assert(waited <= BEGIN)]
        for side in range(2):
            since, sending = Signal(range(FETCH + 2), name=f"since_{side}"), bit(dut.sending[side], dut.taking[side])
            m.d.sync += since.eq(Mux(~sending | (dut.is_["fetch"] & (dut.turn == side)), 0, since + 1))
            m.d.comb += Assert(since <= FETCH)
        return m


def test_nothing_waits():
    prove(WaitProperties(), depth=FETCH + 8)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.finished, self.closed, self.sending)", "self.finished, self.closed)"),
        ("pick([transmitter.soon for transmitter in self.transmitters], side)", "self.transmitters[0].soon"),
        ("self.one.next & ~self.held & ~turn_of_other", "self.one.next & ~self.held & turn_of_other"),
        ("job.encode.eq(~self.second & pick(", "job.encode.eq(~self.second & self.i.valid & pick("),
    ],
)
def test_what_waits_is_noticed(old, new):
    with pytest.raises(Disproved):
        prove(WaitProperties(mutant(LinkPorts, old, new)), depth=FETCH + 8)
