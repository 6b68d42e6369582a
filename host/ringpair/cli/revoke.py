"""``ringpair revoke A B``: end a pairing."""

import argparse
from pathlib import Path

from .common import add_registry, message_data, open_registry, write_messages
from .output import Output

HELP = "end the pairing of two devices: makes a revocation for each, to be imported like a puzzle"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="name or id of a device")
    parser.add_argument("b", metavar="B", help="name or id of the other")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write the revocations as files, too")
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    with open_registry(arguments) as registry:
        messages = registry.revoke(arguments.a, arguments.b)
    files = write_messages(messages, arguments.output, output)
    names = " and ".join(message.recipient.name for message in messages)
    output.result(
        {"revocations": [message_data(message) for message in messages], "files": files},
        f"revocations for {names} wait in the outbox: ringpair import PORT; one side is enough to end the pairing",
    )
