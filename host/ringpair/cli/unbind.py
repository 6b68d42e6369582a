"""``ringpair unbind PORT``: end the binding of a service with a device."""

import argparse

from .common import open_board, open_registry
from .controlling import add_controller, device_id_of
from .output import Output

HELP = "end the binding of a service with the device at PORT, on both sides"


def configure(parser: argparse.ArgumentParser) -> None:
    add_controller(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair_protocol.admin import Code

    from ringpair.controller import open_session
    from ringpair.errors import Refused
    from ringpair.registry.services import Services

    with open_registry(arguments) as registry, open_board(arguments) as board:
        services = Services(registry)
        row = services.find(arguments.service)
        device_id = device_id_of(board)
        device_key = services.device_key(row, device_id)
        known = True
        try:
            open_session(board, services.keys(row), device_key).unbind()
        except Refused as refusal:
            if refusal.code != Code.UNKNOWN_CONTROLLER:
                raise
            known = False
            output.note(f"the device had forgotten {row.name} already")
        services.unbound(row, device_id)
    output.result(
        {"service": row.name, "device_id": device_id.hex(), "device_knew": known},
        f"{row.name} and the device {device_id.hex()} have forgotten each other",
    )
