"""``ringpair pin PORT``: let a device show a new PIN."""

import argparse

from .common import add_port, open_board
from .controlling import device_id_of
from .output import Output

HELP = "let the device at PORT, its button held, show a new PIN for one binding"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair_protocol.admin import Pin

    with open_board(arguments) as board:
        device_id = device_id_of(board)
        pin = board.pin(Pin.DYNAMIC)
    output.result({"device_id": device_id.hex(), "pin": pin}, pin)
