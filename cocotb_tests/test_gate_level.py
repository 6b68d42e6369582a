"""Blocks after synthesis for iCE40, in Icarus, with Yosys's own models of the cells.

The netlist comes from the recipe of the builds. In it nothing has a name but the ports, registers start at 0 as on the
chip, and what a block RAM shows before its first read is unknown.
"""

import copy
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import cocotb
import pytest
from ringpair_boards.gate_level import GateLevel, GateLevelError, cell_models, lut, synthesize, verilog
from ringpair_hdl.ascon import AsconModes, Item, Start

from cocotb_tests.harness import BUILD, RUNS, TOP, Bench, run_icarus, verdict, waves
from cocotb_tests.test_ascon import KEY, NONCE, aead, hash_family, random_operation
from cocotb_tests.test_puf import Puf

NETLISTS = BUILD.parent / "gate-level"
LIMIT = 5000
"""Cycles within which an operation has to end: a broken netlist may wait for ever, and cycles are slow here."""


def compiled(netlist):
    """Directory with the compiled simulation of a netlist."""
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="gates-", dir=BUILD))
    sources = {"netlist.sv": verilog(netlist, folder), "cells.v": cell_models(netlist)}
    build = BUILD / f"gates-{hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:20]}"
    if build.exists():
        shutil.rmtree(folder)
        return build
    for name, text in sources.items():
        (folder / name).write_text(text)
    (folder / "timescale.f").write_text("+timescale+1ns/1ps\n")
    command = ["iverilog", "-g2012", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-o", "sim.vvp", "-s", TOP, "-f", "timescale.f"]
    subprocess.run([*command, *sources], cwd=folder, check=True)
    folder.rename(build)
    return build


def simulate(netlist, module, tests, parameters=None):
    """Run cocotb tests of a module on a netlist."""
    build = compiled(netlist)
    RUNS.mkdir(parents=True, exist_ok=True)
    run = Path(tempfile.mkdtemp(prefix="gates-", dir=RUNS))
    directions = {name: port["direction"] for name, port in netlist["ports"].items()}
    inputs = [name for name, direction in directions.items() if direction == "input" and name not in ("clk", "rst")]
    environment = {
        "RINGPAIR_INPUTS": json.dumps(inputs),
        "RINGPAIR_PARAMETERS": json.dumps(parameters or {}),
        "RINGPAIR_SEED": os.environ.get("RINGPAIR_SEED", "1"),
        "COCOTB_ANSI_OUTPUT": "0",
    }
    run_icarus(build, run, module, tests, environment)
    verdict(run, tests)
    if not waves():
        shutil.rmtree(run)


# ---------------------------------------------------------------------------------------------------------- in Icarus


class Ascon:
    """The three streams of `AsconModes`."""

    @classmethod
    async def start(cls, dut):
        self = cls()
        self.bench = await Bench.start(dut)
        self.cmd = self.bench.driver("cmd", shape=Start)
        self.i = self.bench.driver("i", shape=Item)
        self.o = self.bench.monitor("o", stable=False)
        return self

    async def check(self, operation):
        await self.cmd.send([operation.start])
        sending = cocotb.start_soon(self.i.send(operation.feed, limit=LIMIT))
        output = await self.o.bytes(len(operation.expected), limit=LIMIT)
        await sending
        assert output == operation.expected, f"{operation.start}: {output.hex()}, expected {operation.expected.hex()}"


@cocotb.test()
async def answers(dut):
    """Typed-in answers of the designers' files."""
    ascon = await Ascon.start(dut)
    for operation, answer in (
        (hash_family("hash", b""), "0b3be5850f2f6b98caf29f8fdea89b64a1fa70aa249b8f839bd53baa304d92b2"),
        (hash_family("xof", b"\0", 16), "51430e0438ecdf642b393630d977625f"),
        (hash_family("cxof", b"", 16, b""), "4f50159ef70bb3dad8807e034eaebd44"),
        (aead(KEY, NONCE, b"", b""), "4f9c278211bec9316bf68f46ee8b2ec6"),
        (aead(KEY, NONCE, b"012", b' !"'), "66d0d5790a715044a3e616d441c1790951404a"),
    ):
        operation.expected = bytes.fromhex(answer)
        await ascon.check(operation)


@cocotb.test()
async def stalled(dut):
    """Random operations with bytes and output held up."""
    ascon = await Ascon.start(dut)
    for number in range(ascon.bench.parameters["operations"]):
        ascon.i.stall, ascon.o.stall = ((0, 0), (0.5, 0), (0, 0.5), (0.7, 0.7))[number % 4]
        await ascon.check(random_operation(ascon.bench.random))


# ---------------------------------------------------------------------------------------------------------- tests


@pytest.fixture(scope="module")
def sponge():
    return synthesize(AsconModes(mapped=True), NETLISTS)


def test_ascon(sponge):
    simulate(sponge, __name__, ["answers", "stalled"], {"operations": 60})


def test_puf():
    """The PUF engine, its search and its reader: the tests of the block as it is written."""
    simulate(synthesize(Puf(), NETLISTS), "cocotb_tests.test_puf", ["enrolls_and_reconstructs"])


@pytest.mark.parametrize("number", [0, 777])
def test_a_flipped_bit_of_a_lut_is_seen(sponge, number):
    netlist = copy.deepcopy(sponge)
    names = sorted(name for name, cell in netlist["cells"].items() if cell["type"] == "SB_LUT4")
    parameters = netlist["cells"][names[number]]["parameters"]
    parameters["LUT_INIT"] = f"{int(parameters['LUT_INIT'], 2) ^ 1 << 5:016b}"
    with pytest.raises(AssertionError, match="failed: "):
        simulate(netlist, __name__, ["answers", "stalled"], {"operations": 8})


# ---------------------------------------------------------------------------------------------------------- the model
# in C++


def test_luts():
    """Every truth table a netlist is likely to have, and some others, against its own bits."""
    likely = (0x0000, 0xFFFF, 0xAAAA, 0x5555, 0x6996, 0xACAC, 0xCACA, 0x8000, 0xFFFE, 0xFF00, 0x00FF)
    for table in (*likely, *range(1, 1 << 16, 331)):
        for row in range(16):
            inputs = (str(row >> place & 1) for place in range(4))
            assert eval(lut(table)(*inputs).replace("u", "")) == table >> row & 1, (table, row)


def cells(*cells, ports=()):
    """A netlist by hand."""
    everything = {"clk": ("input", [2]), **dict(ports)}
    return {
        "ports": {name: {"direction": direction, "bits": bits} for name, (direction, bits) in everything.items()},
        "cells": {f"cell{number}": cell for number, cell in enumerate(cells)},
    }


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"type": "SB_HFOSC", "connections": {}}, "expected cells that are modeled, got the SB_HFOSC cell0"),
        ({"type": "SB_DFFN", "connections": {"C": [2], "Q": [3], "D": [3]}}, "got the SB_DFFN cell0"),
        ({"type": "SB_DFF", "connections": {"C": [4], "Q": [3], "D": [3]}}, "expected the clock clk at C of cell0"),
        (
            {"type": "SB_LUT4", "parameters": {"LUT_INIT": "01"}, "connections": {"O": [3], "I0": [3]}},
            "expected no combinational loop",
        ),
    ],
)
def test_what_is_not_modeled(cell, message):
    with pytest.raises(GateLevelError, match=message):
        GateLevel(cells(cell))
