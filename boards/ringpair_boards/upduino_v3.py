"""UPduino 3.0 and 3.1 (tinyVision.ai)."""

from amaranth_boards.upduino_v3 import UpduinoV3Platform

from .board import UP5K, Board, Flash, Light, Lights, Serial

BOARD = Board(
    name="upduino-v3",
    title="UPduino 3",
    platform=UpduinoV3Platform,
    chip=UP5K,
    clock_mhz=12,
    admin=Serial(rx="28", tx="38", where="pins 28 (receives) and 38 (sends), to a 3.3 V USB serial adapter"),
    peer=Serial(rx="42", tx="36", where="pins 42 (receives) and 36 (sends)"),
    flash=Flash(cs_n="16", clk="15", copi="14", cipo="17", size=4 << 20),
    button="43",
    lights=Lights(
        ready=Light("39", active_low=True),
        session=Light("40", active_low=True),
        error=Light("41", active_low=True),
    ),
    program=("iceprog", "{}"),
    programmer="iceprog is part of Project IceStorm: `apt-get install fpga-icestorm` or `brew install icestorm`",
    notes=(
        "Close the OSC jumper: it brings the 12 MHz crystal to pin 20; the oscillator of the chip is too coarse for a "
        "serial port.",
        "There is no button: connect one, or a wire, between pin 43 and ground.",
    ),
)
