"""``ringpair enroll PORT --name NAME``: take a device into the registry.

The registry stores the device's wrap key before the device commits, so that no device is ever enrolled and unknown. If
the confirmation gets lost, the row stays ``pending``: the same command again, or an import, sees by the device's id
that it is enrolled.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .common import add_port, add_registry, open_board, open_registry
from .output import Output

if TYPE_CHECKING:
    from ringpair.board import Board
    from ringpair.registry import Device, Registry

HELP = "enroll the device at PORT, its button held, and store it in the registry"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    parser.add_argument("--name", required=True, help="name of the device in the registry")
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    with open_registry(arguments) as registry, open_board(arguments) as board:
        device = _completed(board, registry, arguments.name) or _enroll(board, registry, arguments.name, output)
        output.result(
            {
                "name": device.name,
                "id": device.id,
                "simulated": device.simulated,
                "search_tries": board.status().tries,
                "registry": str(registry.path),
            },
            f"{device.name} is enrolled with id {device.id}" + (" (simulated rings)" if device.simulated else ""),
        )


def _completed(board: Board, registry: Registry, name: str) -> Device | None:
    """The device, if an enrollment of this name reached it, and the end of the command got lost: the reply or we."""
    from ringpair.registry.models import PENDING

    named = [row for row in registry.devices() if row.name == name]
    enrolled = board.device_id() if named else None
    if enrolled is None or named[0].id != enrolled.hex():
        return None
    return registry.confirm(named[0].id) if named[0].state == PENDING else named[0]


def _enroll(board: Board, registry: Registry, name: str, output: Output) -> Device:
    from ringpair.errors import NoReply, RingpairError, TransportError

    registry.check_free(name)
    registry.unlock()  # asks for the passphrase now, not while the device waits
    output.note(f"enrolling {name}: the device measures its rings ...")
    enrollment = board.enroll_begin()
    device = registry.add(enrollment.entry, name, board.identity)
    try:
        board.enroll_confirm(enrollment)
    except (NoReply, TransportError) as problem:
        raise type(problem)(
            f"{problem}; {name} stays pending: run the same command again, which completes the enrollment if the "
            f"device stored it; else remove the entry (`ringpair registry remove {name}`) and enroll anew"
        ) from problem
    except RingpairError:
        registry.remove(device.id)
        raise
    return registry.confirm(device.id)
