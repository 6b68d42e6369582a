"""``ringpair factory-reset PORT``: make a device forget everything, by an authenticated command."""

import argparse

from .common import add_port, add_registry, confirm, open_board, open_registry
from .output import Output

HELP = "return the device at PORT to the factory state: all its pairings are lost"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair_protocol.admin import DeviceStateCode

    from ringpair.delivery import device_of
    from ringpair.errors import NoReply

    with open_registry(arguments) as registry, open_board(arguments) as board:
        device = device_of(board, registry)
        if not arguments.yes:
            confirm(f"Reset {device.name} ({device.id})? Its id and all its pairings are lost for ever.")
        message = registry.reset(device.id)
        try:
            board.import_puzzle(message.body)
        except NoReply:
            if board.status().state != DeviceStateCode.FACTORY:
                raise
        registry.delivered(message)
        peers = [
            pairing.high.name if pairing.low_id == device.id else pairing.low.name
            for pairing in registry.pairings(device.id)
            if pairing.revoked_at is None
        ]
        registry.retire(device.id)
    left = f"; {', '.join(peers)} still hold a pairing with it, worth nothing now" if peers else ""
    output.result(
        {"name": device.name, "id": device.id, "reset": True, "peers": peers},
        f"{device.name} is back in the factory state{left}",
    )
