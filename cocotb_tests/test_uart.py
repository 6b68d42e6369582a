"""Serial line, receiver and transmitter."""

import cocotb
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from ringpair_hdl.link.uart import BitClock, UartReceiver, UartTransmitter, check_divisor, divisor_of, register

from cocotb_tests.harness import Bench, simulate
from cocotb_tests.line import Line

DIVISORS = [4, 5, 12_000_000 // 115_200, 24_000_000 // 115_200]


class Sender(wiring.Component):
    """A transmitter with its clock, behind a stream."""

    i: In(stream.Signature(8))
    tx: Out(1)
    empty: Out(1)

    def __init__(self, divisor):
        self.divisor = divisor
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.clock = clock = BitClock(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter()
        m.d.comb += [
            transmitter.tick.eq(clock.tick),
            transmitter.data.eq(self.i.payload),
            transmitter.load.eq(self.i.valid & self.i.ready),
            self.i.ready.eq(transmitter.empty),
            self.empty.eq(transmitter.empty),
            self.tx.eq(transmitter.tx),
        ]
        return m


class Received:
    """Collects the strobes of a receiver."""

    def __init__(self, bench):
        self.bench, self.bytes, self.errors = bench, bytearray(), 0
        cocotb.start_soon(self.run())

    async def run(self):
        dut = self.bench.dut
        while True:
            await self.bench.cycles()
            if int(dut.valid.value):
                self.bytes.append(int(dut.data.value))
            self.errors += int(dut.error.value)


async def line_only_in(bench, **options):
    """Line of a receiver: its own input takes the place of the output."""
    return await Line.start(bench, bench.parameters["divisor"], tx="rx", **options)


@cocotb.test()
async def receives(dut):
    bench = await Bench.start(dut)
    divisor = bench.parameters["divisor"]
    for skew in (-0.02, 0, 0.02):
        line, received = await line_only_in(bench, skew=skew), Received(bench)
        data = bytes([0, 0xFF, 0x55, 0xAA, 1, 0x80]) + bench.random.randbytes(30 if divisor < 10 else 2)
        await bench.cycles(3 * divisor)
        await line.send(data)
        await line.send(data, idle=3)
        await bench.cycles(3 * divisor)
        assert received.bytes == data + data, f"skew {skew}"
        assert received.errors == 0


@cocotb.test()
async def drops_bad_bytes(dut):
    bench = await Bench.start(dut)
    line, received, divisor = await line_only_in(bench), Received(bench), bench.parameters["divisor"]
    await bench.cycles(2 * divisor)
    await line.send(b"a")
    await line.bits(ord("x") << 1, 10)  # stop bit low
    await line.bits(~0, 12)
    assert (bytes(received.bytes), received.errors) == (b"a", 1)
    await line.bits(0, 30)  # a break
    await line.bits(~0, 12)
    assert bytes(received.bytes) == b"a"
    assert received.errors in (3, 4)
    for cycles in range(1, divisor // 2):  # a glitch is no start bit
        line.rx.value = 0
        await bench.cycles(cycles)
        line.rx.value = 1
        await bench.cycles(12 * divisor)
    assert bytes(received.bytes) == b"a"
    await line.send(b"b")
    await bench.cycles(divisor)
    assert bytes(received.bytes) == b"ab"


@cocotb.test()
async def keeps_the_byte(dut):
    """The next byte follows without a pause: the last one stays until its first bit is sampled."""
    bench = await Bench.start(dut)
    line, divisor = await line_only_in(bench), bench.parameters["divisor"]
    await bench.cycles(2 * divisor)
    cocotb.start_soon(line.send(b"\x55\xaa\x55"))
    for byte in b"\x55\xaa":
        await bench.until(dut.valid)
        for _ in range(2 * divisor - 1):
            assert int(dut.data.value) == byte
            await bench.cycles()


@cocotb.test()
async def transmits(dut):
    bench = await Bench.start(dut)
    divisor = bench.parameters["divisor"]
    line = Line(bench, divisor, rx="i__valid")
    line.rx.value = 0
    source = bench.driver("i", stall=bench.parameters["stall"])
    data = bytes([0, 0xFF, 0x55, 0xAA, 1, 0x80]) + bench.random.randbytes(20)
    cocotb.start_soon(source.send(data))
    await bench.until(dut.tx, 0)
    start = bench.now()
    assert await line.receive(len(data)) == data
    assert int(dut.empty.value), "from the beginning of the stop bit"
    if not bench.parameters["stall"]:
        passed = bench.now() - start
        assert abs(passed - divisor * (10 * len(data) - 0.5)) <= 1, "no gap, ten bits a byte"


@pytest.mark.parametrize("divisor", DIVISORS)
def test_receiver(divisor):
    tests = ["receives", "drops_bad_bytes", "keeps_the_byte"]
    simulate(UartReceiver(divisor), __name__, tests=tests, parameters={"divisor": divisor})


@pytest.mark.parametrize(("divisor", "stall"), [(4, 0), (4, 0.95), (5, 0), (104, 0), (208, 0)])
def test_transmitter(divisor, stall):
    simulate(Sender(divisor), __name__, tests=["transmits"], parameters={"divisor": divisor, "stall": stall})


def test_divisors():
    assert [divisor_of(12_000_000, baud) for baud in (3_000_000, 115_200)] == [4, 104]
    assert divisor_of(24_000_000, 115_200) == 208
    with pytest.raises(ValueError, match="7000000 baud cannot be made from 24000000 Hz"):
        divisor_of(24_000_000, 7_000_000)
    with pytest.raises(ValueError, match="921600 baud cannot be made from 4000000 Hz"):
        divisor_of(4_000_000, 921_600)
    for wrong in (3, 4.0):
        with pytest.raises(ValueError, match=f"integer >= 4 .*, not {wrong}"):
            check_divisor(wrong)


def test_registers_count():
    for length in (4, 5, 12, 104, 208, 1250):
        _, states = register(length)
        assert len(states) >= length
        assert len(set(states)) == len(states)
        assert 0 not in states
