"""``ringpair info PORT``: what a device says of itself."""

import argparse

from .common import add_port, add_registry, names_of, open_board
from .output import Output

HELP = "show what the device at PORT is, and how it is"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair_protocol.admin import EXPLANATION, Code

    names = names_of(arguments)
    with open_board(arguments) as board:
        identity, status = board.identity, board.status()
    device_id = status.device_id.hex() if any(status.device_id) else None
    output.result(
        {
            "port": board.port,
            "level": identity.level,
            "profile": identity.profile.name.lower(),
            "simulated": identity.simulated,
            "clock_mhz": identity.clock_mhz,
            "gateware": identity.gateware.hex(),
            "floorplan": identity.floorplan.hex(),
            "layout_version": identity.layout_version,
            "state": status.state.name.lower(),
            "device_id": device_id,
            "name": names.get(device_id or ""),
            "session": status.session,
            "trng_ready": status.trng_ready,
            "trng_alarm": status.trng_alarm,
            "button": status.button,
            "flash_jedec": status.jedec.hex(),
            "search_tries": status.tries,
            "failure": None if status.failure == Code.OK else status.failure.name,
            "advice": None if status.failure == Code.OK else EXPLANATION[status.failure],
        }
    )
