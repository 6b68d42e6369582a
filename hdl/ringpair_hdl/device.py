"""The whole device without pins: ports, flash, rings, noise, button and LEDs, and the sequencer in the middle."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from ringpair_protocol import puf
from ringpair_protocol.admin import BAUD, Identity, Profile

from ringpair_hdl.ascon import BufferedModes
from ringpair_hdl.control import Sequencer
from ringpair_hdl.curve.engine import CurveEngine
from ringpair_hdl.link import Button, LinkPorts
from ringpair_hdl.pin_display import PinDisplay
from ringpair_hdl.program import pairing_program
from ringpair_hdl.puf.engine import PufEngine
from ringpair_hdl.puf.rings import RingReader, RingSignature
from ringpair_hdl.relay import Relay
from ringpair_hdl.store import Shelf, SpiEngine
from ringpair_hdl.trng import Trng

PUF, DISPLAY, SHELF = "11100---", "11101---", "1111----"
CURVE = "0------- 10------ 110-----"
"""Commands on the sequencer's PUF port: whom they are for, if there are others than the PUF engine."""


class Device(wiring.Component):
    """PUF, handshake, channel and their two serial ports; and in the profile ``FULL`` the curve engine.

    Parameters
    ----------
    identity
        What the device says of itself; ``clock_mhz`` of it is the frequency of the clock domain ``sync``.
    admin_baud, peer_baud
        Of the two ports; the clock must be at least four times as fast.
    quantizer
        Layout table of the rings.
    budget
        Tries of the search for the PUF's bits.
    mapped
        Use LUT cells of iCE40 for the permutation.

    Attributes
    ----------
    admin_rx, admin_tx, peer_rx, peer_tx
        Serial lines, idle high.
    flash_sck, flash_cs_n, flash_copi, flash_cipo
        SPI NOR flash, mode 0.
    rings
        To a ring source: ``puf.PhysicalRings`` or ``puf.SimulatedRings``.
    trng_sample, trng_take, trng_enable
        Raw noise: a bit, the strobe with which it is used, and whether the source shall run.
    button
        High while it is pressed.
    led
        Bit 0 ready (enrolled), 1 session, 2 error.
    segments, right_digit
        In the profile ``FULL``, to a display of two digits: see ``PinDisplay``.
    phase, idle
        For an observer: ``isa.Phase``, and that nothing will happen before something comes in.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        admin_baud: int = BAUD,
        peer_baud: int = BAUD,
        quantizer: puf.Quantizer | None = None,
        budget: int = puf.SEARCH_BUDGET,
        mapped: bool = False,
    ):
        self.full = identity.profile is Profile.FULL
        self.identity, self.budget, self.mapped = identity, budget, mapped
        self.quantizer = quantizer or puf.Quantizer()
        self.clock_hz = identity.clock_mhz * 1_000_000
        self.admin_divisor = round(self.clock_hz / admin_baud)
        self.peer_divisor = round(self.clock_hz / peer_baud)
        self.window = puf.window_clocks(self.clock_hz)
        super().__init__(
            {
                "admin_rx": In(1, init=1),
                "admin_tx": Out(1, init=1),
                "peer_rx": In(1, init=1),
                "peer_tx": Out(1, init=1),
                "flash_sck": Out(1),
                "flash_cs_n": Out(1, init=1),
                "flash_copi": Out(1),
                "flash_cipo": In(1),
                "rings": Out(RingSignature()),
                "trng_sample": In(1),
                "trng_take": Out(1),
                "trng_enable": Out(1),
                "button": In(1),
                "led": Out(3),
                "phase": Out(4),
                "idle": Out(1),
            }
            | ({"segments": Out(7), "right_digit": Out(1)} if self.full else {})
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.button = button = Button(self.clock_hz)
        self.program, self.memory = pairing_program(self.identity, self.clock_hz / button.tick_clocks)
        command_bits = 8 if self.full else 3
        m.submodules.sequencer = seq = Sequencer(self.program.link(), self.program.pad.init, command=command_bits)
        m.submodules.sponge = sponge = BufferedModes(mapped=self.mapped)
        m.submodules.puf = engine = PufEngine(self.quantizer, budget=self.budget)
        m.submodules.reader = reader = RingReader(self.window)
        m.submodules.spi = spi = SpiEngine()
        m.submodules.trng = trng = Trng()
        m.submodules.link = link = LinkPorts((self.admin_divisor, self.peer_divisor))

        wiring.connect(m, seq.sponge_cmd, sponge.cmd)
        wiring.connect(m, seq.sponge_i, sponge.i)
        wiring.connect(m, sponge.o, seq.sponge_o)
        m.submodules.to_puf = to_puf = Relay()  # between two machines that each decide late in a cycle
        m.submodules.from_puf = from_puf = Relay()
        wiring.connect(m, seq.puf_i, to_puf.i)
        if not self.full:
            wiring.connect(m, to_puf.o, engine.i)
            wiring.connect(m, engine.o, from_puf.i)
        wiring.connect(m, from_puf.o, seq.puf_o)
        if self.full:
            m.submodules.curve = curve = CurveEngine(mapped=self.mapped)
            m.submodules.shelf = shelf = Shelf(mapped=self.mapped)
            m.submodules.display = display = PinDisplay()
            m.d.comb += [
                display.tick.eq(button.tick),
                display.side.eq(button.clocks[-3]),
                self.segments.eq(display.segments),
                self.right_digit.eq(display.right),
            ]
            units = {PUF: engine, CURVE: curve, DISPLAY: display, SHELF: shelf}
            self._connect_units(m, seq.puf_cmd, to_puf.o, from_puf.i, units)
        wiring.connect(m, engine.read, reader.read)
        wiring.connect(m, reader.rings, wiring.flipped(self.rings))
        wiring.connect(m, seq.spi_i, spi.i)
        wiring.connect(m, spi.o, seq.spi_o)
        wiring.connect(m, trng.o, seq.trng_o)
        m.d.comb += sponge.clear.eq(seq.sponge_clear)
        if not self.full:
            m.d.comb += [
                engine.cmd.payload.eq(seq.puf_cmd.payload),
                engine.cmd.valid.eq(seq.puf_cmd.valid),
                seq.puf_cmd.ready.eq(engine.cmd.ready),
            ]
        m.d.comb += [
            seq.puf_exhausted.eq(engine.exhausted),
            seq.puf_dead.eq(engine.dead),
            spi.select.eq(seq.spi_select),
            self.flash_sck.eq(spi.sck),
            self.flash_cs_n.eq(spi.cs_n),
            self.flash_copi.eq(spi.copi),
            spi.cipo.eq(self.flash_cipo),
            trng.sample.eq(self.trng_sample),
            self.trng_take.eq(trng.take),
            trng.enable.eq(1),  # tested without a pause, not only when bytes are wanted
            self.trng_enable.eq(trng.enable),
            seq.trng_alarm.eq(trng.alarm),
            seq.trng_ready.eq(trng.ready),
            button.pin.eq(self.button),
            seq.button.eq(button.pressed),
            seq.button_short.eq(button.short),
            seq.button_long.eq(button.long),
            seq.tick.eq(button.tick),
            self.led.eq(seq.output[:3]),
            self.phase.eq(seq.phase),
        ]
        self._connect_ports(m, seq, link)
        resting = ~seq.phase.any() & ~seq.timer_runs & ~button.pressed
        m.d.comb += self.idle.eq(resting & ~link.busy)
        return m

    def _connect_units(self, m, cmd, i, o, units):
        """What hangs on the PUF engine's port, chosen by the upper bits of the present command."""
        for pattern, unit in units.items():
            with m.If(cmd.payload.matches(*pattern.split())):
                m.d.comb += [
                    unit.cmd.valid.eq(cmd.valid),
                    cmd.ready.eq(unit.cmd.ready),
                    unit.i.valid.eq(i.valid),
                    i.ready.eq(unit.i.ready),
                    o.valid.eq(unit.o.valid),
                    o.payload.eq(unit.o.payload),
                    unit.o.ready.eq(o.ready),
                ]
            m.d.comb += [unit.cmd.payload.eq(cmd.payload), unit.i.payload.eq(i.payload)]

    def _connect_ports(self, m, seq, link):
        """The lines outside, and the sequencer, whose ``side`` chooses one of them."""
        wiring.connect(m, link.o, seq.link_o)
        wiring.connect(m, seq.link_i, link.i)
        m.d.comb += [
            link.rx[0].eq(self.admin_rx),
            self.admin_tx.eq(link.tx[0]),
            link.rx[1].eq(self.peer_rx),
            self.peer_tx.eq(link.tx[1]),
            link.side.eq(seq.side),
            link.drop.eq(seq.drop),
            link.send.eq(seq.send),
            seq.frames.eq(link.frames),
            seq.length.eq(link.length),
            seq.error.eq(link.error),
        ]
