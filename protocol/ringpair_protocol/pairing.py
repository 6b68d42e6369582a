"""The server's side of enrollment and pairing: pure functions on bytes, kept apart from any database.

The server knows of each device its id, the current wrap key and that key's index. Each puzzle, revocation or reset
uses one wrap key up: the functions return the entry with the successor, which the caller must store **before** it
hands the message out; the used key is gone then, and with it the way to open what was sealed under it.
"""

import secrets
from dataclasses import dataclass

from . import messages as msg
from .ascon import aead128_decrypt, aead128_encrypt
from .derivations import ENROLL, NEXT_WRAP, PUZZLE_KEY
from .messages import E1, E2, E3, FLAG_RECIPIENT_LOW, ID_LENGTH, LENGTHS, PUZZLE, RESET, REVOKE, SEALED_HEADER

WRAP_KEY_LENGTH = PAIR_KEY_LENGTH = 32
MAX_INDEX = 2**32 - 1


@dataclass(frozen=True)
class DeviceEntry:
    """What the registry keeps of one device; ``wrap_key`` is secret and encrypted at rest by the caller."""

    device_id: bytes
    wrap_key: bytes
    wrap_index: int = 0

    def __post_init__(self) -> None:
        if len(self.device_id) != ID_LENGTH:
            raise ValueError(f"a device id has {ID_LENGTH} bytes, not {len(self.device_id)}")
        if len(self.wrap_key) != WRAP_KEY_LENGTH:
            raise ValueError(f"a wrap key has {WRAP_KEY_LENGTH} bytes, not {len(self.wrap_key)}")
        if not 0 <= self.wrap_index <= MAX_INDEX:
            raise ValueError(f"a wrap index is 0 to {MAX_INDEX}, not {self.wrap_index}: enroll the device again")

    def successor(self) -> "DeviceEntry":
        """The entry with the next wrap key: the present one cannot be derived from it."""
        return DeviceEntry(self.device_id, next_wrap_key(self.wrap_key), self.wrap_index + 1)

    def __repr__(self) -> str:  # no key in a log or a traceback
        return f"DeviceEntry({self.device_id.hex()}, wrap_index={self.wrap_index})"


def next_wrap_key(wrap_key: bytes) -> bytes:
    """KW_(i+1) from KW_i."""
    return NEXT_WRAP(wrap_key=wrap_key)["wrap_key"]


def start_enrollment(nonce_s: bytes | None = None) -> bytes:
    """E1 with the given or a fresh nonce; :func:`finish_enrollment` takes the same nonce, ``e1[1:]``."""
    nonce_s = secrets.token_bytes(msg.NONCE_LENGTH) if nonce_s is None else nonce_s
    if len(nonce_s) != msg.NONCE_LENGTH:
        raise ValueError(f"the nonce of E1 has {msg.NONCE_LENGTH} bytes, not {len(nonce_s)}")
    return bytes([E1]) + nonce_s


def confirm_tag(wrap_key: bytes, nonce_s: bytes, device_id: bytes) -> bytes:
    """The tag of E3."""
    return ENROLL(wrap_key=wrap_key, nonce_s=nonce_s, device_id=device_id)["tag"]


def finish_enrollment(nonce_s: bytes, e2: bytes) -> tuple[DeviceEntry, bytes]:
    """The new device's entry, and E3 for it.

    Raises
    ------
    ValueError
        ``e2`` is not an E2 message.
    """
    if len(e2) != LENGTHS[E2] or e2[0] != E2:
        raise ValueError(f"E2 has {LENGTHS[E2]} bytes and begins with {E2:#04x}, not {len(e2)} bytes {e2[:1].hex()}…")
    entry = DeviceEntry(e2[1:9], e2[9:])
    return entry, bytes([E3]) + confirm_tag(entry.wrap_key, nonce_s, entry.device_id)


def seal(kind: int, flags: int, subject: bytes, recipient: DeviceEntry, plaintext: bytes = b"") -> bytes:
    """``kind | flags | index | subject``, then ``plaintext`` encrypted under the recipient's present wrap key.

    The associated data are the 14 bytes of the header and the recipient's id.
    """
    index = recipient.wrap_index
    header = bytes([kind, flags]) + index.to_bytes(4, "little") + subject
    key = PUZZLE_KEY(wrap_key=recipient.wrap_key)["puzzle_key"]
    return header + aead128_encrypt(key, msg.puzzle_nonce(index), header + recipient.device_id, plaintext)


def unseal(message: bytes, wrap_key: bytes, own_id: bytes) -> bytes:
    """The device's side of :func:`seal`, given the wrap key of the message's own index.

    Raises
    ------
    WrongTag
        The message is for another device, under another key, or altered.
    """
    header, sealed = message[:SEALED_HEADER], message[SEALED_HEADER:]
    key = PUZZLE_KEY(wrap_key=wrap_key)["puzzle_key"]
    return aead128_decrypt(key, msg.puzzle_nonce(sealed_index(message)), header + own_id, sealed)


def sealed_index(message: bytes) -> int:
    """Index of the wrap key that a puzzle, revocation or reset is sealed under."""
    return int.from_bytes(message[2:6], "little")


def make_puzzles(
    a: DeviceEntry, b: DeviceEntry, pair_key: bytes | None = None
) -> tuple[bytes, bytes, DeviceEntry, DeviceEntry]:
    """Pair two devices that need not be there.

    Parameters
    ----------
    a, b
        Two different devices.
    pair_key
        32 bytes for tests; drawn from the system's generator if left out.

    Returns
    -------
    tuple
        Puzzle for a, puzzle for b, and the two entries to store in the place of the old ones.
    """
    if a.device_id == b.device_id:
        raise ValueError(f"a device cannot be paired with itself: {a.device_id.hex()}")
    pair_key = secrets.token_bytes(PAIR_KEY_LENGTH) if pair_key is None else pair_key
    if len(pair_key) != PAIR_KEY_LENGTH:
        raise ValueError(f"a pair key has {PAIR_KEY_LENGTH} bytes, not {len(pair_key)}")

    def puzzle(recipient: DeviceEntry, peer: DeviceEntry) -> bytes:
        low = recipient.device_id < peer.device_id  # big-endian order is the order of byte strings
        return seal(PUZZLE, FLAG_RECIPIENT_LOW if low else 0, peer.device_id, recipient, pair_key)

    return puzzle(a, b), puzzle(b, a), a.successor(), b.successor()


def make_revocation(a: DeviceEntry, peer_id: bytes) -> tuple[bytes, DeviceEntry]:
    """A message that makes device a forget its pairing with ``peer_id``, and a's next entry."""
    if len(peer_id) != ID_LENGTH:
        raise ValueError(f"a device id has {ID_LENGTH} bytes, not {len(peer_id)}")
    return seal(REVOKE, 0, peer_id, a), a.successor()


def make_reset(a: DeviceEntry) -> bytes:
    """A message that returns device a to the factory state; its entry is worth nothing once that is done."""
    return seal(RESET, 0, a.device_id, a)
