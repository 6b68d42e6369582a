"""iCESugar 1.5 (MuseLab)."""

from amaranth_boards.icesugar import ICESugarPlatform

from .board import UP5K, Board, Flash, Light, Lights, Serial

BOARD = Board(
    name="icesugar",
    title="iCESugar 1.5",
    platform=ICESugarPlatform,
    chip=UP5K,
    clock_mhz=12,
    admin=Serial(rx="4", tx="6", where="USB, serial port of the iCELink"),
    peer=Serial(rx="44", tx="46", where="PMOD 2: pin 1 sends, pin 2 receives, pin 5 is ground"),
    flash=Flash(cs_n="16", clk="15", copi="14", cipo="17", size=8 << 20),
    button="34",
    lights=Lights(
        ready=Light("41", active_low=True),
        session=Light("39", active_low=True),
        error=Light("40", active_low=True),
    ),
    program=("icesprog", "{}"),
    programmer="icesprog: https://github.com/wuxx/icesugar/tree/master/tools",
    notes=("There is no button: connect one, or a wire, between pin 1 of PMOD 3 and its pin 5, ground.",),
)
