"""Between the measurement and the rings: select lines, window timer, and the simulated source of counts.

engine  <- ReadSignature ->  RingReader  <- RingSignature ->  PhysicalRings | SimulatedRings
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out
from ringpair_protocol import puf

__all__ = [
    "SIMULATED_MARK",
    "ReadSignature",
    "RingReader",
    "RingSignature",
    "SimulatedRings",
    "connect_rings",
    "contains_simulated_rings",
]

COUNTS = data.ArrayLayout(puf.COUNT_BITS, puf.CHANNELS)

SIMULATED_MARK = "ringpair_simulated_rings"
"""Name that every netlist with the simulated source contains."""


class ReadSignature(wiring.Signature):
    """One measurement at a time, seen from whoever asks for it.

    Attributes
    ----------
    index : Out(6)
        Place to measure in all four channels, ``half << 5 | col << 2 | row``; stable from `start` to `done`.
    start : Out(1)
        One cycle; while a measurement runs it starts over.
    clear : Out(1)
        Stops the rings and clears the counts.
    done : In(1)
        One cycle.
    count : In(ArrayLayout(16, 4))
        One count per channel, valid from `done` to the next `start` or `clear`.
    """

    def __init__(self):
        super().__init__({"index": Out(6), "start": Out(1), "clear": Out(1), "done": In(1), "count": In(COUNTS)})


class RingSignature(wiring.Signature):
    """The lines to a ring array, seen from the reader. All outputs come from flip-flops.

    Attributes
    ----------
    row, col, half : Out
        One-hot; rings run while one line of each is high.
    clear : Out(1)
        Asynchronous clear of the counters.
    count : In(ArrayLayout(16, 4))
        Counter of each channel; to be read only while the rings stand still.
    """

    def __init__(self):
        super().__init__(
            {
                "row": Out(puf.ROWS),
                "col": Out(puf.COLUMNS),
                "half": Out(puf.HALVES),
                "clear": Out(1),
                "count": In(COUNTS),
            }
        )


class Phase(enum.Enum, shape=2):
    """Of a measurement."""

    IDLE = 0
    SETTLE = 1
    RUN = 2
    REST = 3


class RingReader(wiring.Component):
    """Window timer: one start gives one count of the four rings at a place.

    ::

        start   8 cycles: select, clear counters, settle   `window` cycles: rings run   16 cycles: rest   done

    Nothing asynchronous is sampled. From `start` to `done` are window + 26 cycles.

    Parameters
    ----------
    window : int, optional
        System clocks during which the rings run; None for a window that the port `clocks` tells.

    Attributes
    ----------
    clocks : In(16)
        The window, 1..65535, stable during a measurement; only without a fixed one.
    """

    SETTLE, REST = 8, 16
    CYCLES = SETTLE + REST + 2
    """Length of a measurement besides the window."""

    def __init__(self, window: int | None = puf.WINDOW_CLOCKS):
        if window is not None and not 1 <= window <= 1 << 16:
            raise ValueError(f"the window must be 1..65536 system clocks, not {window}")
        self.window = window
        told = {"clocks": In(16)} if window is None else {}
        super().__init__({"read": In(ReadSignature()), "rings": Out(RingSignature()), **told})

    def elaborate(self, platform):
        m = Module()
        read, rings = self.read, self.rings
        phase = Signal(Phase)
        timer = Signal(range(max(self.window or 1 << 16, self.REST)))
        length = {Phase.SETTLE: self.SETTLE, Phase.RUN: self.window or self.clocks, Phase.REST: self.REST}

        with m.Switch(phase):
            for this, cycles in length.items():
                with m.Case(this):
                    m.d.sync += timer.eq(timer + 1)
                    with m.If(timer == cycles - 1):
                        m.d.sync += [timer.eq(0), phase.eq(this.value + 1 & 3)]
        with m.If(read.start):
            m.d.sync += [timer.eq(0), phase.eq(Phase.SETTLE)]
        with m.Elif(read.clear):
            m.d.sync += [timer.eq(0), phase.eq(Phase.IDLE)]

        ends = (phase == Phase.REST) & (timer == self.REST - 1) & ~read.start & ~read.clear
        half, col, row = read.index[5], read.index[2:5], read.index[0:2]
        m.d.sync += [
            read.done.eq(ends),
            rings.half.eq(Cat(~half, half)),
            rings.col.eq(Cat(col == n for n in range(puf.COLUMNS))),
            rings.row.eq(Mux(phase == Phase.RUN, Cat(row == n for n in range(puf.ROWS)), 0)),
            rings.clear.eq(read.clear | ((phase == Phase.SETTLE) & ~timer[2])),  # released before the rings start
        ]
        m.d.comb += read.count.eq(rings.count)
        return m


class SimulatedRings(wiring.Component):
    """Counts from outside in place of the ring array; for simulation only.

    The bench sets the four counts between the rise of `ring_run` and its fall, or in the cycles after that: the reader
    takes them when it has rested. They are 0 to it while the counters are held clear, and must not change before the
    next measurement. A build for a chip refuses a netlist that contains
    `SIMULATED_MARK`: see `contains_simulated_rings`.

    Attributes
    ----------
    row, col, half, clear, count
        As of the physical array.
    ring_index : Out(6)
        Place that runs; valid while `ring_run` is high.
    ring_run : Out(1)
        High exactly during the window.
    ring_count0 … ring_count3 : In(16)
        Counts of the four channels.
    """

    def __init__(self):
        inputs = {f"ring_count{channel}": In(puf.COUNT_BITS) for channel in range(puf.CHANNELS)}
        super().__init__({**RingSignature().flip().members, "ring_index": Out(6), "ring_run": Out(1), **inputs})

    def elaborate(self, platform):
        m = Module()
        mark = Signal(name=SIMULATED_MARK, attrs={"keep": 1})  # survives flattening and optimization
        m.d.comb += [
            mark.eq(self.ring_run),
            self.ring_run.eq(self.row.any()),
            self.ring_index[5].eq(self.half[1]),
            self.ring_index[2:5].eq(one_hot_index(self.col)),
            self.ring_index[0:2].eq(one_hot_index(self.row)),
        ]
        for channel in range(puf.CHANNELS):
            count = getattr(self, f"ring_count{channel}")
            m.d.comb += self.count[channel].eq(Mux(self.clear, 0, count))
        return m


def one_hot_index(lines):
    """Number of the one line that is high."""
    bits = (len(lines) - 1).bit_length()
    return Cat(Cat(lines[n] for n in range(len(lines)) if n >> bit & 1).any() for bit in range(bits))


def connect_rings(m: Module, rings, source):
    """Join the `rings` of a reader to a source, `PhysicalRings` or `SimulatedRings`."""
    m.d.comb += [getattr(source, line).eq(getattr(rings, line)) for line in ("row", "col", "half", "clear")]
    m.d.comb += rings.count.eq(source.count)


def contains_simulated_rings(netlist: str) -> bool:
    """Whether an RTLIL, Verilog or JSON netlist contains the simulated source, also after flattening."""
    return SIMULATED_MARK in netlist
