"""iCE40HX8K-B-EVN (Lattice): the HX8K breakout board. Another die: no DSP, other tile map."""

from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

from .board import HX8K, Board, Flash, Light, Lights, Serial

BOARD = Board(
    name="hx8k-evn",
    title="iCE40HX8K-B-EVN",
    platform=ICE40HX8KBEVNPlatform,
    chip=HX8K,
    clock_mhz=12,
    admin=Serial(rx="B10", tx="B12", where="USB, second serial port of the FT2232H"),
    peer=Serial(rx="P16", tx="R15", where="header J2: R15 sends, P16 receives"),
    flash=Flash(cs_n="R12", clk="R11", copi="P12", cipo="P11", size=4 << 20),
    button="N16",
    lights=Lights(
        ready=Light("B5"),
        session=Light("B4"),
        error=Light("A2"),
    ),
    program=("iceprog", "{}"),
    programmer="iceprog is part of Project IceStorm: `apt-get install fpga-icestorm` or `brew install icestorm`",
    notes=(
        "Set the jumpers for programming the flash, not the RAM of the chip.",
        "There is no button: connect one, or a wire, between N16 of header J2 and ground.",
    ),
)
