"""Hand the messages of the outbox to the board they are for. The board tells its id; the registry knows the rest."""

from collections.abc import Callable
from dataclasses import dataclass

from ringpair_protocol.admin import Code, PeerState

from .board import Board
from .errors import Refused, RegistryError, RingpairError
from .registry import Device, Message, Registry
from .registry.models import PENDING, PUZZLE, REVOCATION

DELIVERED, KNOWN, OUTDATED, REFUSED = "delivered", "known already", "outdated", "refused"

DONE_BEFORE = ((PUZZLE, Code.ALREADY_PAIRED), (REVOCATION, Code.NO_SUCH_PEER))
"""Refusals that mean: what the message asks for is so already."""
OF_THE_MESSAGE = (Code.BAD_PUZZLE, Code.FAR_PUZZLE, Code.ALREADY_PAIRED, Code.NO_SUCH_PEER, Code.TABLE_FULL)
"""Refusals that concern one message; any other ends the delivery."""


@dataclass(frozen=True)
class Delivery:
    """What became of one message."""

    message: Message
    outcome: str
    peer: int | None = None
    code: Code = Code.OK


def device_of(board: Board, registry: Registry) -> Device:
    """The device of the registry that this board is. An enrollment whose confirmation got lost is confirmed by it.

    Raises
    ------
    Refused
        The board cannot make its key.
    RingpairError
        It is not enrolled.
    RegistryError
        It is enrolled elsewhere.
    """
    raw = board.device_id()
    if raw is None:
        raise RingpairError(
            f"expected an enrolled device on {board.port}, it is in the factory state: hold its button and run "
            f"`ringpair enroll {board.port} --name NAME`"
        )
    device = next((row for row in registry.devices() if row.id == raw.hex()), None)
    if device is None:
        raise RegistryError(
            f"the registry {registry.path} does not know the device {raw.hex()} on {board.port}: name the registry it "
            "was enrolled with (--registry), or factory-reset it (hold its button for 10 s) and enroll it here"
        )
    return registry.confirm(device.id) if device.state == PENDING else device


def deliver(board: Board, registry: Registry, told: Callable[[Delivery], None] = lambda _: None) -> list[Delivery]:
    """Import what waits in the outbox for the board, in the order of the wrap keys.

    Parameters
    ----------
    told
        Called for each message that is settled.

    Raises
    ------
    RingpairError
        Nothing is waiting, or the board is no device of this registry (see :func:`device_of`).
    """
    device = device_of(board, registry)
    waiting = registry.outbox(device.id)
    if not waiting:
        raise RegistryError(f"the outbox holds nothing for {device.name}: `ringpair pair {device.name} OTHER` fills it")
    done = []
    for message in waiting:
        delivery = _import(board, message)
        if delivery.outcome in (DELIVERED, KNOWN):
            registry.delivered(message)
        elif delivery.outcome == OUTDATED:
            registry.withdraw(message)
        told(delivery)
        done.append(delivery)
    return done


def _import(board: Board, message: Message) -> Delivery:
    """Give one message to the board it is for."""
    try:
        return Delivery(message, DELIVERED, board.import_puzzle(message.body))
    except Refused as refusal:
        code = refusal.code
        if code == Code.OLD_PUZZLE:
            return _past(board, message)
        if code not in OF_THE_MESSAGE:
            raise
    return Delivery(message, KNOWN if (message.kind, code) in DONE_BEFORE else REFUSED, code=code)


def _past(board: Board, message: Message) -> Delivery:
    """The device is past this message: its table tells whether what the message asks for came to be."""
    live = {row.peer_id.hex(): row.number for row in board.peers() if row.state == PeerState.LIVE}
    number = live.get(message.peer_id or "")
    known = (number is not None) == (message.kind == PUZZLE)
    return Delivery(message, KNOWN if known else OUTDATED, number, Code.OLD_PUZZLE)
