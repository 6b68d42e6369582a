"""The option --tunnel: carry peer messages through the admin port while a verb runs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from . import common
from .output import Output

if TYPE_CHECKING:
    from ringpair.board import Board
    from ringpair.bridge import Bridge, End

QUIET_S = 0.4
PATIENCE_S = 5.0


def add_tunnel(parser: argparse.ArgumentParser) -> None:
    """The option --tunnel."""
    parser.add_argument(
        "--tunnel",
        metavar="FAR",
        help="carry the peer messages over the admin port to FAR: the other board's admin port, or udp://HOST:PORT, "
        "udp-listen://:PORT, tcp://HOST:PORT, tcp-listen://:PORT to a bridge on another machine",
    )


def open_end(arguments: argparse.Namespace, text: str, stack: ExitStack) -> tuple[End, Board | None]:
    """The end that ``text`` names, and its board if it is one; the board closes with ``stack``."""
    from ringpair import bridge

    if bridge.is_network_end(text):
        return bridge.open_network_end(text), None
    board = stack.enter_context(common.open_board(arguments, text))
    return bridge.BoardEnd(board), board


@contextmanager
def tunnel(arguments: argparse.Namespace, board: Board, output: Output) -> Iterator[Bridge | None]:
    """A bridge from ``board`` to the far end while the block runs, or nothing without --tunnel.

    At the end what is still on its way is carried, and what the far board said meanwhile is printed.
    """
    if arguments.tunnel is None:
        yield None
        return
    from ringpair.bridge import BoardEnd, Bridge

    with ExitStack() as stack:
        end, far = open_end(arguments, arguments.tunnel, stack)
        with Bridge(BoardEnd(board), end) as bridge:
            yield bridge
            settle(bridge)
        for event in far.listen(timeout=0) if far else ():
            output.note(f"{arguments.tunnel}: {common.event_data(event)[1]}")


def settle(bridge: Bridge) -> None:
    """Wait until nothing was carried for a moment."""
    give_up = time.monotonic() + PATIENCE_S
    before = -1
    while bridge.carried != before and time.monotonic() < give_up:
        before = bridge.carried
        bridge.wait(QUIET_S)
