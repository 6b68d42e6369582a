"""What several verbs share: options, opening boards and the registry, peers by name, events as JSON."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringpair_protocol.admin import BAUD, NOBODY, Code

from ringpair.errors import RingpairError, TransportError, UsageError

from .output import Output, printable

if TYPE_CHECKING:
    from ringpair.board import Board, Peer
    from ringpair.events import AnyEvent
    from ringpair.registry import Message, Registry
    from ringpair.virtual import Control


def add_port(parser: argparse.ArgumentParser, name: str = "port") -> None:
    """The positional PORT and its options."""
    parser.add_argument(name, metavar=name.upper(), help="serial port, pty, socket://HOST:PORT or virtual board")
    add_baud(parser)


def add_baud(parser: argparse.ArgumentParser) -> None:
    """The option --baud."""
    parser.add_argument("--baud", type=count, default=BAUD, help="bit rate of a serial port (%(default)s)")


def add_registry(parser: argparse.ArgumentParser, again: bool = False) -> None:
    """The options --registry and --keyring; ``again`` if an outer parser has them as well."""
    kept: dict[str, Any] = {"default": argparse.SUPPRESS} if again else {}
    parser.add_argument(
        "--registry",
        type=Path,
        metavar="FILE",
        help="registry file (default: in RINGPAIR_HOME or the user's data)",
        **kept,
    )
    parser.add_argument(
        "--keyring",
        action="store_true",
        help="keep a new registry's key in the system keyring, not by passphrase",
        **kept,
    )


def count(text: str) -> int:
    """A whole number from 1, as the type of an argument."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A time, as the type of an argument."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return value


def open_board(arguments: argparse.Namespace, port: str | None = None) -> Board:
    """Connect to the board at ``port`` (default: the argument PORT)."""
    from ringpair.board import Board

    return Board.open(resolve(port or arguments.port), arguments.baud)


def resolve(port: str) -> str:
    """A port, or the port of the running virtual board of that name.

    Raises
    ------
    UsageError
        It is neither.
    TransportError
        The virtual board does not run.
    """
    from ringpair.home import BOARDS_FOLDER, home

    if "/" in port or not (home() / BOARDS_FOLDER / port).is_dir():
        if "/" in port or os.path.exists(port) or port.upper().startswith(("COM", "\\\\")):
            return port
        raise UsageError(f"there is no port and no virtual board {port!r}: expected /dev/..., socket://... or a board")
    control, addresses = attach(port)
    control.close()
    return str(addresses["port"])


def attach(name: str) -> tuple[Control, dict[str, Any]]:
    """Control channel and addresses of a running virtual board.

    Raises
    ------
    TransportError
        It does not run.
    """
    from ringpair.virtual import process

    try:
        return process.attach(name)
    except UsageError:
        raise
    except RingpairError as problem:
        raise TransportError(str(problem)) from problem


def open_registry(arguments: argparse.Namespace) -> Registry:
    """The registry that the options name."""
    from ringpair.registry import Registry, Secrecy

    return Registry(arguments.registry, Secrecy(keyring=arguments.keyring))


def names_of(arguments: argparse.Namespace) -> dict[str, str]:
    """Names by device id; empty if there is no registry. Needs no passphrase."""
    from ringpair.home import default_path

    path = arguments.registry or default_path()
    if not path.exists():
        return {}
    from ringpair.registry import Registry

    with Registry(path) as registry:
        return {device.id: device.name for device in registry.devices()}


def find_peer(board: Board, reference: str, names: dict[str, str]) -> Peer:
    """The live pairing with a number, an id (or its beginning), or a name from the registry."""
    from ringpair_protocol.admin import PeerState

    live = [row for row in board.peers() if row.state == PeerState.LIVE]
    found = [row for row in live if reference.isdigit() and row.number == int(reference)]
    found = found or [row for row in live if names.get(row.peer_id.hex()) == reference]
    if not found and len(reference) >= 4:
        found = [row for row in live if row.peer_id.hex().startswith(reference.lower())]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{row.number} ({names.get(row.peer_id.hex(), row.peer_id.hex())})" for row in live)
    raise RingpairError(
        f"{board.port} has {'no' if not found else 'more than one'} live pairing {reference!r}; "
        f"it has {known or 'none: import its puzzles first'}"
    )


def session_data(event: Any, names: dict[str, str], peer_id: str | None = None) -> dict[str, Any]:
    """A session for ``--json``."""
    data = {"role": event.role.name.lower(), "peer": event.peer, "epoch": event.epoch}
    if peer_id is not None:
        data |= {"peer_id": peer_id, "name": names.get(peer_id)}
    return data | {"session_id": event.session_id.hex()}


def event_data(event: AnyEvent) -> tuple[dict[str, Any], str]:
    """An event for ``--json``, and for humans."""
    from ringpair import events

    match event:
        case events.Text(text):
            data = {"event": "text", "text": text.decode(errors="replace"), "hex": text.hex()}
            return data, printable(text).rstrip("\n")
        case events.SessionUp():
            data = {"event": "session"} | session_data(event, {})
            return data, f"[session with peer {event.peer}, epoch {event.epoch}, id {event.session_id.hex()}]"
        case events.SessionFailed(code, peer):
            what = f"no session with peer {peer}"
            if peer == NOBODY:
                what = "no peer to begin with" if code is Code.NO_SUCH_PEER else "the reset by the button failed"
            return {"event": "failed", "peer": peer, "code": code.name}, f"[{what}: {code.name}]"
        case events.Closed(code):
            return {"event": "closed", "code": code.name}, f"[session closed: {code.name}]"
        case events.Started(identity):
            return {"event": "started", "gateware": identity.gateware.hex()}, "[the device started]"
        case events.ResetDone():
            return {"event": "reset"}, "[the device was reset to its factory state]"
        case events.ControllerText(place, text):
            said: dict[str, Any] = {"event": "controller_text", "place": place}
            said |= {"text": text.decode(errors="replace"), "hex": text.hex()}
            return said, f"[controller {place}] {printable(text)}".rstrip("\n")
        case events.PeerOut(message):
            return {"event": "peer_out", "hex": message.hex()}, f"[peer message of {len(message)} bytes for a tunnel]"


def message_data(message: Message) -> dict[str, Any]:
    """A message of the outbox for ``--json``."""
    return {
        "kind": message.kind,
        "recipient": message.recipient.name,
        "recipient_id": message.recipient_id,
        "peer_id": message.peer_id,
        "index": message.wrap_index,
        "message": message.body.hex(),
    }


def write_messages(messages: list[Message], folder: Path | None, output: Output) -> list[str]:
    """Write messages as files, if a folder is given; returns the files."""
    from ringpair.messages import file_name, write_file

    files = []
    for message in messages if folder is not None else []:
        assert folder is not None
        path = folder / file_name(message.recipient.name, message.body)
        write_file(path, message.body)
        output.note(f"wrote {path}")
        files.append(str(path))
    return files


def confirm(question: str) -> None:
    """Go on only if a human says yes.

    Raises
    ------
    RingpairError, UsageError
        The answer is no, or there is nobody to ask.
    """
    import sys

    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to ask: repeat the command with --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RingpairError("not confirmed: nothing was done")
