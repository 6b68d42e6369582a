"""Every interleaving of two parties, within bounds: a model check that drives ``ppake.Party`` itself, bytes and all.

The network remembers every message ever sent and delivers any of them to anyone, any number of times, in any order, or
never. Power fails at any time, and before or after the flash write of any commit; waits end at any time.

Checked in every state: epochs differ by one at most; a session that one side accepts is accepted, if at all, by the
other under the same epoch with the same id and the other role; a responder accepts only after its initiator; one
session an epoch; no chain key of an accepted session is left; and once runs under way have ended, a handshake without
loss, started by either side, succeeds within five messages.

    python -m protocol.tests.explore EPOCHS NONCES       (3 3 takes some minutes)
"""

import sys
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar
from unittest.mock import patch

from ringpair_protocol import derivations
from ringpair_protocol.admin import Code, Role
from ringpair_protocol.messages import M1
from ringpair_protocol.ppake import Established, InitiatorRun, Output, Party, PeerRecord, Refused, ResponderRun, Send

from protocol.tests.rig import PowerCut

Accepted = frozenset[tuple[int, bytes, Role]]
Node = TypeVar("Node", bound=Hashable)


@dataclass(frozen=True)
class Side:
    """One party between two events."""

    record: PeerRecord
    run: InitiatorRun | ResponderRun | None = None
    accepted: Accepted = frozenset()


@dataclass(frozen=True)
class World:
    sides: tuple[Side, Side]
    net: frozenset[bytes] = frozenset()
    nonces: int = 0


class OneRecord:
    """A store of one pairing; ``fail`` says whether power fails before or after the write."""

    def __init__(self, record: PeerRecord, fail: str = ""):
        self.record = record
        self.fail = fail

    def live(self) -> list[PeerRecord]:
        return [self.record]

    def load(self, number: int) -> PeerRecord | None:
        return self.record

    def commit(self, record: PeerRecord) -> None:
        if self.fail == "before":
            raise PowerCut
        self.record = record
        if self.fail == "after":
            raise PowerCut


def reach(start: Node, successors: Callable[[Node], Iterable[Node]]) -> tuple[int, int]:
    """Everything that can be reached, breadth first: numbers of states and of transitions."""
    seen, queue, transitions = {start}, deque([start]), 0
    while queue:
        for following in successors(queue.popleft()):
            transitions += 1
            if following not in seen:
                seen.add(following)
                queue.append(following)
    return len(seen), transitions


class Explorer:
    """Breadth-first search from a fresh pairing.

    Parameters
    ----------
    epochs
        No handshake starts at this epoch.
    nonces
        Initiators draw so many nonces in all (a first M1, one after a timeout or a resync).
    """

    def __init__(self, epochs: int, nonces: int):
        self.epochs = epochs
        self.nonces = nonces
        keys = derivations.PAIR(pair_key=bytes(32), id_low=b"low.....", id_high=b"high....")
        low, high = (PeerRecord(0, low, 0, keys["chain_key"], keys["auth_prev"]) for low in (True, False))
        self.start = World((Side(low), Side(high)))
        self.transitions = self.longest_recovery = 0
        self._recovered: dict[tuple[PeerRecord, PeerRecord], int] = {}

    def run(self) -> int:
        """Number of states; raises AssertionError with the state where a property fails."""
        with patch.object(derivations, "cxof128", lru_cache(maxsize=None)(derivations.cxof128)):
            states, self.transitions = reach(self.start, self._successors)
        return states

    # ------------------------------------------------------------------ steps
    def _successors(self, world: World) -> Iterator[World]:
        self._check(world)
        for i, side in enumerate(world.sides):
            if side.run is not None:
                left = side.run.left_ms
                yield self._put(world, i, replace(side, run=None), [], world.nonces)  # power fails
                yield from self._step(world, i, lambda party, ms=left: party.tick(ms))
            yield from self._step(world, i, lambda party: party.connect(0, 0))
            for message in world.net:
                for fail in ("", "before", "after"):
                    yield from self._step(world, i, lambda party, m=message: party.receive(m, 0), message[0], fail)

    def _step(
        self, world: World, i: int, act: Callable[[Party], list[Output]], header: int = 0, fail: str = ""
    ) -> Iterator[World]:
        """One event at one side; nothing if it changes nothing."""
        side = world.sides[i]
        store, drawn = OneRecord(side.record, fail), world.nonces

        def nonce() -> bytes:
            nonlocal drawn
            if header == M1:  # a responder's epoch is new whenever it draws
                return bytes([0xB0 + i, store.record.epoch]) * 8
            if drawn == self.nonces or store.record.epoch >= self.epochs:
                raise Refused(Code.TRNG_FAILED)
            drawn += 1
            return bytes([0xA0 + i, drawn]) * 8

        party = Party(store, nonce)
        party.run = side.run
        outputs: list[Output] = []
        try:
            outputs = act(party)
        except PowerCut:
            party.run = None
        except Refused:
            return
        sessions = [item.session for item in outputs if isinstance(item, Established)]
        accepted = side.accepted.union((session.epoch, session.session_id, session.role) for session in sessions)
        after = Side(store.record, party.run, accepted)
        sent = [item.message for item in outputs if isinstance(item, Send)]
        if after != side or not world.net.issuperset(sent):
            yield self._put(world, i, after, sent, drawn)

    @staticmethod
    def _put(world: World, i: int, side: Side, sent: list[bytes], nonces: int) -> World:
        sides = (side, world.sides[1]) if i == 0 else (world.sides[0], side)
        return World(sides, world.net.union(sent), nonces)

    # ------------------------------------------------------------------ properties
    def _check(self, world: World) -> None:
        a, b = world.sides
        assert abs(a.record.epoch - b.record.epoch) <= 1, world
        for mine, other in ((a, b), (b, a)):
            epochs = [epoch for epoch, _, _ in mine.accepted]
            assert len(epochs) == len(set(epochs)), ("two sessions in one epoch", world)
            for epoch, name, role in mine.accepted:
                assert mine.record.epoch > epoch < other.record.epoch, ("a chain key is left", world)
                theirs = {(n, r) for e, n, r in other.accepted if e == epoch}
                assert theirs <= {(name, Role(1 - role))}, ("they disagree", world)
                assert role is Role.INITIATOR or theirs, ("responder before initiator", world)
        self._check_recovery(a.record, b.record)

    def _check_recovery(self, a: PeerRecord, b: PeerRecord) -> None:
        if (a, b) in self._recovered:
            return
        for first in (0, 1):
            stores = OneRecord(a), OneRecord(b)
            parties = [Party(store, lambda: bytes(16)) for store in stores]
            queue = [(first, item) for item in parties[first].connect(0, 0)]
            messages = 0
            while queue:
                sender, item = queue.pop(0)
                if isinstance(item, Send):
                    messages += 1
                    queue += [(1 - sender, answer) for answer in parties[1 - sender].receive(item.message, 0)]
            names = {party.session.session_id if party.session else None for party in parties}
            assert len(names) == 1, ("different sessions", a, b)
            assert None not in names, ("no session", a, b)
            assert messages <= 5, (messages, a, b)
            self.longest_recovery = max(messages, self.longest_recovery)
        self._recovered[a, b] = messages


def main(epochs: int = 3, nonces: int = 3) -> None:
    explorer = Explorer(epochs, nonces)
    states = explorer.run()
    print(
        f"{states} states, {explorer.transitions} transitions, recovery in at most {explorer.longest_recovery} "
        f"messages: all properties hold (epochs up to {epochs}, {nonces} nonces)"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
