"""Two whole devices in Icarus, their peer lines joined: from blank flash to encrypted text, on a bad day."""

import cocotb
import pytest
from ringpair_protocol import frames
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Carrier, Code, Event, Opcode
from ringpair_protocol.pairing import make_puzzles

from cocotb_tests.device_bench import Board, Boards, shortened
from cocotb_tests.harness import Bench, simulate


class Wire:
    """Carries the frames of each board to the other.

    Attributes
    ----------
    lose, double : set
        Kinds of messages of which the next one does not arrive, or arrives twice.
    carried : list
        Kinds of all messages sent.
    """

    def __init__(self, a, b):
        self.lose, self.double, self.carried = set(), set(), []
        for source, target in ((a, b), (b, a)):
            cocotb.start_soon(self.carry(source, target))

    async def carry(self, source, target):
        while True:
            data = await source.peer.receive_frame()
            (message,) = frames.Decoder().feed(data)
            self.carried.append(message[0])
            times = 0 if message[0] in self.lose else 2 if message[0] in self.double else 1
            self.lose.discard(message[0])
            self.double.discard(message[0])
            await target.peer.send(data * times)


async def sessions(a, b):
    """Both tell of a session with one id, and of nothing else."""
    events = [await board.until(board.events) for board in (a, b)]
    assert [event[0] for event in events] == [Event.SESSION] * 2, events
    assert events[0][7:] == events[1][7:]


@cocotb.test()
async def on_a_bad_day(dut):
    bench = await Bench.start(dut)
    a, b = Board(bench, "a", 1), Board(bench, "b", 2)
    wire = Wire(a, b)
    dut.rst.value = 1
    await bench.cycles(4)
    dut.rst.value = 0
    hello = await a.until(a.events)
    assert hello[0] == Event.STARTED
    assert await b.until(b.events) == hello
    second = cocotb.start_soon(b.enroll())
    entries = await a.enroll(), await second
    *puzzles, _, _ = make_puzzles(*entries)
    other = cocotb.start_soon(b.command(Opcode.IMPORT, puzzles[1]))
    await a.command(Opcode.IMPORT, puzzles[0])
    await other

    wire.lose = {msg.M2}  # b has committed, a has not: when it starts again, it is told that it is behind
    await a.command(Opcode.CONNECT, bytes([0, Carrier.WIRE]))
    while msg.M2 not in wire.carried:
        await bench.cycles(100)
    await a.command(Opcode.CONNECT, bytes([0, Carrier.WIRE]))
    assert await a.until(a.events) == bytes([Event.FAILED, Code.SUPERSEDED, 0])
    await sessions(a, b)
    assert wire.carried == [msg.M1, msg.M2, msg.M1, msg.RESYNC, msg.M1, msg.M2, msg.M3]

    wire.double = {msg.DATA}
    await a.command(Opcode.SEND, b"one")
    await b.command(Opcode.SEND, b"two")
    for board, text in ((b, b"one"), (a, b"two")):
        assert await board.until(board.events) == bytes([Event.TEXT]) + text
        await board.rest()
        assert board.events == []

    # The power of b fails while it programs the slot of the next epoch.
    wire.carried.clear()
    b.flash.program_us = 10**9
    programs = b.flash.programs
    await a.command(Opcode.CONNECT, bytes([0, Carrier.WIRE]))
    while b.flash.programs == programs:
        await bench.cycles(100)
    b.flash.program_us = 400
    await b.cut_power()
    assert await b.until(b.events) == hello
    assert await a.until(a.events) == bytes([Event.CLOSED, Code.SUPERSEDED])
    await a.command(Opcode.CONNECT, bytes([0, Carrier.WIRE]))
    assert await a.until(a.events) == bytes([Event.FAILED, Code.SUPERSEDED, 0])
    await sessions(a, b)
    assert wire.carried == [msg.M1, msg.M1, msg.M2, msg.M3], "the torn slot is worth nothing: b is where it was"
    await b.command(Opcode.SEND, b"back again")
    assert await a.until(a.events) == bytes([Event.TEXT]) + b"back again"
    for board in (a, b):
        await board.rest()
        assert board.secrets("session") == []


@pytest.mark.slow
def test_two_devices():
    with shortened():
        simulate(Boards(2), __name__)
