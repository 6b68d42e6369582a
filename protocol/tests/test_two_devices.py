"""Two devices and what lies between them: tunnel, garbage, clones, cuts; at last all of it at random."""

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ringpair_protocol.admin import Code, Event, Opcode, Role
from ringpair_protocol.device import DeviceModel, Out, Port
from ringpair_protocol.messages import (
    TEXT_MAX,
)
from ringpair_protocol.records import (
    PEER_SLOT_LENGTH,
    peer_journal,
    slot_offset,
)

from protocol.tests.rig import (
    CONNECT_TUNNEL,
    CONNECT_WIRE,
    Board,
    PowerCut,
    connect,
    converse,
    paired,
    refused,
    told,
    wire,
)

# ---------------------------------------------------------------------------------------------------- two devices


def test_tunnel() -> None:
    """The host carries the messages between two admin ports; the peer ports stay silent."""
    a, b, _, _ = paired()
    _, out = a.device.admin(bytes([Opcode.CONNECT]) + CONNECT_TUNNEL)
    ends, to, texts = {id(a): b, id(b): a}, b, []
    queue = [(b, out)]
    while queue:
        to, out = queue.pop(0)
        assert out.port is Port.ADMIN
        if out.payload[0] == Event.PEER_OUT:
            reply, *rest = to.device.admin(bytes([Opcode.PEER_IN]) + out.payload[1:])
            assert reply.payload == bytes([0x80 | Opcode.PEER_IN, Code.OK])
            queue += [(ends[id(to)], item) for item in rest]
        else:
            texts.append(out.payload)
    assert len(texts) == 2
    initiator, responder = sorted(texts, key=lambda event: event[1])
    assert initiator[:7] == bytes([Event.SESSION, Role.INITIATOR, 0]) + bytes(4)
    assert responder[:7] == bytes([Event.SESSION, Role.RESPONDER, 0]) + bytes(4)
    _, data = b.device.admin(bytes([Opcode.SEND]) + bytes(TEXT_MAX))
    assert len(data.payload) == 1 + 5 + TEXT_MAX + 16 <= 126


def test_garbage_on_the_peer_port_writes_nothing() -> None:
    a, b, _, _ = paired()
    a.device.admin(bytes([Opcode.CONNECT]) + CONNECT_WIRE)
    noise = random.Random(1)
    image, log = bytes(b.flash.chip.memory), len(a.flash.log) + len(b.flash.log)
    for header in range(256):
        for length in (0, 16, 32, noise.randrange(125)):
            message = bytes([header]) + noise.randbytes(length)
            assert a.device.peer(message) == b.device.peer(message) == []
    assert len(a.flash.log) + len(b.flash.log) == log
    assert bytes(b.flash.chip.memory) == image


def test_clone_is_refused() -> None:
    """An exact copy of the flash on other silicon."""
    a, b, _, _ = paired()
    clone = Board("clone")
    clone.flash.chip.memory[:] = a.flash.chip.memory
    clone.start()
    refused(clone, Code.PUF_FAILED, Opcode.CONNECT, CONNECT_WIRE)
    _, m1 = b.device.admin(bytes([Opcode.CONNECT]) + CONNECT_WIRE)
    assert clone.device.peer(m1.payload) == []


@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize("victim", ["initiator", "responder"])
def test_handshake_cut_anywhere(victim: str, when: str) -> None:
    """A cut at any flash command of a handshake; then the two recover by themselves in at most five messages."""
    for through in range(2):
        for starter in (0, 1):
            boards = paired()[:2]
            connect(*boards)
            i, r = boards if starter == 0 else boards[::-1]
            cut = i if victim == "initiator" else r
            cut.flash.cut = through, when
            _, *rest = i.device.admin(bytes([Opcode.CONNECT]) + CONNECT_WIRE)
            with pytest.raises(PowerCut):
                converse(i, r, wire(rest))
            cut.start()
            live = [k for k in range(5) if any(cut.flash.read(peer_journal(0) + slot_offset(k), 8).strip(b"\xff"))]
            assert len(live) == 1, "boot zeroes what the cut left"
            assert connect(i, r) <= 5
            assert i.epoch() == r.epoch()


def test_epoch_keys_are_gone_after_acceptance() -> None:
    """What is in flash after a session cannot open its recording: the chain key is the next one on both sides."""
    a, b, _, _ = paired()
    before = a.device.vault.keys().load(0)
    assert before
    first = {board.name: board.flash.read(peer_journal(0) + slot_offset(0), PEER_SLOT_LENGTH) for board in (a, b)}
    connect(a, b)
    for board in (a, b):
        after = board.device.vault.keys().load(0)
        assert after
        assert after.chain_key == before.next().after.chain_key
        image = bytes(board.flash.chip.memory)
        assert all(first[board.name][k : k + 8] not in image for k in range(0, PEER_SLOT_LENGTH - 8, 8))


# ---------------------------------------------------------------------------------------------------- at random


class TwoDevices(RuleBasedStateMachine):
    """Messages are lost, doubled, delayed, reordered; power fails between operations and inside of flash commands."""

    @initialize()
    def begin(self) -> None:
        self.boards = paired()[:2]
        connect(*self.boards)
        self.pool: list[tuple[int, bytes]] = []  # receiver, message
        self.sent: list[set[bytes]] = [set(), set()]
        self.heard: list[list[bytes]] = [[], []]
        self.numbers = itertools.count()

    def at(self, i: int, act: Callable[[DeviceModel], list[Out]]) -> None:
        """One operation of device i; a cut restarts it."""
        try:
            outputs = act(self.boards[i].device)
        except PowerCut:
            self.boards[i].start()
            return
        self.pool = [*self.pool, *((1 - i, message) for message in wire(outputs))][-12:]
        self.heard[i] += [event[1:] for event in told(outputs) if event[0] == Event.TEXT]

    @rule(i=st.integers(0, 1))
    def starts(self, i: int) -> None:
        self.at(i, lambda device: device.admin(bytes([Opcode.CONNECT]) + CONNECT_WIRE))

    @precondition(lambda self: self.pool)
    @rule(data=st.data(), keep=st.booleans(), times=st.integers(1, 2))
    def delivers_any(self, data: st.DataObject, keep: bool, times: int) -> None:
        k = data.draw(st.integers(0, len(self.pool) - 1))
        to, message = self.pool[k] if keep else self.pool.pop(k)
        for _ in range(times):
            self.at(to, lambda device: device.peer(message))

    @precondition(lambda self: self.pool)
    @rule(count=st.integers(1, 4))
    def delivers_the_latest(self, count: int) -> None:
        for _ in range(min(count, len(self.pool))):
            to, message = self.pool.pop()
            self.at(to, lambda device, m=message: device.peer(m))

    @rule(i=st.integers(0, 1), wait=st.sampled_from([1000, 2000, 5000]))
    def waits(self, i: int, wait: int) -> None:
        self.at(i, lambda device: device.tick(wait))

    @rule(i=st.integers(0, 1), through=st.integers(0, 2), when=st.sampled_from(["before", "during"]))
    def power_will_fail(self, i: int, through: int, when: str) -> None:
        self.boards[i].flash.cut = through, when

    @rule(i=st.integers(0, 1))
    def power_fails(self, i: int) -> None:
        self.boards[i].flash.cut = None
        self.boards[i].start()

    @rule(i=st.integers(0, 1), copies=st.integers(0, 2))
    def sends(self, i: int, copies: int) -> None:
        """Some copies arrive at once, another one stays on its way."""
        text, before = b"%d" % next(self.numbers), self.pool
        self.sent[i].add(text)
        self.at(i, lambda device: device.admin(bytes([Opcode.SEND]) + text))
        if self.pool[-1:] != before[-1:]:
            for _ in range(copies):
                self.at(1 - i, lambda device: device.peer(self.pool[-1][1]))

    @invariant()
    def text_is_genuine_and_new(self) -> None:
        for i in (0, 1):
            assert len(set(self.heard[i])) == len(self.heard[i]), "no text twice"
            assert set(self.heard[i]) <= self.sent[1 - i]
            assert self.heard[i] == sorted(self.heard[i], key=int), "in order"

    @invariant()
    def epochs_are_together(self) -> None:
        epochs = [board.epoch() for board in self.boards]
        assert abs(epochs[0] - epochs[1]) <= 1

    def teardown(self) -> None:
        """Whatever has happened: without loss, each side can start, and they agree in at most five messages."""
        for board in getattr(self, "boards", ()):
            board.flash.cut = None
            for _ in range(4):
                board.device.tick(8000)
        for a, b in (getattr(self, "boards", ()), getattr(self, "boards", ())[::-1]):
            assert connect(a, b) <= 5
            assert a.epoch() == b.epoch()


TestTwoDevices = TwoDevices.TestCase
TestTwoDevices.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
