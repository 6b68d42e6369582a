"""``ringpair build BOARD``: a bitstream for a board, with proof that its rings are equal."""

import argparse
from dataclasses import asdict

from .gateware import add_build, boards_module, build_for, builds
from .output import Output

HELP = "build the bitstream for BOARD; refused unless all rings are identical and the budget is kept"


def configure(parser: argparse.ArgumentParser) -> None:
    add_build(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    with builds():
        failed = boards_module("report").BuildFailed
        try:
            report = build_for(arguments, output)
        except failed as problem:
            report = problem.report
    output.result(asdict(report), report.table())
    for reason in report.refused:
        output.note(f"ringpair: refused: {reason}")
    return 1 if report.refused else 0
