"""``ringpair enroll PORT --name NAME``: take a device into the registry.

The registry stores the device's wrap key before the device commits, so that no device is ever enrolled and unknown;
if the confirmation gets lost, the row stays ``pending`` and the message says how to go on.
"""

import argparse

from .common import add_port, add_registry, open_board, open_registry
from .output import Output

HELP = "enroll the device at PORT, its button held, and store it in the registry"


def configure(parser: argparse.ArgumentParser) -> None:
    add_port(parser)
    parser.add_argument("--name", required=True, help="name of the device in the registry")
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair.errors import NoReply, RingpairError, TransportError

    with open_registry(arguments) as registry, open_board(arguments) as board:
        registry.check_free(arguments.name)
        registry.unlock()  # asks for the passphrase now, not while the device waits
        output.note(f"enrolling {arguments.name}: the device measures its rings ...")
        enrollment = board.enroll_begin()
        device = registry.add(enrollment.entry, arguments.name, board.identity)
        try:
            board.enroll_confirm(enrollment)
        except (NoReply, TransportError) as problem:
            raise type(problem)(
                f"{problem}; {arguments.name} stays pending: if `ringpair info` says it is enrolled, run "
                f"`ringpair registry confirm {arguments.name}`, else `ringpair registry remove {arguments.name}`"
            ) from problem
        except RingpairError:
            registry.remove(device.id)
            raise
        device = registry.confirm(device.id)
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
