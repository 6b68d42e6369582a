"""``ringpair info PORT``: what a device says of itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .common import add_port, add_registry, names_of, open_board
from .output import Output

if TYPE_CHECKING:
    from ringpair_protocol.admin import Identity, Status

HELP = "show what the device at PORT is, and how it is"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair_protocol.admin import Profile

    names = names_of(arguments)
    with open_board(arguments) as board:
        data = {"port": board.port} | _identity(board.identity)
        if board.identity.profile != Profile.CHARACTERIZE:
            data |= _status(board.status(), names)
    output.result(data)
    if board.identity.profile == Profile.CHARACTERIZE:
        output.note("this gateware measures rings and noise; it has no keys, no pairings and no status")


def _identity(identity: Identity) -> dict[str, Any]:
    return {
        "level": identity.level,
        "profile": identity.profile.name.lower(),
        "simulated": identity.simulated,
        "clock_mhz": identity.clock_mhz,
        "gateware": identity.gateware.hex(),
        "floorplan": identity.floorplan.hex(),
        "layout_version": identity.layout_version,
    }


def _status(status: Status, names: dict[str, str]) -> dict[str, Any]:
    from ringpair_protocol.admin import EXPLANATION, Code

    device_id = status.device_id.hex() if any(status.device_id) else None
    return {
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
