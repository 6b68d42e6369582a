"""Puzzles, revocations and resets: refusals, counters, and power cuts at every flash command."""

import pytest
from ringpair_protocol.admin import Code, DeviceStateCode, Event, Opcode, PeerState
from ringpair_protocol.device import Out, Port
from ringpair_protocol.messages import (
    MAX_EPOCH,
    MAX_FORWARD,
    RESET,
)
from ringpair_protocol.pairing import (
    MAX_INDEX,
    make_puzzles,
    make_reset,
    make_revocation,
    seal,
)
from ringpair_protocol.records import (
    MAX_PEERS,
    STORE_END,
    DeviceState,
    PeerHeader,
)

from protocol.tests.rig import (
    CONNECT_WIRE,
    SERVER,
    Board,
    PowerCut,
    connect,
    fake_puzzle,
    paired,
    refused,
    status,
    told,
    wire,
)

# ---------------------------------------------------------------------------------------------------- imports


def test_import_refusals() -> None:
    a, _, low, high = paired()
    puzzle, _, after, _ = make_puzzles(low, SERVER)
    for k in range(len(puzzle)):
        if not 2 <= k < 6 and k:
            refused(a, Code.BAD_PUZZLE, Opcode.IMPORT, puzzle[:k] + bytes([puzzle[k] ^ 1]) + puzzle[k + 1 :])
    assert low.wrap_index == 1
    refused(a, Code.OLD_PUZZLE, Opcode.IMPORT, fake_puzzle(low, SERVER.device_id, 0))
    refused(a, Code.BAD_PUZZLE, Opcode.IMPORT, fake_puzzle(low, SERVER.device_id, 1 + MAX_FORWARD))
    refused(a, Code.FAR_PUZZLE, Opcode.IMPORT, fake_puzzle(low, SERVER.device_id, 2 + MAX_FORWARD))
    refused(a, Code.BAD_PUZZLE, Opcode.IMPORT, make_puzzles(SERVER, high)[0][:2] + puzzle[2:6] + bytes(56))
    not_its_own = seal(RESET, 0, high.device_id, low)
    refused(a, Code.BAD_PUZZLE, Opcode.IMPORT, not_its_own)
    assert a.ok(Opcode.IMPORT, puzzle) == b"\1"
    refused(a, Code.OLD_PUZZLE, Opcode.IMPORT, puzzle)
    assert a.ask(Opcode.IMPORT, fake_puzzle(after, SERVER.device_id)) == (Code.ALREADY_PAIRED, b"")
    refused(a, Code.OLD_PUZZLE, Opcode.IMPORT, fake_puzzle(after, b"and more"))
    assert a.ok(Opcode.IMPORT, fake_puzzle(after.successor(), b"and more")) == b"\2"


def test_import_follows_the_chain_for_64_steps() -> None:
    board = Board("x")
    entry = board.enroll()
    for _ in range(MAX_FORWARD):
        entry = entry.successor()
    assert board.ok(Opcode.IMPORT, fake_puzzle(entry, SERVER.device_id)) == b"\0"
    assert board.ok(Opcode.IMPORT, fake_puzzle(entry.successor(), b"another.")) == b"\1"


def test_table_full_and_places() -> None:
    board = Board("x")
    entry = board.enroll()
    for number in range(MAX_PEERS):
        assert board.ok(Opcode.IMPORT, fake_puzzle(entry, b"peer  %02d" % number)) == bytes([number])
        entry = entry.successor()
    refused(board, Code.TABLE_FULL, Opcode.IMPORT, fake_puzzle(entry, SERVER.device_id))
    assert board.ask(Opcode.IMPORT, fake_puzzle(entry, b"peer  07")) == (Code.ALREADY_PAIRED, b"")
    revocation, entry = make_revocation(entry.successor(), b"peer  05")
    assert board.ok(Opcode.IMPORT, revocation) == b"\5"
    refused(board, Code.OLD_PUZZLE, Opcode.IMPORT, revocation)
    state = board.ok(Opcode.PEER, b"\5")
    assert state == bytes([PeerState.REVOKED]) + PeerHeader(b"peer  05", 5, True).to_bytes() + bytes(4)
    assert board.ok(Opcode.IMPORT, fake_puzzle(entry, b"peer  05")) == b"\5", "the free place"
    assert board.ok(Opcode.PEER, b"\5")[1:13] == PeerHeader(b"peer  05", 16, True).to_bytes(), "a new pair index"
    revocation, entry = make_revocation(entry.successor(), b"nobody..")
    assert board.ask(Opcode.IMPORT, revocation) == (Code.NO_SUCH_PEER, b"")
    refused(board, Code.OLD_PUZZLE, Opcode.IMPORT, revocation)


def test_counters_that_are_used_up() -> None:
    a, b, low, _ = paired()
    keys = a.device.vault.keys()
    keys.commit_device(DeviceState(1, 0xFFFF, low.wrap_key))
    refused(a, Code.EXHAUSTED, Opcode.IMPORT, fake_puzzle(low, SERVER.device_id))
    keys = a.device.vault.keys()
    keys.commit_device(DeviceState(MAX_INDEX, 2, low.wrap_key))
    refused(a, Code.EXHAUSTED, Opcode.IMPORT, fake_puzzle(low, SERVER.device_id, MAX_INDEX))
    keys = b.device.vault.keys()
    record = keys.load(0)
    assert record
    object.__setattr__(record, "epoch", MAX_EPOCH)
    keys.commit(record)
    refused(b, Code.EXHAUSTED, Opcode.CONNECT, CONNECT_WIRE)


@pytest.mark.parametrize("when", ["before", "during"])
def test_import_cut_anywhere(when: str) -> None:
    """The same puzzle, imported again after the cut, ends in a live pairing: done now, or found to be there."""
    through = 0
    while True:
        board = Board("x")
        entry = board.enroll()
        puzzle = fake_puzzle(entry, SERVER.device_id)
        board.flash.cut = through, when
        try:
            board.ok(Opcode.IMPORT, puzzle)
            break
        except PowerCut:
            board.start()
        code, _ = board.ask(Opcode.IMPORT, puzzle)
        assert code in (Code.OK, Code.ALREADY_PAIRED, Code.OLD_PUZZLE)
        state = board.ok(Opcode.PEER, b"\0")
        assert state[0] == PeerState.LIVE
        assert state[1:9] == SERVER.device_id
        assert board.ask(Opcode.PEER, b"\1") == (Code.OK, bytes(17))
        refused(board, Code.OLD_PUZZLE, Opcode.IMPORT, puzzle)
        assert board.ok(Opcode.IMPORT, fake_puzzle(entry.successor(), b"another.")) == b"\1"
        indices = {board.ok(Opcode.PEER, bytes([k]))[9:11] for k in (0, 1)}
        assert len(indices) == 2, "no pair index twice"
        through += 1
    assert through == 2 + (3 + 1 + 2) + 2


@pytest.mark.parametrize("when", ["before", "during"])
def test_revocation_and_reset_cut_anywhere(when: str) -> None:
    for through in range(3):
        a, _, low, high = paired()
        revocation, after = make_revocation(low, high.device_id)
        a.flash.cut = through, when
        with pytest.raises(PowerCut):
            a.ok(Opcode.IMPORT, revocation)
        a.start()
        code, _ = a.ask(Opcode.IMPORT, revocation)
        assert code in (Code.OK, Code.NO_SUCH_PEER, Code.OLD_PUZZLE)
        assert a.ok(Opcode.PEER, b"\0")[0] == PeerState.REVOKED
        a.flash.cut = through, when
        with pytest.raises(PowerCut):
            a.ok(Opcode.IMPORT, make_reset(after))
        a.start()
        assert through == 0 or status(a).state is DeviceStateCode.FACTORY, "the plain record goes first"
        a.device.button_long()
        assert a.flash.read(0, STORE_END) == b"\xff" * STORE_END


def test_reset_by_message() -> None:
    a, b, low, _ = paired()
    connect(a, b)
    assert a.device.admin(bytes([Opcode.IMPORT]) + make_reset(low)) == [
        Out(Port.ADMIN, bytes([0x80 | Opcode.IMPORT, Code.OK, 0xFF]))
    ]
    assert a.flash.read(0, STORE_END) == b"\xff" * STORE_END
    assert status(a).state is DeviceStateCode.FACTORY
    refused(a, Code.NO_SESSION, Opcode.SEND, b"x")


@pytest.mark.parametrize("during", [Event.CLOSED, Event.FAILED])
def test_revocation_ends_session_and_run(during: Event) -> None:
    a, b, low, high = paired()
    if during is Event.CLOSED:
        connect(a, b)
    else:
        a.ok(Opcode.CONNECT, CONNECT_WIRE)
    reply, event = told(a.device.admin(bytes([Opcode.IMPORT]) + make_revocation(low, high.device_id)[0]))
    assert reply == bytes([0x80 | Opcode.IMPORT, Code.OK, 0])
    assert event == bytes([during, Code.NO_SUCH_PEER]) + (b"\0" if during is Event.FAILED else b"")
    refused(a, Code.NO_SESSION, Opcode.SEND, b"x")
    reply, *rest = b.device.admin(bytes([Opcode.CONNECT]) + CONNECT_WIRE)
    assert a.device.peer(wire(rest)[0]) == []
