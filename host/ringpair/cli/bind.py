"""``ringpair bind PORT --service NAME``: bind a device by its PIN."""

import argparse

from .common import open_board, open_registry
from .controlling import add_controller, device_id_of, read_label, read_pin
from .output import Output

HELP = "bind the device at PORT to a service of this host, by the PIN that it shows or that its label has"


def configure(parser: argparse.ArgumentParser) -> None:
    add_controller(parser)
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--qr", metavar="TEXT", help="what the QR code of the label says; - reads standard input")
    given.add_argument("--pin-file", metavar="FILE", help="file with the PIN; - is standard input (default: ask)")


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair.controller import bind
    from ringpair.errors import UsageError
    from ringpair.registry.services import Services

    label = read_label(arguments.qr) if arguments.qr is not None else None
    with open_registry(arguments) as registry, open_board(arguments) as board:
        services = Services(registry)
        row = services.find(arguments.service)
        keys = services.keys(row)
        device_id = device_id_of(board)
        if label is not None and label.device_id != device_id:
            raise UsageError(
                f"the label is of the device {label.device_id.hex()}, the one on {board.port} is {device_id.hex()}: "
                "take that one's label, or the other board"
            )
        pin = read_pin(arguments.pin_file) if label is None else label.pin
        device_key = bind(board, keys, device_id, pin)
        services.bound(row, device_id, device_key, board.identity.simulated)
    output.result(
        {"service": row.name, "service_id": row.id, "device_id": device_id.hex(), "device_key": device_key.hex()},
        f"{row.name} is bound to the device {device_id.hex()}",
    )
