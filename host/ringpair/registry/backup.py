"""Backups of the registry.

An export is a registry file of its own, always under a passphrase (a keyring does not travel). It can open every
message that will be issued from the state it holds: keep it as safe as the registry, and delete it when a newer one
exists. Importing one adds what is missing, services and their bindings, too, and never turns a device back to an older
wrap key.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ringpair.errors import RegistryError

from . import migrate
from .models import BindingRow, Device, LogEntry, Message, Pairing, ServiceRow, VaultRow
from .services import SEED_INDEX, BoundDevice, Services
from .store import Registry, Secrecy
from .vault import COST


@dataclass(frozen=True)
class Merged:
    """What an import changed."""

    added: list[str]
    advanced: list[str]
    kept: list[str]


def export(registry: Registry, target: Path, passphrase: str, cost: int = COST) -> None:
    """Write a backup of ``registry`` to the new file ``target``, sealed under ``passphrase``.

    Raises
    ------
    RegistryError
        The file exists, or cannot be written.
    """
    vault = registry.unlock()
    if target.exists():
        raise RegistryError(f"{target} exists: choose another file, a backup never overwrites one")
    try:
        migrate.copy(registry.path, target)
    except OSError as problem:
        raise RegistryError(f"cannot write {target}: {problem.strerror or problem}; choose another file") from problem
    with Registry(target) as copied, copied.database.transaction() as session:
        session.merge(vault.protect(passphrase, session.get_one(VaultRow, 1).registry_id, cost))


def import_backup(registry: Registry, source: Path, passphrase: str | None) -> Merged:
    """Add what ``source`` knows and ``registry`` does not; of a device in both, the further wrap key wins."""
    if not source.is_file():
        raise RegistryError(f"there is no backup {source}: expected a file made by ringpair registry export")
    vault = registry.unlock()
    merged = Merged([], [], [])
    with tempfile.TemporaryDirectory(prefix="ringpair-") as folder:
        copied = Path(folder) / "backup.sqlite"
        migrate.revision_of(source)
        migrate.copy(source, copied)
        with Registry(copied, Secrecy(passphrase)) as backup:
            entries = [(device, backup.entry(device) if device.wrap_key else None) for device in backup.devices()]
            pairings, messages = backup.pairings(), backup.outbox(everything=True)
            services = Services(backup)
            keys = [(row, services.keys(row)) for row in services.all()]
            bindings = services.bindings()
    with registry.database.transaction() as session:
        for device, entry in entries:
            sealed = vault.seal(entry.wrap_key, device.id, entry.wrap_index) if entry else None
            _merge_device(session, device, sealed, merged)
        session.flush()
        _merge_rows(session, pairings, messages)
        for row, service in keys:
            known = session.scalar(select(ServiceRow).where((ServiceRow.id == row.id) | (ServiceRow.name == row.name)))
            if known is None:
                session.add(ServiceRow(**_columns(row, seed=vault.seal(service.seed, row.id, SEED_INDEX))))
        session.flush()
        for binding in bindings:
            _merge_binding(session, binding)
        session.add(LogEntry(action="import", detail=f"{source.name}: {len(merged.added)} added"))
    return merged


def _merge_device(session: Session, device: Device, sealed: bytes | None, merged: Merged) -> None:
    mine = session.get(Device, device.id)
    if mine is None:
        name = device.name
        if session.scalar(select(Device).where(Device.name == name)) is not None:
            name = f"{name[:30]}-{device.id[:8]}"
        session.add(Device(**_columns(device, name=name, wrap_key=sealed)))
        merged.added.append(name)
    elif sealed is not None and mine.wrap_key is not None and device.wrap_index > mine.wrap_index:
        mine.wrap_index, mine.wrap_key = device.wrap_index, sealed
        merged.advanced.append(mine.name)
    else:
        merged.kept.append(mine.name)


def _merge_rows(session: Session, pairings: list[Pairing], messages: list[Message]) -> None:
    for pairing in pairings:
        same = select(Pairing).filter_by(low_id=pairing.low_id, high_id=pairing.high_id, created_at=pairing.created_at)
        if session.scalar(same) is None:
            session.add(Pairing(**_columns(pairing, id=None)))
    for message in messages:
        same_message = select(Message).filter_by(recipient_id=message.recipient_id, wrap_index=message.wrap_index)
        if session.scalar(same_message) is None:
            session.add(Message(**_columns(message, id=None)))


def _merge_binding(session: Session, bound: BoundDevice) -> None:
    """A binding that is not known, of a service that is."""
    service = session.get(ServiceRow, bound.service_id.hex())
    if service is not None and session.get(BindingRow, (service.id, bound.device_id.hex())) is None:
        session.add(
            BindingRow(
                service_id=service.id,
                device_id=bound.device_id.hex(),
                device_key=bound.device_key,
                simulated=bound.simulated,
                bound_at=bound.bound_at,
            )
        )


def _columns(row: Device | Pairing | Message | ServiceRow, **changes: object) -> dict[str, Any]:
    """All columns of a row, some of them changed."""
    return {column.key: getattr(row, column.key) for column in row.__table__.columns} | changes
