"""iCEBreaker-bitsy 1.0 (1BitSquared): a small board without a serial chip."""

from amaranth_boards.icebreaker_bitsy import ICEBreakerBitsyPlatform

from .board import BUDGETS, UP5K, Board, Budget, Flash, Light, Lights, Serial

BOARD = Board(
    name="icebreaker-bitsy",
    title="iCEBreaker-bitsy 1.0",
    platform=ICEBreakerBitsyPlatform,
    chip=UP5K,
    clock_mhz=12,
    admin=Serial(rx="47", tx="44", where="edge pins P0 (receives) and P1 (sends), to a 3.3 V USB serial adapter"),
    peer=Serial(rx="48", tx="45", where="edge pins P2 (receives) and P3 (sends)"),
    flash=Flash(cs_n="16", clk="15", copi="14", cipo="17", size=16 << 20, bitstream_at=0x080000),
    button="2",
    lights=Lights(
        ready=Light("6", active_low=True),
        session=Light("41", active_low=True),
        error=Light("25", active_low=True),
    ),
    budgets=BUDGETS | {"pair": Budget(3700, 12, seed=2)},  # its pins leave seed 1 just below the clock
    program=("dfu-util", "-d", ",1d50:6146", "-a", "0", "-R", "-D", "{}"),
    programmer="dfu-util: `apt-get install dfu-util` or `brew install dfu-util`",
    notes=("Hold the button while plugging in to start the loader that dfu-util talks to.",),
)
