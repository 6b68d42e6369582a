"""What the project must know of a board: its chip, its pins, and where the rings lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from amaranth.build import Attrs, Pins, PinsN, Resource, Subsignal
from ringpair_hdl.puf.ring_array import HX8K as RINGS_HX8K
from ringpair_hdl.puf.ring_array import UP5K as RINGS_UP5K
from ringpair_hdl.puf.ring_array import Floorplan
from ringpair_protocol.records import DEVICE_BASE, STORE_END

__all__ = ["HX8K", "LP8K", "UP5K", "Board", "Budget", "Chip", "Display", "Flash", "Light", "Lights", "Serial"]


@dataclass(frozen=True)
class Chip:
    """An iCE40.

    Attributes
    ----------
    die : str
        The name of its database: an LP8K is the die of the HX8K.
    nextpnr, synthesis : str
        Options of nextpnr and of `synth_ice40` that select it.
    cells, rams, dsps : int
        What it has.
    ram_setup_ns, dsp_setup_ns : float
        Setup times of block RAM and DSP inputs at the slow corner, which nextpnr leaves out of its paths (IceStorm's
        ``timings_*.txt``, SB_RAM40_4K and SB_MAC16 with registered inputs).
    bitstream_bytes : int
        Length of a configuration with all block RAMs.
    stage_ps : (int, int, int)
        Rise plus fall of one stage of a ring (LUT from in_3, local and input multiplexer) at the fast, typical and slow
        corner, from the same tables.
    """

    name: str
    die: str
    nextpnr: str
    synthesis: str
    cells: int
    rams: int
    dsps: int
    ram_setup_ns: float
    dsp_setup_ns: float
    bitstream_bytes: int
    stage_ps: tuple[int, int, int]

    def ring_mhz(self, stages: int = 3) -> dict[str, float]:
        """Nominal frequency of a ring per corner."""
        return {
            corner: round(1e6 / (stages * ps), 1)
            for corner, ps in zip(("fast", "typical", "slow"), self.stage_ps, strict=True)
        }


UP5K = Chip("iCE40UP5K", "5k", "--up5k", "u", 5280, 30, 8, 0.52, 2.65, 104_090, (1771, 3096, 4767))
HX8K = Chip("iCE40HX8K", "8k", "--hx8k", "hx", 7680, 32, 0, 0.28, 0.0, 135_100, (1381, 1527, 1718))
LP8K = Chip("iCE40LP8K", "8k", "--lp8k", "lp", 7680, 32, 0, 0.41, 0.0, 135_100, (1603, 2083, 2533))
SEED = 1
RINGS = {"5k": RINGS_UP5K, "8k": RINGS_HX8K}


@dataclass(frozen=True)
class Serial:
    """Package pins of a serial port, seen from the chip, and how people find them."""

    rx: str
    tx: str
    where: str


@dataclass(frozen=True)
class Flash:
    """The SPI flash that holds the bitstream and the records.

    Attributes
    ----------
    cs_n, clk, copi, cipo : str
        Its pins.
    size : int
        In bytes.
    bitstream_at : int
        Where the board's tool puts the bitstream: behind the loader, on boards with one.
    """

    cs_n: str
    clk: str
    copi: str
    cipo: str
    size: int
    bitstream_at: int = 0

    def conflict(self, length: int) -> str | None:
        """Why a bitstream of that length and the records do not both fit; None if they do."""
        first, last = self.bitstream_at, self.bitstream_at + length - 1
        records = f"the records at {DEVICE_BASE:#08x} to {STORE_END - 1:#08x}"
        if self.size < STORE_END:
            return f"{records} lie outside of a flash of {self.size} bytes"
        if first < STORE_END and last >= DEVICE_BASE:
            return f"the bitstream at {first:#08x} to {last:#08x} overlaps {records}"
        return None


@dataclass(frozen=True)
class Light:
    """Pin of an LED and the level that lights it."""

    pin: str
    active_low: bool = False


@dataclass(frozen=True)
class Lights:
    """The LEDs: the device is enrolled, a session is open, something went wrong."""

    ready: Light
    session: Light
    error: Light


@dataclass(frozen=True)
class Display:
    """Pins of a two-digit seven-segment display: segments A to G, lit when low, and the one that is high for the right
    digit; and where it is plugged in."""

    segments: str
    right: str
    where: str


@dataclass(frozen=True)
class Budget:
    """What a profile may take at most, the clock it must reach, and the seed of placement with which it does."""

    cells: int
    rams: int
    dsps: int = 0
    fmax_mhz: float = 26.0
    seed: int = SEED


BUDGETS = {"pair": Budget(3700, 12), "characterize": Budget(3700, 12)}
FULL = Budget(4800, 30, 1, fmax_mhz=24.5, seed=2)
"""Of the profile with bindings and sessions, on a chip that has the DSP and the single-port RAM for it. It takes all of
its block RAMs, so the placement matters more than in other profiles: seeds differ by some MHz."""


@dataclass(frozen=True)
class Board:
    """A board with an iCE40.

    Parameters
    ----------
    name : str
        The word for it on the command line.
    title : str
        Its full name.
    platform : type
        Class of amaranth-boards; it brings clock and package.
    chip : Chip
        Its chip.
    clock_mhz : float
        Of the crystal.
    admin, peer : Serial
        The port to the host and the one to the other board.
    flash : Flash
        Where records lie.
    button : str
        Pin that a button, or a wire to ground, pulls low; it has a pull-up.
    lights : Lights
        The LEDs.
    program : tuple of str
        Command that writes a bitstream to the board's flash; ``{}`` stands for the file.
    programmer : str
        How to get that command.
    notes : tuple of str
        What a user must do or know.
    display : Display, optional
        For the PIN, in the profile ``full``.
    """

    name: str
    title: str
    platform: type
    chip: Chip
    clock_mhz: float
    admin: Serial
    peer: Serial
    flash: Flash
    button: str
    lights: Lights
    program: tuple[str, ...]
    programmer: str
    notes: tuple[str, ...] = ()
    display: Display | None = None
    budgets: Mapping[str, Budget] = field(default_factory=lambda: dict(BUDGETS))

    @property
    def floorplan(self) -> Floorplan:
        """Where its rings are."""
        return RINGS[self.chip.die]

    @property
    def clock(self) -> str:
        """Name of the clock resource: a crystal; an oscillator of the chip is too coarse for a serial port."""
        return f"clk{self.clock_mhz:g}"

    @property
    def clock_hz(self) -> int:
        return round(self.clock_mhz * 1e6)

    def resources(self) -> list[Resource]:
        """The pins by the same names on every board: admin, peer, flash, button, ready, session, error; and display."""
        io = Attrs(IO_STANDARD="SB_LVCMOS")
        pulled_up = Attrs(IO_STANDARD="SB_LVCMOS", PULLUP=1)

        def serial(name: str, port: Serial) -> Resource:
            return Resource(
                name,
                0,
                Subsignal("rx", Pins(port.rx, dir="i"), pulled_up),
                Subsignal("tx", Pins(port.tx, dir="o"), io),
            )

        def light(name: str, led: Light) -> Resource:
            return Resource(name, 0, (PinsN if led.active_low else Pins)(led.pin, dir="o"), io)

        def seven_segments(display: Display) -> Resource:
            segments = Subsignal("segments", PinsN(display.segments, dir="o"))
            return Resource("display", 0, segments, Subsignal("right", Pins(display.right, dir="o")), io)

        return [
            serial("admin", self.admin),
            serial("peer", self.peer),
            Resource(
                "flash",
                0,
                Subsignal("cs", PinsN(self.flash.cs_n, dir="o")),
                Subsignal("clk", Pins(self.flash.clk, dir="o")),
                Subsignal("copi", Pins(self.flash.copi, dir="o")),
                Subsignal("cipo", Pins(self.flash.cipo, dir="i")),
                io,
            ),
            Resource("button", 0, PinsN(self.button, dir="i"), pulled_up),
            light("ready", self.lights.ready),
            light("session", self.lights.session),
            light("error", self.lights.error),
            *([] if self.display is None else [seven_segments(self.display)]),
        ]
