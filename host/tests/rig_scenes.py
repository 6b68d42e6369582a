"""What tests of a compiled device begin with: far ends of pairings, flash images, devices that have a history."""

import random
from functools import cache

from ringpair_boards.virtual import FLOORPLAN
from ringpair_protocol import derivations as kdf
from ringpair_protocol.admin import Carrier, Code, Identity, Opcode, Profile
from ringpair_protocol.device import DeviceModel
from ringpair_protocol.nor import NorFlash
from ringpair_protocol.pairing import DeviceEntry, finish_enrollment, make_puzzles, start_enrollment
from ringpair_protocol.ppake import Party, PeerRecord
from ringpair_protocol.store import NorPort
from ringpair_protocol.vault import Keyring, RingPuf

from host.tests.rig_device import BLANK, QUANTIZER, Twin, silicon


class Far:
    """The other end of a pairing: the handshake alone, without flash and PUF.

    Parameters
    ----------
    device_id
        Its id, made up.
    """

    def __init__(self, device_id: bytes, seed: int = 0):
        self.entry = DeviceEntry(device_id, bytes(32))
        self.pair_key = bytes(random.Random(device_id).randbytes(32))
        self._nonces = random.Random(seed)
        self.party = Party(self, lambda: self._nonces.randbytes(16))

    def puzzle(self, entry: DeviceEntry) -> tuple[bytes, DeviceEntry]:
        """A puzzle for the device, and its entry afterwards."""
        message, _, after, _ = make_puzzles(entry, self.entry, self.pair_key)
        low = self.entry.device_id < entry.device_id
        ids = sorted((self.entry.device_id, entry.device_id))
        keys = kdf.PAIR(pair_key=self.pair_key, id_low=ids[0], id_high=ids[1])
        self.record = PeerRecord(0, low, 0, keys["chain_key"], keys["auth_prev"])
        return message, after

    def live(self) -> list[PeerRecord]:
        return [self.record]

    def load(self, number: int) -> PeerRecord:
        return self.record

    def commit(self, record: PeerRecord) -> None:
        self.record = record

    def advance(self) -> None:
        """As after a handshake of which the other side knows nothing."""
        self.record = self.record.next().after

    def receive(self, message: bytes) -> list[bytes]:
        """The messages that answer one."""
        return [item.message for item in self.party.receive(message, Carrier.WIRE) if hasattr(item, "message")]

    def start(self) -> bytes:
        """M1."""
        return self.party.connect(0, Carrier.WIRE)[-1].message


class Offline:
    """The reference model by itself: makes flash images in no time."""

    def __init__(self, seed: int):
        counts = silicon(seed)
        noise = random.Random(seed)
        self.chip = NorFlash(bytearray(BLANK))
        identity = Identity(Profile.PAIR, True, 1, bytes(8), FLOORPLAN, QUANTIZER.layout.version)
        self.model = DeviceModel(RingPuf(lambda: counts, QUANTIZER), noise.randbytes, NorPort(self.chip), identity)
        self.model.boot()
        self.model.button = True
        e2 = self.command(Opcode.ENROLL, start_enrollment(bytes(16)))
        self.entry, e3 = finish_enrollment(bytes(16), e2)
        self.command(Opcode.ENROLL_CONFIRM, e3)

    def command(self, opcode: Opcode, body: bytes) -> bytes:
        reply = self.model.admin(bytes([opcode]) + body)[0].payload
        assert reply[1] == Code.OK, Code(reply[1]).name
        return reply[2:]


@cache
def image_of(seed: int, far_ids: tuple[bytes, ...]) -> tuple[bytes, DeviceEntry]:
    """Flash of an enrolled device with these pairings, and its entry."""
    board = Offline(seed)
    entry = board.entry
    for far_id in far_ids:
        message, entry = Far(far_id).puzzle(entry)
        board.command(Opcode.IMPORT, message)
    return bytes(board.chip.memory), entry


def far_id(number: int) -> bytes:
    """Ids of made-up peers, some lower and some higher than any device's."""
    return bytes([255 * (number % 2), number]) + b"peer--"


def offline_keys(chip: NorFlash, seed: int, profile: Profile = Profile.PAIR) -> Keyring:
    """The open vault of a board with this flash: to write what a long history would have left."""
    counts = silicon(seed)
    identity = Identity(profile, True, 1, bytes(8), FLOORPLAN, QUANTIZER.layout.version)
    return DeviceModel(RingPuf(lambda: counts, QUANTIZER), random.randbytes, NorPort(chip), identity).vault.keys()


@cache
def _used_image(seed: int, far_ids: tuple[bytes, ...], sessions: int) -> bytes:
    """The same after so many sessions with the first peer."""
    chip = NorFlash(bytearray(image_of(seed, far_ids)[0]))
    keys = offline_keys(chip, seed)
    record = keys.load(0)
    for _ in range(sessions):
        record = record.next().after
        keys.commit(record)
    return bytes(chip.memory)


def scene(
    peers: int = 1, seed: int = 1, sessions: int = 0, kind: type[Twin] = Twin, **options
) -> tuple[Twin, list[Far]]:
    """A device, enrolled and paired with so many ends; its ``entry`` is what a registry has of it.

    ``sessions`` is how many it has had with the first of them.
    """
    ids = tuple(far_id(number) for number in range(peers))
    twin = kind(seed, _used_image(seed, ids, sessions) if sessions else image_of(seed, ids)[0], **options)
    twin.entry = image_of(seed, ids)[1]
    fars = [Far(far_id(number)) for number in range(peers)]
    for far in fars:
        far.puzzle(twin.entry)
    for _ in range(sessions):
        fars[0].advance()
    return twin, fars


@cache
def _two_images(seeds: tuple[int, int]) -> list[tuple[int, bytes, DeviceEntry]]:
    boards = [Offline(seed) for seed in seeds]
    *puzzles, first, second = make_puzzles(boards[0].entry, boards[1].entry, b"P" * 32)
    for board, puzzle in zip(boards, puzzles, strict=True):
        board.command(Opcode.IMPORT, puzzle)
    rows = zip(seeds, boards, (first, second), strict=True)
    return sorted(
        ((seed, bytes(board.chip.memory), entry) for seed, board, entry in rows), key=lambda row: row[2].device_id
    )


def two_devices(seeds: tuple[int, int] = (1, 2), kinds: tuple[type[Twin], type[Twin]] = (Twin, Twin)) -> list[Twin]:
    """Two paired devices of these seeds and kinds, the one with the lower id first."""
    twins = []
    for seed, image, entry in _two_images(seeds):
        twins.append(kinds[seeds.index(seed)](seed, image))
        twins[-1].entry = entry
    return twins


def establish(twin: Twin, far: Far, number: int = 0) -> None:
    """A session that the device begins."""
    assert carry([twin.connect(number)], twin.peer, far.receive) == 3
    assert twin.model.party.session
    assert far.party.session.session_id == twin.model.party.session.session_id


def carry(messages: list[bytes], *ends) -> int:
    """Bring messages to the second end, its answers to the first, and so on; how many there were."""
    count = 0
    while messages:
        assert count < 20, "they do not come to an end"
        count += len(messages)
        ends = ends[::-1]
        messages = [answer for message in messages for answer in ends[0](message)]
    return count
