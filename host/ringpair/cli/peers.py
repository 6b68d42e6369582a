"""``ringpair peers PORT``: the pairings that a device holds."""

import argparse

from .common import add_port, add_registry, names_of, open_board
from .output import Output

HELP = "list the pairings that the device at PORT holds"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    names = names_of(arguments)
    with open_board(arguments) as board:
        rows = [
            {
                "number": peer.number,
                "state": peer.state.name.lower(),
                "id": peer.peer_id.hex(),
                "name": names.get(peer.peer_id.hex()),
                "epoch": peer.epoch,
                "pair_index": peer.pair_index,
                "low": peer.low,
            }
            for peer in board.peers()
        ]
    columns = ("number", "state", "id", "name", "epoch")
    output.table({"peers": rows}, columns, ([row[key] for key in columns] for row in rows))
