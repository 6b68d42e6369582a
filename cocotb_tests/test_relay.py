"""The relay passes every item once, in order, three cycles each, and forgets one when told."""

import cocotb
import pytest
from ringpair_hdl.relay import Relay

from cocotb_tests.harness import Bench, simulate


@cocotb.test()
async def passes(dut):
    bench = await Bench.start(dut)
    items = list(bench.random.randbytes(200))
    stall = bench.parameters["stall"]
    sending = cocotb.start_soon(bench.driver("i", stall=stall).send(items))
    began = bench.now()
    assert await bench.monitor("o", stall=stall).receive(len(items)) == items
    took = bench.now() - began
    await sending
    if not stall:
        assert 3 * len(items) - 2 <= took <= 3 * len(items) + 2


@cocotb.test()
async def forgets(dut):
    bench = await Bench.start(dut)
    for ready in (0, 1):
        dut.i__valid.value, dut.o__ready.value = 1, ready
        await bench.cycles(2)
        dut.i__valid.value = 0
        await bench.pulse("clear")
        for _ in range(4):
            await bench.cycles()
            assert (int(dut.o__valid.value), int(dut.i__ready.value)) == (0, 0)


@pytest.mark.parametrize("stall", [0, 0.5])
def test_relay(stall):
    simulate(Relay(), __name__, parameters={"stall": stall})
