"""The whole device at byte level: from blank flash to text, enrollment, every refusal, button, rings."""

import random
from collections.abc import Callable

import pytest
from ringpair_protocol import admin
from ringpair_protocol.admin import Code, DeviceStateCode, Event, Opcode, PeerState, Profile, Role
from ringpair_protocol.device import BINDING_LENGTHS, DeviceModel, Out, Port
from ringpair_protocol.frames import ErrorKind
from ringpair_protocol.messages import (
    E1,
    E2,
    E3,
    LENGTHS,
    M1,
    PUZZLE,
    RESET,
    REVOKE,
    TEXT_MAX,
)
from ringpair_protocol.pairing import (
    finish_enrollment,
    make_puzzles,
    make_reset,
)
from ringpair_protocol.puf import ENROLL_READS, RINGS, Quantizer
from ringpair_protocol.records import (
    DEVICE_BASE,
    DEVICE_JOURNAL,
    MAX_PEERS,
    PLAIN_LENGTH,
    SECTOR,
    STORE_END,
    PeerHeader,
    peer_journal,
    slot_offset,
)
from ringpair_protocol.vault import RingPuf

from protocol.tests.rig import (
    CONNECT_WIRE,
    IDENTITY,
    SERVER,
    Board,
    CuttableFlash,
    PowerCut,
    connect,
    converse,
    fake_puzzle,
    paired,
    refused,
    status,
    told,
    wire,
)

# ---------------------------------------------------------------------------------------------------- life of a device


def test_from_blank_flash_to_text() -> None:
    a, b, low, high = paired()
    assert status(a).state is DeviceStateCode.ENROLLED
    state = a.ok(Opcode.PEER, b"\0")
    assert state == bytes([PeerState.LIVE]) + PeerHeader(high.device_id, 0, True).to_bytes() + bytes(4)
    assert b.ok(Opcode.PEER, b"\0")[1:13] == PeerHeader(low.device_id, 0, False).to_bytes()
    assert connect(a, b) == 3
    assert connect(b, a) == 3
    assert a.epoch() == b.epoch() == 2
    for one, other in ((a, b), (b, a)):
        assert status(one).session
        reply, sent = one.device.admin(bytes([Opcode.SEND]) + b"good morning")
        assert reply == Out(Port.ADMIN, bytes([0x80 | Opcode.SEND, Code.OK]))
        assert sent.port is Port.PEER
        assert b"good morning" not in sent.payload
        assert other.device.peer(sent.payload) == [Out(Port.ADMIN, bytes([Event.TEXT]) + b"good morning")]
        assert other.device.peer(sent.payload) == []
    assert a.ok(Opcode.DISCONNECT) == b""
    assert not status(a).session


def test_what_lies_in_flash() -> None:
    """Plain record and headers are where the layout says; no id, key or salt of the device lies there in the clear."""
    a, b, low, high = paired()
    connect(a, b)
    flash = a.flash
    plain = flash.read(DEVICE_BASE, PLAIN_LENGTH)
    assert plain[:11] == b"\x01" + IDENTITY.floorplan + IDENTITY.layout_version.to_bytes(2, "little")
    assert flash.read(DEVICE_BASE + PLAIN_LENGTH, SECTOR - PLAIN_LENGTH) == b"\xff" * (SECTOR - PLAIN_LENGTH)
    assert flash.read(DEVICE_JOURNAL, 12) == b"ringpair dev"
    assert flash.read(peer_journal(0), 12) == PeerHeader(high.device_id, 0, True).to_bytes()
    assert flash.read(peer_journal(0) + slot_offset(0), 68) == bytes(68)
    assert flash.read(peer_journal(0) + slot_offset(1), 4) == (1).to_bytes(4, "little")
    image = flash.read(0, STORE_END)
    keys = a.device.vault.keys()
    record = keys.load(0)
    assert record
    for secret in (low.device_id, low.wrap_key, a.puf.bits, keys._root["puf_key"], record.chain_key, record.auth_prev):
        assert secret not in image
    a.device.vault.close()


def test_enrollment_puts_the_version_byte_last() -> None:
    board = Board("new")
    board.enroll()
    assert board.flash.log[:2] == [("E", DEVICE_BASE), ("W", DEVICE_BASE + 1, board.flash.read(DEVICE_BASE + 1, 106))]
    assert board.flash.log[-2][0] == "W"
    assert board.flash.log[-2][1] == DEVICE_JOURNAL + slot_offset(0)
    assert board.flash.log[-1] == ("W", DEVICE_BASE, b"\x01")


@pytest.mark.parametrize("when", ["before", "during"])
def test_enrollment_cut_anywhere(when: str) -> None:
    """Either the device is in the factory state and enrolls from anew, or it is enrolled."""
    through = 0
    while True:
        board = Board("new")
        board.flash.port.program(peer_journal(3) + 700, b"leftover")
        board.flash.cut = through, when
        try:
            board.enroll()
            break
        except PowerCut:
            board.start()
        if status(board).state is not DeviceStateCode.ENROLLED:
            assert status(board).state is DeviceStateCode.FACTORY
            entry = board.enroll()
            assert board.flash.read(peer_journal(3), SECTOR) == b"\xff" * SECTOR
            assert board.ok(Opcode.IMPORT, fake_puzzle(entry, SERVER.device_id)) == b"\0"
        through += 1
    assert through == 1 + 2 + 3 + 1 + 2 + 1, "leftover, plain record, journal, header and slot, version byte"


def test_enrollments_differ() -> None:
    board = Board("new")
    first = board.enroll()
    assert board.device.button_long() == [Out(Port.ADMIN, bytes([Event.RESET_DONE]))]
    second = board.enroll()
    assert first.device_id != second.device_id
    assert first.wrap_key != second.wrap_key


# ---------------------------------------------------------------------------------------------------- refusals


def test_every_code_has_an_explanation() -> None:
    assert set(admin.EXPLANATION) == set(Code)


def test_bad_frames() -> None:
    for kind in ErrorKind:
        assert Board("x").device.admin_damaged(kind) == [Out(Port.ADMIN, bytes([0x80, Code.BAD_FRAME, kind]))]


@pytest.mark.parametrize("enrolled", [False, True])
def test_unknown_commands_and_lengths(enrolled: bool) -> None:
    board = Board("x")
    if enrolled:
        board.enroll()
    known = set(Opcode) - {Opcode.NONE, *BINDING_LENGTHS}
    for number in range(256):
        if number not in known:
            answered = number if number < 0x40 else 0
            reply = Out(Port.ADMIN, bytes([0x80 | answered, Code.UNKNOWN_COMMAND]))
            for body in (b"", b"x", bytes(125)):
                assert board.device.admin(bytes([number]) + body) == [reply]
    right = {
        Opcode.ENROLL: {17},
        Opcode.ENROLL_CONFIRM: {17},
        Opcode.IMPORT: {62, 30},
        Opcode.PEER: {1},
        Opcode.CONNECT: {2},
        Opcode.SEND: set(range(1, TEXT_MAX + 1)),
        Opcode.PEER_IN: set(range(1, 126)),
    }
    for opcode in known:
        for length in set(range(126)) - right.get(opcode, {0}):
            refused(board, Code.BAD_LENGTH, opcode, bytes(length))


def test_refusals_in_the_factory_state() -> None:
    board = Board("x")
    e1, e3 = bytes([E1]) + bytes(16), bytes([E3]) + bytes(16)
    refused(board, Code.NEED_BUTTON, Opcode.ENROLL, e1)
    board.device.button = True
    refused(board, Code.BAD_VALUE, Opcode.ENROLL, e3)
    refused(board, Code.BAD_VALUE, Opcode.ENROLL_CONFIRM, e1)
    refused(board, Code.NO_ENROLLMENT, Opcode.ENROLL_CONFIRM, e3)
    for opcode, body in ((Opcode.IMPORT, bytes(62)), (Opcode.PEER, b"\xff"), (Opcode.CONNECT, CONNECT_WIRE)):
        refused(board, Code.NOT_ENROLLED, opcode, body)
    refused(board, Code.NO_SESSION, Opcode.SEND, b"x")
    refused(board, Code.NO_SESSION, Opcode.DISCONNECT)
    board.device.trng_alarm = True
    refused(board, Code.TRNG_FAILED, Opcode.ENROLL, e1)
    board.device.trng_alarm, board.device.trng_ready = False, False
    refused(board, Code.TRNG_FAILED, Opcode.ENROLL, e1)
    assert status(board).failure is Code.TRNG_FAILED
    assert board.puf.reads == 0


def test_confirmation() -> None:
    board = Board("x")
    board.device.button = True
    e1 = bytes([E1]) + bytes(16)
    _, e3 = finish_enrollment(e1[1:], board.ok(Opcode.ENROLL, e1))
    refused(board, Code.BAD_CONFIRMATION, Opcode.ENROLL_CONFIRM, e3[:-1] + bytes([e3[-1] ^ 1]))
    refused(board, Code.NO_ENROLLMENT, Opcode.ENROLL_CONFIRM, e3)
    _, e3 = finish_enrollment(e1[1:], board.ok(Opcode.ENROLL, e1))
    board.device.tick(5000)
    refused(board, Code.NO_ENROLLMENT, Opcode.ENROLL_CONFIRM, e3)
    _, old = finish_enrollment(e1[1:], board.ok(Opcode.ENROLL, e1))
    e2 = board.ok(Opcode.ENROLL, e1)
    assert (len(e2), e2[0]) == (LENGTHS[E2], E2)
    refused(board, Code.BAD_CONFIRMATION, Opcode.ENROLL_CONFIRM, old)
    entry, e3 = finish_enrollment(e1[1:], board.ok(Opcode.ENROLL, e1))
    board.device.tick(4999)
    board.device.button = False
    assert board.ok(Opcode.ENROLL_CONFIRM, e3) == entry.device_id
    assert status(board).state is DeviceStateCode.ENROLLED
    refused(board, Code.ALREADY_ENROLLED, Opcode.ENROLL_CONFIRM, e3)


def test_refusals_of_an_enrolled_device() -> None:
    a, b, _, _ = paired()
    for board in (a, b):
        refused(board, Code.ALREADY_ENROLLED, Opcode.ENROLL, bytes(17))
        refused(board, Code.BAD_VALUE, Opcode.PEER, bytes([MAX_PEERS]))
        refused(board, Code.BAD_VALUE, Opcode.CONNECT, bytes([MAX_PEERS, 0]))
        refused(board, Code.BAD_VALUE, Opcode.CONNECT, bytes([0, 2]))
        refused(board, Code.NO_SUCH_PEER, Opcode.CONNECT, bytes([1, 0]))
        refused(board, Code.NO_SESSION, Opcode.SEND, b"x")
        refused(board, Code.NO_SESSION, Opcode.DISCONNECT)
        for kind, length in ((PUZZLE, 30), (REVOKE, 62), (RESET, 62), (M1, 30), (0, 62)):
            refused(board, Code.BAD_VALUE, Opcode.IMPORT, bytes([kind]).ljust(length, b"\0"))
        board.device.trng_alarm = True
        refused(board, Code.TRNG_FAILED, Opcode.CONNECT, CONNECT_WIRE)
        board.device.trng_alarm = False
        board.puf.broken = True
        for opcode, body in (
            (Opcode.CONNECT, CONNECT_WIRE),
            (Opcode.PEER, b"\0"),
            (Opcode.IMPORT, bytes([PUZZLE]) + bytes(61)),
        ):
            refused(board, Code.PUF_FAILED, opcode, body)
        assert status(board).failure is Code.PUF_FAILED
        board.puf.broken = False
        assert status(board).tries == 1
        assert board.ok(Opcode.PEER, b"\x05") == bytes(17)


def test_other_floorplan_and_no_flash() -> None:
    a, _, low, _ = paired()
    image = bytes(a.flash.chip.memory)
    for identity in (
        admin.Identity(Profile.PAIR, True, 12, b"gateware", b"plan0002", 1),
        admin.Identity(Profile.PAIR, True, 12, b"gateware", b"plan0001", 2),
    ):
        a.device = DeviceModel(a.puf, a._noise, a.flash, identity)
        a.device.boot()
        assert status(a).state is DeviceStateCode.OTHER_FLOORPLAN
        for opcode, body in ((Opcode.IMPORT, make_reset(low)), (Opcode.PEER, b"\0"), (Opcode.CONNECT, CONNECT_WIRE)):
            refused(a, Code.OTHER_FLOORPLAN, opcode, body)
        refused(a, Code.ALREADY_ENROLLED, Opcode.ENROLL, bytes(17))
        assert a.device.peer(bytes([M1]) + bytes(32)) == []
        assert a.device.button_short() == []
        assert bytes(a.flash.chip.memory) == image
    a.device.button_long()
    assert status(a).state is DeviceStateCode.FACTORY
    a.device = DeviceModel(a.puf, a._noise, None, IDENTITY, jedec=b"\xff\xff\xff")
    assert len(a.device.boot()) == 1
    assert status(a).state is DeviceStateCode.NO_FLASH
    assert status(a).jedec == b"\xff\xff\xff"
    for opcode, length in ((Opcode.ENROLL, 17), (Opcode.ENROLL_CONFIRM, 17), (Opcode.IMPORT, 30), (Opcode.PEER, 1)):
        refused(a, Code.FLASH_FAILED, opcode, bytes(length))
    assert a.device.button_long() == a.device.button_short() == []


class WornFlash(CuttableFlash):
    """Writes between two addresses lose a bit."""

    worn = range(0)

    def program(self, address: int, data: bytes) -> None:
        super().program(address, data)
        if address in self.worn:
            self.chip.memory[address] ^= 0x40


@pytest.mark.parametrize("worn", [range(DEVICE_JOURNAL, STORE_END), range(DEVICE_BASE, DEVICE_BASE + SECTOR)])
def test_worn_flash_is_reported(worn: range) -> None:
    flash = WornFlash()
    board = Board("x", flash)
    board.device.button = True
    flash.worn = worn
    e1 = bytes([E1]) + bytes(16)
    _, e3 = finish_enrollment(e1[1:], board.ok(Opcode.ENROLL, e1))
    assert board.ask(Opcode.ENROLL_CONFIRM, e3) == (Code.FLASH_FAILED, b"")
    assert status(board).state is DeviceStateCode.FACTORY
    assert status(board).failure is Code.FLASH_FAILED
    flash.worn = range(0)
    entry = board.enroll()
    flash.worn = range(DEVICE_JOURNAL, STORE_END)
    assert board.ask(Opcode.IMPORT, fake_puzzle(entry, SERVER.device_id)) == (Code.FLASH_FAILED, b"")
    flash.worn = range(0)
    assert board.ok(Opcode.IMPORT, fake_puzzle(entry, SERVER.device_id)) == b"\0"


def test_damaged_record() -> None:
    a, b, low, _ = paired()
    a.flash.program(DEVICE_JOURNAL + slot_offset(2), bytes(60))
    a.start()
    assert status(a).failure is Code.RECORD_DAMAGED
    refused(a, Code.RECORD_DAMAGED, Opcode.IMPORT, make_reset(low))
    assert connect(a, b) == 3, "pairings do not need it"


# ---------------------------------------------------------------------------------------------------- button


def test_button_starts_with_the_first_live_peer() -> None:
    a, b, _, _ = paired()
    outputs = a.device.button_short()
    assert told(outputs) == []
    messages, at_a, at_b = converse(a, b, wire(outputs))
    assert (messages, at_a[0][0], at_b[0][0]) == (3, Event.SESSION, Event.SESSION)
    (data,) = wire(a.device.admin(bytes([Opcode.SEND]) + b"x"))
    assert b.device.peer(data)


def test_button_goes_on_with_the_next_peer() -> None:
    """Peer 0 is not there: after its three tries, peer 1 is asked, and answers."""
    a, b = Board("one"), Board("two")
    low, high = a.enroll(), b.enroll()
    assert a.ok(Opcode.IMPORT, fake_puzzle(low, b"not here")) == b"\0"
    for_a, for_b, *_ = make_puzzles(low.successor(), high)
    assert (a.ok(Opcode.IMPORT, for_a), b.ok(Opcode.IMPORT, for_b)) == (b"\1", b"\0")

    def to_the_end_of_peer_0() -> list[Out]:
        (m1,) = a.device.button_short()
        assert m1.port is Port.PEER
        assert b.device.peer(m1.payload) == []
        assert a.device.button_short() == [], "a handshake is under way"
        for wait in (2000, 4000):
            (again,) = a.device.tick(wait)
            assert b.device.peer(again.payload) == []
        return a.device.tick(8000)

    outputs = to_the_end_of_peer_0()
    assert told(outputs) == [bytes([Event.FAILED, Code.TIMED_OUT, 0])]
    messages, at_a, _ = converse(a, b, wire(outputs))
    assert messages == 3
    assert at_a[0][:3] == bytes([Event.SESSION, Role.INITIATOR, 1])

    a.ok(Opcode.DISCONNECT)
    outputs = to_the_end_of_peer_0()
    assert told(outputs)[-1] == bytes([Event.FAILED, Code.TIMED_OUT, 0])
    for wait in (2000, 4000):
        assert len(wire(a.device.tick(wait))) == 1
    assert a.device.tick(8000) == [Out(Port.ADMIN, bytes([Event.FAILED, Code.TIMED_OUT, 1]))]
    assert a.device.tick(20_000) == []

    a.device.button_short()
    a.ok(Opcode.CONNECT, CONNECT_WIRE)  # the host's wish takes the button's place
    a.device.tick(2000)
    a.device.tick(4000)
    assert a.device.tick(8000) == [Out(Port.ADMIN, bytes([Event.FAILED, Code.TIMED_OUT, 0]))]


def test_button_without_peers() -> None:
    board = Board("x")
    assert board.device.button_short() == []
    board.enroll()
    assert board.device.button_short() == [Out(Port.ADMIN, bytes([Event.FAILED, Code.NO_SUCH_PEER, 0xFF]))]
    board.puf.broken = True
    assert board.device.button_short() == [Out(Port.ADMIN, bytes([Event.FAILED, Code.PUF_FAILED, 0]))]


def test_button_reset_ends_everything() -> None:
    a, b, _, _ = paired()
    connect(a, b)
    assert a.device.button_long() == [Out(Port.ADMIN, bytes([Event.RESET_DONE]))]
    assert a.flash.read(0, STORE_END) == b"\xff" * STORE_END
    assert not status(a).session
    assert status(a).state is DeviceStateCode.FACTORY


# ---------------------------------------------------------------------------------------------------- rings


def silicon(seed: int, shift: float = 0.0) -> Callable[[], list[int]]:
    """Counts of 192 rings with a spread of 0.49 %, moved by ``shift`` of it between enrollment and later reads."""
    chip = random.Random(seed)
    rings = [2300 * (1 + chip.gauss(0, 0.0049)) for _ in range(RINGS)]
    moved = [ring + 2300 * 0.0049 * shift * chip.gauss(0, 1) for ring in rings]
    reads = 0

    def read() -> list[int]:
        nonlocal reads
        reads += 1
        return [round(ring * (1 + chip.gauss(0, 0.0002))) for ring in (rings if reads <= ENROLL_READS + 1 else moved)]

    return read


def rings_board(seed: int, shift: float = 0.0, budget: int = 4096) -> Board:
    board = Board(f"rings {seed}")
    board.puf = RingPuf(silicon(seed, shift), Quantizer(), budget)  # type: ignore[assignment]
    board.start()
    return board


def test_rings_that_have_moved() -> None:
    """Corner of temperature or voltage: the search finds the key, or says that it cannot."""
    board = rings_board(1)
    entry = board.enroll()
    assert board.ok(Opcode.IMPORT, fake_puzzle(entry, SERVER.device_id)) == b"\0"
    assert status(board).tries == 1
    for seed in range(40):
        board = rings_board(seed, shift=0.25)
        board.enroll()
        if board.ask(Opcode.PEER, b"\0")[0] is Code.OK and status(board).tries > 1:
            break
    else:
        pytest.fail("no chip needed a second try: the search is not exercised")
    board = rings_board(2, shift=1.5, budget=16)
    board.enroll()
    assert board.ask(Opcode.PEER, b"\0") == (Code.PUF_FAILED, b"")
    assert status(board).tries == 16
    assert status(board).failure is Code.PUF_FAILED


def test_enrollment_tries_its_record() -> None:
    """A board whose key is gone at once does not become an enrolled one."""
    board = rings_board(2, budget=16)
    rings = [silicon(2), silicon(3)]
    board.puf = RingPuf(lambda: rings[0](), Quantizer(), 16)  # type: ignore[assignment]
    board.start()
    board.device.button = True
    _, e3 = finish_enrollment(bytes(16), board.ok(Opcode.ENROLL, bytes([E1]) + bytes(16)))
    rings.pop(0)
    assert board.ask(Opcode.ENROLL_CONFIRM, e3) == (Code.PUF_FAILED, b"")
    assert status(board).state is DeviceStateCode.FACTORY


def test_dead_ring() -> None:
    board = rings_board(1)
    counts = silicon(1)()
    counts[77] = 0
    board.puf = RingPuf(lambda: counts)  # type: ignore[assignment]
    board.start()
    board.device.button = True
    assert board.ask(Opcode.ENROLL, bytes([E1]) + bytes(16)) == (Code.RING_DEAD, b"")
    assert status(board).failure is Code.RING_DEAD
