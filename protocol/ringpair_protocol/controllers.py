"""The table of controllers in flash: eight more places behind those of the peers, with records of the same form.

::

    header   service id 8 | pair index 2 | flags 1, zero | version 1
    slot     number 4, zero | AE(service key 32 | 0^16) | tag 16

A record says which service may open sessions. It is written once and opens under keys of this device only, as a
peer's does; the pair index is never used twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from .admin import Code
from .ppake import Refused
from .records import MAX_CONTROLLERS, MAX_PEERS, PeerHeader
from .vault import Keyring


@dataclass(frozen=True)
class Controller:
    """A service that is bound: its id and its Ed25519 key."""

    service_id: bytes
    service_key: bytes


class ControllerTable:
    """All controllers of an open vault."""

    def __init__(self, keys: Keyring):
        self.keys = keys

    def load(self, place: int) -> Controller | None:
        """The controller at place 0..7."""
        record = self.keys.load(MAX_PEERS + place)
        return Controller(self.keys.header(MAX_PEERS + place)[:8], record.chain_key) if record else None

    def live(self) -> Iterator[tuple[int, Controller]]:
        """All controllers, by rising place."""
        for place in range(MAX_CONTROLLERS):
            controller = self.load(place)
            if controller is not None:
                yield place, controller

    def add(self, controller: Controller, pair_index: int) -> None:
        """Write a controller at the first free place. One that is there stays as it is: its id is a hash of its key.

        Raises
        ------
        Refused
            ``CONTROLLERS_FULL`` or ``FLASH_FAILED``.
        """
        taken = dict(self.live())
        if controller.service_id in {known.service_id for known in taken.values()}:
            return
        free = [place for place in range(MAX_CONTROLLERS) if place not in taken]
        if not free:
            raise Refused(Code.CONTROLLERS_FULL)
        header = PeerHeader(controller.service_id, pair_index, low=False)
        self.keys.create(MAX_PEERS + free[0], header, controller.service_key, bytes(16))

    def remove(self, place: int) -> None:
        """Zero a record that has been loaded."""
        self.keys.remove(MAX_PEERS + place)
