"""What a device does with a puzzle, a revocation or a reset: steps in an order that a power cut may end anywhere.

::

    puzzle      burn the pair index (device slot), write the peer's record, use the wrap key up (device slot)
    revocation  zero the peer's slot, use the wrap key up (device slot)

Cut in between, the same message can be imported again: the worst that remains is a pair index that nobody uses, or a
pairing that is there (or gone) already; then the wrap key is used up all the same, and the reply says so.
"""

from dataclasses import dataclass, replace

from .admin import Code
from .ascon import WrongTag
from .messages import FLAG_RECIPIENT_LOW, ID_LENGTH, MAX_FORWARD, RESET, SEALED_HEADER
from .pairing import MAX_INDEX, next_wrap_key, sealed_index, unseal
from .ppake import Refused
from .records import DeviceState, PeerHeader
from .vault import Keyring

MAX_PAIR_INDEX = 0xFFFF


@dataclass(frozen=True)
class Import:
    """A genuine message for this device, not yet carried out."""

    keys: Keyring
    subject: bytes
    low: bool
    plaintext: bytes
    before: DeviceState
    after: DeviceState
    """With the message's wrap key used up."""

    @classmethod
    def open(cls, keys: Keyring, message: bytes) -> "Import":
        """Follow the chain of wrap keys to the message's index, at most 64 steps, and open it.

        Raises
        ------
        Refused
            ``OLD_PUZZLE``, ``FAR_PUZZLE``, ``BAD_PUZZLE`` or ``EXHAUSTED``; nothing has changed.
        """
        device, index = keys.device(), sealed_index(message)
        if index < device.wrap_index:
            raise Refused(Code.OLD_PUZZLE)
        if index - device.wrap_index > MAX_FORWARD:
            raise Refused(Code.FAR_PUZZLE)
        wrap_key = device.wrap_key
        for _ in range(index - device.wrap_index):
            wrap_key = next_wrap_key(wrap_key)
        subject = message[SEALED_HEADER - ID_LENGTH : SEALED_HEADER]
        try:
            plaintext = unseal(message, wrap_key, keys.device_id)
        except WrongTag:
            raise Refused(Code.BAD_PUZZLE) from None
        if message[0] == RESET and subject != keys.device_id:
            raise Refused(Code.BAD_PUZZLE)
        if index == MAX_INDEX:
            raise Refused(Code.EXHAUSTED)
        after = replace(device, wrap_key=next_wrap_key(wrap_key), wrap_index=index + 1)
        low = bool(message[1] & FLAG_RECIPIENT_LOW)
        return cls(keys, subject, low, plaintext, device, after)

    def pair(self) -> int:
        """Write the new peer's record; its number.

        Raises
        ------
        Refused
            ``ALREADY_PAIRED`` (the wrap key is used up), ``TABLE_FULL`` or ``EXHAUSTED`` (nothing has changed).
        """
        if self.keys.find(self.subject) is not None:
            self.keys.commit_device(self.after)
            raise Refused(Code.ALREADY_PAIRED)
        number, index = self.keys.free_place(), self.before.next_pair
        if number is None:
            raise Refused(Code.TABLE_FULL)
        if index == MAX_PAIR_INDEX:
            raise Refused(Code.EXHAUSTED)
        self.keys.commit_device(replace(self.before, next_pair=index + 1))
        self.keys.add(number, PeerHeader(self.subject, index, self.low), self.plaintext)
        self.keys.commit_device(replace(self.after, next_pair=index + 1))
        return number

    def revoke(self) -> int:
        """Zero the record of the pairing with this peer; its number.

        Raises
        ------
        Refused
            ``NO_SUCH_PEER``; the wrap key is used up.
        """
        number = self.keys.find(self.subject)
        if number is not None:
            self.keys.remove(number)
        self.keys.commit_device(self.after)
        if number is None:
            raise Refused(Code.NO_SUCH_PEER)
        return number
