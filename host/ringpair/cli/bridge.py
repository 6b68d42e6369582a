"""``ringpair bridge A B``: join two boards that no wire joins. The ends are described in :mod:`ringpair.bridge`."""

import argparse
import time
from contextlib import ExitStack

from .common import add_baud, add_registry, event_data, find_peer, names_of
from .output import Output
from .tunnel import open_end

HELP = "carry peer messages between two admin ports, also over UDP or TCP to a bridge on another machine"

POLL_S = 0.1


def configure(parser: argparse.ArgumentParser) -> None:
    ends = "a port, or udp://HOST:PORT[?local=PORT], udp-listen://:PORT, tcp://HOST:PORT, tcp-listen://:PORT"
    parser.add_argument("a", metavar="A", help=ends)
    parser.add_argument("b", metavar="B", help="the same")
    parser.add_argument("--connect", metavar="PEER", help="let board A start a handshake with this peer")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds")
    add_baud(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair_protocol.admin import Carrier

    from ringpair.bridge import Bridge
    from ringpair.errors import UsageError
    from ringpair.events import SPOKEN

    end = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    with ExitStack() as stack:
        (end_a, board_a), (end_b, board_b) = (open_end(arguments, text, stack) for text in (arguments.a, arguments.b))
        bridge = stack.enter_context(Bridge(end_a, end_b))
        output.note(f"carrying peer messages between {arguments.a} and {arguments.b}")
        if arguments.connect:
            if board_a is None:
                raise UsageError("--connect needs a board as A")
            board_a.connect(find_peer(board_a, arguments.connect, names_of(arguments)).number, Carrier.TUNNEL)
        boards = [(name, board) for name, board in ((arguments.a, board_a), (arguments.b, board_b)) if board]
        while end is None or time.monotonic() < end:
            bridge.wait(0 if boards else POLL_S)
            for name, board in boards:
                event = board.next_event(POLL_S, *SPOKEN)
                if event is not None:
                    data, text = event_data(event)
                    output.result({"port": name} | data, f"{name}: {text}")
