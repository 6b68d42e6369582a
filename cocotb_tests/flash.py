"""`ringpair_protocol.nor.NorFlash` on the pins of a device under test: bit by bit in Python, or, for whole devices,
with the bits in Verilog and Python once a byte."""

import cocotb
from cocotb.triggers import FallingEdge, First, RisingEdge
from cocotb.utils import get_sim_time


class FlashPins:
    """Wires a flash model to sck, cs_n, copi, cipo; its time is the simulation's, `speedup` times as fast."""

    def __init__(self, bench, flash, *, speedup=1.0, prefix=""):
        self.flash, self.speedup = flash, speedup
        self.sck, self.cs_n, self.copi, self.cipo = (
            getattr(bench.dut, prefix + name, None) for name in ("sck", "cs_n", "copi", "cipo")
        )
        self.last = get_sim_time("ns")
        self.high_since = None
        self.shortest_high = None  # ns
        cocotb.start_soon(self.run())

    def advance(self):
        now = get_sim_time("ns")
        self.flash.advance((now - self.last) / 1000 * self.speedup)
        self.last = now

    async def run(self):
        while True:
            await FallingEdge(self.cs_n)
            now = get_sim_time("ns")
            if self.high_since is not None:
                high = now - self.high_since
                self.shortest_high = min(high, self.shortest_high or high)
            assert not int(self.sck.value), "mode 0: SCK is low when chip select falls"
            self.advance()
            self.flash.select()
            await self.transaction()
            self.high_since = get_sim_time("ns")
            self.advance()
            self.flash.deselect()

    async def transaction(self):
        rising, falling, end = RisingEdge(self.sck), FallingEdge(self.sck), RisingEdge(self.cs_n)
        while True:
            # The answer depends on the bytes before only: the model gives it with the byte, so it is asked ahead.
            self.advance()
            answer, byte = self.flash.peek(), 0
            for bit in range(8):
                self.cipo.value = answer >> (7 - bit) & 1
                if await First(rising, end) is end:
                    assert bit == 0, f"chip select rose after {bit} bits of a byte"
                    return
                byte = byte << 1 | int(self.copi.value)
                assert await First(falling, end) is falling, "chip select rose while SCK was high"
            self.flash.transfer(byte)


FLASH_SHIFTER = """module flash_shifter(input sck, cs_n, copi, output cipo, input [7:0] answer,
                     output reg [7:0] data = 0, output reg [2:0] place = 0, output reg full = 0);
  assign cipo = answer[3'd7 - place];
  always @(posedge sck) data <= {data[6:0], copi};
  always @(negedge sck) place <= place + 1;
  always @(posedge sck or posedge cs_n) full <= !cs_n && place == 7;
endmodule
"""
"""SPI mode 0 at the flash's end: in with the rising edge of SCK, out with the falling one; `full` rises with a byte."""


class FlashBytes(FlashPins):
    """The same behind a `flash_shifter`, whose `data`, `place`, `full`, `answer` are ports with the same prefix."""

    def __init__(self, bench, flash, *, speedup=1.0, prefix=""):
        self.data, self.place, self.full, self.answer = (
            getattr(bench.dut, prefix + name) for name in ("data", "place", "full", "answer")
        )
        super().__init__(bench, flash, speedup=speedup, prefix=prefix)

    async def transaction(self):
        full, end = RisingEdge(self.full), RisingEdge(self.cs_n)
        while True:
            self.advance()
            self.answer.value = self.flash.peek()
            if await First(full, end) is end:
                place = int(self.place.value)
                assert place == 0, f"chip select rose after {place} bits of a byte"
                return
            self.flash.transfer(int(self.data.value))
