"""Which wires of the whole device lead from where secrets are to a pin: reachability in its flat netlist.

The netlist is that of Amaranth and Yosys before synthesis, flattened: every cell and memory of the device, nothing
else. An edge goes from each input of a cell to each output that it can influence: bit by bit for multiplexers, bitwise
logic and registers, else from all to all; a clock is not data. `reached` follows them from the secret sources, and
stops at the wires that are cut. `CUTS` are all ways that there are, each with what it may carry.
"""

import json
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from amaranth.back import rtlil

from formal.prove import YOSYS

TOP = "top"
RECIPE = f"read_rtlil top.il; hierarchy -top {TOP}; proc; flatten; opt_clean; memory_collect; write_json top.json"
BITWISE = {"$mux", "$and", "$or", "$xor", "$xnor", "$not", "$dff"}
"""Cells whose output bit depends on that bit of their inputs, and on a select of one bit."""
PINS = ("admin_tx", "peer_tx", "flash_sck", "flash_cs_n", "flash_copi", "led")
"""What leaves the chip; ``phase`` and ``idle`` exist in simulations only, the other outputs end at rings and noise."""


class Flat:
    """The flat netlist as a graph of bits.

    Parameters
    ----------
    module
        Of Yosys's ``write_json``.
    outside
        Its pins that are looked at.
    """

    def __init__(self, module: dict, outside: tuple[str, ...] = PINS):
        self.outside = outside
        self.nets = {name: tuple(net["bits"]) for name, net in module["netnames"].items()}
        self.ports = {name: tuple(port["bits"]) for name, port in module["ports"].items()}
        self.edges: dict[int, set[int]] = defaultdict(set)
        for cell in module["cells"].values():
            self._add(cell)

    @classmethod
    def of(cls, component, outside: tuple[str, ...] = PINS) -> "Flat":
        """Of an Amaranth component, by Yosys."""
        with tempfile.TemporaryDirectory(prefix="ringpair-") as folder:
            (Path(folder) / "top.il").write_text(rtlil.convert(component, name=TOP))
            subprocess.run([*YOSYS, "-q", "-p", RECIPE], cwd=folder, check=True, capture_output=True)
            return cls(json.loads((Path(folder) / "top.json").read_text())["modules"][TOP], outside)

    def _add(self, cell: dict) -> None:
        kind, wires = cell["type"], cell["connections"]
        if kind == "$scopeinfo":
            return
        outputs = [name for name, way in cell["port_directions"].items() if way == "output"]
        inputs = [name for name in wires if name not in outputs and not name.endswith("CLK")]
        for output in outputs:
            for number, bit in enumerate(wires[output]):
                for name in inputs:
                    row = wires[name]
                    same = kind in BITWISE and len(row) == len(wires[output])
                    for source in [row[number]] if same and not (name == "S" and len(row) == 1) else row:
                        if isinstance(source, int):
                            self.edges[source].add(bit)

    def bits(self, name: str) -> set[int]:
        """Of a net or port; KeyError if there is none."""
        row = self.ports.get(name) or self.nets[name]
        return {bit for bit in row if isinstance(bit, int)}

    def join(self, source: str, target: str) -> None:
        """One wire more, as a bug would have it: bit 0 of a net to bit 0 of another."""
        self.edges[self.nets[source][0]].add(min(self.bits(target)))

    def reached(self, sources: Sequence[str], cuts: Sequence[str]) -> set[int]:
        """Bits that sources lead to without passing a cut; the bits of a cut are reached, but nothing behind them."""
        stop = set().union(*map(self.bits, cuts)) if cuts else set()
        seen = set().union(*map(self.bits, sources))
        waiting = list(seen)
        while waiting:
            bit = waiting.pop()
            if bit not in stop:
                new = self.edges[bit] - seen
                seen |= new
                waiting += new
        return seen

    def pins(self, sources: Sequence[str], cuts: Sequence[str]) -> list[str]:
        """The pins that sources lead to."""
        reached = self.reached(sources, cuts)
        return [pin for pin in self.outside if reached & self.bits(pin)]

    def path(self, sources: Sequence[str], pin: str, cuts: Sequence[str]) -> list[str]:
        """Names of the nets on a shortest way to a pin; empty if there is none."""
        names: dict[int, str] = {}
        for name, row in self.nets.items():
            for bit in row:
                if isinstance(bit, int) and ("$" not in name or bit not in names):
                    names[bit] = name
        stop, goal = set().union(*map(self.bits, cuts)) if cuts else set(), self.bits(pin)
        origin = dict.fromkeys(set().union(*map(self.bits, sources)))
        waiting = list(origin)
        for bit in waiting:
            if bit in goal:
                way = [bit]
                while (last := origin[way[-1]]) is not None:
                    way.append(last)
                return [names.get(step, "?") for step in reversed(way)]
            for following in self.edges[bit] if bit not in stop else ():
                if following not in origin:
                    origin[following] = bit
                    waiting.append(following)
        return []


SOURCES = {
    "ring counts": ("rings__count",),
    "PUF engine: counts, margins, bits": ("puf.datapath.data", "puf.datapath.margin"),
    "noise": ("trng_sample",),
    "state of the sponge": tuple(f"sponge.modes.sponge.state.x{k}" for k in range(5)),
}
"""Where secrets come from: ports and nets of the flat device."""

CUTS = {
    "sequencer.exchange.memory": "a byte of the scratchpad: what the program moves (`formal/secrecy.py`)",
    "sequencer.exchange.match": "one bit: whether a whole run of bytes was equal",
    "puf.cmd__ready": "when the PUF engine has ended its command: the time of the search shows its tries",
    "puf.exhausted": "one bit: the search found nothing",
    "puf.dead": "one bit: a ring stands still",
    "sequencer.exchange.puf_o__valid": "when the PUF engine has a byte",
    "sequencer.exchange.puf_i__ready": "when the PUF engine takes a byte",
    "trng.alarm": "one bit: a health test failed",
    "sequencer.exchange.trng_o__valid": "when eight samples are there, and whether an alarm was",
}
"""All wires by which something of the sources can come to a pin, and what they carry. The sponge needs none of its own:
its bytes go to the scratchpad and the comparison only, its times depend on no data (`formal/test_ascon.py`)."""

FULL_PINS = (*PINS, "segments", "right_digit")
FULL_SOURCES = SOURCES | {
    "curve engine: products, sums, operands": ("curve.multiplier.p", "curve.accumulator", "curve.port_b__data"),
    "shelf": ("shelf.o__payload",),
}
FULL_CUTS = {
    "sequencer.exchange.memory": (
        "a byte of the scratchpad: what the program moves (`formal/secrecy.py`), to engines, shelf and display, too"
    ),
    "sequencer.exchange.match": CUTS["sequencer.exchange.match"],
    "sequencer.puf_cmd__ready": (
        "when PUF engine or curve engine has ended its command: tries of the search; which signature was verified"
    ),
    "puf.exhausted": CUTS["puf.exhausted"],
    "puf.dead": CUTS["puf.dead"],
    "from_puf.i__valid": "when PUF engine, curve engine, shelf or display has a byte",
    "to_puf.o__ready": "when one of them takes a byte",
    "trng.alarm": CUTS["trng.alarm"],
    "sequencer.exchange.trng_o__valid": CUTS["sequencer.exchange.trng_o__valid"],
}
"""The same of the profile `FULL`. Bytes of curve engine and shelf come to the scratchpad and the comparison only."""
