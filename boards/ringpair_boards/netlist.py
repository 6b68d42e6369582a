"""What the synthesized netlist must not contain, and what it consists of.

The place-and-route tool is told to ignore combinational loops, because the rings are such; so every loop is looked
for here, and only named rings may be one.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ringpair_hdl.puf.ring_array import Floorplan
from ringpair_hdl.puf.rings import contains_simulated_rings
from ringpair_hdl.puf.tile import RING_ATTRIBUTE, ring_name

__all__ = ["Netlist", "ring_names"]

COMBINATIONAL = {
    "SB_LUT4": (("I0", "I1", "I2", "I3"), ("O",)),
    "SB_CARRY": (("I0", "I1", "CI"), ("CO",)),
    "SB_GB": (("USER_SIGNAL_TO_GLOBAL_BUFFER",), ("GLOBAL_BUFFER_OUTPUT",)),
    "SB_MAC16": (("A", "B", "C", "D"), ("O",)),
}


def ring_names(floorplan: Floorplan) -> set[str]:
    """The names of all rings of a floorplan, as the netlist carries them."""
    halves = range(len(floorplan.kind.loops))
    return {ring_name(site.x, site.y, half) for site in floorplan.sites() for half in halves}


@dataclass(frozen=True)
class Netlist:
    """The flat netlist of Yosys's `write_json`.

    Attributes
    ----------
    cells : mapping
        Cells by name, as Yosys writes them. Registers and instances of the source have the attribute ``BLOCK``: the
        hierarchical name of the module that they come from.
    simulated : bool
        Whether the simulated source of ring counts is in it.
    """

    cells: Mapping[str, Any]
    simulated: bool = False

    @classmethod
    def read(cls, path: Path, top: str = "top") -> "Netlist":
        """Read the file of `write_json`."""
        text = path.read_text()
        cells = json.loads(text)["modules"][top]["cells"]
        return cls(
            {name: cell for name, cell in cells.items() if cell["type"] != "$scopeinfo"},
            simulated=contains_simulated_rings(text),
        )

    # ------------------------------------------------------------------------------------------------------- checks

    def problems(self, rings: set[str]) -> Iterator[str]:
        """Everything that forbids to put this netlist on a chip; `rings` are the names of the rings it must have."""
        if self.simulated:
            yield "the simulated source of ring counts is in the netlist: it must never be on a chip"
        found = Counter()
        for loop in self.loops():
            names = {self.cells[cell]["attributes"].get(RING_ATTRIBUTE) for cell in loop}
            if len(names) == 1 and None not in names:
                found[names.pop()] += 1
            else:
                yield f"combinational loop that is not a named ring: {_listed(loop)}"
        for name, count in found.items():
            if count > 1:
                yield f"{count} loops are called ring {name}"
        missing = rings - set(found)
        if missing:
            yield f"{len(missing)} rings are not in the netlist or do not close: {_listed(missing)}"
        self_named = {
            cell["attributes"][RING_ATTRIBUTE] for cell in self.cells.values() if RING_ATTRIBUTE in cell["attributes"]
        }
        broken = self_named - set(found) - rings
        if broken:
            yield f"named rings that do not close: {_listed(broken)}"

    def loops(self) -> list[list[str]]:
        """Combinational loops: the strongly connected components of the cells that hold no state."""
        driver, successors = {}, {}
        for name, cell in self._combinational():
            for port in COMBINATIONAL[cell["type"]][1]:
                for bit in cell["connections"].get(port, ()):
                    driver[bit] = name
        for name, cell in self._combinational():
            for port in COMBINATIONAL[cell["type"]][0]:
                for bit in cell["connections"].get(port, ()):
                    if bit in driver:
                        successors.setdefault(driver[bit], set()).add(name)
        return _components(successors)

    def _combinational(self) -> Iterator[tuple[str, Any]]:
        for name, cell in self.cells.items():
            if cell["type"] in COMBINATIONAL and not _registered(cell):
                yield name, cell


def _registered(cell: Any) -> bool:
    """Whether a DSP has registers on all its inputs or on its output, so that no signal runs through it."""
    if cell["type"] != "SB_MAC16":
        return False
    parameters = {name: int(value, 2) for name, value in cell["parameters"].items() if set(value) <= {"0", "1"}}
    inputs = all(parameters.get(f"{port}_REG", 0) for port in "ABCD")
    outputs = all(parameters.get(f"{half}OUTPUT_SELECT", 0) == 1 for half in ("TOP", "BOT"))
    return inputs or outputs


def _components(successors: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components with a cycle (Tarjan, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    components = []
    for root in successors:
        if root in index:
            continue
        work = [(root, iter(sorted(successors.get(root, ()))))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for following in rest:
                if following not in index:
                    index[following] = low[following] = len(index)
                    stack.append(following)
                    on_stack.add(following)
                    work.append((following, iter(sorted(successors.get(following, ())))))
                    break
                if following in on_stack:
                    low[node] = min(low[node], index[following])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = []
                    while not component or component[-1] != node:
                        component.append(stack.pop())
                        on_stack.discard(component[-1])
                    if len(component) > 1 or node in successors.get(node, ()):
                        components.append(sorted(component))
    return components


def _listed(names: Any) -> str:
    names = sorted(names)
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
