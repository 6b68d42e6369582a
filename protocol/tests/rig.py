"""What several tests need: a flash whose power fails on command, devices without silicon, wires between them."""

import itertools
from collections.abc import Iterator
from functools import cache

from ringpair_protocol.admin import Carrier, Code, Event, Identity, Opcode, Profile, Status
from ringpair_protocol.ascon import xof128
from ringpair_protocol.device import DeviceModel, Out, Port
from ringpair_protocol.messages import FLAG_RECIPIENT_LOW, PUZZLE
from ringpair_protocol.nor import SECTOR, NorFlash
from ringpair_protocol.pairing import DeviceEntry, finish_enrollment, make_puzzles, seal, start_enrollment
from ringpair_protocol.records import STORE_END
from ringpair_protocol.store import NorPort

IDENTITY = Identity(Profile.PAIR, True, 12, b"gateware", b"plan0001", 1)
CONNECT_WIRE = bytes([0, Carrier.WIRE])
CONNECT_TUNNEL = bytes([0, Carrier.TUNNEL])
SERVER = DeviceEntry(b"somebody", b"S" * 32)


class PowerCut(Exception):
    """The supply failed in the middle of something."""


class CuttableFlash:
    """Counts and records program and erase commands; at the chosen one the power fails.

    Attributes
    ----------
    log : list
        ``("W", address, data)`` or ``("E", address)``, in order.
    cut : None or (int, str)
        After so many more commands are through, fail ``"before"`` the next one has begun, or ``"during"`` it.
    """

    def __init__(self, seed: int = 0, size: int = STORE_END):
        self.chip = NorFlash(bytearray(b"\xff" * size), seed=seed)
        self.port = NorPort(self.chip)
        self.log: list[tuple[str, int] | tuple[str, int, bytes]] = []
        self.cut: tuple[int, str] | None = None

    def read(self, address: int, length: int) -> bytes:
        return self.port.read(address, length)

    def program(self, address: int, data: bytes) -> None:
        assert address // 256 == (address + len(data) - 1) // 256, f"{len(data)} bytes at {address:#x} cross a page"
        if self._fails():
            self.port.start_program(address, data)
            self._fail()
        self.port.program(address, data)
        self.log.append(("W", address, data))

    def erase(self, address: int) -> None:
        assert address % SECTOR == 0
        if self._fails():
            self.port.start_erase(address)
            self._fail()
        self.port.erase(address)
        self.log.append(("E", address))

    def _fails(self) -> bool:
        if self.cut is None:
            return False
        left, when = self.cut
        if left:
            self.cut = left - 1, when
            return False
        if when == "before":
            self._fail()
        return True

    def _fail(self) -> None:
        self.cut = None
        self.chip.cut_power()
        raise PowerCut


class FixedPuf:
    """Silicon that always gives the same bits; ``broken`` makes it somebody else's."""

    def __init__(self, seed: bytes):
        self.bits = xof128(seed, 24)
        self.broken = False
        self.reads = 0

    def enroll(self) -> tuple[bytes, bytes]:
        return self.bits, xof128(self.bits + b"helper", 72)

    def candidates(self, helper: bytes) -> Iterator[bytes]:
        self.reads += 1
        yield bytes(24) if self.broken else self.bits


class Board:
    """A device model that can be cut and started again."""

    def __init__(self, name: str, flash: CuttableFlash | None = None, identity: Identity = IDENTITY):
        self.name, self.identity = name, identity
        self.flash = CuttableFlash() if flash is None else flash
        self.puf = FixedPuf(name.encode())
        self._draws = itertools.count()
        self.start()

    def start(self) -> None:
        """Power up."""
        self.device = DeviceModel(self.puf, self._noise, self.flash, self.identity)
        (hello,) = self.device.boot()
        assert hello == Out(Port.ADMIN, bytes([Event.STARTED]) + self.identity.to_bytes())

    def _noise(self, length: int) -> bytes:
        return xof128(f"{self.name} {next(self._draws)}".encode(), length)

    def ask(self, opcode: int, body: bytes = b"") -> tuple[Code, bytes]:
        """Status and body of the reply to a command that has no other effect to watch."""
        reply, *_ = self.device.admin(bytes([opcode]) + body)
        assert reply.port is Port.ADMIN
        assert reply.payload[0] == 0x80 | opcode
        return Code(reply.payload[1]), reply.payload[2:]

    def ok(self, opcode: int, body: bytes = b"") -> bytes:
        code, answer = self.ask(opcode, body)
        assert code is Code.OK, code
        return answer

    def enroll(self) -> DeviceEntry:
        self.device.button = True
        e1 = start_enrollment(self.name.encode().ljust(16, b"."))
        entry, e3 = finish_enrollment(e1[1:], self.ok(Opcode.ENROLL, e1))
        assert self.ok(Opcode.ENROLL_CONFIRM, e3) == entry.device_id
        self.device.button = False
        return entry

    def epoch(self, peer: int = 0) -> int:
        return int.from_bytes(self.ok(Opcode.PEER, bytes([peer]))[13:], "little")


@cache
def _paired_images() -> tuple[tuple[str, bytes, DeviceEntry], tuple[str, bytes, DeviceEntry]]:
    """Name, flash contents and registry entry of two paired devices, lower id first."""
    boards = Board("one"), Board("two")
    entries = [board.enroll() for board in boards]
    (a, low), (b, high) = sorted(zip(boards, entries, strict=True), key=lambda pair: pair[1].device_id)
    for_a, for_b, low, high = make_puzzles(low, high, b"pair key".ljust(32))
    assert a.ok(Opcode.IMPORT, for_a) == b.ok(Opcode.IMPORT, for_b) == b"\0"
    return (a.name, bytes(a.flash.chip.memory), low), (b.name, bytes(b.flash.chip.memory), high)


def paired() -> tuple[Board, Board, DeviceEntry, DeviceEntry]:
    """Two enrolled devices with one pairing, each the other's peer 0; the first has the lower id."""
    boards = []
    for name, contents, _ in _paired_images():
        boards.append(board := Board(name))
        board.flash.chip.memory[:] = contents
        board.start()
    (_, _, low), (_, _, high) = _paired_images()
    return boards[0], boards[1], low, high


def wire(outputs: list[Out]) -> list[bytes]:
    """What goes to the peer port."""
    return [payload for port, payload in outputs if port is Port.PEER]


def told(outputs: list[Out]) -> list[bytes]:
    """What goes to the host."""
    return [payload for port, payload in outputs if port is Port.ADMIN]


def converse(a: Board, b: Board, first: list[bytes]) -> tuple[int, list[bytes], list[bytes]]:
    """Carry a's messages to b and back, without loss, until both are silent.

    Returns
    -------
    tuple
        Number of messages carried, and the events that a and b told their hosts.
    """
    queue = [(b, message) for message in first]
    events: dict[str, list[bytes]] = {a.name: [], b.name: []}
    carried = 0
    while queue:
        to, message = queue.pop(0)
        carried += 1
        assert carried < 20, "they do not come to an end"
        outputs = to.device.peer(message)
        events[to.name] += told(outputs)
        queue += [(a if to is b else b, answer) for answer in wire(outputs)]
    return carried, events[a.name], events[b.name]


def status(board: Board) -> Status:
    return Status.from_bytes(board.ok(Opcode.STATUS))


def connect(a: Board, b: Board, carrier: Carrier = Carrier.WIRE) -> int:
    """A handshake over the wire that must succeed; the number of messages."""
    reply, *rest = a.device.admin(bytes([Opcode.CONNECT, 0, carrier]))
    assert reply.payload == bytes([0x80 | Opcode.CONNECT, Code.OK])
    messages, at_a, at_b = converse(a, b, wire(rest))
    assert [event[0] for event in (*at_a[-1:], *at_b[-1:])] == [Event.SESSION] * 2, "no session"
    assert at_a[-1][7:] == at_b[-1][7:]
    return messages


def fake_puzzle(entry: DeviceEntry, peer: bytes, index: int | None = None) -> bytes:
    """A genuine puzzle, with the peer id of our choice."""
    to = entry if index is None else DeviceEntry(entry.device_id, entry.wrap_key, index)
    return seal(PUZZLE, FLAG_RECIPIENT_LOW, peer, to, bytes(32))


def refused(board: Board, code: Code, opcode: int, body: bytes = b"") -> None:
    """The command is refused for this reason alone, and neither flash nor session have changed."""
    before = bytes(board.flash.chip.memory), board.device.party.session, board.device.party.run
    outputs = board.device.admin(bytes([opcode]) + body)
    assert outputs == [Out(Port.ADMIN, bytes([0x80 | opcode, code]))], (outputs, code.name)
    assert before == (bytes(board.flash.chip.memory), board.device.party.session, board.device.party.run)
