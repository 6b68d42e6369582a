"""Two whole devices in Icarus, their peer lines joined: from blank flash to encrypted text, on a bad day."""

import cocotb
import pytest
from ringpair_protocol import frames
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Carrier, Code, Event, Opcode, Role
from ringpair_protocol.pairing import make_puzzles

from cocotb_tests.device_bench import (
    Board,
    blank,
    copy,
    enroll_model,
    model_command,
    own_identity,
    power_up,
    reference,
    silicon,
    simulate_boards,
)
from cocotb_tests.harness import Bench


class Wire:
    """Carries the frames of each board to the other, or does worse with them.

    Attributes
    ----------
    lose, double : set
        Kinds of messages of which the next one does not arrive, or arrives twice.
    before : dict
        Kind of a message to one that comes in front of it, once: late, from another run.
    carried : list
        Kinds of all messages sent, and ``last`` the last of each kind.
    """

    def __init__(self, a, b):
        self.lose, self.double, self.before, self.carried, self.last = set(), set(), {}, [], {}
        for source, target in ((a, b), (b, a)):
            cocotb.start_soon(self.carry(source, target))

    async def carry(self, source, target):
        while True:
            message = await source.message()
            kind = message[0]
            self.carried.append(kind)
            self.last[kind] = message
            late = [frames.encode(self.before.pop(kind))] if kind in self.before else []
            times = 0 if kind in self.lose else 2 if kind in self.double else 1
            self.lose.discard(kind)
            self.double.discard(kind)
            await target.peer.send(b"".join(late) + frames.encode(message) * times)


async def connect(board):
    await board.command(Opcode.CONNECT, bytes([0, Carrier.WIRE]))


async def session(initiator, responder, epoch):
    """Both tell of one session, after this epoch, and of nothing else; its id."""
    ids = set()
    for board, role in ((initiator, Role.INITIATOR), (responder, Role.RESPONDER)):
        event = await board.until(board.events)
        assert event[:7] == bytes([Event.SESSION, role, 0]) + epoch.to_bytes(4, "little"), event.hex()
        ids.add(event[7:])
    assert len(ids) == 1, "the two ends have different sessions"
    return ids.pop()


async def text(source, target, words):
    await source.command(Opcode.SEND, words)
    assert await target.until(target.events) == bytes([Event.TEXT]) + words
    await target.rest()
    assert target.events == []


async def sent(bench, wire, kind):
    while kind not in wire.carried:
        await bench.cycles(100)


def at_rest(*boards):
    """Nothing secret lies about but the session's keys; the flash is what the reference model reads, too."""
    for board in boards:
        assert board.secrets("session") == []


def epoch_in_flash(board):
    """Of pairing 0, as the reference model reads it with the board's silicon."""
    model = reference(board.identity, board.counts, copy(board.flash))
    return int.from_bytes(model_command(model, Opcode.PEER, b"\0")[13:], "little")


def paired_models(identity):
    """Silicon and flash of two devices that the reference model has enrolled and paired."""
    counts, flashes = (silicon(1), silicon(2)), (blank(1), blank(2))
    models = [reference(identity, *one) for one in zip(counts, flashes, strict=True)]
    puzzles = make_puzzles(*map(enroll_model, models))
    for model, puzzle in zip(models, puzzles, strict=False):
        model_command(model, Opcode.IMPORT, puzzle)
    return zip(counts, flashes, strict=True)


@cocotb.test()
async def from_blank_flash_to_text(dut):
    _, a, b = await power_up(dut, (silicon(1), blank(1)), (silicon(2), blank(2)))
    wire = Wire(a, b)
    other = cocotb.start_soon(b.enroll())
    entries = await a.enroll(), await other
    puzzles = make_puzzles(*entries)
    other = cocotb.start_soon(b.command(Opcode.IMPORT, puzzles[1]))
    assert await a.command(Opcode.IMPORT, puzzles[0]) == b"\0"
    assert await other == b"\0"

    wire.double = {msg.M3, msg.DATA}
    await connect(a)
    await session(a, b, 0)
    assert wire.carried == [msg.M1, msg.M2, msg.M3]
    assert sum(len(message) for message in wire.last.values()) == msg.HANDSHAKE_BYTES
    await text(a, b, b"one")
    await text(b, a, b"two")
    assert b"two" not in wire.last[msg.DATA]
    at_rest(a, b)
    assert (epoch_in_flash(a), epoch_in_flash(b)) == (1, 1)


@cocotb.test()
async def loss_reordering_and_power_cut(dut):
    """From flash that the reference model has written."""
    bench, a, b = await power_up(dut, *paired_models(own_identity(Bench(dut).parameters["clock_mhz"])))
    wire = Wire(a, b)

    wire.lose = {msg.M2}  # b has committed, a has not: when it starts again, it is told that it is behind
    await connect(a)
    await sent(bench, wire, msg.M2)
    late = dict(wire.last)  # an old M1 is answered by a RESYNC, which is not for anyone
    wire.before = {msg.M2: late[msg.M2], msg.M3: late[msg.M2]}  # the lost one comes after all, when it is not wanted
    wire.double = {msg.RESYNC}
    await connect(a)
    assert await a.until(a.events) == bytes([Event.FAILED, Code.SUPERSEDED, 0])
    await session(a, b, 1)
    assert wire.carried == [msg.M1, msg.M2, msg.M1, msg.RESYNC, msg.M1, msg.M2, msg.M3]

    await out_of_order(bench, wire, a, b, late)
    await cut_in_commit(bench, wire, a, b, 2)
    await text(b, a, b"back again")
    at_rest(a, b)


@cocotb.test()
async def power_cut_and_reordering(dut):
    """From flash that the reference model has written; the first handshake never gets an answer."""
    bench, a, b = await power_up(dut, *paired_models(own_identity(Bench(dut).parameters["clock_mhz"])))
    wire = Wire(a, b)
    await cut_in_commit(bench, wire, a, b, 0, had_session=False)
    await out_of_order(bench, wire, a, b, {})
    at_rest(a, b)


async def out_of_order(bench, wire, a, b, late):
    """A data message that was lost, and comes behind the next; messages of runs that are over. None leaves a trace."""
    wire.lose = {msg.DATA}
    wire.carried.clear()
    await a.command(Opcode.SEND, b"first")
    await sent(bench, wire, msg.DATA)
    first = wire.last[msg.DATA]
    await text(a, b, b"second")
    for message in (first, wire.last[msg.DATA], wire.last[msg.M3], wire.last[msg.M2], *late.values()):
        await b.peer.send(frames.encode(message))
        await b.rest()
    assert b.events == []
    await text(b, a, b"answer")


async def cut_in_commit(bench, wire, a, b, epoch, had_session=True):
    """The power of b fails while it programs the slot of the next epoch; then the pair connects again."""
    wire.carried.clear()
    b.flash.program_us = 10**9
    programs = b.flash.programs
    await connect(a)
    while b.flash.programs == programs:
        await bench.cycles(100)
    b.flash.program_us = 400
    await b.cut_power()
    assert await b.until(b.events) == bytes([Event.STARTED]) + b.identity.to_bytes()
    if had_session:
        assert await a.until(a.events) == bytes([Event.CLOSED, Code.SUPERSEDED])
    assert (epoch_in_flash(a), epoch_in_flash(b)) == (epoch, epoch), "the torn slot is worth nothing"
    await connect(a)
    assert await a.until(a.events) == bytes([Event.FAILED, Code.SUPERSEDED, 0])
    await session(a, b, epoch)
    assert wire.carried == [msg.M1, msg.M1, msg.M2, msg.M3]


@cocotb.test()
async def every_message_lost_once(dut):
    """Each message of a handshake in turn, and cuts on both sides; the initiator's own timeouts repair it."""
    identity = own_identity(Bench(dut).parameters["clock_mhz"])
    bench, a, b = await power_up(dut, *paired_models(identity))
    wire, epoch = Wire(a, b), 0
    for initiator, responder in ((a, b), (b, a)):
        wire.lose = {msg.M1}
        await connect(initiator)
        await session(initiator, responder, epoch)  # by the second M1
        epoch += 1
        await both_closed(initiator, responder)
        wire.lose = {msg.M2, msg.RESYNC}
        await connect(initiator)
        await session(initiator, responder, epoch + 1)
        epoch += 2
        await both_closed(initiator, responder)
        wire.lose = {msg.M3}
        await connect(initiator)
        assert (await initiator.until(initiator.events))[0] == Event.SESSION
        epoch += 1
        await connect(initiator)  # the responder never saw the session: it has nothing to close
        assert await initiator.until(initiator.events) == bytes([Event.CLOSED, Code.SUPERSEDED])
        await session(initiator, responder, epoch)
        epoch += 1
        await cut_in_commit(bench, wire, initiator, responder, epoch)
        epoch += 1
        await both_closed(initiator, responder)
    assert (epoch_in_flash(a), epoch_in_flash(b)) == (epoch, epoch)


async def both_closed(*boards: Board):
    for board in boards:
        await board.command(Opcode.DISCONNECT)
        await board.rest()
        assert board.events == []


@pytest.mark.parametrize("story", ["from_blank_flash_to_text", "power_cut_and_reordering"])
def test_two_devices(story):
    simulate_boards(2, __name__, story)


@pytest.mark.slow
@pytest.mark.parametrize("story", ["every_message_lost_once", "loss_reordering_and_power_cut"])
def test_two_devices_for_long(story):
    simulate_boards(2, __name__, story, clock_mhz=24)
