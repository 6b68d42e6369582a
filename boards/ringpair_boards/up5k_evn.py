"""iCE40UP5K-B-EVN (Lattice): the UltraPlus breakout board."""

from amaranth_boards.ice40_up5k_b_evn import ICE40UP5KBEVNPlatform

from .board import UP5K, Board, Flash, Light, Lights, Serial

BOARD = Board(
    name="up5k-evn",
    title="iCE40UP5K-B-EVN",
    platform=ICE40UP5KBEVNPlatform,
    chip=UP5K,
    clock_mhz=12,
    admin=Serial(rx="48", tx="45", where="header C: pins 48 (receives) and 45 (sends), to a 3.3 V USB serial adapter"),
    peer=Serial(rx="47", tx="44", where="header C: pins 47 (receives) and 44 (sends)"),
    flash=Flash(cs_n="16", clk="15", copi="14", cipo="17", size=4 << 20),
    button="23",
    lights=Lights(
        ready=Light("40", active_low=True),
        session=Light("39", active_low=True),
        error=Light("41", active_low=True),
    ),
    program=("iceprog", "{}"),
    programmer="iceprog is part of Project IceStorm: `apt-get install fpga-icestorm` or `brew install icestorm`",
    notes=(
        "Leave jumper J51 closed: it brings the clock to pin 35.",
        "The button is DIP switch 1: switch it on and off again.",
    ),
)
