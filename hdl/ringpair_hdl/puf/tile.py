"""One logic tile of an iCE40 with two ring oscillators in it, routed by hand so that every copy is the same.

Placement alone does not make rings equal: the router permutes LUT inputs and picks local tracks anew in every tile,
and that offset, common to all boards, drowns what differs in the silicon. So every net of the tile carries its
complete route in the net attribute ``ROUTING``, which nextpnr binds before it packs, places and routes, at a
strength it never rips up.

The facts of the logic tile used here (Project IceStorm, "LOGIC Tile Documentation")::

    lutff_K/out   -> local_gG_K     for every group G = 0..3: each cell reaches one track in each of the four groups
    local_gG_T    -> lutff_J/in_Z   when J + Z + G + T is even, except local_g0_0 and local_g0_1 to in_3
    local_g0_0, local_g1_1, local_g2_0, local_g3_1 -> lutff_global/clk
"""

from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.hdl import Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = [
    "CLOCK",
    "PAIR",
    "RING_ATTRIBUTE",
    "SELECT",
    "Hop",
    "LocalNet",
    "NoRoute",
    "RingTile",
    "TileKind",
    "ring_name",
    "routing_attribute",
    "solve",
]

CELLS = 8
GROUPS = 4
STRENGTH_USER = 6  # nextpnr's PlaceStrength: bound by the user, never ripped up
CLOCK = -1  # stands for a cell number where the sink is the clock of the tile
CLOCK_TRACKS = frozenset({(0, 0), (1, 1), (2, 0), (3, 1)})
RING_ATTRIBUTE = "RING"  # names the ring on every cell of its loop; a combinational loop without it fails the build
SELECT = ("row", "col", "half_a", "half_b")  # come from outside and are routed freely, to any pin of a symmetric LUT


class NoRoute(ValueError):
    """The nets of a tile do not fit the local tracks."""


@dataclass(frozen=True)
class LocalNet:
    """A net that stays inside one tile.

    Parameters
    ----------
    name : str
        Name of the net, unique within the tile.
    driver : int
        Logic cell whose output drives it.
    sinks : tuple of (int, int or None)
        Logic cell (or ``CLOCK``) and LUT input; ``None`` leaves the input to the solver.
    """

    name: str
    driver: int
    sinks: tuple[tuple[int, int | None], ...] = ()


@dataclass(frozen=True)
class Hop:
    """How one sink is reached: track ``local_g{group}_{track}``, then input ``pin`` of the cell (None for the
    clock)."""

    group: int
    track: int
    pin: int | None

    @property
    def local(self) -> str:
        return f"local_g{self.group}_{self.track}"


@dataclass(frozen=True)
class TileKind:
    """A ring tile: what its cells compute and which nets are routed by hand.

    Parameters
    ----------
    name, code : str, int
        Name, and the number that stands for it in the floorplan id. A kind whose routes change is a new kind.
    nets : tuple of LocalNet
        Nets with a locked route.
    cells : dict of int to (str, tuple of str)
        Per logic cell its output net and its inputs; every cell is the NAND of its inputs (one input: an inverter).
    divider : int
        Cell whose flip-flop, clocked by the tile clock, halves the frequency and drives net ``q``.
    loops : tuple of tuple of str
        The nets of each ring, half A first.
    """

    name: str
    code: int
    nets: tuple[LocalNet, ...]
    cells: dict[int, tuple[str, tuple[str, ...]]]
    divider: int
    loops: tuple[tuple[str, ...], ...]


PAIR = TileKind(
    name="pair",
    code=1,
    nets=(
        LocalNet("a1", 1, ((2, 3),)),
        LocalNet("a2", 2, ((3, 3),)),
        LocalNet("a3", 3, ((1, 3), (0, None))),
        LocalNet("b1", 5, ((6, 3),)),
        LocalNet("b2", 6, ((4, 3),)),
        LocalNet("b3", 4, ((5, 3), (0, None))),
        LocalNet("clk", 0, ((CLOCK, None),)),
        LocalNet("q", 7, ((7, 3),)),
    ),
    cells={
        1: ("a1", ("a3", "row", "col", "half_a")),
        2: ("a2", ("a1",)),
        3: ("a3", ("a2",)),
        5: ("b1", ("b3", "row", "col", "half_b")),
        6: ("b2", ("b1",)),
        4: ("b3", ("b2",)),
        0: ("clk", ("a3", "b3")),
        7: ("d", ("q",)),
    },
    divider=7,
    loops=(("a1", "a2", "a3"), ("b1", "b2", "b3")),
)
"""Two rings of three stages that share nothing: half A in cells 1, 2, 3, half B in cells 5, 6, 4.

The first stage of a ring is NAND(loop, row, column, half): the enable costs no cell, and while the ring runs the
three select inputs read 1 whichever pins the router gave them, so the same two bits of the LUT are in the loop in
every tile. A ring at rest holds its last stage at 1, so cell 0 = NAND(A, B) passes the running one on to the tile
clock. Never run both halves at once.
"""


def _reaches(cell: int, pin: int | None, group: int, track: int) -> bool:
    """Whether a local track can feed a cell's input (or the tile clock)."""
    if cell == CLOCK:
        return (group, track) in CLOCK_TRACKS
    assert pin is not None
    return (cell + pin + group + track) % 2 == 0 and not (pin == 3 and group == 0 and track in (0, 1))


def solve(nets: tuple[LocalNet, ...]) -> dict[tuple[str, int], Hop]:
    """Give every sink a track and a pin so that no track and no pin is used twice.

    The search is depth first in a fixed order, so the same nets always get the same routes. Feeding two sinks from one
    track is preferred to opening a second one.

    Returns
    -------
    dict of (str, int) to Hop
        The hop of each (net name, sink cell).

    Raises
    ------
    NoRoute
        If there is no solution.
    """
    items = [(net, cell, pin) for net in nets for cell, pin in net.sinks]
    owner_of_track: dict[tuple[int, int], str] = {}
    used_pins: set[tuple[int, int]] = set()
    hops: dict[tuple[str, int], Hop] = {}

    def candidates(net: LocalNet, cell: int, pin: int | None) -> Iterator[Hop]:
        tracks = [(group, net.driver) for group in range(GROUPS)]
        for group, track in sorted(tracks, key=lambda t: owner_of_track.get(t) != net.name):
            if owner_of_track.get((group, track), net.name) != net.name:
                continue
            for p in (None,) if cell == CLOCK else range(4) if pin is None else (pin,):
                if (cell, p) not in used_pins and _reaches(cell, p, group, track):
                    yield Hop(group, track, p)

    def place(index: int) -> bool:
        if index == len(items):
            return True
        net, cell, pin = items[index]
        for hop in candidates(net, cell, pin):
            track = (hop.group, hop.track)
            fresh = track not in owner_of_track
            owner_of_track[track] = net.name
            if hop.pin is not None:
                used_pins.add((cell, hop.pin))
            hops[net.name, cell] = hop
            if place(index + 1):
                return True
            used_pins.discard((cell, hop.pin))
            if fresh:
                del owner_of_track[track]
        return False

    if not place(0):
        raise NoRoute(
            f"the nets {', '.join(net.name for net in nets)} have no common route over the local tracks of a tile"
        )
    return hops


def routing_attribute(net: LocalNet, hops: dict[tuple[str, int], Hop], x: int, y: int) -> str:
    """The complete route of a net in tile (x, y) as nextpnr's net attribute ``ROUTING``: triples wire;pip;strength.

    The route must be complete: a partial one trips nextpnr. A wrong name ends in an exception without a message.
    """
    tile = f"X{x}/Y{y}"
    source = f"lutff_{net.driver}:out"
    bound = {f"{tile}/{source}": ""}

    def hop(start: str, end: str) -> None:
        bound[f"{tile}/{end}"] = f"{tile}/{x}.{y}.{start}.->.{x}.{y}.{end}"

    for cell, _ in net.sinks:
        h = hops[net.name, cell]
        hop(source, h.local)
        if cell == CLOCK:
            hop(h.local, "lutff_global:clk")
        else:
            pin = f"lutff_{cell}:in_{h.pin}"
            hop(h.local, pin)
            hop(pin, f"{pin}_lut")
    return ";".join(f"{wire};{pip};{STRENGTH_USER}" for wire, pip in bound.items())


def ring_name(x: int, y: int, half: int) -> str:
    """Name of a ring, as the cells of its loop carry it in the attribute ``RING``."""
    return f"X{x}/Y{y}/{'ab'[half]}"


class RingTile(wiring.Component):
    """The two rings of tile (x, y), merged onto the tile clock and divided by two.

    A ring runs while ``row``, ``col`` and its bit of ``half`` are 1; ``half`` is one-hot or zero. ``q`` toggles
    once per period of the ring that runs and holds still otherwise: half the frequency of the ring. Nothing here
    belongs to a clock domain.

    Parameters
    ----------
    x, y : int
        The logic tile.
    kind : TileKind
        What to build in it.
    """

    row: In(1)
    col: In(1)
    half: In(2)
    q: Out(1)

    def __init__(self, x: int, y: int, kind: TileKind = PAIR):
        super().__init__()
        self.x, self.y, self.kind = x, y, kind

    def elaborate(self, platform):
        m = Module()
        kind, hops = self.kind, solve(self.kind.nets)
        # Without noglobal nextpnr would move the tap of a ring to a global buffer.
        nets = {
            net.name: Signal(
                name=net.name,
                attrs={"keep": 1, "noglobal": 1, "ROUTING": routing_attribute(net, hops, self.x, self.y)},
            )
            for net in kind.nets
        }
        nets["d"] = Signal(name="d")
        nets.update(row=self.row, col=self.col, half_a=self.half[0], half_b=self.half[1])

        for cell, (output, inputs) in kind.cells.items():
            pins = {hops[name, cell].pin: name for name in inputs if name not in SELECT}
            free = [pin for pin in range(4) if pin not in pins]
            pins.update(zip(free, (name for name in inputs if name in SELECT), strict=False))
            init = sum(1 << v for v in range(16) if not all(v >> pin & 1 for pin in pins))
            halves = [half for half, loop in enumerate(kind.loops) if output in loop]
            ring = {f"a_{RING_ATTRIBUTE}": ring_name(self.x, self.y, half) for half in halves}
            m.submodules[f"lc{cell}"] = Instance(
                "SB_LUT4",
                p_LUT_INIT=Const(init, 16),
                a_keep=1,
                a_BEL=self._bel(cell),
                **ring,
                o_O=nets[output],
                **{f"i_I{pin}": nets[pins[pin]] if pin in pins else Const(0, 1) for pin in range(4)},
            )
        m.submodules.divider = Instance(
            "SB_DFF",
            a_keep=1,
            a_BEL=self._bel(kind.divider),
            i_C=nets["clk"],
            i_D=nets["d"],
            o_Q=nets["q"],
        )
        m.d.comb += self.q.eq(nets["q"])
        return m

    def _bel(self, cell: int) -> str:
        return f"X{self.x}/Y{self.y}/lc{cell}"
