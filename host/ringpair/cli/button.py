"""``ringpair button NAME``: press the button of a running virtual board."""

import argparse

from .common import attach, seconds
from .output import Output

HELP = "hold the button of a running virtual board: allows enrolling, 10 s reset it; or unplug it for a moment"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the board")
    parser.add_argument("--seconds", type=seconds, default=30.0, help="how long (default %(default)s of its own time)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--release", action="store_true", help="let go instead")
    instead.add_argument("--power-cycle", action="store_true", help="take its power away for a moment instead")


def run(arguments: argparse.Namespace, output: Output) -> None:
    control, _ = attach(arguments.name)
    try:
        if arguments.release:
            control.request("release")
        elif arguments.power_cycle:
            control.request("power", on=False)
            control.request("power", on=True)
        else:
            control.press(arguments.seconds)
    finally:
        control.close()
    pressed = not (arguments.release or arguments.power_cycle)
    text = "held" if pressed else "released" if arguments.release else "off and on again"
    output.result({"name": arguments.name, "pressed": pressed}, text)
