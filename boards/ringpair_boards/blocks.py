"""The account of logic cells: how many each block of the design takes, with a sum that is exact.

Synthesis flattens the design and most LUTs lose their names on the way, so they are told by what they do: a
flip-flop belongs to the module that describes it, a LUT to the flip-flop whose cell it shares, else to the block of
the nearest registers it feeds.
"""

import re
from collections import Counter, defaultdict, deque

from .netlist import Netlist

__all__ = ["cells_per_block", "rams_per_block"]

TILE = re.compile(r"\btile_\d+_\d+\b")
SUFFIX = re.compile(r"\$\d+")
REGISTER, LUT, RAM = "SB_DFF", "SB_LUT4", "SB_RAM40_4K"
CLOCK_PINS = frozenset({"C", "RCLK", "WCLK"})
TRANSPARENT = frozenset({LUT, "SB_CARRY", "SB_GB"})


def cells_per_block(netlist: Netlist, depth: int = 2) -> dict[str, int]:
    """Logic cells per block, largest first, down to a depth of the hierarchy.

    A LUT and a flip-flop share a cell when the LUT feeds nothing else. Cells that only carry a bit of an adder, or
    that nextpnr adds when it packs, are not counted: a few per adder.
    """
    return _Account(netlist).cells(depth)


def rams_per_block(netlist: Netlist, depth: int = 2) -> dict[str, int]:
    """Block RAMs per block, most first."""
    count = Counter(_cut(_ram_block(name), depth) for name, cell in netlist.cells.items() if cell["type"] == RAM)
    return dict(sorted(count.items(), key=lambda item: (-item[1], item[0])))


class _Account:
    def __init__(self, netlist: Netlist):
        self.netlist = netlist
        self.sinks: dict[int, list[str]] = defaultdict(list)
        self.lut_of_bit: dict[int, str] = {}
        for name, cell in netlist.cells.items():
            for port, direction in cell.get("port_directions", {}).items():
                if direction == "input" and port not in CLOCK_PINS:
                    for bit in cell["connections"].get(port, ()):
                        self.sinks[bit].append(name)
            if cell["type"] == LUT:
                for bit in cell["connections"]["O"]:
                    self.lut_of_bit[bit] = name
        self.known = {
            name: cell["attributes"]["BLOCK"] for name, cell in netlist.cells.items() if "BLOCK" in cell["attributes"]
        }
        self.blocks = set(self.known.values())
        self.known.update((name, _ram_block(name)) for name, cell in netlist.cells.items() if cell["type"] == RAM)

    def cells(self, depth: int) -> dict[str, int]:
        count: Counter[str] = Counter()
        packed = set()
        for name, cell in self.netlist.cells.items():
            if cell["type"].startswith(REGISTER):
                count[_cut(self.known.get(name) or self._called(name), depth)] += 1
                (bit,) = cell["connections"]["D"]
                if len(self.sinks[bit]) == 1:
                    packed.add(self.lut_of_bit.get(bit))
        for name, cell in self.netlist.cells.items():
            if cell["type"] == LUT and name not in packed:
                count[_cut(self.known.get(name) or self._fed(name) or self._called(name), depth)] += 1
        return dict(sorted(count.items(), key=lambda item: (-item[1], item[0])))

    def _called(self, name: str) -> str:
        """Block by the name that synthesis gave a cell, for those few of which nothing else is known."""
        parts = f"top.{name}".split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1))
        return next((prefix for prefix in prefixes if prefix in self.blocks), "")

    def _fed(self, name: str) -> str:
        """Block of the nearest known cell that a cell feeds; of several as near, the one it feeds most."""
        queue, seen = deque([(name, 0)]), {name}
        nearest, found = None, Counter[str]()
        while queue:
            cell, distance = queue.popleft()
            if nearest is not None and distance > nearest:
                break
            if cell in self.known and cell != name:
                nearest = distance
                found[self.known[cell]] += 1
                continue
            description = self.netlist.cells[cell]
            if description["type"] not in TRANSPARENT:
                continue
            for port, direction in description.get("port_directions", {}).items():
                for bit in description["connections"].get(port, ()) if direction == "output" else ():
                    for sink in self.sinks[bit]:
                        if sink not in seen:
                            seen.add(sink)
                            queue.append((sink, distance + 1))
        return min(found, key=lambda block: (-found[block], block)) if found else ""


def _ram_block(name: str) -> str:
    """Block of a RAM cell, which is called by its memory and two numbers: ``device.sequencer.code.0.11``."""
    return "top." + name.rsplit(".", 3)[0]


def _cut(block: str, depth: int) -> str:
    """Name of the block without the top's and without the numbers that Amaranth adds to names it met before, down to
    a depth; all ring tiles are one block.
    """
    block = SUFFIX.sub("", TILE.sub("tiles", block))
    return ".".join(block.split(".")[1 : 1 + depth]) or "(top)"
