"""The registry of enrolled devices: pairing them needs this file and nothing else.

One operation is one transaction. Whatever hands out a message (puzzle, revocation, reset) stores the message and the
*successor* of each wrap key it used up in that same transaction: afterwards nobody, this registry included, can
open or repeat the message.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ringpair_protocol.admin import Identity
from ringpair_protocol.messages import MAX_FORWARD
from ringpair_protocol.pairing import MAX_INDEX, DeviceEntry, make_puzzles, make_reset, make_revocation
from ringpair_protocol.records import MAX_PEERS
from sqlalchemy import select
from sqlalchemy.orm import Session

from ringpair.errors import RegistryError, UsageError
from ringpair.home import default_path

from . import vault as vaults
from .database import Database
from .models import (
    ACTIVE,
    PENDING,
    PUZZLE,
    RESET,
    RETIRED,
    REVOCATION,
    Device,
    LogEntry,
    Message,
    Pairing,
    VaultRow,
    now,
)
from .queries import check_free, find, find_two, messages_of, new_message, note, pairings_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Secrecy:
    """How a new registry is protected, and an old one opened.

    Attributes
    ----------
    passphrase
        None: the environment (``RINGPAIR_PASSPHRASE``) or the terminal is asked when a key is needed.
    keyring
        Keep the key of a *new* registry in the system keyring, without a passphrase.
    cost
        Base-2 logarithm of scrypt's N for a new registry.
    """

    passphrase: str | None = None
    keyring: bool = False
    cost: int = vaults.COST


class Registry:
    """An open registry. Reading it needs no passphrase; what touches a key asks for it once.

    Parameters
    ----------
    path
        The file; made if it does not exist. Default: :func:`ringpair.home.default_path`.
    """

    def __init__(self, path: Path | None = None, secrecy: Secrecy | None = None) -> None:
        self.database = Database(path or default_path())
        self._secrecy = secrecy or Secrecy()
        self._vault: vaults.Vault | None = None

    @property
    def path(self) -> Path:
        """Where the registry lies."""
        return self.database.path

    def close(self) -> None:
        """Let the file go and forget its key."""
        self._vault = None
        self.database.close()

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Secrets

    def unlock(self) -> vaults.Vault:
        """Open the wrap keys, or choose their protection if there are none yet.

        Called first by whatever must not stop halfway to ask for a passphrase.
        """
        if self._vault is None:
            with self.database.transaction(write=False) as session:
                row = session.get(VaultRow, 1)
            self._vault = self._create_vault() if row is None else vaults.open_vault(row, self._secrecy.passphrase)
        return self._vault

    def _create_vault(self) -> vaults.Vault:
        passphrase = self._secrecy.passphrase
        if passphrase is None and not self._secrecy.keyring:
            passphrase = vaults.ask_passphrase("A passphrase for the new registry: ", confirm=True)
        fresh = vaults.new_vault()
        row = fresh.protect(passphrase, cost=self._secrecy.cost)
        with self.database.transaction() as session:
            other = session.get(VaultRow, 1)
            if other is None:
                session.add(row)
                note(session, "create", "passphrase" if passphrase is not None else "system keyring")
        return fresh if other is None else vaults.open_vault(other, passphrase)

    def protect(self, passphrase: str | None, cost: int = vaults.COST) -> None:
        """Change the passphrase, or hand the key to the system keyring (None)."""
        vault = self.unlock()
        with self.database.transaction() as session:
            old = session.get_one(VaultRow, 1)
            session.merge(vault.protect(passphrase, old.registry_id, cost))
            note(session, "protect", "system keyring" if passphrase is None else "passphrase")

    def entry(self, device: Device) -> DeviceEntry:
        """The device's entry with its wrap key in the clear.

        Raises
        ------
        RegistryError
            It is retired, or its row was altered.
        """
        if device.wrap_key is None:
            raise RegistryError(f"{device.name} ({device.id}) is retired and has no key: enroll the board again")
        if device.wrap_index >= MAX_INDEX:
            raise RegistryError(f"{device.name} ({device.id}) has used up its chain of wrap keys: enroll it again")
        wrap_key = self.unlock().open(device.wrap_key, device.id, device.wrap_index)
        return DeviceEntry(bytes.fromhex(device.id), wrap_key, device.wrap_index)

    def _store_entry(self, device: Device, entry: DeviceEntry) -> None:
        device.wrap_index = entry.wrap_index
        device.wrap_key = self.unlock().seal(entry.wrap_key, device.id, entry.wrap_index)

    # Devices

    def devices(self) -> list[Device]:
        """All devices by name."""
        with self.database.transaction(write=False) as session:
            return list(session.scalars(select(Device).order_by(Device.name)))

    def find(self, reference: str) -> Device:
        """The device with this name, id, or beginning of an id (four digits or more)."""
        with self.database.transaction(write=False) as session:
            return find(session, reference)

    def check_free(self, name: str) -> None:
        """Refuse a name that is taken or cannot be one."""
        with self.database.transaction(write=False) as session:
            check_free(session, name)

    def add(self, entry: DeviceEntry, name: str, identity: Identity) -> Device:
        """Store a device whose enrollment is under way, before it is told to commit."""
        device = Device(
            id=entry.device_id.hex(),
            name=name,
            state=PENDING,
            gateware=identity.gateware.hex(),
            floorplan=identity.floorplan.hex(),
            layout_version=identity.layout_version,
            simulated=identity.simulated,
        )
        self._store_entry(device, entry)
        with self.database.transaction() as session:
            check_free(session, name)
            if session.get(Device, device.id) is not None:
                raise RegistryError(f"the device id {device.id} is registered already: this is no fresh enrollment")
            session.add(device)
            note(session, "enroll", f"{name} {device.id}")
        return device

    def confirm(self, reference: str) -> Device:
        """The device committed its enrollment."""
        with self.database.transaction() as session:
            device = find(session, reference)
            if device.state != PENDING:
                raise RegistryError(f"{device.name} is {device.state}: only a pending enrollment can be confirmed")
            device.state = ACTIVE
            note(session, "confirm", f"{device.name} {device.id}")
        return device

    def rename(self, reference: str, name: str) -> Device:
        """Give a device another name."""
        with self.database.transaction() as session:
            device = find(session, reference)
            check_free(session, name)
            note(session, "rename", f"{device.name} {device.id} to {name}")
            device.name = name
        return device

    def remove(self, reference: str) -> Device:
        """Delete a device, its pairings and its outbox: this registry can do nothing to it any more."""
        with self.database.transaction() as session:
            device = find(session, reference)
            for row in (*pairings_of(session, device.id), *messages_of(session, device.id)):
                session.delete(row)
            session.flush()
            session.delete(device)
            note(session, "remove", f"{device.name} {device.id}")
        return device

    def retire(self, reference: str) -> Device:
        """The device was reset: forget its key, end its pairings, free its name."""
        with self.database.transaction() as session:
            device = find(session, reference)
            note(session, "retire", f"{device.name} {device.id}")
            device.state, device.wrap_key, device.name = RETIRED, None, f"{device.name[:30]}-retired-{device.id[:8]}"
            for pairing in pairings_of(session, device.id):
                pairing.revoked_at = pairing.revoked_at or now()
            for message in messages_of(session, device.id):
                message.withdrawn = message.withdrawn or message.delivered_at is None
        return device

    def advance(self, reference: str, steps: int) -> Device:
        """Move on along the chain of wrap keys: for a registry restored from a backup older than its last pairing."""
        if not 1 <= steps <= 100_000:
            raise UsageError(f"expected 1 to 100000 steps, got {steps}")
        self.unlock()
        with self.database.transaction() as session:
            device = find(session, reference)
            entry = self.entry(device)
            for _ in range(steps):
                entry = entry.successor()
            self._store_entry(device, entry)
            note(session, "advance", f"{device.name} {device.id} to {device.wrap_index}")
        return device

    # Pairings

    def pairings(self, reference: str | None = None) -> list[Pairing]:
        """All pairings, or those of one device."""
        with self.database.transaction(write=False) as session:
            rows = pairings_of(session, find(session, reference).id if reference else None)
            for row in rows:
                _ = row.low.name, row.high.name  # loaded now: the session ends here
            return rows

    def pair(self, first: str, second: str) -> tuple[Message, Message]:
        """Pair two devices that need not be there; returns the puzzle for each.

        The pair's key exists only inside this call.
        """
        self.unlock()
        with self.database.transaction() as session:
            a, b = find_two(session, first, second)
            for device in (a, b):
                live = [row for row in pairings_of(session, device.id) if row.revoked_at is None]
                if len(live) >= MAX_PEERS:
                    raise RegistryError(f"{device.name} has {MAX_PEERS} pairings, the most a device holds: revoke one")
            if any({row.low_id, row.high_id} == {a.id, b.id} for row in live):
                raise RegistryError(
                    f"{a.name} and {b.name} are paired already: import what is in the outbox, or revoke the pairing"
                )
            bodies = make_puzzles(entry_a := self._issue(session, a), entry_b := self._issue(session, b))
            messages = (
                new_message(PUZZLE, a, entry_a, bodies[0], b.id),
                new_message(PUZZLE, b, entry_b, bodies[1], a.id),
            )
            self._store_entry(a, bodies[2])
            self._store_entry(b, bodies[3])
            low, high = sorted((a, b), key=lambda device: device.id)
            session.add_all([*messages, Pairing(low=low, high=high)])
            note(session, "pair", f"{a.name} {a.id} with {b.name} {b.id}")
        return messages

    def revoke(self, first: str, second: str) -> list[Message]:
        """End a pairing: one revocation for each device that is still enrolled; puzzles not delivered are withdrawn."""
        self.unlock()
        with self.database.transaction() as session:
            a, b = find_two(session, first, second)
            pairings = [row for row in pairings_of(session, a.id) if {row.low_id, row.high_id} == {a.id, b.id}]
            if not pairings:
                raise RegistryError(f"{a.name} and {b.name} were never paired: see ringpair registry list")
            for row in pairings:
                row.revoked_at = row.revoked_at or now()
            messages = []
            for device, peer in ((a, b), (b, a)):
                for old in messages_of(session, device.id):
                    if old.peer_id == peer.id and old.delivered_at is None:
                        old.withdrawn = True
                if device.state != RETIRED:
                    entry = self._issue(session, device)
                    body, successor = make_revocation(entry, bytes.fromhex(peer.id))
                    messages.append(new_message(REVOCATION, device, entry, body, peer.id))
                    self._store_entry(device, successor)
            session.add_all(messages)
            note(session, "revoke", f"{a.name} {a.id} and {b.name} {b.id}")
        return messages

    def reset(self, reference: str) -> Message:
        """A message that returns a device to the factory state; :meth:`retire` it once that is done."""
        self.unlock()
        with self.database.transaction() as session:
            device = find(session, reference)
            entry = self._issue(session, device)
            message = new_message(RESET, device, entry, make_reset(entry), None)
            message.withdrawn = True  # never sent by an import: only by the command that asked for it
            session.add(message)
            self._store_entry(device, entry.successor())
            note(session, "reset", f"{device.name} {device.id}")
        return message

    def _issue(self, session: Session, device: Device) -> DeviceEntry:
        """The entry to make the next message with.

        A device follows the chain by 64 steps at most. What waits in the outbox are its stepping stones; withdrawn
        messages are none.
        """
        reach = 0
        for message in messages_of(session, device.id):
            if message.delivered_at or (not message.withdrawn and message.wrap_index - reach <= MAX_FORWARD):
                reach = message.wrap_index + 1
        if device.wrap_index - reach > MAX_FORWARD:
            raise RegistryError(
                f"{device.name} would be more than {MAX_FORWARD} wrap keys behind the next message, and refuse it: "
                "import what waits in its outbox first; if nothing does, reset it by its button and enroll it again"
            )
        return self.entry(device)

    # Outbox

    def outbox(self, reference: str | None = None, everything: bool = False) -> list[Message]:
        """Messages that wait for their device (or all there ever were), oldest wrap index first."""
        with self.database.transaction(write=False) as session:
            rows = messages_of(session, find(session, reference).id if reference else None)
            found = [row for row in rows if everything or (row.delivered_at is None and not row.withdrawn)]
            for row in found:
                _ = row.recipient.name
            return found

    def delivered(self, message: Message) -> None:
        """The device took the message."""
        self._settle(message, lambda row: setattr(row, "delivered_at", row.delivered_at or now()), "deliver")

    def withdraw(self, message: Message) -> None:
        """The message is of no use any more: never try it again."""
        self._settle(message, lambda row: setattr(row, "withdrawn", True), "withdraw")

    def _settle(self, message: Message, change: Callable[[Message], None], action: str) -> None:
        with self.database.transaction() as session:
            row = session.get(Message, message.id)
            if row is None:
                raise RegistryError(f"message {message.id} is not in the outbox any more: another process removed it")
            change(row)
            note(session, action, f"{row.kind} {row.wrap_index} for {row.recipient_id}")

    def history(self) -> list[LogEntry]:
        """What was done, oldest first."""
        with self.database.transaction(write=False) as session:
            return list(session.scalars(select(LogEntry).order_by(LogEntry.id)))
