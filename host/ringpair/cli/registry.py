"""``ringpair registry ...``: look into the registry and take care of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import add_registry, confirm, message_data, open_registry, write_messages
from .output import Output

if TYPE_CHECKING:
    from ringpair.registry import Device, Registry

HELP = "list, show, rename, remove devices; outbox, backups, passphrase"


def configure(parser: argparse.ArgumentParser) -> None:
    add_registry(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help: str, *names: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=help, description=help)
        for argument in names:
            sub.add_argument(argument, metavar=argument.upper())
        return sub

    action("list", "all devices and pairings")
    action("show", "one device", "name")
    action("rename", "give a device another name", "name", "new")
    action("remove", "delete a device and its pairings from the registry; the board itself is not touched", "name")
    action("confirm", "mark a pending enrollment as done, after `ringpair info` said enrolled", "name")
    advance = action("advance", "skip used wrap keys, after an old backup was restored over a newer registry", "name")
    advance.add_argument("--steps", type=int, default=1)
    outbox = action("outbox", "messages that wait for their device")
    outbox.add_argument("-o", "--output", type=Path, metavar="DIR", help="write them as files")
    action("history", "what was done when")
    action("export", "write a backup, sealed under a passphrase", "file")
    action("import-backup", "add what a backup knows; never turns a device back", "file")
    protect = action("protect", "change the passphrase, or move the key into the system keyring (--to-keyring)")
    protect.add_argument("--to-keyring", action="store_true", help="no passphrase any more")
    for sub in actions.choices.values():
        add_registry(sub, again=True)
        sub.add_argument("--yes", action="store_true", help="do not ask")
        sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace, output: Output) -> None:
    with open_registry(arguments) as registry:
        ACTIONS[arguments.action](registry, arguments, output)


def _list(registry: Registry, arguments: argparse.Namespace, output: Output) -> None:
    devices, pairings = registry.devices(), registry.pairings()
    data = {
        "registry": str(registry.path),
        "devices": [_device_data(device) for device in devices],
        "pairings": [
            {"a": row.low.name, "b": row.high.name, "created_at": row.created_at, "revoked_at": row.revoked_at}
            for row in pairings
        ],
    }
    peers = {
        device.id: [
            row.high.name if row.low_id == device.id else row.low.name
            for row in pairings
            if device.id in (row.low_id, row.high_id) and row.revoked_at is None
        ]
        for device in devices
    }
    columns = ("name", "id", "state", "simulated", "enrolled at", "paired with")
    rows = ((d.name, d.id, d.state, d.simulated, d.enrolled_at, peers[d.id]) for d in devices)
    output.table(data, columns, rows)


def _show(registry: Registry, arguments: argparse.Namespace, output: Output) -> None:
    device = registry.find(arguments.name)
    waiting = [f"{message.kind} {message.wrap_index}" for message in registry.outbox(device.id)]
    peers = [
        (row.high.name if row.low_id == device.id else row.low.name) + (" (revoked)" if row.revoked_at else "")
        for row in registry.pairings(device.id)
    ]
    output.result(_device_data(device) | {"pairings": peers, "outbox": waiting})


def _rename(registry: Registry, arguments: argparse.Namespace, output: Output) -> None:
    device = registry.rename(arguments.name, arguments.new)
    output.result(_device_data(device), f"{device.id} is {device.name} now")


def _remove(registry: Registry, arguments: argparse.Namespace, output: Output) -> None:
    device = registry.find(arguments.name)
    if not arguments.yes:
        confirm(f"Remove {device.name} ({device.id})? It can be neither paired nor reset by this registry any more.")
    registry.remove(device.id)
    output.result({"removed": device.id}, f"removed {device.name}")


def _confirm(registry: Registry, arguments: argparse.Namespace, output: Output) -> None:
    device = registry.confirm(arguments.name)
    output.result(_device_data(device), f"{device.name} is {device.state}")


def _advance(registry: Registry, arguments: argparse.Namespace, output: Output) -> None:
    device = registry.advance(arguments.name, arguments.steps)
    output.result(_device_data(device), f"{device.name} goes on at wrap key {device.wrap_index}")


def _outbox(registry: Registry, arguments: argparse.Namespace, output: Output) -> None:
    messages = registry.outbox()
    files = write_messages(messages, arguments.output, output)
    rows = [message_data(message) for message in messages]
    columns = ("recipient", "kind", "index", "peer_id")
    output.table({"outbox": rows, "files": files}, columns, ([row[key] for key in columns] for row in rows))


def _history(registry: Registry, arguments: argparse.Namespace, output: Output) -> None:
    rows = [(entry.at, entry.action, entry.detail) for entry in registry.history()]
    columns = ("at", "action", "detail")
    output.table({"history": [dict(zip(columns, row, strict=True)) for row in rows]}, columns, rows)


def _export(registry: Registry, arguments: argparse.Namespace, output: Output) -> None:
    from ringpair.registry import export
    from ringpair.registry.vault import ask_passphrase

    registry.unlock()
    export(registry, Path(arguments.file), ask_passphrase("A passphrase for the backup: ", confirm=True))
    output.result(
        {"backup": arguments.file},
        f"wrote {arguments.file}: keep it as safe as the registry, and delete it when you have a newer one",
    )


def _import_backup(registry: Registry, arguments: argparse.Namespace, output: Output) -> None:
    from ringpair.registry import import_backup

    merged = import_backup(registry, Path(arguments.file), None)
    output.result(
        {"added": merged.added, "advanced": merged.advanced, "kept": merged.kept},
        f"added {len(merged.added)}, advanced {len(merged.advanced)}, left as they are {len(merged.kept)}",
    )


def _protect(registry: Registry, arguments: argparse.Namespace, output: Output) -> None:
    from ringpair.registry.vault import NEW_PASSPHRASE_VARIABLE, ask_passphrase

    registry.unlock()
    new = None
    if not arguments.to_keyring:
        new = ask_passphrase("The new passphrase: ", confirm=True, variable=NEW_PASSPHRASE_VARIABLE)
    registry.protect(new)
    where = "system keyring" if new is None else "passphrase"
    output.result({"protected_by": where}, f"the registry is protected by a {where} now")


def _device_data(device: Device) -> dict[str, Any]:
    return {
        "name": device.name,
        "id": device.id,
        "state": device.state,
        "wrap_index": device.wrap_index,
        "enrolled_at": device.enrolled_at,
        "gateware": device.gateware,
        "floorplan": device.floorplan,
        "layout_version": device.layout_version,
        "simulated": device.simulated,
    }


ACTIONS: dict[str, Callable[[Registry, argparse.Namespace, Output], None]] = {
    "list": _list,
    "show": _show,
    "rename": _rename,
    "remove": _remove,
    "confirm": _confirm,
    "advance": _advance,
    "outbox": _outbox,
    "history": _history,
    "export": _export,
    "import-backup": _import_backup,
    "protect": _protect,
}
