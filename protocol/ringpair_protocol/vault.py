"""What a device keeps in flash, and the PUF key that opens it.

:class:`Vault` is the closed box: flash, PUF, plain record. :meth:`Vault.keys` measures the rings, searches for the key
and gives a :class:`Keyring`, which lives for one operation. Both are stores for the handshake (:class:`ppake.Peers`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Protocol, TypeVar

from . import derivations as kdf
from . import puf as rings
from .admin import Code, DeviceStateCode, PeerState
from .binding import digits
from .messages import ID_LENGTH
from .ppake import PeerRecord, Refused
from .records import (
    DEVICE_BASE,
    DEVICE_HEADER,
    DEVICE_SLOT_LENGTH,
    HEADER_LENGTH,
    MAX_PEERS,
    PEER_SLOT_LENGTH,
    PLAIN_FIELDS,
    PLAIN_LENGTH,
    RECORD_VERSION,
    DeviceState,
    PeerHeader,
    open_device,
    open_peer,
    peer_journal,
    seal_device,
    seal_peer,
)
from .records import DEVICE_JOURNAL as DEVICE_JOURNAL_BASE
from .store import Flash, FlashFailed, Journal, wipe

T = TypeVar("T")
HARDWARE = Code.PUF_FAILED
"""Status codes from here on tell of a failure of the device."""
PeerSlot = tuple[bytes, bytes]
"""Chain key, and auth key of the last epoch."""


class Puf(Protocol):
    """Where the secret bits come from."""

    def enroll(self) -> tuple[bytes, bytes]:
        """24 bytes of bits and 72 bytes of helper data. Raises ``puf.DeadRingError``."""

    def candidates(self, helper: bytes, /) -> Iterator[bytes]:
        """Guesses of the enrolled bits from one new read, the likeliest first, as many as the budget allows."""


@dataclass(frozen=True)
class RingPuf:
    """Ring oscillators behind the quantizer; ``read`` counts all 192 rings once."""

    read: Callable[[], Sequence[int]]
    quantizer: rings.Quantizer = field(default_factory=rings.Quantizer)
    budget: int = rings.SEARCH_BUDGET

    def enroll(self) -> tuple[bytes, bytes]:
        reads = [self.read() for _ in range(rings.ENROLL_READS)]
        return self.quantizer.enroll([sum(counts) for counts in zip(*reads, strict=True)])

    def candidates(self, helper: bytes, /) -> Iterator[bytes]:
        return rings.candidates(*self.quantizer.reconstruct(self.read(), helper), self.budget)


@dataclass(frozen=True)
class PlainRecord:
    """The plain device record but for its version byte."""

    floorplan: bytes
    layout_version: bytes
    salt: bytes
    helper: bytes
    check: bytes

    @classmethod
    def read(cls, flash: Flash) -> "PlainRecord":
        raw, fields = flash.read(DEVICE_BASE, PLAIN_LENGTH)[1:], {}
        for name, length in PLAIN_FIELDS[1:]:
            fields[name], raw = raw[:length], raw[length:]
        return cls(**fields)

    def write(self, flash: Flash) -> None:
        """Erase the sector, program and compare everything but the version byte.

        Raises
        ------
        FlashFailed
            The flash kept something else.
        """
        body = b"".join(getattr(self, name) for name, _ in PLAIN_FIELDS[1:])
        flash.erase(DEVICE_BASE)
        flash.program(DEVICE_BASE + 1, body)
        if flash.read(DEVICE_BASE + 1, len(body)) != body:
            raise FlashFailed(f"{len(body)} bytes at {DEVICE_BASE + 1:#08x} read back otherwise: replace the flash")

    def digest(self) -> bytes:
        values = {"helper": self.helper, "floorplan": self.floorplan, "layout_version": self.layout_version}
        return kdf.HELPER_DIGEST(**values)["digest"]


class Vault:
    """Flash and PUF of a device.

    Parameters
    ----------
    flash
        None if the flash chip does not answer or is of an unknown kind.
    puf
        The source of the bits.
    floorplan, layout_version
        What this gateware measures with; a record of another one is not touched.
    controllers
        How many places there are behind those of the peers.
    """

    def __init__(self, flash: Flash | None, puf: Puf, floorplan: bytes, layout_version: int, controllers: int = 0):
        self._flash = flash
        self._controllers = controllers
        self.puf = puf
        self.floorplan = floorplan
        self.layout_version = layout_version.to_bytes(2, "little")
        self.tries = 0
        """Candidates tried by the last search."""
        self.failure = Code.OK
        """The last failure of the hardware, for STATUS."""
        self.device_id = bytes(ID_LENGTH)
        """Known once the key was made, for STATUS; zero in the factory state."""
        self._keys: Keyring | None = None
        self._state = self._read_state()

    @property
    def flash(self) -> Flash:
        if self._flash is None:
            raise Refused(Code.FLASH_FAILED)
        return self._flash

    def state(self) -> DeviceStateCode:
        """What the plain record said at power-up, or when it was written or erased since."""
        return self._state

    def _read_state(self) -> DeviceStateCode:
        """A version byte other than 1 was never finished: factory state."""
        if self._flash is None:
            return DeviceStateCode.NO_FLASH
        if self._flash.read(DEVICE_BASE, 1) != bytes([RECORD_VERSION]):
            return DeviceStateCode.FACTORY
        plain = PlainRecord.read(self._flash)
        if (plain.floorplan, plain.layout_version) != (self.floorplan, self.layout_version):
            return DeviceStateCode.OTHER_FLOORPLAN
        return DeviceStateCode.ENROLLED

    def keys(self) -> "Keyring":
        """The open vault; it stays open until :meth:`close`.

        Raises
        ------
        Refused
            The device is not enrolled (or with other rings, or has no flash); or ``PUF_FAILED``: no candidate within
            the budget fits. Nothing was changed.
        """
        require_state(self.state(), DeviceStateCode.ENROLLED)
        if self._keys is None:
            self._keys = self._regenerate()
        return self._keys

    def _regenerate(self) -> "Keyring":
        """Measure the rings, and search for the bits that the plain record's check value belongs to."""
        plain, self.tries = PlainRecord.read(self.flash), 0
        digest = plain.digest()
        for bits in self.puf.candidates(plain.helper):
            self.tries += 1
            if compare_digest(kdf.CHECK(digest=digest, bits=bits)["check"], plain.check):
                keys = Keyring(self.flash, plain, kdf.PUF_KEY(bits=bits, digest=digest)["puf_key"], self._controllers)
                self.device_id = keys.device_id
                return keys
        raise Refused(Code.PUF_FAILED)

    def begin(self, plain: PlainRecord, wrap_key: bytes) -> None:
        """Finish an enrollment: write the plain record, try it, seal the first device slot; the version byte is last.

        Raises
        ------
        Refused
            ``FLASH_FAILED``, or ``PUF_FAILED`` if a new read does not give the key: the device stays in the factory
            state.
        """
        try:
            with _flash_failures():
                plain.write(self.flash)
            keys = self._regenerate()
            with _flash_failures():
                keys.begin(wrap_key)
                self.flash.program(DEVICE_BASE, bytes([RECORD_VERSION]))
            self._state = self._read_state()
            if self._state is DeviceStateCode.FACTORY:  # the version byte was not kept
                raise Refused(Code.FLASH_FAILED)
        finally:
            if self._state is DeviceStateCode.FACTORY:
                self.device_id = bytes(ID_LENGTH)

    def clear_journals(self) -> None:
        """Before an enrollment: whatever lies in the journals goes.

        Raises
        ------
        Refused
            ``FLASH_FAILED``: the flash does not get ready.
        """
        with _flash_failures():
            wipe(self.flash, plain_record=False, controllers=self._controllers)

    def reset(self) -> None:
        """Everything goes.

        Raises
        ------
        Refused
            ``FLASH_FAILED``: the plain record is still there, or the flash does not get ready.
        """
        self.device_id = bytes(ID_LENGTH)
        self.close()
        try:
            with _flash_failures():
                wipe(self.flash, controllers=self._controllers)
        finally:
            self._state = self._read_state()
        if self._state is not DeviceStateCode.FACTORY:
            raise Refused(Code.FLASH_FAILED)

    def close(self) -> None:
        """The end of an operation: keys are gone."""
        self._keys = None

    def live(self) -> Iterator[PeerRecord]:
        with self.noted():
            yield from self.keys().live()

    def load(self, number: int) -> PeerRecord | None:
        with self.noted():
            return self.keys().load(number)

    def commit(self, record: PeerRecord) -> None:
        with self.noted():
            self.keys().commit(record)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Remember a failure of the hardware that passes through."""
        try:
            yield
        except Refused as refused:
            if refused.code >= HARDWARE:
                self.failure = refused.code
            raise

    def enroll(self, random: Callable[[], bytes]) -> tuple["Keyring", bytes]:
        """Measure the rings 16 times and draw a new salt and the first wrap key; writes nothing.

        Parameters
        ----------
        random
            Draws 32 bytes; called for the salt (16 of them used), then for the wrap key.

        Returns
        -------
        tuple
            The key ring of the device to be, and KW_0.
        """
        try:
            bits, helper = self.puf.enroll()
        except rings.DeadRingError as error:
            raise Refused(Code.RING_DEAD) from error
        salt = random()[:16]
        values = {"helper": helper, "floorplan": self.floorplan, "layout_version": self.layout_version}
        digest = kdf.HELPER_DIGEST(**values)["digest"]
        plain = PlainRecord(**values, salt=salt, check=kdf.CHECK(digest=digest, bits=bits)["check"])
        puf_key = kdf.PUF_KEY(bits=bits, digest=digest)["puf_key"]
        wrap_key = kdf.FIRST_WRAP(puf_key=puf_key, salt=salt, random=random())["wrap_key"]
        return Keyring(self.flash, plain, puf_key, self._controllers), wrap_key


def require_state(state: DeviceStateCode, wanted: DeviceStateCode) -> None:
    """Refuse with the reason why the device is not in the wanted state, FACTORY or ENROLLED."""
    if state is wanted:
        return
    if state is DeviceStateCode.NO_FLASH:
        raise Refused(Code.FLASH_FAILED)
    if wanted is DeviceStateCode.FACTORY:
        raise Refused(Code.ALREADY_ENROLLED)
    other = state is DeviceStateCode.OTHER_FLOORPLAN
    raise Refused(Code.OTHER_FLOORPLAN if other else Code.NOT_ENROLLED)


class Keyring:
    """The open vault. Every method that touches flash may raise ``Refused(FLASH_FAILED)``."""

    def __init__(self, flash: Flash, plain: PlainRecord, puf_key: bytes, controllers: int):
        self._flash = flash
        self.plain = plain
        self._root = {"puf_key": puf_key, "salt": plain.salt}
        self.device_id = kdf.DEVICE_ID(**self._root)["device_id"]
        self._device_key = kdf.DEVICE_KEY(**self._root)["device_key"]
        self._device: Journal[DeviceState] = Journal(flash, DEVICE_JOURNAL_BASE, DEVICE_SLOT_LENGTH)
        self._peers: list[Journal[PeerSlot]] = [
            Journal(flash, peer_journal(number), PEER_SLOT_LENGTH) for number in range(MAX_PEERS + controllers)
        ]

    # ------------------------------------------------------------------ the device's own record
    @property
    def identity_seed(self) -> bytes:
        """Seed of the device's Ed25519 key, never stored; a new enrollment draws a new salt, and gives a new one."""
        return kdf.IDENTITY_SEED(**self._root)["identity_seed"]

    def preset_pin(self) -> bytes:
        """The PIN of the label: made when the device is enrolled, never stored."""
        return digits(kdf.PRESET_PIN(**self._root)["digits"])

    def begin(self, wrap_key: bytes) -> None:
        """The first device slot."""
        slot = seal_device(self._device_key, 0, DeviceState(wrap_index=0, next_pair=0, wrap_key=wrap_key))
        with _flash_failures():
            self._device.create(DEVICE_HEADER, slot)

    def device(self) -> DeviceState:
        return self._load_device()[1]

    def commit_device(self, state: DeviceState) -> None:
        number, _ = self._load_device()
        with _flash_failures():
            self._device.commit(seal_device(self._device_key, number + 1, state))

    def tidy(self) -> None:
        """Zero what a cut left beside a live slot; afterwards ``Refused`` if the device's own journal is damaged."""
        peers = [_tidied(journal, self._open_peer) for journal in self._peers]
        if not _tidied(self._device, self._open_device) & all(peers):
            raise Refused(Code.FLASH_FAILED)
        self.device()

    def _open_device(self, _: bytes, slot: bytes) -> tuple[int, DeviceState]:
        return open_device(self._device_key, slot)

    def _load_device(self) -> tuple[int, DeviceState]:
        found = self._device.load(self._open_device)
        if found is None:
            raise Refused(Code.RECORD_DAMAGED)
        return found

    # ------------------------------------------------------------------ peers
    def live(self) -> Iterator[PeerRecord]:
        return (record for number in range(MAX_PEERS) if (record := self.load(number)) is not None)

    def load(self, number: int) -> PeerRecord | None:
        journal = self._peers[number]
        found = journal.load(self._open_peer)
        if found is None:
            return None
        epoch, (chain_key, auth_prev) = found
        return PeerRecord(number, PeerHeader.from_bytes(journal.header).low, epoch, chain_key, auth_prev)

    def _open_peer(self, header: bytes, slot: bytes) -> tuple[int, PeerSlot]:
        epoch, chain_key, auth_prev = open_peer(self._kek(header), header, slot)
        return epoch, (chain_key, auth_prev)

    def commit(self, record: PeerRecord) -> None:
        journal = self._peers[record.number]
        if journal.live is None:  # this key ring has not looked yet
            self.load(record.number)
        with _flash_failures():
            journal.commit(self._seal(journal.header, record))

    def describe(self, number: int) -> tuple[PeerState, bytes, int]:
        """State, header and epoch for the host; a revoked place keeps its header until it is taken again."""
        record = self.load(number)
        if record is not None:
            return PeerState.LIVE, self._peers[number].header, record.epoch
        header = self._peers[number].last_header()
        return (PeerState.REVOKED, header, 0) if header else (PeerState.EMPTY, bytes(HEADER_LENGTH), 0)

    def find(self, peer_id: bytes) -> int | None:
        """The place of the live pairing with this id."""
        for record in self.live():
            if self._peers[record.number].header[:8] == peer_id:
                return record.number
        return None

    def free_place(self) -> int | None:
        """The first place without a live pairing."""
        return next((number for number in range(MAX_PEERS) if self.load(number) is None), None)

    def add(self, number: int, header: PeerHeader, pair_key: bytes) -> None:
        """Write a pairing at epoch 0."""
        own, peer = self.device_id, header.peer_id
        low, high = (own, peer) if header.low else (peer, own)  # the flag decides, nothing is compared
        keys = kdf.PAIR(pair_key=pair_key, id_low=low, id_high=high)
        self.create(number, header, keys["chain_key"], keys["auth_prev"])

    def create(self, number: int, header: PeerHeader, chain_key: bytes, auth_prev: bytes) -> None:
        """Write the first record of a place."""
        raw = header.to_bytes()
        record = PeerRecord(number, header.low, 0, chain_key, auth_prev)
        with _flash_failures():
            self._peers[number].create(raw, self._seal(raw, record))

    def header(self, number: int) -> bytes:
        """Header of a live record that has been loaded."""
        return self._peers[number].header

    def remove(self, number: int) -> None:
        """Zero a live pairing that has been loaded, and an older epoch of it that a cut may have left behind."""
        while self._peers[number].live is not None:
            with _flash_failures():
                self._peers[number].revoke()
            self.load(number)

    def _kek(self, header: bytes) -> bytes:
        return kdf.KEK(**self._root, pair_index=header[8:10])["kek"]

    def _seal(self, header: bytes, record: PeerRecord) -> bytes:
        return seal_peer(self._kek(header), header, record.epoch, record.chain_key, record.auth_prev)


def _tidied(journal: Journal[T], unseal: Callable[[bytes, bytes], tuple[int, T]]) -> bool:
    """Whether all is zero now that should be."""
    try:
        journal.tidy(unseal)
    except FlashFailed:
        return False
    return True


@contextmanager
def _flash_failures() -> Iterator[None]:
    """Turns ``FlashFailed`` into a refusal."""
    try:
        yield
    except FlashFailed as error:
        raise Refused(Code.FLASH_FAILED) from error
