"""What a device says unasked, parsed."""

from dataclasses import dataclass

from ringpair_protocol.admin import Code, Event, Identity, Role
from ringpair_protocol.messages import SESSION_ID_LENGTH

from .errors import ProtocolError


@dataclass(frozen=True)
class SessionUp:
    """A handshake succeeded. ``epoch`` is the one that it used up."""

    role: Role
    peer: int
    epoch: int
    session_id: bytes


@dataclass(frozen=True)
class SessionFailed:
    """A handshake that this device started came to nothing."""

    code: Code
    peer: int


@dataclass(frozen=True)
class PeerOut:
    """A peer message that wants to be carried to the other device."""

    message: bytes


@dataclass(frozen=True)
class Text:
    """What the peer said, decrypted and verified."""

    text: bytes

    def __repr__(self) -> str:  # texts do not belong in logs
        return f"Text({len(self.text)} bytes)"


@dataclass(frozen=True)
class Started:
    """The device came up after power-on or reset."""

    identity: Identity


@dataclass(frozen=True)
class Closed:
    """The session is over."""

    code: Code


@dataclass(frozen=True)
class ResetDone:
    """The button was held for ten seconds: the device forgot everything."""


@dataclass(frozen=True)
class ControllerText:
    """What the controller at a place of the device's table said, decrypted and verified."""

    place: int
    text: bytes

    def __repr__(self) -> str:
        return f"ControllerText({self.place}, {len(self.text)} bytes)"


AnyEvent = SessionUp | SessionFailed | PeerOut | Text | Started | Closed | ResetDone | ControllerText

SPOKEN = (SessionUp, SessionFailed, Text, Started, Closed, ResetDone, ControllerText)
"""All but the peer messages of a tunnel, which are a bridge's business."""

SESSION_LENGTH = 1 + 1 + 4 + SESSION_ID_LENGTH


def parse_event(payload: bytes) -> AnyEvent:
    """The event in one frame.

    Raises
    ------
    ProtocolError
        No event has this kind, length or value.
    """
    try:
        kind, body = Event(payload[0]), payload[1:]
        match kind:
            case Event.SESSION:
                role, peer, epoch, session_id = body[0], body[1], body[2:6], body[6:]
                _expect(len(body) == SESSION_LENGTH)
                return SessionUp(Role(role), peer, int.from_bytes(epoch, "little"), session_id)
            case Event.FAILED:
                _expect(len(body) == 2)
                return SessionFailed(Code(body[0]), body[1])
            case Event.PEER_OUT:
                _expect(len(body) > 0)
                return PeerOut(body)
            case Event.TEXT:
                _expect(len(body) > 0)
                return Text(body)
            case Event.STARTED:
                return Started(Identity.from_bytes(body))
            case Event.CLOSED:
                _expect(len(body) == 1)
                return Closed(Code(body[0]))
            case Event.RESET_DONE:
                _expect(not body)
                return ResetDone()
            case Event.CONTROLLER_TEXT:
                _expect(len(body) > 1)
                return ControllerText(body[0], body[1:])
    except (ValueError, IndexError) as problem:
        raise ProtocolError(
            f"expected an event of protocol level 1, got {len(payload)} bytes of kind {payload[:1].hex() or 'none'}: "
            "does the gateware match this host?"
        ) from problem


def _expect(condition: bool) -> None:
    if not condition:
        raise ValueError("wrong length")
