"""``ringpair services``: the services of this host."""

import argparse

from .common import add_registry, open_registry
from .output import Output

HELP = "list the services of this host, and how many devices each is bound to"


def configure(parser: argparse.ArgumentParser) -> None:
    add_registry(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    from ringpair.registry.services import Services

    with open_registry(arguments) as registry:
        services = Services(registry)
        bound = [device.service for device in services.bindings()]
        rows = [(row.name, row.id, bound.count(row.name), row.created_at) for row in services.all()]
    keys = ("name", "id", "devices", "created_at")
    data = {"services": [dict(zip(keys, row, strict=True)) for row in rows]}
    output.table(data, ("name", "id", "devices", "created at"), rows)
