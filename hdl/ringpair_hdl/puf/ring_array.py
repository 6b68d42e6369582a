"""The physical rings: 96 ring tiles in four channels, each with its counter.

A channel is a quadrant of the array. Row, column and half lines are one-hot and shared by the four channels, so the
ring at the same place runs in each of them at once. The dividers of all other tiles stand still, therefore a XOR
tree brings the one that toggles to the counter: no multiplexer, no decoder.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Instance, Module, ResetSignal, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from ringpair_protocol import puf

from .tile import PAIR, RingTile, TileKind

__all__ = ["FLOORPLANS", "HX8K", "UP5K", "Floorplan", "PhysicalRings", "Site"]


@dataclass(frozen=True)
class Device:
    """What the array must know of a chip: its columns and rows of logic tiles, and the rows with column buffers."""

    logic_columns: frozenset[int]
    logic_rows: frozenset[int]
    column_buffer_rows: frozenset[int]


DEVICES = {
    "up5k": Device(
        logic_columns=frozenset(range(1, 25)) - {6, 19},
        logic_rows=frozenset(range(1, 31)),
        column_buffer_rows=frozenset({4, 5, 14, 15, 26, 27}),
    ),
    "hx8k": Device(
        logic_columns=frozenset(range(1, 33)) - {8, 25},
        logic_rows=frozenset(range(1, 33)),
        column_buffer_rows=frozenset({8, 9, 24, 25}),
    ),
}


@dataclass(frozen=True)
class Site:
    """A tile of the array: its channel, its place (row, column) within the channel, and its logic tile (x, y)."""

    channel: int
    row: int
    col: int
    x: int
    y: int


@dataclass(frozen=True)
class Floorplan:
    """Where the ring tiles lie on the chip.

    Two channels side by side and two on top of each other: channel 0 bottom left, 1 top left, 2 bottom right, 3 top
    right.

    Parameters
    ----------
    name : str
        Name for people; the identity is `identifier`.
    device : str
        ``"up5k"`` or ``"hx8k"`` (the LP8K is the same die as the HX8K).
    x, y : int
        Logic tile of the lower left corner.
    channel_columns, channel_rows : int
        Size of a channel in tiles.
    kind : TileKind
        Ring tile to place.

    Raises
    ------
    ValueError
        If the array leaves the logic tiles, or covers a row with column buffers: those tiles differ from all others.
    """

    name: str
    device: str
    x: int
    y: int
    channel_columns: int = puf.COLUMNS
    channel_rows: int = puf.ROWS
    kind: TileKind = field(default=PAIR, repr=False)

    def __post_init__(self):
        if self.device not in DEVICES:
            raise ValueError(
                f"floorplan {self.name!r}: device must be one of {', '.join(DEVICES)}, not {self.device!r}"
            )
        device = DEVICES[self.device]
        for what, used, allowed in (
            ("columns", self.columns, device.logic_columns),
            ("rows", self.rows, device.logic_rows - device.column_buffer_rows),
        ):
            wrong = sorted(set(used) - allowed)
            if wrong:
                raise ValueError(
                    f"floorplan {self.name!r}: ring tiles must lie in logic tiles of equal kind, "
                    f"but {what} {', '.join(map(str, wrong))} of the {self.device} are RAM, border or column buffers"
                )

    @property
    def columns(self) -> range:
        return range(self.x, self.x + 2 * self.channel_columns)

    @property
    def rows(self) -> range:
        return range(self.y, self.y + 2 * self.channel_rows)

    @property
    def rings(self) -> int:
        """Number of rings of the whole array."""
        return puf.CHANNELS * self.channel_rows * self.channel_columns * len(self.kind.loops)

    @property
    def description(self) -> str:
        """Everything that decides which silicon a ring is, in words."""
        return (
            f"{self.device}: {self.kind.name} tiles of variant {self.kind.code}, "
            f"X{self.columns[0]}..{self.columns[-1]} Y{self.rows[0]}..{self.rows[-1]}, "
            f"{puf.CHANNELS} channels of {self.channel_columns} x {self.channel_rows}"
        )

    @property
    def identifier(self) -> bytes:
        """The floorplan id, 8 bytes: gateware that keeps the description keeps the keys of its boards."""
        return puf.floorplan_id(self.description)

    def sites(self) -> Iterator[Site]:
        """All tiles, column by column."""
        for x in self.columns:
            for y in self.rows:
                right, col = divmod(x - self.x, self.channel_columns)
                upper, row = divmod(y - self.y, self.channel_rows)
                yield Site(channel=2 * right + upper, row=row, col=col, x=x, y=y)


UP5K = Floorplan("up5k", "up5k", x=7, y=6)
HX8K = Floorplan("hx8k", "hx8k", x=9, y=10)
FLOORPLANS = {plan.name: plan for plan in (UP5K, HX8K)}


class RingCounter(wiring.Component):
    """Counts the periods of whichever of its dividers toggles.

    ``clear`` is asynchronous and must come from a flip-flop. ``count`` belongs to no clock that the reader knows:
    read it only while the rings stand still. It wraps.
    """

    def __init__(self, dividers: int):
        super().__init__({"q": In(dividers), "clear": In(1), "count": Out(puf.COUNT_BITS)})

    def elaborate(self, platform):
        m = Module()
        # An explicit global buffer: under load nextpnr leaves such a clock on ordinary wires otherwise.
        clock = Signal(name="clock")
        m.submodules.buffer = Instance(
            "SB_GB",
            i_USER_SIGNAL_TO_GLOBAL_BUFFER=self.q.xor(),
            o_GLOBAL_BUFFER_OUTPUT=clock,
        )
        m.domains += ClockDomain("ring", local=True, async_reset=True)
        m.d.comb += [ClockSignal("ring").eq(clock), ResetSignal("ring").eq(self.clear)]
        m.d.ring += self.count.eq(self.count + 1)
        return m


class PhysicalRings(wiring.Component):
    """The ring array on the chip. Half the frequency of the selected ring of each channel is counted.

    The order of a measurement, which whoever drives the ports keeps:

    1. set ``col`` and ``half`` while ``row`` is 0, and pulse ``clear``;
    2. set ``row`` for the length of the window: four rings run;
    3. set ``row`` to 0, wait two system clocks for the rings to come to rest, then read ``count``.

    Nothing asynchronous is ever sampled. ``count`` = window x ring frequency / 2, to within one, and it wraps at 2^16.

    Parameters
    ----------
    floorplan : Floorplan
        Where the tiles lie.

    Attributes
    ----------
    row, col, half : In
        One-hot selection, or zero; must come from flip-flops. ``half`` bit 0 is half A of every tile.
    clear : In(1)
        Asynchronous clear of the counters; must come from a flip-flop.
    count : Out(ArrayLayout(16, 4))
        One count per channel.
    """

    def __init__(self, floorplan: Floorplan = UP5K):
        self.floorplan = floorplan
        super().__init__(
            {
                "row": In(floorplan.channel_rows),
                "col": In(floorplan.channel_columns),
                "half": In(len(floorplan.kind.loops)),
                "clear": In(1),
                "count": Out(data.ArrayLayout(puf.COUNT_BITS, puf.CHANNELS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        dividers = [[] for _ in range(puf.CHANNELS)]
        for site in self.floorplan.sites():
            tile = RingTile(site.x, site.y, self.floorplan.kind)
            m.submodules[f"tile_{site.x}_{site.y}"] = tile
            m.d.comb += [tile.row.eq(self.row[site.row]), tile.col.eq(self.col[site.col]), tile.half.eq(self.half)]
            dividers[site.channel].append(tile.q)
        for channel, q in enumerate(dividers):
            m.submodules[f"counter{channel}"] = counter = RingCounter(len(q))
            m.d.comb += [counter.q.eq(Cat(q)), counter.clear.eq(self.clear), self.count[channel].eq(counter.count)]
        return m
