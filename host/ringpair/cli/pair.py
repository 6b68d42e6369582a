"""``ringpair pair A B``: pair two enrolled devices, neither of which need be there."""

import argparse
from pathlib import Path

from .common import add_registry, message_data, open_registry, write_messages
from .output import Output

HELP = "pair two devices of the registry, offline: makes a puzzle for each"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="name or id of a device")
    parser.add_argument("b", metavar="B", help="name or id of the other")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write the puzzles as files, too")
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    with open_registry(arguments) as registry:
        puzzles = list(registry.pair(arguments.a, arguments.b))
    files = write_messages(puzzles, arguments.output, output)
    names = " and ".join(puzzle.recipient.name for puzzle in puzzles)
    output.result(
        {"puzzles": [message_data(puzzle) for puzzle in puzzles], "files": files},
        f"{names} are paired; a puzzle for each waits in the outbox: ringpair import PORT",
    )
