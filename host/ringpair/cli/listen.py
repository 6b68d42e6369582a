"""``ringpair listen PORT``: print what the peer says."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from .common import add_port, count, event_data, open_board, seconds
from .output import Output
from .tunnel import add_tunnel, tunnel

if TYPE_CHECKING:
    from ringpair.events import AnyEvent

HELP = "print texts and events of the device at PORT as they come (--json: one object a line)"

POLL_S = 0.2


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    parser.add_argument("--seconds", type=seconds, help="stop after so many seconds")
    parser.add_argument("--count", type=count, help="stop after so many texts")
    parser.add_argument("--raw", action="store_true", help="write texts byte for byte, and nothing else")
    add_tunnel(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """0, or 1 if --count texts did not come within --seconds."""
    from ringpair.events import SPOKEN, Text

    end = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    texts = 0
    with open_board(arguments) as board, tunnel(arguments, board, output) as bridge:
        output.note(f"listening on {board.port}")
        while (arguments.count is None or texts < arguments.count) and (end is None or time.monotonic() < end):
            event = board.next_event(POLL_S, *SPOKEN)
            if bridge and bridge.failure:
                raise bridge.failure
            if event is not None:
                texts += isinstance(event, Text)
                _print(event, arguments.raw, output)
    return 1 if arguments.count is not None and texts < arguments.count else 0


def _print(event: AnyEvent, raw: bool, output: Output) -> None:
    from ringpair.events import Text

    if not raw:
        output.result(*event_data(event))
    elif isinstance(event, Text):
        sys.stdout.buffer.write(event.text)
        sys.stdout.buffer.flush()
