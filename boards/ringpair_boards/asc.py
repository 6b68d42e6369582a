"""Reader of IceStorm's text bitstream (`.asc`): tiles of bits, before they are packed.

Each tile is a grid of bits. `(row, column)` of a bit are the numbers that IceStorm's documentation gives as
B<row>[<column>].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Bitstream", "Tile"]

TILE_COMMANDS = (
    "io_tile",
    "logic_tile",
    "ramb_tile",
    "ramt_tile",
    "dsp0_tile",
    "dsp1_tile",
    "dsp2_tile",
    "dsp3_tile",
    "ipcon_tile",
)


@dataclass
class Tile:
    """The bits of one tile; `kind` is its name in the file, as in ``"logic_tile"``."""

    kind: str
    rows: list[bytearray]

    def __getitem__(self, bit: tuple[int, int]) -> bool:
        row, column = bit
        return bool(self.rows[row][column])

    def flip(self, row: int, column: int) -> None:
        self.rows[row][column] ^= 1

    def bits(self) -> Iterator[tuple[int, int]]:
        """The bits that are 1."""
        for row, values in enumerate(self.rows):
            for column, value in enumerate(values):
                if value:
                    yield row, column


@dataclass
class Bitstream:
    """A whole `.asc`: the die (``"5k"``, ``"8k"``, …), its tiles, and which block RAMs have contents."""

    die: str = ""
    tiles: dict[tuple[int, int], Tile] = field(default_factory=dict)
    rams: set[tuple[int, int]] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> "Bitstream":
        return cls.parse(path.read_text())

    @classmethod
    def parse(cls, text: str) -> "Bitstream":
        """Read the text of an `.asc`.

        Raises
        ------
        ValueError
            If it is none, or has no device.
        """
        bitstream = cls()
        rows: list[bytearray] | None = None
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("."):
                command, *words = line[1:].split()
                rows = None
                if command == "device":
                    (bitstream.die,) = words
                elif command == "ram_data":
                    x, y = map(int, words)
                    bitstream.rams.add((x, y))
                elif command in TILE_COMMANDS:
                    x, y = map(int, words)
                    rows = []
                    bitstream.tiles[x, y] = Tile(command, rows)
            elif rows is not None and line:
                if line.strip("01"):
                    raise ValueError(f"line {number}: expected a row of bits of a tile, got {line[:40]!r}")
                rows.append(bytearray(c == "1" for c in line))
        if not bitstream.die or not bitstream.tiles:
            raise ValueError("not an .asc file of nextpnr-ice40: it names no device or has no tiles")
        return bitstream
