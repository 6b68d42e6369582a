"""``ringpair service new NAME``: make a key pair for a service of this host."""

import argparse

from .common import add_registry, confirm, open_registry
from .output import Output

HELP = "make or remove a service of this host, a key pair of its own that devices are bound to"


def configure(parser: argparse.ArgumentParser) -> None:
    add_registry(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, help in (
        ("new", "a service with a fresh key pair"),
        ("remove", "delete a service's key pair; unbind its devices first"),
    ):
        sub = actions.add_parser(name, help=help, description=help)
        sub.add_argument("name", metavar="NAME")
        add_registry(sub, again=True)
        sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    actions.choices["remove"].add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair.registry.services import Services

    with open_registry(arguments) as registry:
        services = Services(registry)
        if arguments.action == "new":
            row = services.new(arguments.name)
            data = {"name": row.name, "id": row.id, "key": row.public_key.hex(), "registry": str(registry.path)}
            output.result(data, f"service {row.name} has the id {row.id}")
            return
        bound = [device.device_id.hex() for device in services.bindings(arguments.name)]
        if not arguments.yes:
            held = f", to which {len(bound)} devices are bound," if bound else ""
            confirm(f"Remove the service {arguments.name}{held} and its key pair?")
        row = services.remove(arguments.name)
        output.result({"removed": row.name, "id": row.id, "devices": bound}, f"removed {row.name}")
