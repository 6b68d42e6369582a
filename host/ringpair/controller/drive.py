"""Bindings and sessions of a controller with a board on its admin port."""

from collections.abc import Callable

from ringpair_protocol import controller as protocol
from ringpair_protocol.channel import Session
from ringpair_protocol.controller import NotTheDevice, Service, WrongPin
from ringpair_protocol.messages import SWITCH, UNBIND, UNBIND_ASK, UNBIND_DONE

from ringpair.board import Board, split_text
from ringpair.errors import BindingFailed, ProtocolError

from .curve import LibraryCurve

Carry = Callable[[bytes], bytes]
"""Takes a message to the device and brings the answer; by the board's admin port, if nothing else is given."""


def bind(board: Board, service: Service, device_id: bytes, pin: str, carry: Carry | None = None) -> bytes:
    """Bind the device; returns its public key, to be kept.

    Raises
    ------
    BindingFailed
        The PIN is wrong, or who answers is not the device.
    Refused
        The device says no: it is locked, or has no place left.
    """
    try:
        return protocol.bind(service, device_id, pin.encode(), carry or board.controller, LibraryCurve())
    except WrongPin:
        left = board.bindings().tries_left
        raise BindingFailed(
            f"wrong PIN for the device on {board.port}: {left} tries left"
            + (", type it again, or let the device show a new one" if left else "; hold its button for more")
        ) from None
    except NotTheDevice as problem:
        raise _not_the_device(board, problem) from None


def open_session(board: Board, service: Service, device_key: bytes, carry: Carry | None = None) -> "DeviceSession":
    """A session with a device that the service is bound to.

    Raises
    ------
    BindingFailed
        Who answers does not have the device's key.
    Refused
        The device does not know the service.
    """
    try:
        session = protocol.open_session(service, device_key, carry or board.controller, LibraryCurve())
    except NotTheDevice as problem:
        raise _not_the_device(board, problem) from None
    return DeviceSession(board, service, session, carry or board.controller)


class DeviceSession:
    """An open session; it ends when another one is opened, or when the device loses power."""

    def __init__(self, board: Board, service: Service, session: Session, carry: Carry) -> None:
        self._board, self._service, self._session, self._way = board, service, session, carry

    @property
    def session_id(self) -> bytes:
        """Known to both sides; not secret."""
        return self._session.session_id

    def send(self, text: str | bytes) -> int:
        """Say something to the device's owner; the number of messages."""
        parts = split_text(text)
        for part in parts:
            self._carry(part)
        return len(parts)

    def switch(self, value: int | None = None) -> int:
        """Set the device's switch, 0 to 255, or only ask; the value that the device has now."""
        answer = self._answer(bytes([SWITCH] if value is None else [SWITCH, value]))
        if len(answer) != 2 or answer[0] != SWITCH or (value is not None and answer[1] != value):
            raise self._unexpected("the state of its switch", answer)
        return answer[1]

    def unbind(self) -> None:
        """The device forgets this service; the session is over."""
        answer = self._answer(bytes([UNBIND, UNBIND_ASK]) + self._service.id)
        if answer != bytes([UNBIND, UNBIND_DONE]) + self._service.id:
            raise self._unexpected("that it has unbound the service", answer)

    def _carry(self, text: bytes) -> bytes:
        self._session, message = self._session.seal(text)
        return self._way(message)

    def _answer(self, text: bytes) -> bytes:
        message = self._carry(text)  # first: it moves the session on
        opened = self._session.open(message)
        if opened is None:
            raise BindingFailed(
                f"the answer of the device on {self._board.port} was altered on its way: open the session again"
            )
        self._session, answer = opened
        return answer

    def _unexpected(self, wanted: str, answer: bytes) -> ProtocolError:
        return ProtocolError(
            f"expected {self._board.port} to answer {wanted}, got {len(answer)} bytes {answer[:2].hex()}…: bring host "
            "and gateware to the same release"
        )


def _not_the_device(board: Board, problem: NotTheDevice) -> BindingFailed:
    return BindingFailed(
        f"{problem}: somebody sits between this host and {board.port}, or the device was reset and enrolled again; "
        "bind it anew if you trust it"
    )
