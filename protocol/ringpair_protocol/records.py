"""What lies in flash: the device record, the peer records, and where.

Nothing here is secret without the PUF. All integers are little-endian.

::

    0x0B8000  plain device record, one sector
              version 1 | floorplan 8 | layout version 2 | salt 16 | helper 72 | check 8
    0x0BC000  journal of sealed device slots
              seq 4 | AE(wrap index 4 | next pair index 2 | pin tries 1 | flags 1 | wrap key 32) | tag 16
    0x0C0000  journals of peers 0..15
              epoch 4 | AE(chain key 32 | auth key of the last epoch 16) | tag 16
    0x100000  journals of controllers 0..7, in a device that can be bound, of the same form

A **journal** is four sectors of 4 KB, used in turn. A sector begins with a 12-byte header; a 256-byte page holds three
slots at offsets 12, 80 and 148, so 48 slots a sector, and no slot crosses a page. Slots are written in order::

    commit   program the next slot, read it back, compare; only then program zeros over the old one. If the
             comparison fails: zeros over the new one, and on to the next sector, at most three, never the old slot's
    full     (or the last slot of this sector is not the live one) erase the next sector, write header and slot there
    load     in each sector the last written slot (the first 8 bytes are not all ones) and the one before it are
             candidates. Those that unseal are valid; the highest number wins; whatever else a candidate is, unless it
             is zero from end to end, is zeroed at power-up: a torn slot may hold a chain key of the next epoch
    create   erase the other three sectors, then the first one with header and slot 0

A write that was cut leaves a wrong tag or a failed comparison: such a slot counts as empty. The plain record's version
byte is programmed last and on its own; without it the device is in the factory state.
"""

from dataclasses import dataclass

from .ascon import aead128_decrypt, aead128_encrypt
from .messages import DEVICE_NONCE, RECORD_NONCE

SECTOR = 4096
PAGE = 256
DEVICE_BASE = 0x0B8000
DEVICE_JOURNAL = 0x0BC000
PEER_BASE = 0x0C0000
JOURNAL_SECTORS = 4
JOURNAL_STRIDE = JOURNAL_SECTORS * SECTOR
MAX_PEERS = 16
STORE_END = PEER_BASE + MAX_PEERS * JOURNAL_STRIDE
CONTROLLER_BASE = STORE_END
MAX_CONTROLLERS = 8
BINDING_END = CONTROLLER_BASE + MAX_CONTROLLERS * JOURNAL_STRIDE
"""End of the records of a device that can be bound."""

HEADER_LENGTH = 12
SLOT_STRIDE = 68
SLOTS_PER_PAGE = 3
PAGES_PER_SECTOR = SECTOR // PAGE
SLOTS_PER_SECTOR = SLOTS_PER_PAGE * PAGES_PER_SECTOR

RECORD_VERSION = 1
FLAG_LOW = 0x01
"""Peer record flag: this device has the lower id of the pair."""

PLAIN_FIELDS = (("version", 1), ("floorplan", 8), ("layout_version", 2), ("salt", 16), ("helper", 72), ("check", 8))
PLAIN_LENGTH = sum(length for _, length in PLAIN_FIELDS)

DEVICE_SECRET_FIELDS = (("wrap_index", 4), ("next_pair", 2), ("pin_tries", 1), ("flags", 1), ("wrap_key", 32))
DEVICE_SLOT_LENGTH = 4 + sum(length for _, length in DEVICE_SECRET_FIELDS) + 16
PEER_SECRET_FIELDS = (("chain_key", 32), ("auth_prev", 16))
PEER_SLOT_LENGTH = 4 + sum(length for _, length in PEER_SECRET_FIELDS) + 16
STORED_PER_PEER = HEADER_LENGTH + 2 * PEER_SLOT_LENGTH
"""Header and two slots: what one pairing occupies while it is alive, as 148 bytes."""

DEVICE_HEADER = b"ringpair dev"
"""Header of the device journal's sectors, in the place of a peer's header."""


def slot_offset(slot: int) -> int:
    """Offset of slot 0..47 in its sector."""
    page, place = divmod(slot, SLOTS_PER_PAGE)
    return page * PAGE + HEADER_LENGTH + place * SLOT_STRIDE


def peer_journal(peer: int) -> int:
    """Flash address of the journal of peer 0..15; 16..23 are the places of controllers."""
    if not 0 <= peer < MAX_PEERS + MAX_CONTROLLERS:
        raise ValueError(f"a peer number is 0 to {MAX_PEERS - 1}, a controller's place 16 more at most, not {peer}")
    return PEER_BASE + peer * JOURNAL_STRIDE


@dataclass(frozen=True)
class PeerHeader:
    """The 12 plain bytes of a peer record: peer id 8 | pair index 2 | flags 1 | version 1."""

    peer_id: bytes
    pair_index: int
    low: bool

    def to_bytes(self) -> bytes:
        return self.peer_id + self.pair_index.to_bytes(2, "little") + bytes([self.low * FLAG_LOW, RECORD_VERSION])

    @classmethod
    def from_bytes(cls, raw: bytes) -> "PeerHeader":
        if len(raw) != HEADER_LENGTH or raw[11] != RECORD_VERSION:
            raise ValueError(f"a peer header has {HEADER_LENGTH} bytes and version {RECORD_VERSION}, not {raw.hex()}")
        return cls(raw[:8], int.from_bytes(raw[8:10], "little"), bool(raw[10] & FLAG_LOW))


def peer_nonce(header: bytes, epoch: bytes) -> bytes:
    """``"P1rec" ‖ pair index 2 ‖ 0^5 ‖ epoch 4``."""
    return RECORD_NONCE + header[8:10] + bytes(5) + epoch


def seal_peer(kek: bytes, header: bytes, epoch: int, chain_key: bytes, auth_prev: bytes) -> bytes:
    """One slot of 68 bytes."""
    number = epoch.to_bytes(4, "little")
    return number + aead128_encrypt(kek, peer_nonce(header, number), header + number, chain_key + auth_prev)


def open_peer(kek: bytes, header: bytes, slot: bytes) -> tuple[int, bytes, bytes]:
    """Epoch, chain key and the last epoch's auth key.

    Raises
    ------
    WrongTag
        The slot is empty, torn, foreign or altered.
    """
    number, sealed = slot[:4], slot[4:PEER_SLOT_LENGTH]
    secret = aead128_decrypt(kek, peer_nonce(header, number), header + number, sealed)
    return int.from_bytes(number, "little"), secret[:32], secret[32:]


@dataclass(frozen=True)
class DeviceState:
    """The sealed part of the device record; ``pin_tries`` counts the wrong tries since the last right one."""

    wrap_index: int
    next_pair: int
    wrap_key: bytes
    pin_tries: int = 0
    flags: int = 0

    def to_bytes(self) -> bytes:
        return (
            self.wrap_index.to_bytes(4, "little")
            + self.next_pair.to_bytes(2, "little")
            + bytes([self.pin_tries, self.flags])
            + self.wrap_key
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> "DeviceState":
        return cls(int.from_bytes(raw[:4], "little"), int.from_bytes(raw[4:6], "little"), raw[8:40], raw[6], raw[7])


def device_nonce(number: bytes) -> bytes:
    """``"P1dev" ‖ 0^7 ‖ seq 4``."""
    return DEVICE_NONCE + bytes(7) + number


def seal_device(device_key: bytes, seq: int, state: DeviceState) -> bytes:
    """One slot of 60 bytes; the associated data are the sector header and the number."""
    number = seq.to_bytes(4, "little")
    return number + aead128_encrypt(device_key, device_nonce(number), DEVICE_HEADER + number, state.to_bytes())


def open_device(device_key: bytes, slot: bytes) -> tuple[int, DeviceState]:
    """Sequence number and state. Raises ``WrongTag`` as :func:`open_peer` does."""
    number, sealed = slot[:4], slot[4:DEVICE_SLOT_LENGTH]
    secret = aead128_decrypt(device_key, device_nonce(number), DEVICE_HEADER + number, sealed)
    return int.from_bytes(number, "little"), DeviceState.from_bytes(secret)
