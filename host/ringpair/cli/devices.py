"""``ringpair devices``: the devices that this host's services are bound to."""

import argparse

from .common import add_registry, names_of, open_registry
from .output import Output

HELP = "list the devices that the services of this host are bound to"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--service", metavar="NAME", help="only those of this service")
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair.registry.services import Services

    names = names_of(arguments)
    with open_registry(arguments) as registry:
        found = Services(registry).bindings(arguments.service)
    data = [
        {
            "service": device.service,
            "device_id": device.device_id.hex(),
            "name": names.get(device.device_id.hex()),
            "device_key": device.device_key.hex(),
            "simulated": device.simulated,
            "bound_at": device.bound_at,
        }
        for device in found
    ]
    rows = [(row["service"], row["device_id"], row["name"], row["simulated"], row["bound_at"]) for row in data]
    output.table({"devices": data}, ("service", "device", "name", "simulated", "bound at"), rows)
