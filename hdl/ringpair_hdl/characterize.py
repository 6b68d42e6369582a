"""The characterization gateware without pins: raw counts and raw noise on the admin port, and no key path at all.

    admin port -> command -> RingReader -> rings (outside)
                          -> sampler    -> noise source (outside) -> buffer of 4096 bytes

The commands are those of `ringpair_protocol.characterize`.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from ringpair_protocol import characterize, puf
from ringpair_protocol.admin import BAUD, IDENTITY_LENGTH, REPLY, Code, Event, Identity, Profile
from ringpair_protocol.characterize import LENGTHS, MAX_NOISE, MAX_READINGS, READING_BYTES, Opcode

from ringpair_hdl.link import LinkPorts
from ringpair_hdl.puf.rings import RingReader, RingSignature

__all__ = ["Characterizer"]

ARGUMENTS = max(LENGTHS.values()) - 1
LEDS = 0b101
LAST_ROW, LAST_COLUMN = puf.ROWS - 1, puf.COLUMNS - 1


class Characterizer(wiring.Component):
    """Answers the commands of `ringpair_protocol.characterize` on one serial line.

    One measurement takes window + 26 cycles, and 8 bytes of its reply; a capture 32 768 intervals. The noise source
    runs all the time, as in the pairing gateware.

    Parameters
    ----------
    identity
        What it says of itself; the profile is ``CHARACTERIZE``.
    baud
        Of the admin port; the clock must be at least four times as fast.

    Attributes
    ----------
    admin_rx, admin_tx
        The serial line.
    rings
        To a ring source: ``puf.PhysicalRings`` or ``puf.SimulatedRings``.
    trng_sample, trng_take, trng_enable
        Raw noise: a bit, the strobe with which it is used, and whether the source shall run.
    led
        As of the device: ready and error are lit, which the device never shows.
    idle
        For an observer: nothing will happen before something comes in.
    """

    def __init__(self, identity: Identity, *, baud: int = BAUD):
        if identity.profile != Profile.CHARACTERIZE:
            raise ValueError(f"this gateware has the profile CHARACTERIZE, not {identity.profile.name}")
        self.identity = identity
        self.divisor = round(identity.clock_mhz * 1_000_000 / baud)
        super().__init__(
            {
                "admin_rx": In(1, init=1),
                "admin_tx": Out(1, init=1),
                "rings": Out(RingSignature()),
                "trng_sample": In(1),
                "trng_take": Out(1),
                "trng_enable": Out(1, init=1),
                "led": Out(3, init=LEDS),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.port = self.port = port = LinkPorts((self.divisor, self.divisor))  # one line is used
        m.submodules.reader = self.reader = reader = RingReader(None)
        m.submodules.identity = told = Memory(shape=8, depth=32, init=self.identity.to_bytes())
        m.submodules.buffer = buffer = Memory(shape=8, depth=characterize.BUFFER_BYTES, init=[])
        told_port, read_port, self.write_port = told.read_port(), buffer.read_port(), buffer.write_port()
        wiring.connect(m, reader.rings, wiring.flipped(self.rings))
        m.d.comb += [port.rx[0].eq(self.admin_rx), self.admin_tx.eq(port.tx[0]), self.trng_enable.eq(1)]
        m.d.comb += self.led.eq(LEDS)

        self.opcode, self.code = Signal(8), Signal(8)
        self.arguments = Signal(8 * ARGUMENTS)  # the last byte on top
        self.offset = Signal(range(characterize.BUFFER_BYTES))  # of the next byte, in the buffer or the identity
        left = Signal(8)  # bytes of the body still to give or to take
        opcode, code = self.opcode, self.code

        m.d.comb += [told_port.addr.eq(self.offset), read_port.addr.eq(self.offset)]
        self.started = Signal()  # the event of that name is out
        error = Signal.like(port.error)
        with m.FSM() as fsm:
            m.d.comb += self.idle.eq(fsm.ongoing("idle") & self.started & ~port.busy)
            with m.State("idle"):
                m.d.sync += [code.eq(Code.OK), left.eq(port.length - 1), self.offset.eq(0)]
                with m.If(~self.started):
                    self._give(m, Const(Event.STARTED, 8), "identity")
                with m.Elif(port.frames[0] & port.error.any()):
                    m.d.sync += [opcode.eq(0), code.eq(Code.BAD_FRAME), error.eq(port.error)]
                    m.next = "head"
                with m.Elif(port.frames[0]):
                    m.d.comb += port.o.ready.eq(1)
                    m.d.sync += opcode.eq(port.o.payload)
                    with m.If(port.o.valid):
                        m.next = "arguments"
            with m.State("arguments"):
                m.d.comb += port.o.ready.eq(left.any())
                with m.If(port.o.valid & port.o.ready):
                    m.d.sync += [self.arguments.eq(Cat(self.arguments[8:], port.o.payload)), left.eq(left - 1)]
                with m.If(~left.any()):
                    m.d.sync += code.eq(self._verdict(port.length))
                    m.next = "head"

            with m.State("head"):
                self._give(m, opcode | REPLY, "code")
            with m.State("code"):
                self._give(m, code, "body")
            with m.State("body"):
                m.d.comb += port.drop.eq(1)
                m.next = "send"
                with m.If(code == Code.BAD_FRAME):
                    m.next = "error"
                with m.Elif(code == Code.OK):
                    with m.Switch(opcode):
                        with m.Case(Opcode.IDENTITY):
                            m.next = "identity"
                        with m.Case(Opcode.READ):
                            m.next = "read"
                        with m.Case(Opcode.CAPTURE):
                            m.next = "capture"
                        with m.Case(Opcode.NOISE):
                            m.d.sync += [self.offset.eq(self.argument("offset")), left.eq(self.argument("length"))]
                            m.next = "fetch"

            with m.State("error"):
                self._give(m, error, "send")
            with m.State("identity"):
                m.d.sync += [left.eq(IDENTITY_LENGTH), self.offset.eq(0)]
                m.next = "fetch"
            with m.State("fetch"):
                m.next = "give"
            with m.State("give"):
                self._give(m, Mux(opcode == Opcode.NOISE, read_port.data, told_port.data), "fetch")
                with m.If(port.i.ready):
                    m.d.sync += [self.offset.eq(self.offset + 1), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "send"
            self._read(m)
            self._capture(m)
            with m.State("send"):
                m.d.comb += port.send.eq(1)
                m.d.sync += self.started.eq(1)
                m.next = "idle"

        return m

    def argument(self, name):
        """An argument of a command by its name."""
        for fields in characterize.FIELDS.values():
            names = [field for field, _ in fields]
            if name in names:
                at = sum(length for _, length in fields[names.index(name) :])
                return self.arguments[8 * (ARGUMENTS - at) :][: 8 * dict(fields)[name]]
        raise KeyError(name)

    def _give(self, m, byte, following):
        """One byte of a frame, then go on."""
        m.d.comb += [self.port.i.payload.eq(byte), self.port.i.valid.eq(1)]
        with m.If(self.port.i.ready):
            m.next = following

    def _verdict(self, length):
        """`Code` of the command at hand."""
        place, readings = self.argument("place"), self.argument("readings")
        size, last = self.argument("length"), characterize.BUFFER_BYTES - 1
        valid = {
            Opcode.IDENTITY: Const(1),
            Opcode.READ: (place[6:] == 0)
            & (place[2:5] <= LAST_COLUMN)
            & (readings.any() & (readings <= MAX_READINGS))
            & self.argument("repeats").any()
            & self.argument("window").any(),
            Opcode.CAPTURE: self.argument("interval").any(),
            Opcode.NOISE: size.any() & (size <= MAX_NOISE) & (self.argument("offset") + size - 1 <= last),
        }
        code = Const(Code.UNKNOWN_COMMAND, 8)
        for opcode, bytes_ in LENGTHS.items():
            own = Mux(length != bytes_, Code.BAD_LENGTH, Mux(valid[opcode], Code.OK, Code.BAD_VALUE))
            code = Mux(self.opcode == opcode, own, code)
        return code

    def _read(self, m):
        """Measurements, each followed by its counts."""
        reader = self.reader
        place, readings, repeats = Signal(6), Signal(8), Signal(8)
        index = Signal(range(READING_BYTES))
        m.d.comb += [reader.read.index.eq(place), reader.clocks.eq(self.argument("window"))]
        with m.State("read"):
            m.d.sync += [place.eq(self.argument("place")), readings.eq(self.argument("readings"))]
            m.d.sync += repeats.eq(self.argument("repeats"))
            m.next = "measure"
        with m.State("measure"):
            m.d.comb += reader.read.start.eq(1)
            m.d.sync += index.eq(0)
            m.next = "wait"
        with m.State("wait"):
            with m.If(reader.read.done):
                m.next = "counts"
        with m.State("counts"):
            self._give(m, reader.read.count.as_value().word_select(index, 8), "counts")
            with m.If(self.port.i.ready):
                m.d.sync += index.eq(index + 1)
                with m.If(index == READING_BYTES - 1):
                    m.next = "next"
        with m.State("next"):
            m.d.sync += [readings.eq(readings - 1), repeats.eq(repeats - 1)]
            with m.If(repeats == 1):
                row, column, half = place[:2], place[2:5], place[5]
                m.d.sync += [repeats.eq(self.argument("repeats")), place.eq(place + 1)]
                with m.If((column == LAST_COLUMN) & (row == LAST_ROW)):
                    m.d.sync += place.eq(Cat(Const(0, 5), ~half))
            m.next = "measure"
            with m.If(readings == 1):
                m.next = "send"

    def _capture(self, m):
        """Samples into the buffer, from its first byte to its last."""
        write = self.write_port
        timer, bits, shift = Signal(8), Signal(3), Signal(7)
        address = Signal.like(self.offset)
        with m.State("capture"):
            m.d.sync += [timer.eq(timer - 1), address.eq(address + write.en)]
            with m.If(timer == 0):
                m.d.sync += [timer.eq(self.argument("interval") - 1), bits.eq(bits + 1)]
                m.d.sync += shift.eq(Cat(shift[1:], self.trng_sample))
                m.d.comb += [self.trng_take.eq(1), write.en.eq(bits.all())]
                with m.If(bits.all() & address.all()):
                    m.next = "send"
        m.d.comb += [write.addr.eq(address), write.data.eq(Cat(shift, self.trng_sample))]
