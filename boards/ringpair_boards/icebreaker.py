"""iCEBreaker 1.0 (1BitSquared): the reference board."""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from .board import BUDGETS, FULL, UP5K, Board, Display, Flash, Light, Lights, Serial

BOARD = Board(
    name="icebreaker",
    title="iCEBreaker 1.0",
    platform=ICEBreakerPlatform,
    chip=UP5K,
    clock_mhz=12,
    admin=Serial(rx="6", tx="9", where="USB, second serial port of the FT2232H"),
    peer=Serial(rx="2", tx="4", where="PMOD 1A: pin 1 sends, pin 2 receives, pin 5 is ground"),
    flash=Flash(cs_n="16", clk="15", copi="14", cipo="17", size=16 << 20),
    button="10",
    lights=Lights(
        ready=Light("37", active_low=True),
        session=Light("27"),
        error=Light("11", active_low=True),
    ),
    program=("iceprog", "{}"),
    programmer="iceprog is part of Project IceStorm: `apt-get install fpga-icestorm` or `brew install icestorm`",
    budgets=BUDGETS | {"full": FULL},
    notes=("The light for an open session is LED 1 of the break-off section, on PMOD 2.",),
    display=Display(segments="43 38 34 31 42 36 32", right="28", where="PMOD 1B: 1BitSquared's 7-segment PMOD"),
)
