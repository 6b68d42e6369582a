"""Where the bits of an iCE40 logic tile are that decide what a ring is: 16 rows of 54 columns.

The tables of Project IceStorm list some 1 600 combinations a tile. What a ring needs of them follows a few rules,
written down here once more and independently of the chip database of nextpnr; a test holds the two against each
other.

Every multiplexer has five bits, one to switch it on and a four-bit code, in one of four shapes::

    columns   c   c+1 c+2 c+3 c+4      c+5 c+6 c+7 c+8 c+9
    even row  0:2  1:4 1:8 1:on 1:2    3:2 3:on 3:8 3:4 2:2       shape:weight of the bit in the code
    odd row   0:1  0:4 0:8 0:on 1:1    3:1 2:on 2:8 2:4 2:1
"""

from .asc import Tile

__all__ = [
    "CARRY_BITS",
    "CLOCK_CODES",
    "NEIGHBORS",
    "OWN_OUTPUT",
    "cascade_bit",
    "cell_bits",
    "cell_config",
    "clock_bits",
    "control_bits",
    "input_bits",
    "input_source",
    "local_bits",
    "output_bits",
    "selected",
    "truth_table",
]

Bit = tuple[int, int]

SHAPES: tuple[tuple[Bit, Bit, Bit, Bit, Bit], ...] = (
    ((1, 3), (1, 2), (1, 1), (0, 0), (1, 0)),
    ((0, 3), (0, 2), (0, 1), (0, 4), (1, 4)),
    ((1, 6), (1, 7), (1, 8), (0, 9), (1, 9)),
    ((0, 6), (0, 7), (0, 8), (0, 5), (1, 5)),
)
"""Per shape the place of the on bit and of the code's bits of weight 8, 4, 2, 1, relative to (even row, column c)."""

OWN_OUTPUT = 2
"""Code of a local track for the output of the cell of the same number in its own tile."""

NEIGHBORS: tuple[dict[int, tuple[int, int]], ...] = (
    {3: (1, -1), 4: (0, -1), 5: (0, 1), 6: (-1, 0)},
    {3: (1, -1), 4: (0, -1), 5: (0, 1), 6: (-1, 0)},
    {3: (-1, -1), 4: (1, 1), 5: (-1, 1), 6: (1, 0)},
    {3: (-1, -1), 4: (1, 1), 5: (-1, 1), 6: (1, 0)},
)
"""Per group of local tracks: codes for the outputs of neighboring tiles, and where (dx, dy) those lie. RAM tiles
have the same."""

CLOCK_CODES = {(0, 0): 4, (1, 1): 5, (2, 0): 6, (3, 1): 7}
"""Per local track that can be the tile clock: its code in the clock multiplexer (codes 0..3, 8..11: global
networks)."""

LUT_ORDER = (4, 14, 15, 5, 6, 16, 17, 7, 3, 13, 12, 2, 1, 11, 10, 0)
CELL_FLAGS = {8: "carry", 9: "flip-flop", 18: "set", 19: "asynchronous"}
OUTPUT_COLUMNS = (46, 47, 48, 51, 52, 53)


def _shaped(shape: int, row: int, column: int) -> list[Bit]:
    return [(row + dr, column + dc) for dr, dc in SHAPES[shape]]


def local_bits(group: int, track: int) -> list[Bit]:
    """Bits of local track ``local_g{group}_{track}``: on, then the code from its highest bit down."""
    return _shaped(track % 4, 4 * group + 2 * (track // 4), 14 if track % 4 < 2 else 16)


def input_bits(cell: int, pin: int) -> list[Bit]:
    """Bits of LUT input ``lutff_{cell}/in_{pin}``: on, then the code from its highest bit down."""
    return _shaped(pin, 2 * cell, 26)


def input_source(cell: int, pin: int, code: int) -> tuple[int, int] | None:
    """Local track (group, track) that a code of a LUT input stands for; None: the carry chain."""
    group, track = code >> 2, 2 * (code & 3)
    track += (cell + pin + group) % 2
    return None if pin == 3 and group == 0 and track < 2 else (group, track)


def clock_bits() -> list[Bit]:
    """Bits of the tile clock: on, then a code; see `CLOCK_CODES`."""
    return [(2, 2), (2, 1), (3, 2), (2, 0), (3, 0)]


def control_bits() -> list[Bit]:
    """Clock inversion, and the multiplexers of clock enable and set/reset of the tile."""
    return [(0, 0), *((row, column) for row in (4, 5, 14, 15) for column in (0, 1))]


CARRY_BITS: list[Bit] = [(1, 49), (1, 50)]
"""Carry into the tile: from the tile below, or a constant 1."""


def cascade_bit(cell: int) -> Bit:
    """The bit that feeds the LUT of the cell below into input 2 of this one; cells 1..7."""
    return 2 * cell, 50


def output_bits(cell: int) -> list[Bit]:
    """The switches from a cell's output to the twelve span wires it can drive."""
    return [(2 * cell + row, column) for row in (0, 1) for column in OUTPUT_COLUMNS]


def cell_bits(cell: int) -> list[Bit]:
    """The 20 bits of a logic cell, in the order of IceStorm's LC_n."""
    return [(2 * cell + row, column) for row in (0, 1) for column in range(36, 46)]


def selected(tile: Tile, bits: list[Bit]) -> int | None:
    """Code of a multiplexer, or None when it is off."""
    on, *code = bits
    if not tile[on]:
        return None
    return sum(tile[bit] << weight for weight, bit in enumerate(reversed(code)))


def truth_table(tile: Tile, cell: int) -> int:
    """Truth table of a cell's LUT over its physical inputs: bit n is the output for inputs n = in_3 in_2 in_1 in_0."""
    bits = cell_bits(cell)
    return sum(tile[bits[place]] << n for n, place in enumerate(LUT_ORDER))


def cell_config(tile: Tile, cell: int) -> set[str]:
    """The flags of a cell that are set: ``carry``, ``flip-flop``, ``set``, ``asynchronous``."""
    bits = cell_bits(cell)
    return {name for place, name in CELL_FLAGS.items() if tile[bits[place]]}
