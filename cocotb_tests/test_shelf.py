"""The shelf keeps what is put on it, unit by unit, and gives it back from any unit on."""

import cocotb
import pytest
from ringpair_hdl.store.shelf import UNIT, UNITS, Shelf

from cocotb_tests.harness import Bench, simulate


@cocotb.test()
async def keeps(dut):
    bench = await Bench.start(dut)
    stall = bench.parameters["stall"]
    contents = bytearray(bench.random.randbytes(UNIT * UNITS))

    async def choose(unit):
        await bench.driver("cmd").send([unit])

    async def take(count):
        """Without the harness's monitor: what is offered is withdrawn when bytes are given or a unit is chosen."""
        taken = bytearray()
        while len(taken) < count:
            ready = bench.random.random() >= stall
            dut.o__ready.value = ready
            await bench.cycles()
            if ready and int(dut.o__valid.value):
                taken.append(int(dut.o__payload.value))
        dut.o__ready.value = 0
        return taken

    await choose(0)
    await bench.driver("i", stall=stall).send(list(contents))
    for _ in range(20):
        unit, length = bench.random.randrange(UNITS), bench.random.randrange(1, 100)
        place = slice(unit * UNIT, min(unit * UNIT + length, len(contents)))
        await choose(unit)
        if bench.random.random() < 0.5:
            contents[place] = bench.random.randbytes(place.stop - place.start)
            await bench.driver("i", stall=stall).send(list(contents[place]))
        else:
            assert await take(place.stop - place.start) == contents[place]


@pytest.mark.parametrize("stall", [0, 0.5])
def test_shelf(stall):
    simulate(Shelf(), __name__, parameters={"stall": stall})
