"""TinyFPGA BX: an LP8K, the slower kind of the HX8K's die."""

from amaranth_boards.tinyfpga_bx import TinyFPGABXPlatform

from .board import LP8K, Board, Flash, Light, Lights, Serial

BOARD = Board(
    name="tinyfpga-bx",
    title="TinyFPGA BX",
    platform=TinyFPGABXPlatform,
    chip=LP8K,
    clock_mhz=16,
    admin=Serial(rx="A2", tx="A1", where="pins 1 (receives) and 2 (sends), to a 3.3 V USB serial adapter"),
    peer=Serial(rx="B1", tx="C2", where="pins 3 (receives) and 4 (sends)"),
    flash=Flash(cs_n="F7", clk="G7", copi="G6", cipo="H7", size=1 << 20, bitstream_at=0x030000),
    button="C1",
    lights=Lights(
        ready=Light("B3"),
        session=Light("D2"),
        error=Light("D1"),
    ),
    program=("tinyprog", "-p", "{}"),
    programmer="tinyprog: `pip install tinyprog`",
    notes=(
        "The flash begins with the loader of the board; tinyprog puts the bitstream behind it.",
        "There is one LED, for ready; connect LEDs to pin 6 for an open session and to pin 7 for errors.",
        "There is no button: connect one, or a wire, between pin 5 and ground.",
    ),
)
