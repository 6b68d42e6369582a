"""``ringpair session PORT``: open a session with a bound device, and command it."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from .common import open_board, open_registry
from .controlling import add_controller, device_id_of
from .output import Output, printable

if TYPE_CHECKING:
    from ringpair.board import Board

HELP = "open a session with the bound device at PORT: switch it, ask it, send texts, all encrypted"
WORDS = {"on": 1, "off": 0}


def value(text: str) -> int:
    """The value of a switch, as the type of an argument."""
    if text in WORDS:
        return WORDS[text]
    if not (text.isascii() and text.isdigit() and int(text) < 256):
        raise argparse.ArgumentTypeError(f"expected on, off, or a number from 0 to 255, got {text!r}")
    return int(text)


def configure(parser: argparse.ArgumentParser) -> None:
    add_controller(parser)
    parser.add_argument("--switch", type=value, metavar="VALUE", help="set the device's switch: on, off, or 0 to 255")
    parser.add_argument("--text", metavar="TEXT", help="say something to the device's owner")


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair.controller import open_session
    from ringpair.errors import UsageError
    from ringpair.registry.services import Services

    if arguments.text == "":
        raise UsageError("expected a text of at least one byte behind --text, got none")
    with open_registry(arguments) as registry, open_board(arguments) as board:
        services = Services(registry)
        row = services.find(arguments.service)
        device_id = device_id_of(board)
        device_key = services.device_key(row, device_id)
        keys = services.keys(row)
        start = time.monotonic()
        session = open_session(board, keys, device_key)
        seconds = time.monotonic() - start
        messages = session.send(arguments.text) if arguments.text is not None else 0
        state = session.switch(arguments.switch)
        heard = _heard(board)
    data = {
        "service": row.name,
        "device_id": device_id.hex(),
        "session_id": session.session_id.hex(),
        "seconds": round(seconds, 3),
        "switch": state,
        "messages": messages,
        "heard": heard.decode(errors="replace"),
    }
    told = f"\nthe device tells its owner: {printable(heard)}" if heard else ""
    output.result(data, f"session {data['session_id']} with {data['device_id']}: its switch is {state}{told}")


def _heard(board: Board) -> bytes:
    """What the device has told its owner, who is at this very port; the answer about the switch came after it."""
    from ringpair.events import ControllerText

    heard = b""
    while (event := board.next_event(0, ControllerText)) is not None:
        heard += event.text
    return heard
