"""SPI engine against the model of the flash."""

from itertools import pairwise

import cocotb
import pytest
from cocotb.triggers import RisingEdge
from ringpair_hdl.store.spi import SpiEngine
from ringpair_protocol.nor import JEDEC_W25Q32, SECTOR, STATUS_BUSY, Command, NorFlash

from cocotb_tests.flash import FlashPins
from cocotb_tests.harness import Bench, simulate


class Spi:
    """Flash commands through the streams of the engine."""

    def __init__(self, bench, flash, **options):
        self.bench, self.dut, self.flash = bench, bench.dut, flash
        self.pins = FlashPins(bench, flash, **options)
        self.source = bench.driver("i", stall=bench.parameters["stall"])
        self.sink = bench.monitor("o", stall=bench.parameters["stall"])
        self.sink.idle = lambda: not int(self.dut.select.value)

    @classmethod
    async def start(cls, dut, **options):
        bench = await Bench.start(dut, period=dut_period())
        return cls(bench, NorFlash(size=2 * SECTOR), **options)

    async def command(self, data, answer=0):
        self.dut.select.value = 1
        await self.source.send(data)
        got = await self.sink.bytes(answer) if answer else b""
        self.dut.select.value = 0
        await self.bench.cycles(self.bench.random.choice((1, 2, 30)))
        return got

    async def write(self, data):
        await self.command([Command.WRITE_ENABLE])
        await self.command(data)
        polls = 0
        while (await self.command([Command.READ_STATUS], 1))[0] & STATUS_BUSY:
            polls += 1
            assert polls < 1000
        return polls


def dut_period():
    """Nanoseconds of a clock; the harness has parameters only after the start."""
    import json
    import os

    return json.loads(os.environ["RINGPAIR_PARAMETERS"])["period"]


def at(command, address):
    return bytes([command]) + address.to_bytes(3, "big")


@cocotb.test()
async def idle_in_reset(dut):
    bench = await Bench.start(dut, period=dut_period())
    dut.select.value = 1
    source = cocotb.start_soon(bench.driver("i").send(b"\xff\xff"))
    await bench.cycles(13)
    dut.rst.value = 1
    await bench.cycles(2)
    for _ in range(5):
        await bench.cycles(1)
        assert [int(pin.value) for pin in (dut.sck, dut.cs_n, dut.copi, dut.o__valid)] == [0, 1, 0, 0]
    source.cancel()


@cocotb.test()
async def commands(dut):
    spi = await Spi.start(dut, speedup=20)
    assert await spi.command([Command.JEDEC_ID], 3) == JEDEC_W25Q32
    data = spi.bench.random.randbytes(40)
    assert await spi.write(at(Command.PAGE_PROGRAM, 0x123) + data) >= 1
    assert await spi.command(at(Command.READ, 0x120), 46) == b"\xff\xff\xff" + data + b"\xff\xff\xff"
    assert spi.flash.memory[0x123 : 0x123 + 40] == data
    spi.pins.speedup = 1000
    assert await spi.write(at(Command.SECTOR_ERASE, 0)) >= 1
    assert await spi.command(at(Command.READ, 0x123), 4) == b"\xff" * 4
    assert spi.pins.shortest_high >= 4 * spi.bench.period


@cocotb.test()
async def reads_only_when_asked(dut):
    spi = await Spi.start(dut)
    spi.flash.memory[:5] = b"hello"
    dut.select.value = 1
    await spi.source.send(at(Command.READ, 0))
    for wait, byte in zip((0, 1, 5, 40, 100), b"hello", strict=True):
        await spi.bench.cycles(wait)
        assert await spi.sink.receive(1) == [byte]
    await spi.bench.cycles(100)
    assert len(spi.flash._input) == 9, "no clock without ready"
    dut.select.value = 0
    await spi.bench.cycles(40)
    assert int(dut.cs_n.value)


@cocotb.test()
async def deselect_finishes_the_byte(dut):
    """`select` may fall while the last byte goes out; a byte read and not taken is discarded."""
    spi = await Spi.start(dut)
    spi.flash.memory[:5] = b"hello"
    for _ in range(2):
        dut.select.value = 1
        await spi.source.send(at(Command.READ, 1))
        dut.o__ready.value = 1
        await spi.bench.cycles(20)  # in the middle of the first byte of the answer
        dut.o__ready.value = 0
        await spi.bench.cycles(20)
        assert int(dut.o__valid.value)
        dut.select.value = 0
        await spi.bench.cycles(1)
        dut.select.value = 1  # at once: the rest is kept
        await spi.source.send(at(Command.READ, 4))
        assert await spi.sink.bytes(1) == b"o"
        dut.select.value = 0
        await spi.bench.cycles(20)
        assert not int(dut.o__valid.value)


@cocotb.test()
async def speed(dut):
    spi = await Spi.start(dut)
    dut.select.value = 1
    await spi.source.send(at(Command.READ, 0))
    start = spi.bench.now()
    await spi.sink.receive(100)
    assert spi.bench.now() - start <= 100 * 18 + 20
    edge, dut.o__ready.value = RisingEdge(dut.sck), 1
    times = []
    for _ in range(8):
        await edge
        times.append(spi.bench.now())
    assert {b - a for a, b in pairwise(times)} <= {2, 3, 4}


@pytest.mark.parametrize("period", [83, 42])
@pytest.mark.parametrize("stall", [0, 0.7])
def test_spi(period, stall):
    tests = ["commands", "reads_only_when_asked", "deselect_finishes_the_byte", "idle_in_reset"]
    simulate(SpiEngine(), __name__, tests=tests, parameters={"stall": stall, "period": period})


def test_speed():
    simulate(SpiEngine(), __name__, tests=["speed"], parameters={"stall": 0, "period": 42})
