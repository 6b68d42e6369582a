"""Hand the messages of the outbox to the board they are for.

A board does not tell its id. It shows it by what it accepts: a message opens on its own device only, and one for
another is refused without any effect.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from ringpair_protocol.admin import Code, PeerState

from .board import Board
from .errors import Refused, RegistryError, RingpairError
from .registry import Message, Registry
from .registry.models import PUZZLE, REVOCATION

DELIVERED, KNOWN, OUTDATED, REFUSED = "delivered", "known already", "outdated", "refused"

AUTHENTIC = (Code.ALREADY_PAIRED, Code.NO_SUCH_PEER, Code.TABLE_FULL, Code.EXHAUSTED)
"""Refusals that come after the message was opened: it is for this device."""
DONE_BEFORE = ((PUZZLE, Code.ALREADY_PAIRED), (REVOCATION, Code.NO_SUCH_PEER))
"""Refusals that mean: what the message asks for is so already."""


@dataclass(frozen=True)
class Delivery:
    """What became of one message."""

    message: Message
    outcome: str
    peer: int | None = None
    code: Code = Code.OK


def deliver(
    board: Board, registry: Registry, device: str | None = None, told: Callable[[Delivery], None] = lambda _: None
) -> list[Delivery]:
    """Import what waits in the outbox for the board.

    Parameters
    ----------
    device
        Name or id of the device, if the caller knows it; else every device with waiting messages is tried.
    told
        Called for each message that is settled.

    Raises
    ------
    RingpairError
        Nothing was waiting, or nothing of it is for this board.
    """
    waiting = registry.outbox(device)
    if not waiting:
        raise RegistryError(
            f"the outbox holds nothing for {device}: pair it first" if device else "the outbox is empty: pair first"
        )
    for _, group in groupby(waiting, key=lambda message: message.recipient_id):
        done = _Recipient(board, registry, named=device is not None, told=told).try_all(list(group))
        if done:
            return done
    names = ", ".join(sorted({message.recipient.name for message in waiting}))
    raise RingpairError(
        f"nothing in the outbox opens on the board at {board.port}: it waits for {names}; "
        "name the device with --device if its messages were imported already"
    )


class _Recipient:
    """Tries the messages of one device on the board, in the order of their wrap keys."""

    def __init__(self, board: Board, registry: Registry, named: bool, told: Callable[[Delivery], None]) -> None:
        self._board = board
        self._registry = registry
        self._named = named
        self._proven = False
        self._told = told

    def try_all(self, messages: list[Message]) -> list[Delivery]:
        """What became of each; nothing if the board is another device."""
        done: list[Delivery] = []
        undecided: list[Message] = []
        for message in messages:
            try:
                peer = self._board.import_puzzle(message.body)
            except Refused as refusal:
                if refusal.code == Code.OLD_PUZZLE:  # says nothing about whose it is: the index is looked at first
                    undecided.append(message)
                elif refusal.code in AUTHENTIC:
                    self._proven = True
                    outcome = KNOWN if (message.kind, refusal.code) in DONE_BEFORE else REFUSED
                    done.append(self._settle(message, outcome, code=refusal.code))
                elif refusal.code not in (Code.BAD_PUZZLE, Code.FAR_PUZZLE):
                    raise
                elif self._proven or self._named:
                    done.append(self._settle(message, REFUSED, code=refusal.code))
                else:
                    return []
            else:
                self._proven = True
                done.append(self._settle(message, DELIVERED, peer))
        if undecided and self._named and not self._proven:
            self._proven = self._probe(undecided[0].recipient_id)
        return done + self._decide(undecided) if self._proven or self._named else []

    def _probe(self, device_id: str) -> bool:
        """Whether the board is this device: it alone opens a revocation of its pairing with itself, and finds none."""
        try:
            self._board.import_puzzle(self._registry.probe(device_id))
        except Refused as refusal:
            return refusal.code == Code.NO_SUCH_PEER
        return True

    def _decide(self, messages: list[Message]) -> list[Delivery]:
        """Messages that the device is past: its table tells whether their pairing came to be."""
        if not self._proven:
            return [self._settle(message, REFUSED, code=Code.OLD_PUZZLE) for message in messages]
        live = {row.peer_id.hex(): row.number for row in self._board.peers() if row.state == PeerState.LIVE}
        decided = []
        for message in messages:
            here = live.get(message.peer_id or "") if message.kind == PUZZLE else None
            decided.append(self._settle(message, OUTDATED if here is None else KNOWN, here, Code.OLD_PUZZLE))
        return decided

    def _settle(self, message: Message, outcome: str, peer: int | None = None, code: Code = Code.OK) -> Delivery:
        if outcome in (DELIVERED, KNOWN):
            self._registry.delivered(message)
        elif outcome == OUTDATED:
            self._registry.withdraw(message)
        delivery = Delivery(message, outcome, peer, code)
        self._told(delivery)
        return delivery
