"""``ringpair pin PORT``: let a device show a new PIN."""

import argparse

from .common import add_port, open_board
from .controlling import device_id_of
from .output import Output

HELP = "let the device at PORT, its button held, show a new PIN for one binding"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    parser.add_argument("--display", action="store_true", help="on the device's own display, and nowhere else")


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair_protocol.admin import Pin

    with open_board(arguments) as board:
        device_id = device_id_of(board)
        if arguments.display:
            board.display_pin()
            pin, text = None, "the PIN is on the device's display, two digits at a time, for three minutes"
        else:
            text = pin = board.pin(Pin.DYNAMIC)
    output.result({"device_id": device_id.hex(), "pin": pin}, text)
