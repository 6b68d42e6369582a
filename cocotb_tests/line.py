"""The other side of a serial line, for tests: sends and samples bits with its own clock."""

from cocotb.triggers import FallingEdge, Timer, with_timeout
from cocotb.utils import get_sim_time


class Line:
    """8N1 on the pins `rx` (we drive it) and `tx` (we listen) of a device under test; `divisor` cycles a bit.

    `skew` makes our clock faster (+) or slower (-) by that share; `patience` is in bits. The bench starts with all
    inputs low, a break on a line: `start` holds the device in reset until the line is idle.
    """

    patience = 3000

    @classmethod
    async def start(cls, bench, divisor, **options):
        line = cls(bench, divisor, **options)
        bench.dut.rst.value = 1
        await bench.cycles(4)
        bench.dut.rst.value = 0
        await bench.cycles(1)
        return line

    def __init__(self, bench, divisor, *, skew=0.0, rx="rx", tx="tx"):
        self.bench = bench
        self.rx, self.tx = getattr(bench.dut, rx), getattr(bench.dut, tx)
        self.bit_ps = bench.period * divisor * 1000 / (1 + skew)
        self.rx.value = 1

    async def bits(self, value, count):
        """Drive `count` bits, least significant first. Never at a clock edge, where the order would be by chance."""
        period = self.bench.period * 1000
        if get_sim_time("ps") % period in (0, period // 2):
            await Timer(round(period * 0.3), "ps")
        for i in range(count):
            self.rx.value = value >> i & 1
            await Timer(round(self.bit_ps), "ps")

    async def send(self, data, *, idle=0):
        """Send bytes, at most `idle` random bit times between them."""
        for byte in data:
            await self.bits(byte << 1 | 0x200, 10)
            if idle:
                await self.bits(~0, self.bench.random.randrange(idle + 1))
        await self.bench.cycles(1)

    async def receive(self, count):
        """The next `count` bytes; AssertionError on a stop bit that is low."""
        got = bytearray()
        while len(got) < count:
            got.append(await self.receive_byte())
        await self.bench.cycles(1)  # back to the clock of the bench
        return bytes(got)

    async def receive_byte(self):
        if int(self.tx.value):
            await with_timeout(FallingEdge(self.tx), round(self.bit_ps * self.patience), "ps")
        await Timer(round(self.bit_ps / 2), "ps")
        byte = 0
        for i in range(8):
            await Timer(round(self.bit_ps), "ps")
            byte |= int(self.tx.value) << i
        await Timer(round(self.bit_ps), "ps")
        assert int(self.tx.value), f"stop bit is low after {byte:#04x}"
        return byte

    async def receive_frame(self):
        """Bytes up to and with the next delimiter."""
        got = bytearray()
        while not got or got[-1]:
            got.append(await self.receive_byte())
        await self.bench.cycles(1)  # back to the clock of the bench
        return bytes(got)
