"""Tables of the registry. Ids and hashes are lower-case hexadecimal text: legible in any SQLite tool."""

from datetime import UTC, datetime

from sqlalchemy import ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

PENDING, ACTIVE, RETIRED = "pending", "active", "retired"
"""States of a device: enrollment begun but not confirmed; enrolled; reset or given up (its wrap key is gone)."""

PUZZLE, REVOCATION, RESET = "puzzle", "revocation", "reset"
"""Kinds of a message in the outbox."""


def now() -> str:
    """This second in UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Base(DeclarativeBase):
    """Root of all tables."""


class VaultRow(Base):
    """How the key that encrypts all wrap keys is kept: one row.

    ``sealed_key`` is that key under one derived from the passphrase by scrypt; it is empty when the system keyring
    holds the key itself. ``check_value`` tells a right key from a wrong one.
    """

    __tablename__ = "vault"

    id: Mapped[int] = mapped_column(primary_key=True)
    registry_id: Mapped[str] = mapped_column(String(32))
    salt: Mapped[bytes] = mapped_column(LargeBinary)
    cost: Mapped[int]
    sealed_key: Mapped[bytes] = mapped_column(LargeBinary)
    check_value: Mapped[bytes] = mapped_column(LargeBinary)


class Device(Base):
    """One enrolled device. ``wrap_key`` is AES-256-GCM ciphertext, None once the device is retired."""

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[str] = mapped_column(String(8))
    wrap_index: Mapped[int]
    wrap_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    enrolled_at: Mapped[str] = mapped_column(String(32), default=now)
    gateware: Mapped[str] = mapped_column(String(16))
    floorplan: Mapped[str] = mapped_column(String(16))
    layout_version: Mapped[int]
    simulated: Mapped[bool]


class Pairing(Base):
    """Two devices that were given a common key, which nobody else knows any more."""

    __tablename__ = "pairings"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    low_id: Mapped[str] = mapped_column(ForeignKey("devices.id"))
    high_id: Mapped[str] = mapped_column(ForeignKey("devices.id"))
    created_at: Mapped[str] = mapped_column(String(32), default=now)
    revoked_at: Mapped[str | None] = mapped_column(String(32))

    low: Mapped[Device] = relationship(foreign_keys=[low_id])
    high: Mapped[Device] = relationship(foreign_keys=[high_id])


class Message(Base):
    """The outbox: a puzzle, revocation or reset for one device. Public data; nobody else can open it."""

    __tablename__ = "outbox"
    __table_args__ = (UniqueConstraint("recipient_id", "wrap_index"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16))
    recipient_id: Mapped[str] = mapped_column(ForeignKey("devices.id"))
    peer_id: Mapped[str | None] = mapped_column(String(16))
    wrap_index: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[str] = mapped_column(String(32), default=now)
    delivered_at: Mapped[str | None] = mapped_column(String(32))
    withdrawn: Mapped[bool] = mapped_column(default=False)

    recipient: Mapped[Device] = relationship()


class ServiceRow(Base):
    """A service of this host as a controller. ``seed`` is AES-256-GCM ciphertext."""

    __tablename__ = "services"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    seed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[str] = mapped_column(String(32), default=now)


class BindingRow(Base):
    """A device that a service is bound to, with the public key that it proved to have."""

    __tablename__ = "bindings"

    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    device_key: Mapped[bytes] = mapped_column(LargeBinary)
    simulated: Mapped[bool]
    bound_at: Mapped[str] = mapped_column(String(32), default=now)


class LogEntry(Base):
    """What was done when; never a key."""

    __tablename__ = "log"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[str] = mapped_column(String(32), default=now)
    action: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str]
