"""The analysis of the program's paths beside runs of the program: what happens is within what it says can happen."""

import random
from functools import partial

import pytest
from ringpair_protocol.admin import Event, Opcode, Profile
from ringpair_protocol.device import Out, Port

from formal.lengths import Lengths
from formal.paths import Explorer
from formal.programs import device, identity
from formal.prove import mutant
from formal.replay import Followed, Unsound, everything
from formal.rules import SessionKeys
from formal.states import flow
from formal.waits import ReceivedFrames
from protocol.tests import rig


class Device:
    """A board in the place of the reference model, in the tests' rig."""

    def __init__(self, analyses, visited, puf, noise, flash, identity):
        self.board = Followed(analyses, visited, identity, puf, flash.chip, noise)
        self.button = False

    def boot(self):
        return self._outs(self.board.run())

    def _outs(self, frames):
        return [Out(Port(side), payload) for side, payload in frames]

    def admin(self, payload):
        self.board.button = self.button
        return self._outs(self.board.frame(payload))

    def peer(self, message):
        return self._outs(self.board.frame(message, 1))

    def press(self, how):
        self.board.pressed.add(how)
        return self._outs(self.board.run())

    def later(self):
        self.board.timer = True
        return self._outs(self.board.run())


class Story:
    """Two boards that are enrolled and paired, and what befalls them, in any order."""

    def __init__(self, seed, steps):
        self.random = random.Random(seed)
        self.boards = [rig.Board(f"{name} {seed}", identity=identity(Profile.PAIR)) for name in ("one", "two")]
        low, high = (board.enroll() for board in self.boards)
        if high.device_id < low.device_id:
            low, high = high, low
            self.boards.reverse()
        self.puzzles = [b"", b""]
        *self.puzzles, low, high = rig.make_puzzles(low, high, b"pair key".ljust(32))
        for board, puzzle in zip(self.boards, self.puzzles, strict=True):
            board.ok(Opcode.IMPORT, puzzle)
        self.net = []
        for _ in range(steps):
            self.step()

    def step(self):
        board = self.random.choice(self.boards)
        act = self.random.choice(
            [self.command, self.connect, self.connect, self.later, self.press, self.odd, *[self.deliver] * 6, self.say]
        )
        outs = act(board)
        self.net += [payload for port, payload in outs if port is Port.PEER]
        self.net += [payload[1:] for _, payload in outs if payload[0] == Event.PEER_OUT]

    def command(self, board):
        opcode, length = self.random.choice([*Opcode]), self.random.choice([0, 1, 2, 17, 62])
        return board.device.admin(bytes([opcode]) + self.random.randbytes(length))

    def connect(self, board):
        return board.device.admin(bytes([Opcode.CONNECT]) + self.random.choice([rig.CONNECT_WIRE, rig.CONNECT_TUNNEL]))

    def later(self, board):
        return board.device.later()

    def press(self, board):
        return board.device.press("short")

    def deliver(self, board):
        if not self.net:
            return []
        message = self.random.choice(self.net[-3:])
        if self.random.random() < 0.1:
            message = message[:5] + bytes([message[5] ^ 1]) + message[6:]
        if self.random.random() < 0.5:
            return board.device.peer(message)
        return board.device.admin(bytes([Opcode.PEER_IN]) + message)

    def say(self, board):
        length = self.random.choice([1, 5, 16, 96])
        return board.device.admin(bytes([Opcode.SEND]) + self.random.randbytes(length))

    def odd(self, board):
        """Power fails, silicon is another's, the noise is bad, a message comes again."""
        board.puf.broken, board.device.board.alarm = (self.random.random() < 0.2 for _ in range(2))
        if self.random.random() < 0.3:
            board.start()
        return []

    def end(self):
        """A message of the registry twice, and a reset."""
        for board, puzzle in zip(self.boards, self.puzzles, strict=True):
            board.device.admin(bytes([Opcode.IMPORT]) + puzzle)
            board.device.press("long")


def tell(monkeypatch, *analyses, seed=1, steps=15):
    """A story of boards that are followed; the addresses of all instructions that were run."""
    visited = set()
    monkeypatch.setattr(rig, "DeviceModel", partial(Device, analyses, visited))
    Story(seed, steps).end()
    return visited


def all_there_is(cls=Explorer):
    """An explorer of all that can be followed."""
    code, memory = device(Profile.PAIR)
    fields = [*memory.pad.fields.values()]
    return everything(code, fields, [field for field in fields if field.length <= 4], cls)


def test_runs_are_within_the_analysis(monkeypatch):
    explorer = all_there_is()
    visited = tell(monkeypatch, (explorer, None))
    assert len(visited) > 0.6 * len(flow(explorer.code)[0]), "most of the program was run"


@pytest.mark.slow
def test_longer_runs_are_within_the_analysis(monkeypatch):
    for seed in (2, 3):
        tell(monkeypatch, (all_there_is(), None), seed=seed, steps=40)


@pytest.mark.slow
def test_runs_are_within_what_was_found(monkeypatch):
    """Of a rule with notes of its own, and of the lengths that all others take for granted."""
    code, memory = device(Profile.PAIR)
    explorers = [Explorer(code, rule(code, memory)) for rule in (SessionKeys, Lengths, ReceivedFrames)]
    tell(monkeypatch, *((explorer, explorer.run()) for explorer in explorers), seed=2, steps=6)


BUGS = {
    "a write is forgotten": ("values=self._put(s.values, n, new), **lost", "**lost"),
    "a condition outlives its byte": ("== n}\n            s = s", "== -1}\n            s = s"),
    "zeros stay zeros": ("s.zeros & ~span(address, most)", "s.zeros"),
    "both ways are one": ("what.values if holds else ~what.values", "what.values"),
    "a carry is not lost": ("return s._replace(zero=None, carry=None)", "return s"),
    "a run that ends the input is not absorbed": ("self._absorb(self._absorb(s, given), END)", "self._absorb(s, END)"),
    "a run to the flash is not told": ("return self._flash(s, item)\n        return s", "return s\n        return s"),
    "what is squeezed is not counted": ("(*s.sponge[:2], s.sponge[2] + length)", "s.sponge"),
    "a copy is of zeros": ("zeros = s.zeros >> source & span(0, most)", "zeros = span(0, most)"),
    "the side stays": ("s._replace(side=i.opcode & 1)", "s"),
}
"""What the analysis does wrong: text of `formal/paths.py`, wrong text."""


@pytest.mark.parametrize("bug", BUGS)
def test_an_unsound_analysis_is_noticed(bug, monkeypatch):
    with pytest.raises(Unsound):
        tell(monkeypatch, (all_there_is(mutant(Explorer, *BUGS[bug])), None), steps=3)
