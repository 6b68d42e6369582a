"""The registry: enrolled devices, their pairings and the messages that wait for them, in one SQLite file."""

from .backup import export, import_backup
from .models import Device, Message, Pairing
from .store import Registry, Secrecy

__all__ = ["Device", "Message", "Pairing", "Registry", "Secrecy", "export", "import_backup"]
