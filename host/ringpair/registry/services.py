"""This host as a controller: the key pairs of its services, and the devices that they are bound to.

They lie in the registry's file, a table each. A seed is sealed under the registry's key for its own service only. What
a service knows of a device is that device's public key; nothing is shared between services.
"""

import secrets
from dataclasses import dataclass

from ringpair_protocol.controller import Service
from ringpair_protocol.curve25519 import SEED_LENGTH
from sqlalchemy import select
from sqlalchemy.orm import Session

from ringpair.controller.curve import LibraryCurve
from ringpair.errors import RegistryError

from .models import BindingRow, ServiceRow
from .queries import ID, NAME, note
from .store import Registry

SEED_INDEX = 2**32 - 1
"""In the place of a wrap key's index when a seed is sealed: no wrap key has it."""


@dataclass(frozen=True)
class BoundDevice:
    """A device that a service may open sessions with."""

    service: str
    service_id: bytes
    device_id: bytes
    device_key: bytes
    simulated: bool
    bound_at: str


class Services:
    """The services of an open registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def new(self, name: str) -> ServiceRow:
        """A service with a fresh key pair.

        Raises
        ------
        RegistryError
            The name is taken or cannot be one.
        """
        vault = self._registry.unlock()
        service = Service.of(secrets.token_bytes(SEED_LENGTH), LibraryCurve())
        service_id = service.id.hex()
        row = ServiceRow(
            id=service_id, name=name, public_key=service.key, seed=vault.seal(service.seed, service_id, SEED_INDEX)
        )
        with self._registry.database.transaction() as session:
            if not NAME.fullmatch(name) or ID.fullmatch(name.lower()):
                raise RegistryError(
                    f"{name!r} is no name for a service: a letter first, then letters, digits, '.', '_', '-', at most "
                    "48, and not 16 hexadecimal digits"
                )
            if session.scalar(select(ServiceRow).where(ServiceRow.name == name)) is not None:
                raise RegistryError(f"there is a service {name} already: choose another name")
            session.add(row)
            note(session, "service", f"{name} {service_id}")
        return row

    def all(self) -> list[ServiceRow]:
        """All services by name."""
        with self._registry.database.transaction(write=False) as session:
            return list(session.scalars(select(ServiceRow).order_by(ServiceRow.name)))

    def find(self, name: str | None) -> ServiceRow:
        """The service of this name; without a name, the only one."""
        with self._registry.database.transaction(write=False) as session:
            return _find(session, name)

    def keys(self, row: ServiceRow) -> Service:
        """The key pair of a service.

        Raises
        ------
        RegistryError
            The row was altered.
        """
        return Service(self._registry.unlock().open(row.seed, row.id, SEED_INDEX), row.public_key)

    def remove(self, name: str) -> ServiceRow:
        """Delete a service's key pair and what it is bound to; the devices are not told."""
        with self._registry.database.transaction() as session:
            row = _find(session, name)
            for binding in session.scalars(select(BindingRow).where(BindingRow.service_id == row.id)):
                session.delete(binding)
            session.flush()
            session.delete(row)
            note(session, "service remove", f"{name} {row.id}")
        return row

    def bindings(self, name: str | None = None) -> list[BoundDevice]:
        """The devices of one service, or of all."""
        with self._registry.database.transaction(write=False) as session:
            query = select(BindingRow, ServiceRow.name).join(ServiceRow).order_by(ServiceRow.name, BindingRow.bound_at)
            if name is not None:
                query = query.where(BindingRow.service_id == _find(session, name).id)
            return [
                BoundDevice(
                    service,
                    bytes.fromhex(row.service_id),
                    bytes.fromhex(row.device_id),
                    row.device_key,
                    row.simulated,
                    row.bound_at,
                )
                for row, service in session.execute(query)
            ]

    def bound(self, row: ServiceRow, device_id: bytes, device_key: bytes, simulated: bool) -> None:
        """A binding was completed; an older one with the same device is replaced."""
        with self._registry.database.transaction() as session:
            session.merge(
                BindingRow(service_id=row.id, device_id=device_id.hex(), device_key=device_key, simulated=simulated)
            )
            note(session, "bind", f"{row.name} to {device_id.hex()}")

    def device_key(self, row: ServiceRow, device_id: bytes) -> bytes:
        """The key of a device that the service is bound to.

        Raises
        ------
        RegistryError
            It is not.
        """
        with self._registry.database.transaction(write=False) as session:
            binding = session.get(BindingRow, (row.id, device_id.hex()))
        if binding is None:
            raise RegistryError(
                f"service {row.name} is not bound to the device {device_id.hex()}: `ringpair bind` it, or was the "
                "device reset and enrolled again?"
            )
        return binding.device_key

    def unbound(self, row: ServiceRow, device_id: bytes) -> None:
        """A binding has ended."""
        with self._registry.database.transaction() as session:
            binding = session.get(BindingRow, (row.id, device_id.hex()))
            if binding is not None:
                session.delete(binding)
                note(session, "unbind", f"{row.name} from {device_id.hex()}")


def _find(session: Session, name: str | None) -> ServiceRow:
    rows = list(session.scalars(select(ServiceRow).order_by(ServiceRow.name)))
    found = [row for row in rows if name is None or row.name == name]
    if len(found) == 1:
        return found[0]
    known = ", ".join(row.name for row in rows[:8]) or "none yet: `ringpair service new NAME` makes one"
    wanted = f"no service {name!r}" if name is not None else "no or more than one service, and --service does not say"
    raise RegistryError(f"there is {wanted}; services: {known}")
