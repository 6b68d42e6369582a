"""``ringpair send PORT TEXT``: say something in the session."""

import argparse
import sys
from collections.abc import Iterator

from .common import add_port, add_registry, find_peer, names_of, open_board
from .output import Output
from .tunnel import add_tunnel, tunnel

HELP = "send a text, or standard input line by line (-), over the session"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    parser.add_argument("text", metavar="TEXT", help="the text; - reads standard input")
    parser.add_argument("--connect", metavar="PEER", help="open a session with this peer first")
    add_tunnel(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair_protocol.admin import Carrier

    from ringpair.errors import UsageError

    if not arguments.text:
        raise UsageError("expected a text of at least one byte as TEXT (or - for standard input), got none")
    messages = size = 0
    with open_board(arguments) as board, tunnel(arguments, board, output) as bridge:
        if arguments.connect:
            peer = find_peer(board, arguments.connect, names_of(arguments))
            board.connect(peer.number, Carrier.TUNNEL if bridge else Carrier.WIRE)
        for text in _texts(arguments.text):
            messages += board.send(text)
            size += len(text.encode() if isinstance(text, str) else text)
    output.result({"messages": messages, "bytes": size}, f"sent {size} bytes in {messages} messages")


def _texts(given: str) -> Iterator[str | bytes]:
    """The argument, or the lines of standard input; what is no UTF-8 stays bytes."""
    if given != "-":
        yield given
        return
    for line in sys.stdin.buffer:
        try:
            yield line.decode()
        except UnicodeDecodeError:
            yield line
