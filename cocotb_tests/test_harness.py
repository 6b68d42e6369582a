"""The harness itself: stalled streams arrive whole, and what must fail does fail."""

import cocotb
import pytest
from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from cocotb_tests import harness
from cocotb_tests.harness import Bench, simulate


class Item(data.Struct):
    data: 8
    end: 1


class Increment(wiring.Component):
    """One register: o is i + 1, items with `end` are dropped."""

    i: In(stream.Signature(Item))
    o: Out(stream.Signature(8))
    clear: In(1)

    def elaborate(self, platform):
        m = Module()
        with m.If(~self.o.valid | self.o.ready):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += self.o.valid.eq(self.i.valid & ~self.i.payload.end)
            m.d.sync += self.o.payload.eq(self.i.payload.data + 1)
        with m.If(self.clear):
            m.d.sync += self.o.valid.eq(0)
        return m


@cocotb.test()
async def increments(dut):
    bench = await Bench.start(dut)
    source = bench.driver("i", shape=Item, stall=bench.parameters["stall"])
    sink = bench.monitor("o", stall=bench.parameters["stall"])
    values = bench.random.randbytes(200)
    items = [{"data": value, "end": 0} for value in values] + [{"data": 0, "end": 1}]
    sending = cocotb.start_soon(source.send(items))
    started = bench.now()
    assert await sink.bytes(len(values)) == bytes((value + 1) & 0xFF for value in values)
    assert (bench.now() - started == 201) == (bench.parameters["stall"] == 0)
    await sending


@cocotb.test()
async def starves(dut):
    bench = await Bench.start(dut)
    await bench.monitor("o").receive(1, limit=20)


@cocotb.test()
async def withdraws(dut):
    """The offered item changes without transfer: reset by the test's own hand, unseen by the monitor's `idle`."""
    bench = await Bench.start(dut)
    sink = bench.monitor("o")
    sink.idle = lambda: False
    await bench.driver("i", shape=Item).send([{"data": 1, "end": 0}])
    await bench.cycles(3)
    await bench.pulse("clear")
    await bench.cycles(3)


@pytest.fixture(autouse=True)
def runs(monkeypatch, tmp_path):
    """Failures here are intended: their directories are not kept."""
    monkeypatch.setattr(harness, "RUNS", tmp_path)


@pytest.mark.parametrize("stall", [0, 0.4])
def test_increments(stall):
    simulate(Increment(), __name__, tests=["increments"], parameters={"stall": stall})


def test_failure_names_the_test():
    with pytest.raises(AssertionError, match=r"failed: starves \(of 1\)[^$]*0 of 1 items within 20 cycles"):
        simulate(Increment(), __name__, tests=["starves"])


def test_withdrawn_item_is_caught():
    with pytest.raises(AssertionError, match=r"failed: withdraws[^$]*was offered, then None"):
        simulate(Increment(), __name__, tests=["withdraws"])


def test_unknown_test():
    with pytest.raises(AssertionError, match="no such cocotb tests: nonesuch"):
        simulate(Increment(), __name__, tests=["nonesuch"])


def test_icarus_missing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="apt-get install iverilog"):
        simulate(Increment(), __name__)
