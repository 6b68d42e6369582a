"""``ringpair connect PORT PEER``: authenticate to a peer and open a session."""

import argparse
import time

from .common import add_port, add_registry, find_peer, names_of, open_board, session_data
from .output import Output
from .tunnel import add_tunnel, tunnel

HELP = "start a handshake with a peer and wait for the session"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    parser.add_argument("peer", metavar="PEER", help="peer number, id, or name in the registry")
    add_tunnel(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair_protocol.admin import Carrier

    names = names_of(arguments)
    with open_board(arguments) as board:
        peer = find_peer(board, arguments.peer, names)
        with tunnel(arguments, board, output) as bridge:
            start = time.monotonic()
            event = board.connect(peer.number, Carrier.TUNNEL if bridge else Carrier.WIRE)
            seconds = time.monotonic() - start
    data = session_data(event, names, peer.peer_id.hex()) | {"seconds": round(seconds, 3)}
    output.result(
        data,
        f"connected with {data['name'] or data['peer_id']} as {data['role']}: epoch {event.epoch}, "
        f"session {event.session_id.hex()}, {seconds * 1000:.0f} ms",
    )
