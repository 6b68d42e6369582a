"""What the verbs of a controller share: the option --service, the device at a port, the PIN."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ringpair.errors import UsageError
from ringpair.portlock import reason

from .common import add_port, add_registry

if TYPE_CHECKING:
    from ringpair_protocol.label import Label

    from ringpair.board import Board

MAX_FILE = 1024


def add_controller(parser: argparse.ArgumentParser) -> None:
    """PORT, the service and the registry."""
    add_port(parser)
    parser.add_argument("--service", metavar="NAME", help="whose key is used (default: the only service)")
    add_registry(parser)


def device_id_of(board: Board) -> bytes:
    """The id of the enrolled device at the port; refuses a gateware that cannot be bound, and a device not enrolled."""
    from ringpair_protocol.admin import EXPLANATION, Code, Profile

    from ringpair.errors import ProtocolError, RingpairError

    if board.identity.profile != Profile.FULL:
        raise ProtocolError(
            f"expected a gateware that controllers can bind on {board.port}, its profile is "
            f"{board.identity.profile.name.lower()}: flash one of the profile full"
        )
    device_id = board.device_id()
    if device_id is None:
        raise RingpairError(f"the device on {board.port} cannot be bound: {EXPLANATION[Code.NOT_ENROLLED]}")
    return device_id


def read_label(text: str) -> Label:
    """The label of a ``--qr`` argument; - reads it from standard input.

    Raises
    ------
    UsageError
        It is none.
    """
    from ringpair_protocol.label import Label

    try:
        return Label.from_text(_line() if text == "-" else text)
    except ValueError as problem:
        raise UsageError(str(problem)) from problem


def _line() -> str:
    """A line from standard input."""
    try:
        return sys.stdin.readline(MAX_FILE)
    except UnicodeDecodeError as problem:
        raise UsageError("expected a line of text on standard input, got bytes that are not UTF-8") from problem


def read_pin(file: str | None) -> str:
    """The PIN from a file (- is standard input), or from whoever sits at the terminal; never from the command line.

    Raises
    ------
    UsageError
        There is none, or nobody to ask.
    """
    from ringpair_protocol.label import check_pin

    if file == "-":
        pin = _line()
    elif file is not None:
        try:
            with Path(file).open(encoding="ascii", errors="replace") as opened:
                pin = opened.read(MAX_FILE)
        except OSError as problem:
            raise UsageError(f"cannot read {file}: {reason(problem)}; expected a file with the PIN") from problem
    elif sys.stdin.isatty():
        import getpass

        pin = getpass.getpass("PIN of the device: ")
    else:
        raise UsageError("expected a PIN and there is no terminal to ask: give --pin-file FILE (or -), or --qr TEXT")
    try:
        return check_pin(pin.strip())
    except ValueError as problem:
        raise UsageError(str(problem)) from problem
