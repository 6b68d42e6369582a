"""``ringpair button NAME``: press the button of a running virtual board."""

import argparse

from .common import attach, seconds
from .output import Output

HELP = "hold the button of a running virtual board: allows enrolling, 10 s reset it"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the board")
    parser.add_argument("--seconds", type=seconds, default=30.0, help="how long (default %(default)s of its own time)")
    parser.add_argument("--release", action="store_true", help="let go instead")


def run(arguments: argparse.Namespace, output: Output) -> None:
    control, _ = attach(arguments.name)
    try:
        if arguments.release:
            control.request("release")
        else:
            control.press(arguments.seconds)
    finally:
        control.close()
    output.result(
        {"name": arguments.name, "pressed": not arguments.release}, "released" if arguments.release else "held"
    )
