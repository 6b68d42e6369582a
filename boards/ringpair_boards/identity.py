"""Proof, from the finished bitstream, that all rings of a kind are the same circuit on the same wires.

Two independent ways look at the `.asc` after every build:

* *bits*: each ring tile is decoded with the rules of `logic_tile` and compared with what its kind prescribes: truth
tables, flip-flop,
  loop, clock tap, divider; nothing else may be connected to a ring, neither in the tile nor in the eight tiles
  around it.
* *trace*: starting at each output, every switch that is on is followed through nextpnr's chip database. What is
reached must be
  exactly the prescribed wires, and each of them must have no second driver.

What may differ is what does not touch a ring: by which wires the select lines come in (the NAND is symmetric and
they read 1 while the ring runs), the wires behind the divider, and spans that only pass through the tile.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ringpair_hdl.puf.ring_array import Floorplan, Site
from ringpair_hdl.puf.tile import CELLS, CLOCK, GROUPS, SELECT, Hop, LocalNet, TileKind, solve

from . import logic_tile
from .asc import Bitstream, Tile
from .chipdb import ChipDatabase
from .tools import chip_database

__all__ = ["Finding", "Identity", "check", "check_bits", "check_trace"]

PINS = range(4)
LOCAL_MULTIPLEXERS = frozenset({"logic_tile", "ramb_tile", "ramt_tile"})  # tiles whose local tracks have the same bits
Hops = dict[tuple[str, int], Hop]


@dataclass(frozen=True)
class Finding:
    """A difference between a ring tile and what its kind prescribes."""

    method: str
    x: int
    y: int
    message: str

    def __str__(self) -> str:
        return f"tile ({self.x}, {self.y}), by {self.method}: {self.message}"


@dataclass(frozen=True)
class Identity:
    """Result of the check.

    Attributes
    ----------
    rings, identical : int
        Rings of the floorplan, and how many of them are as prescribed by both methods. A finding counts against all
        rings of its tile.
    findings : tuple of Finding
        All differences.
    select_variants : int
        In how many ways the router brought the select lines to a tile: harmless, told for completeness.
    """

    rings: int
    identical: int
    findings: tuple[Finding, ...]
    select_variants: int

    @property
    def ok(self) -> bool:
        return self.rings == self.identical and not self.findings

    def __str__(self) -> str:
        if self.ok:
            return f"{self.identical} of {self.rings} rings identical, by configuration bits and by net tracing"
        shown = [str(finding) for finding in self.findings[:10]]
        if len(self.findings) > len(shown):
            shown.append(f"and {len(self.findings) - len(shown)} more")
        return "\n  ".join([f"only {self.identical} of {self.rings} rings are identical:", *shown])


def check(bitstream: Bitstream, floorplan: Floorplan, database: ChipDatabase | None = None) -> Identity:
    """Check all ring tiles of a floorplan in both ways."""
    database = database or ChipDatabase(chip_database(bitstream.die))
    findings = (*check_bits(bitstream, floorplan), *check_trace(bitstream, floorplan, database))
    sites = list(floorplan.sites())
    per_tile = len(floorplan.kind.loops)
    bad = {(finding.x, finding.y) for finding in findings}
    variants = Counter(_select_route(bitstream.tiles[s.x, s.y], floorplan.kind) for s in sites if (s.x, s.y) not in bad)
    return Identity(
        rings=floorplan.rings,
        identical=per_tile * sum((s.x, s.y) not in bad for s in sites),
        findings=findings,
        select_variants=len(variants),
    )


# ------------------------------------------------------------------------------------------------ by configuration bits


def check_bits(bitstream: Bitstream, floorplan: Floorplan) -> list[Finding]:
    """Decode each ring tile and its neighbors; returns the differences."""
    hops = solve(floorplan.kind.nets)
    findings = []
    for site in floorplan.sites():
        tile = bitstream.tiles.get((site.x, site.y))
        if tile is None or tile.kind != "logic_tile":
            messages: Iterator[str] = iter(["this is not a logic tile"])
        else:
            messages = _tile_messages(bitstream, tile, site, floorplan.kind, hops)
        findings += [Finding("bits", site.x, site.y, message) for message in messages]
    return findings


def _tile_messages(bitstream: Bitstream, tile: Tile, site: Site, kind: TileKind, hops: Hops) -> Iterator[str]:
    yield from _cell_messages(tile, kind, hops)
    yield from _track_messages(tile, kind, hops)
    yield from _input_messages(tile, kind, hops)
    yield from _exit_messages(tile, kind)
    yield from _neighbor_messages(bitstream, site, kind)


def _pins(kind: TileKind, cell: int, hops: Hops) -> tuple[dict[int, str], int]:
    """Pins of a cell with a locked net, and the number of select lines that take some of the others."""
    _, inputs = kind.cells[cell]
    pins = {pin: name for name in inputs if name not in SELECT if (pin := hops[name, cell].pin) is not None}
    return pins, sum(name in SELECT for name in inputs)


def _cell_messages(tile: Tile, kind: TileKind, hops: Hops) -> Iterator[str]:
    """Truth tables and flip-flops."""
    for cell in kind.cells:
        pins, selects = _pins(kind, cell, hops)
        used = set(PINS) if selects else set(pins)
        expected = sum(1 << n for n in range(16) if not all(n >> pin & 1 for pin in used))
        table = logic_tile.truth_table(tile, cell)
        if table != expected:
            yield f"truth table of lc{cell} is {table:#06x} instead of {expected:#06x}"
        flags = logic_tile.cell_config(tile, cell)
        prescribed = {"flip-flop"} if cell == kind.divider else set()
        if flags != prescribed:
            yield f"lc{cell} is configured with {_words(flags)} instead of {_words(prescribed)}"


def _track_messages(tile: Tile, kind: TileKind, hops: Hops) -> Iterator[str]:
    """Which local tracks the outputs of the tile feed, and the tile clock."""
    wanted = {(hop.group, hop.track): net for (net, _), hop in hops.items()}
    driver_name = {net.driver: net.name for net in kind.nets}
    for group in range(GROUPS):
        for track in range(CELLS):
            fed = logic_tile.selected(tile, logic_tile.local_bits(group, track)) == logic_tile.OWN_OUTPUT
            net = wanted.get((group, track))
            if net is not None and not fed:
                yield f"net {net} is not on local_g{group}_{track}"
            elif net is None and fed and track != kind.divider:
                yield f"net {driver_name[track]} is on local_g{group}_{track} as well"
    for (net, cell), hop in hops.items():
        if cell == CLOCK:
            code = logic_tile.selected(tile, logic_tile.clock_bits())
            if code != logic_tile.CLOCK_CODES[hop.group, hop.track]:
                yield f"net {net} is not the tile clock: its code is {code}"
    on = [bit for bit in logic_tile.control_bits() if tile[bit]]
    if on:
        yield f"clock inversion, enable or reset of the tile is used: {_bits(on)}"


def _input_messages(tile: Tile, kind: TileKind, hops: Hops) -> Iterator[str]:
    """What the LUT inputs listen to."""
    tracks = {(hop.group, hop.track): net for (net, _), hop in hops.items()}
    for cell in kind.cells:
        pins, selects = _pins(kind, cell, hops)
        listening = 0
        for pin in PINS:
            code = logic_tile.selected(tile, logic_tile.input_bits(cell, pin))
            source = None if code is None else logic_tile.input_source(cell, pin, code)
            where = f"lutff_{cell}/in_{pin}"
            if pin in pins:
                hop = hops[pins[pin], cell]
                if code is None or source != (hop.group, hop.track):
                    yield f"{where} does not listen to net {pins[pin]} on {hop.local}"
            elif source in tracks:
                yield f"{where} listens to net {tracks[source]}"
            elif code is not None:
                listening += 1
        if listening != selects:
            yield f"lc{cell} has {listening} inputs from outside instead of {selects}"


def _exit_messages(tile: Tile, kind: TileKind) -> Iterator[str]:
    """Ways out of a ring other than local tracks: span wires, the cascade to the next LUT, the carry chain."""
    for net in kind.nets:
        on = [bit for bit in logic_tile.output_bits(net.driver) if tile[bit]]
        if on and net.driver != kind.divider:
            yield f"net {net.name} drives span wires: {_bits(on)}"
    for cell in range(1, CELLS):
        if tile[logic_tile.cascade_bit(cell)]:
            yield f"lc{cell} takes the LUT of lc{cell - 1} by the cascade: {_bits([logic_tile.cascade_bit(cell)])}"
    carry = [bit for bit in logic_tile.CARRY_BITS if tile[bit]]
    if carry:
        yield f"the carry chain enters the tile: {_bits(carry)}"


def _neighbor_messages(bitstream: Bitstream, site: Site, kind: TileKind) -> Iterator[str]:
    """Local tracks of the tiles around that listen to a ring."""
    names = {net.driver: net.name for net in kind.nets if net.driver != kind.divider}
    for group, codes in enumerate(logic_tile.NEIGHBORS):
        for code, (dx, dy) in codes.items():
            x, y = site.x - dx, site.y - dy
            neighbor = bitstream.tiles.get((x, y))
            if neighbor is None or neighbor.kind not in LOCAL_MULTIPLEXERS:
                yield f"its neighbor ({x}, {y}) is neither logic nor RAM: what listens there is unknown"
                continue
            for cell, name in names.items():
                if logic_tile.selected(neighbor, logic_tile.local_bits(group, cell)) == code:
                    yield f"net {name} is tapped in tile ({x}, {y}) by local_g{group}_{cell}"


def _select_route(tile: Tile, kind: TileKind) -> tuple[int | None, ...]:
    """By which tracks the free inputs of the first stages are fed."""
    cells = [cell for cell, (_, inputs) in kind.cells.items() if any(name in SELECT for name in inputs)]
    return tuple(logic_tile.selected(tile, logic_tile.input_bits(cell, pin)) for cell in cells for pin in PINS)


def _bits(bits: list[tuple[int, int]]) -> str:
    return ", ".join(f"B{row}[{column}]" for row, column in bits)


def _words(words: set[str]) -> str:
    return ", ".join(sorted(words)) or "nothing"


# ------------------------------------------------------------------------------------------------------ by net tracing


def check_trace(bitstream: Bitstream, floorplan: Floorplan, database: ChipDatabase) -> list[Finding]:
    """Follow every locked net from its driver over all switches that are on; returns the differences."""
    hops = solve(floorplan.kind.nets)
    findings = []
    for site in floorplan.sites():
        for net in floorplan.kind.nets:
            messages = _trace_messages(bitstream, database, site, net, hops, net.driver == floorplan.kind.divider)
            findings += [Finding("trace", site.x, site.y, message) for message in messages]
    return findings


def _prescribed(net: LocalNet, hops: Hops) -> set[str]:
    """Names of the wires that a net may reach in its own tile."""
    wires = set()
    for cell, _ in net.sinks:
        hop = hops[net.name, cell]
        wires.add(hop.local)
        wires.add("lutff_global:clk" if cell == CLOCK else f"lutff_{cell}:in_{hop.pin}")
    return wires


def _trace_messages(
    bitstream: Bitstream, database: ChipDatabase, site: Site, net: LocalNet, hops: Hops, leaves: bool
) -> Iterator[str]:
    """Differences of one net; `leaves`: it may go on outside the tile."""
    prescribed = {database.wire(site.x, site.y, name): name for name in _prescribed(net, hops)}
    start = database.wire(site.x, site.y, f"lutff_{net.driver}:out")
    reached, frontier = {start}, [start]
    while frontier:
        wire = frontier.pop()
        for pip in database.downhill(wire):
            # A pip without bits is the permutation of LUT inputs: the net has arrived.
            if not database.has_bits(pip) or pip.destination in reached or not database.is_on(pip, bitstream):
                continue
            reached.add(pip.destination)
            if pip.destination in prescribed:
                frontier.append(pip.destination)
            elif not leaves:
                x, y, name = database.place(pip.destination)
                yield f"net {net.name} also reaches {name} of tile ({x}, {y}), from {database.place(wire)[2]}"
    for wire, name in prescribed.items():
        if wire not in reached:
            yield f"net {net.name} does not reach {name}"
        drivers = [p for p in database.uphill(wire) if database.has_bits(p) and database.is_on(p, bitstream)]
        if len(drivers) > 1:
            others = sorted(database.place(p.source)[2] for p in drivers if p.source not in reached)
            yield f"{name} of net {net.name} has {len(drivers)} drivers: {', '.join(others)} as well"
