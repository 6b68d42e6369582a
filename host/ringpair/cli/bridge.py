"""``ringpair bridge A B``: join two boards that no wire joins. The ends are described in :mod:`ringpair.bridge`."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from .common import add_baud, add_registry, event_data, find_peer, names_of, seconds
from .output import Output
from .tunnel import open_end

if TYPE_CHECKING:
    from ringpair.events import AnyEvent

HELP = "carry peer messages between two admin ports, also over UDP or TCP to a bridge on another machine"

POLL_S = 0.1


def configure(parser: argparse.ArgumentParser) -> None:
    ends = "a port, or udp://HOST:PORT[?local=PORT], udp-listen://:PORT, tcp://HOST:PORT, tcp-listen://:PORT"
    parser.add_argument("a", metavar="A", help=ends)
    parser.add_argument("b", metavar="B", help="the same")
    parser.add_argument("--connect", metavar="PEER", help="let board A start a handshake with this peer")
    parser.add_argument("--seconds", type=seconds, help="stop after so many seconds")
    add_baud(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair_protocol.admin import Carrier

    from ringpair.bridge import Bridge, is_network_end
    from ringpair.errors import UsageError
    from ringpair.events import SPOKEN

    if arguments.connect and is_network_end(arguments.a):
        raise UsageError(f"--connect lets a board start a handshake: expected a board as A, got {arguments.a}")
    if arguments.a == arguments.b:
        raise UsageError(f"expected two ends, got {arguments.a} twice")
    end = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    with ExitStack() as stack:
        (end_a, board_a), (end_b, board_b) = (open_end(arguments, text, stack) for text in (arguments.a, arguments.b))
        bridge = stack.enter_context(Bridge(end_a, end_b))
        output.note(f"carrying peer messages between {arguments.a} and {arguments.b}")
        if arguments.connect and board_a is not None:
            peer = find_peer(board_a, arguments.connect, names_of(arguments))
            _say(arguments.a, board_a.connect(peer.number, Carrier.TUNNEL), output)
        boards = [(name, board) for name, board in ((arguments.a, board_a), (arguments.b, board_b)) if board]
        while end is None or time.monotonic() < end:
            bridge.wait(0 if boards else POLL_S)
            for name, board in boards:
                event = board.next_event(POLL_S, *SPOKEN)
                if event is not None:
                    _say(name, event, output)


def _say(name: str, event: AnyEvent, output: Output) -> None:
    data, text = event_data(event)
    output.result({"port": name} | data, f"{name}: {text}")
