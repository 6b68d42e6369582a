"""``ringpair import PORT [FILE...]``: bring puzzles, revocations and resets to a device."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import add_port, add_registry, names_of, open_board, open_registry
from .output import Output

if TYPE_CHECKING:
    from ringpair.delivery import Delivery

HELP = "import what waits in the outbox (or the given files) into the device at PORT"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    parser.add_argument("files", nargs="*", metavar="FILE", help="files made by pair or revoke; - is standard input")
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    rows = _from_files(arguments, output) if arguments.files else _from_outbox(arguments, output)
    output.result({"imported": rows}, "")
    return 0 if all(row["outcome"] in ("delivered", "known already") for row in rows) else 1


def _from_outbox(arguments: argparse.Namespace, output: Output) -> list[dict[str, Any]]:
    from ringpair.delivery import deliver

    with open_registry(arguments) as registry, open_board(arguments) as board:
        names = {device.id: device.name for device in registry.devices()}

        def told(delivery: Delivery) -> None:
            message = delivery.message
            about = names.get(message.peer_id or "", message.peer_id)
            where = "" if delivery.peer is None else f", peer {delivery.peer}"
            output.note(f"{message.recipient.name}: {message.kind} for {about}: {delivery.outcome}{where}")

        done = deliver(board, registry, told)
    return [
        {
            "device": delivery.message.recipient.name,
            "kind": delivery.message.kind,
            "peer_id": delivery.message.peer_id,
            "index": delivery.message.wrap_index,
            "outcome": delivery.outcome,
            "peer": delivery.peer,
            "code": delivery.code.name,
        }
        for delivery in done
    ]


def _from_files(arguments: argparse.Namespace, output: Output) -> list[dict[str, Any]]:
    from ringpair_protocol.admin import Code
    from ringpair_protocol.pairing import sealed_index

    from ringpair.errors import Refused
    from ringpair.messages import MAX_FILE, NAMES, parse, read_file

    messages = [
        parse(sys.stdin.buffer.read(MAX_FILE), "standard input") if name == "-" else read_file(Path(name))
        for name in arguments.files
    ]
    names, rows = names_of(arguments), []
    with open_board(arguments) as board:
        for message in sorted(messages, key=sealed_index):  # a later one makes earlier ones void
            subject = message[6:14].hex()
            row = {"kind": NAMES[message[0]], "peer_id": subject, "index": sealed_index(message)}
            try:
                row |= {"outcome": "delivered", "peer": board.import_puzzle(message), "code": Code.OK.name}
            except Refused as refusal:
                if len(messages) == 1:
                    raise
                row |= {"outcome": "refused", "peer": None, "code": refusal.code.name}
            output.note(f"{row['kind']} for {names.get(subject, subject)}: {row['outcome']} ({row['code']})")
            rows.append(row)
    return rows
