"""The route identity check: it passes a real build, and names every bit that is flipped on purpose."""

import copy

import pytest
from ringpair_boards import logic_tile
from ringpair_boards.asc import Bitstream
from ringpair_boards.chipdb import ChipDatabase
from ringpair_boards.identity import check, check_bits, check_trace
from ringpair_boards.tools import chip_database
from ringpair_hdl.puf.ring_array import UP5K, Floorplan
from ringpair_hdl.puf.tile import CELLS, CLOCK, GROUPS, PAIR, solve

X, Y = 10, 8  # the tile that is changed, among other ring tiles
NEAR = Floorplan("near", "up5k", x=X, y=Y, channel_columns=1, channel_rows=1)  # it and three others: quick to check
HOPS = solve(PAIR.nets)
RING_CELLS = [net.driver for net in PAIR.nets if net.driver != PAIR.divider]


@pytest.fixture(scope="module")
def database():
    return ChipDatabase(chip_database("5k"))


@pytest.fixture(scope="module")
def pristine(report, folder):
    return Bitstream.read(folder / "top.asc")


@pytest.fixture
def bitstream(pristine):
    """A copy to spoil; only the tiles around the changed one are copied."""
    spoiled = Bitstream(pristine.die, dict(pristine.tiles))
    for x in range(X - 1, X + 2):
        for y in range(Y - 1, Y + 2):
            spoiled.tiles[x, y] = copy.deepcopy(pristine.tiles[x, y])
    return spoiled


def set_code(tile, bits, code):
    """Switch a multiplexer on with a code; None switches it off."""
    on, *rest = bits
    for bit, value in ((on, code is not None), *((b, (code or 0) >> n & 1) for n, b in enumerate(reversed(rest)))):
        if tile[bit] != bool(value):
            tile.flip(*bit)


def named(findings):
    """The findings at the changed tile, of which there must be some. (It may tap another ring now as well.)"""
    here = [f.message for f in findings if (f.x, f.y) == (X, Y)]
    assert here, "the change was not found"
    return " | ".join(here)


def flipped(bitstream, bit, examine):
    """Flip a bit, examine, and flip it back."""
    tile = bitstream.tiles[X, Y]
    tile.flip(*bit)
    try:
        return examine()
    finally:
        tile.flip(*bit)


def test_a_real_build_passes(pristine, database):
    identity = check(pristine, UP5K, database)
    assert identity.ok, str(identity)
    assert identity.identical == identity.rings == 192
    assert not identity.findings


def test_rings_that_are_elsewhere(pristine, database):
    """Tiles without rings are no rings."""
    identity = check(pristine, Floorplan("elsewhere", "up5k", x=7, y=16), database)
    assert not identity.ok
    assert identity.identical == 0
    assert "only 0 of 192 rings are identical" in str(identity)


def test_truth_tables_and_flip_flops(bitstream):
    for cell in range(CELLS):
        for bit in logic_tile.cell_bits(cell):
            found = named(flipped(bitstream, bit, lambda: check_bits(bitstream, NEAR)))
            assert f"lc{cell} " in found, (cell, bit, found)


@pytest.mark.parametrize(("net", "cell"), list(HOPS))
def test_hops(bitstream, database, net, cell):
    """Every bit of every multiplexer of loop, tap and divider; both methods find it and name the net."""
    hop = HOPS[net, cell]
    last = logic_tile.clock_bits() if cell == CLOCK else logic_tile.input_bits(cell, hop.pin)
    for bit in (*logic_tile.local_bits(hop.group, hop.track), *last):
        by_bits = named(flipped(bitstream, bit, lambda: check_bits(bitstream, NEAR)))
        assert f"net {net} " in by_bits, (bit, by_bits)
        by_trace = named(flipped(bitstream, bit, lambda: check_trace(bitstream, NEAR, database)))
        assert f"net {net} " in by_trace, (bit, by_trace)


@pytest.mark.parametrize("cell", RING_CELLS)
def test_span_wires(bitstream, database, cell):
    """A ring that drives a span wire, which is more load."""
    net = next(net.name for net in PAIR.nets if net.driver == cell)
    for bit in logic_tile.output_bits(cell):
        by_bits = named(flipped(bitstream, bit, lambda: check_bits(bitstream, NEAR)))
        assert f"net {net} drives span wires: B{bit[0]}[{bit[1]}]" in by_bits
        by_trace = named(flipped(bitstream, bit, lambda: check_trace(bitstream, NEAR, database)))
        assert f"net {net} also reaches sp" in by_trace


def test_tile_controls(bitstream):
    for bit in (*logic_tile.control_bits(), *logic_tile.CARRY_BITS, *map(logic_tile.cascade_bit, range(1, CELLS))):
        found = named(flipped(bitstream, bit, lambda: check_bits(bitstream, NEAR)))
        assert f"B{bit[0]}[{bit[1]}]" in found


@pytest.mark.parametrize("cell", RING_CELLS)
@pytest.mark.parametrize("group", range(GROUPS))
def test_second_local_track(bitstream, database, cell, group):
    """A ring on one more local track of its own tile."""
    if any((hop.group, hop.track) == (group, cell) for hop in HOPS.values()):
        pytest.skip("a track that the ring uses")
    set_code(bitstream.tiles[X, Y], logic_tile.local_bits(group, cell), logic_tile.OWN_OUTPUT)
    assert f"is on local_g{group}_{cell} as well" in named(check_bits(bitstream, NEAR))
    assert f"also reaches local_g{group}_{cell} of tile ({X}, {Y})" in named(check_trace(bitstream, NEAR, database))


@pytest.mark.parametrize("cell", RING_CELLS)
def test_foreign_listeners(bitstream, database, cell):
    """A neighbor that listens to a ring, in each of the eight directions."""
    for group, codes in enumerate(logic_tile.NEIGHBORS):
        for code, (dx, dy) in codes.items():
            place = (X - dx, Y - dy)
            neighbor = bitstream.tiles[place]
            bitstream.tiles[place] = copy.deepcopy(neighbor)
            set_code(bitstream.tiles[place], logic_tile.local_bits(group, cell), code)
            expected = f"is tapped in tile {place} by local_g{group}_{cell}"
            assert any(expected in f.message and (f.x, f.y) == (X, Y) for f in check_bits(bitstream, NEAR))
            expected = f"also reaches local_g{group}_{cell} of tile {place}"
            assert any(expected in f.message for f in check_trace(bitstream, NEAR, database))
            bitstream.tiles[place] = neighbor


@pytest.mark.parametrize(("net", "cell"), [key for key in HOPS if key[0] != "q"])
def test_second_listener_in_the_tile(bitstream, database, net, cell):
    """A free LUT input that listens to a ring."""
    hop = HOPS[net, cell]
    taken = {(c, h.pin) for (_, c), h in HOPS.items()}
    for listener in (2, 6):
        for pin in range(3):
            codes = [c for c in range(16) if logic_tile.input_source(listener, pin, c) == (hop.group, hop.track)]
            if codes and (listener, pin) not in taken:
                set_code(bitstream.tiles[X, Y], logic_tile.input_bits(listener, pin), codes[0])
                assert f"lutff_{listener}/in_{pin} listens to net {net}" in named(check_bits(bitstream, NEAR))
                assert f"also reaches lutff_{listener}:in_{pin}" in named(check_trace(bitstream, NEAR, database))
                set_code(bitstream.tiles[X, Y], logic_tile.input_bits(listener, pin), None)


def test_missing_select_line(bitstream):
    """A first stage with an open select input."""
    tile = bitstream.tiles[X, Y]
    for pin in range(3):
        on = logic_tile.input_bits(1, pin)[0]
        assert tile[on]
        found = named(flipped(bitstream, on, lambda: check_bits(bitstream, NEAR)))
        assert "lc1 has 2 inputs from outside instead of 3" in found


def test_two_drivers(bitstream, database):
    """A span wire that drives the track of a ring: the multiplexer takes one code only, so the ring is off it."""
    hop = HOPS["a1", 2]
    set_code(bitstream.tiles[X, Y], logic_tile.local_bits(hop.group, hop.track), 7)
    assert "net a1 is not on" in named(check_bits(bitstream, NEAR))
    assert f"net a1 does not reach {hop.local}" in named(check_trace(bitstream, NEAR, database))


def test_findings_are_counted_per_tile(bitstream, database):
    """Whole array, two spoiled tiles: 188 rings are left."""
    bitstream.tiles[X, Y].flip(*logic_tile.output_bits(1)[0])
    bitstream.tiles[X + 1, Y].flip(*logic_tile.cell_bits(5)[0])
    identity = check(bitstream, UP5K, database)
    assert (identity.rings, identity.identical) == (192, 188)
    assert f"tile ({X}, {Y}), by bits: net a1 drives span wires" in str(identity)
    assert f"tile ({X}, {Y}), by trace: net a1 also reaches" in str(identity)
