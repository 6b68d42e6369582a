"""Rows of the registry: finding, checking and making them within a transaction."""

import logging
import re
from collections.abc import Iterable

from ringpair_protocol.pairing import DeviceEntry
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from ringpair.errors import RegistryError

from .models import PENDING, Device, LogEntry, Message, Pairing

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,47}")
ID = re.compile(r"[0-9a-f]{16}")


def find(session: Session, reference: str) -> Device:
    """The device with this name, id, or beginning of an id."""
    found: Iterable[Device] = session.scalars(select(Device).where(Device.name == reference)).all()
    lowered = reference.lower()
    if not found and 4 <= len(reference) <= 16 and re.fullmatch("[0-9a-f]+", lowered):
        found = session.scalars(select(Device).where(Device.id.startswith(lowered))).all()
    match list(found):
        case [device]:
            return device
        case []:
            known = ", ".join(session.scalars(select(Device.name).order_by(Device.name).limit(8))) or "nobody yet"
            raise RegistryError(f"no device {reference!r} in the registry; it knows {known}")
        case several:
            raise RegistryError(f"{reference!r} is the beginning of {len(several)} ids: give more digits")


def find_two(session: Session, first: str, second: str) -> tuple[Device, Device]:
    """Two different devices whose enrollment was confirmed."""
    a, b = find(session, first), find(session, second)
    if a.id == b.id:
        raise RegistryError(f"expected two devices, {first!r} and {second!r} are the same ({a.id})")
    for device in (a, b):
        if device.state == PENDING:
            raise RegistryError(
                f"{device.name}'s enrollment was never confirmed: if `ringpair info` says it is enrolled, run "
                f"`ringpair registry confirm {device.name}`, else `ringpair registry remove {device.name}`"
            )
    return a, b


def check_free(session: Session, name: str) -> None:
    """Refuse a name that is taken or cannot be one."""
    if not NAME.fullmatch(name) or ID.fullmatch(name.lower()):
        raise RegistryError(
            f"{name!r} is no name for a device: a letter first, then letters, digits, '.', '_', '-', at most 48, "
            "and not 16 hexadecimal digits"
        )
    taken = session.scalar(select(Device).where(Device.name == name))
    if taken is not None:
        raise RegistryError(
            f"the name {name} is taken by device {taken.id} ({taken.state}): choose another, or rename or remove that"
        )


def pairings_of(session: Session, device_id: str | None) -> list[Pairing]:
    """Pairings of a device, or all."""
    query = select(Pairing).order_by(Pairing.id)
    if device_id is not None:
        query = query.where(or_(Pairing.low_id == device_id, Pairing.high_id == device_id))
    return list(session.scalars(query))


def messages_of(session: Session, device_id: str | None) -> list[Message]:
    """Messages for a device, or all, in the order of their wrap keys."""
    query = select(Message).order_by(Message.recipient_id, Message.wrap_index)
    if device_id is not None:
        query = query.where(Message.recipient_id == device_id)
    return list(session.scalars(query))


def new_message(kind: str, recipient: Device, entry: DeviceEntry, body: bytes, peer_id: str | None) -> Message:
    """A row for the outbox."""
    return Message(kind=kind, recipient=recipient, peer_id=peer_id, wrap_index=entry.wrap_index, body=body)


def note(session: Session, action: str, detail: str) -> None:
    """A line in the history and in the log."""
    log.info(" %s %s", action, detail)
    session.add(LogEntry(action=action, detail=detail))
