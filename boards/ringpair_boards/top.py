"""The device, or the characterization gateware, on the pins of a board, with the real rings."""

from amaranth.hdl import Elaboratable, Module
from amaranth.lib import io
from ringpair_hdl.characterize import Characterizer
from ringpair_hdl.device import Device
from ringpair_hdl.puf.ring_array import PhysicalRings
from ringpair_hdl.puf.rings import connect_rings
from ringpair_hdl.trng import RingNoise
from ringpair_protocol import puf
from ringpair_protocol.admin import Identity, Profile

from .board import Board

__all__ = ["CharacterizerTop", "DeviceTop", "top_of"]


def top_of(board: Board, profile: str, gateware: bytes, quantizer: puf.Quantizer | None = None) -> Elaboratable:
    """The design of a profile: see `build.Top`. Only the device has a quantizer."""
    if profile in ("pair", "full"):
        return DeviceTop(board, profile, gateware, quantizer)
    return CharacterizerTop(board, profile, gateware)


def identity_of(board: Board, profile: Profile, gateware: bytes, layout: puf.Layout = puf.NO_LAYOUT) -> Identity:
    """What gateware for a board says of itself."""
    return Identity(
        profile=profile,
        simulated=False,
        clock_mhz=round(board.clock_mhz),
        gateware=gateware,
        floorplan=board.floorplan.identifier,
        layout_version=layout.version,
    )


class DeviceTop(Elaboratable):
    """Device, ring array and noise source, joined to the resources that `Board.resources` names.

    Parameters
    ----------
    board : Board
        Where to build for.
    profile : str
        ``"pair"`` or ``"full"``.
    gateware : bytes
        The 8 bytes that the device gives as its gateware hash.
    quantizer : Quantizer, optional
        Layout table and spread of the rings; without it, no table.
    """

    def __init__(self, board: Board, profile: str, gateware: bytes, quantizer: puf.Quantizer | None = None):
        if profile not in ("pair", "full"):
            raise ValueError(f"the device has the profiles 'pair' and 'full', not {profile!r}")
        self.board = board
        quantizer = quantizer or puf.Quantizer()
        self.identity = identity_of(board, Profile[profile.upper()], gateware, quantizer.layout)
        self.device = Device(self.identity, quantizer=quantizer, mapped=True)

    def elaborate(self, platform):
        m = Module()
        m.submodules.device = device = self.device
        m.submodules.rings = rings = PhysicalRings(self.board.floorplan)
        m.submodules.noise = noise = RingNoise()
        connect_rings(m, device.rings, rings)
        m.d.comb += [noise.enable.eq(device.trng_enable), device.trng_sample.eq(noise.sample)]

        for name in ("admin", "peer"):
            port = platform.request(name, dir={"rx": "-", "tx": "-"})
            receive(m, f"{name}_rx", port.rx, getattr(device, f"{name}_rx"))
            send(m, f"{name}_tx", port.tx, getattr(device, f"{name}_tx"))
        flash = platform.request("flash", dir=dict.fromkeys(("cs", "clk", "copi", "cipo"), "-"))
        send(m, "flash_cs", flash.cs, ~device.flash_cs_n)  # the pin is inverted
        send(m, "flash_clk", flash.clk, device.flash_sck)
        send(m, "flash_copi", flash.copi, device.flash_copi)
        receive(m, "flash_cipo", flash.cipo, device.flash_cipo)
        receive(m, "button", platform.request("button", dir="-"), device.button)
        lights(m, platform, device.led)
        if device.full and self.board.display:
            display = platform.request("display", dir={"segments": "-", "right": "-"})
            send(m, "segments", display.segments, device.segments)
            send(m, "right_digit", display.right, device.right_digit)
        return m


class CharacterizerTop(Elaboratable):
    """The same rings and the same noise source, on the admin port alone; the peer port, the flash and the button are
    not connected.

    The parameters are the first three of `DeviceTop`; the profile is ``"characterize"``.
    """

    def __init__(self, board: Board, profile: str, gateware: bytes):
        if profile != "characterize":
            raise ValueError(f"this gateware has the profile 'characterize' only, not {profile!r}")
        self.board = board
        self.identity = identity_of(board, Profile.CHARACTERIZE, gateware)
        self.core = Characterizer(self.identity)

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = self.core
        m.submodules.rings = rings = PhysicalRings(self.board.floorplan)
        m.submodules.noise = noise = RingNoise()
        connect_rings(m, core.rings, rings)
        m.d.comb += [noise.enable.eq(core.trng_enable), core.trng_sample.eq(noise.sample)]
        port = platform.request("admin", dir={"rx": "-", "tx": "-"})
        receive(m, "admin_rx", port.rx, core.admin_rx)
        send(m, "admin_tx", port.tx, core.admin_tx)
        lights(m, platform, core.led)
        return m


def lights(m, platform, led):
    """Join the LEDs."""
    for bit, name in enumerate(("ready", "session", "error")):
        send(m, name, platform.request(name, dir="-"), led[bit])


def receive(m, name, port, signal):
    """Join an input pin; what comes in is asynchronous, and whoever uses it takes it over into the clock."""
    m.submodules[f"{name}_buffer"] = buffer = io.Buffer("i", port)
    m.d.comb += signal.eq(buffer.i)


def send(m, name, port, signal):
    """Join an output pin."""
    m.submodules[f"{name}_buffer"] = buffer = io.Buffer("o", port)
    m.d.comb += buffer.o.eq(signal)
