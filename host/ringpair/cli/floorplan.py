"""``ringpair floorplan BOARD``: a picture of the die, from the finished bitstream."""

import argparse

from .gateware import add_build, boards_module, build_options, builds
from .output import Output

HELP = "draw the die of BOARD's build as SVG and PNG: ring tiles, logic, block RAM"


def configure(parser: argparse.ArgumentParser) -> None:
    add_build(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    with builds():
        svg, png = boards_module("floorplan").draw_floorplan(
            arguments.board,
            arguments.profile,
            **build_options(arguments, output),
        )
    output.result({"svg": str(svg), "png": str(png)})
