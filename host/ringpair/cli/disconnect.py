"""``ringpair disconnect PORT``: end the session."""

import argparse

from .common import add_port, open_board
from .output import Output

HELP = "end the session of the device at PORT: its keys are cleared"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    with open_board(arguments) as board:
        board.disconnect()
    output.result({"disconnected": True}, "disconnected")
