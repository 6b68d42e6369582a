"""A board on its admin port, as a Python object.

::

    with Board.open("/dev/ttyUSB1") as board:
        print(board.identity.gateware.hex(), board.status().state.name)
        session = board.connect(0)
        board.send("hello")
        for event in board.listen(timeout=10):
            print(event)

Commands may be given from several threads and take turns. Nothing secret is ever logged: wrap keys and texts appear
as lengths.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar, cast

from ringpair_protocol.admin import Carrier, Code, DeviceStateCode, Opcode, PeerState, Pin, Profile, Status
from ringpair_protocol.binding import PIN_DIGITS, PIN_TRIES, SERVICE_ID_LENGTH
from ringpair_protocol.label import check_pin
from ringpair_protocol.messages import B3, B3_FIRST, RESPONDER_TIMEOUT_S, TEXT_MAX
from ringpair_protocol.pairing import DeviceEntry, finish_enrollment, start_enrollment
from ringpair_protocol.records import HEADER_LENGTH, MAX_CONTROLLERS, MAX_PEERS, PeerHeader

from .errors import ConnectFailed, NoReply, ProtocolError, Refused, RingpairError
from .events import AnyEvent, SessionFailed, SessionUp
from .line import OnLine, Reply, parsed
from .transport import Transport

REPLY_TIMEOUT_S = 5.0
"""The slowest commands, which search for a PUF key in vain (0.7 s) or erase flash, take less on a real device."""
CONNECT_TIMEOUT_S = 20.0
"""Three tries of the device take 14 s."""
SIMULATED_PATIENCE = 12
"""A virtual board on a busy machine is slower than a real one: the same waiting times, so many times longer."""

E = TypeVar("E", bound=AnyEvent)
R = TypeVar("R")


@dataclass(frozen=True)
class Peer:
    """One row of the device's table of pairings."""

    number: int
    state: PeerState
    peer_id: bytes
    pair_index: int
    low: bool
    epoch: int


@dataclass(frozen=True)
class Bindings:
    """What a device says of its controllers."""

    tries_left: int
    services: list[bytes]


@dataclass(frozen=True)
class Enrollment:
    """An enrollment that the device has not committed yet: keep ``entry`` safe, then confirm."""

    entry: DeviceEntry
    confirmation: bytes = field(repr=False)


class Board(OnLine):
    """A connected device.

    Parameters
    ----------
    transport
        The open way to its admin port; closed with the board.

    Raises
    ------
    ProtocolError
        Nothing answers, or something that is not a ringpair device of this protocol level.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self._patience = SIMULATED_PATIENCE if self.identity.simulated else 1

    # What the device is and knows

    def status(self) -> Status:
        """State of flash, session, noise source and button."""
        return self._parse(Opcode.STATUS, Status.from_bytes, self.command(Opcode.STATUS))

    def device_id(self) -> bytes | None:
        """The id of an enrolled device, else None. It follows from the PUF key, which is tried now if boot could not.

        Raises
        ------
        Refused
            The key cannot be made: other silicon, other temperature, other floorplan.
        """
        status = self.status()
        if status.state == DeviceStateCode.FACTORY:
            return None
        if not any(status.device_id):
            self.peer(0)
            status = self.status()
        return status.device_id

    def peer(self, number: int) -> Peer:
        """One row of the table of pairings, ``number`` 0 to 15."""
        return self._parse(Opcode.PEER, lambda body: _parse_peer(number, body), self.command(Opcode.PEER, [number]))

    def peers(self) -> list[Peer]:
        """All pairings, live and revoked ones."""
        rows = []
        for number in range(MAX_PEERS):
            try:
                rows.append(self.peer(number))
            except Refused as refusal:
                if refusal.code != Code.NO_SUCH_PEER:
                    raise
        return [row for row in rows if row.state != PeerState.EMPTY]

    # Enrollment and pairing

    def enroll_begin(self) -> Enrollment:
        """First half of an enrollment: the device, its button held, makes its keys but commits nothing.

        Store ``entry`` durably before :meth:`enroll_confirm`: a device that committed cannot be asked for it again.
        """
        e1 = start_enrollment()
        e2 = self.command(Opcode.ENROLL, e1)
        entry, e3 = self._parse(Opcode.ENROLL, lambda body: finish_enrollment(e1[1:], body), e2)
        return Enrollment(entry, e3)

    def enroll_confirm(self, enrollment: Enrollment) -> None:
        """Second half: the device commits. If the reply is lost, its status tells whether it did.

        Raises
        ------
        Refused, RingpairError
            The device did not commit: forget the entry.
        NoReply, TransportError
            Unknown: keep the entry until the device can be asked.
        """
        try:
            body = self.command(Opcode.ENROLL_CONFIRM, enrollment.confirmation)
        except NoReply:
            state = self.status().state
            if state != DeviceStateCode.ENROLLED:
                raise RingpairError(
                    f"expected an enrolled device, its state is {state.name}: the confirmation got lost and nothing "
                    "was stored; enroll again"
                ) from None
            return
        if body != enrollment.entry.device_id:
            raise ProtocolError(
                f"expected the id {enrollment.entry.device_id.hex()} that the enrollment began with, got {body.hex()}: "
                "factory-reset the device and enroll it again"
            )

    def enroll(self) -> DeviceEntry:
        """Both halves, for callers that need no durable registry. The entry holds the secret wrap key."""
        enrollment = self.enroll_begin()
        self.enroll_confirm(enrollment)
        return enrollment.entry

    def import_puzzle(self, puzzle: bytes) -> int:
        """Hand over a puzzle, a revocation or a reset; returns the peer number, or 0xff for a reset."""
        body = self.command(Opcode.IMPORT, puzzle)
        return self._parse(Opcode.IMPORT, lambda raw: _exactly(1, raw)[0], body)

    # Sessions

    def connect(self, peer: int, carrier: Carrier = Carrier.WIRE, timeout: float | None = None) -> SessionUp:
        """Start a handshake and wait for its end.

        With ``Carrier.TUNNEL`` somebody has to carry the ``PeerOut`` events to the peer meanwhile
        (:mod:`ringpair.bridge`, from another thread).

        Raises
        ------
        Refused
            The device does not even start.
        ConnectFailed
            The peer did not answer, or not well.
        """
        since = self._exchange(Opcode.CONNECT, bytes([peer, carrier])).events_before
        timeout = CONNECT_TIMEOUT_S * self._patience if timeout is None else timeout
        deadline = time.monotonic() + timeout
        superseded = False
        while True:
            event = self._line.take((SessionUp, SessionFailed), deadline - time.monotonic(), since)
            if event is None and superseded:
                raise ConnectFailed(peer, Code.SUPERSEDED)
            if event is None:
                raise NoReply(
                    f"expected a session or a failure from {self.port} within {timeout:g} s, got neither: "
                    "is the device still running?"
                )
            if isinstance(event, SessionUp) and event.peer == peer:
                return event
            if isinstance(event, SessionFailed) and event.peer == peer:
                if event.code != Code.SUPERSEDED:
                    raise ConnectFailed(peer, event.code)
                superseded = True  # the peer's own handshake took over: it ends in a session as well, or silently
                deadline = min(deadline, time.monotonic() + 2 * RESPONDER_TIMEOUT_S * self._patience)

    def send(self, text: str | bytes) -> int:
        """Say something to the peer; returns how many messages it took.

        Long texts are split into messages of at most 96 bytes, a ``str`` never within a character.
        """
        parts = split_text(text)
        for part in parts:
            self.command(Opcode.SEND, part)
        return len(parts)

    def disconnect(self) -> None:
        """End the session: its keys are cleared."""
        self.command(Opcode.DISCONNECT)

    def peer_in(self, message: bytes) -> None:
        """Hand over a peer message that came through the tunnel."""
        self.command(Opcode.PEER_IN, message)

    # Controllers

    def controller(self, message: bytes) -> bytes:
        """Carry one message of a controller to the device; returns its answer, which may be empty.

        A B3 is longer than a frame and goes in two.
        """
        if message[0] != B3:
            return self.command(Opcode.CONTROLLER_IN, message)
        self.command(Opcode.CONTROLLER_IN, message[:B3_FIRST])
        return self.command(Opcode.CONTROLLER_REST, message[B3_FIRST:])

    def pin(self, kind: Pin) -> str:
        """A new PIN for one binding, or the one for the label; the device's button has to be held.

        For one that only the device shows see `display_pin`.
        """
        return self._parse(
            Opcode.PIN, lambda raw: check_pin(_exactly(PIN_DIGITS, raw).decode()), self.command(Opcode.PIN, [kind])
        )

    def display_pin(self) -> None:
        """Let the device show a new PIN for one binding on its display, and nowhere else; its button has to be held."""
        body = self.command(Opcode.PIN, [Pin.DISPLAYED])
        self._parse(Opcode.PIN, lambda raw: _exactly(0, raw), body)

    def bindings(self) -> Bindings:
        """Which services are bound, and how many wrong PINs the device still takes."""
        return self._parse(Opcode.BINDINGS, _parse_bindings, self.command(Opcode.BINDINGS))

    def next_event(self, timeout: float, *kinds: type[E]) -> E | None:
        """The oldest waiting event of these kinds (of any, if none is given), or None after ``timeout`` seconds.

        Events of other kinds stay where they are.
        """
        return cast("E | None", self._line.take(kinds, timeout))

    def listen(self, timeout: float | None = None) -> Iterator[AnyEvent]:
        """Events as they come, until none came for ``timeout`` seconds."""
        while True:
            event = self._line.take((), timeout)
            if event is None:
                return
            yield event

    # Any command

    def command(self, opcode: Opcode, body: bytes | list[int] = b"", timeout: float | None = None) -> bytes:
        """Send one command and return the body of its reply, which is waited for 5 s (of a virtual board, longer).

        Raises
        ------
        Refused
            The device says no.
        NoReply
            No answer, or the device restarted before it answered: whether it acted is unknown.
        ProtocolError
            The board has the characterization gateware, which knows none of these commands.
        TransportError
            The port broke.
        """
        return self._exchange(opcode, bytes(body), timeout).body

    def _exchange(self, opcode: Opcode, body: bytes, timeout: float | None = None) -> Reply:
        if self.identity.profile == Profile.CHARACTERIZE:
            raise ProtocolError(
                f"expected the pairing gateware on {self.port}, its profile is characterize: it measures rings and has "
                "no keys; `ringpair flash BOARD` brings the pairing gateware"
            )
        return self._line.exchange(opcode, body, REPLY_TIMEOUT_S * self._patience if timeout is None else timeout)

    def _parse(self, opcode: Opcode, parser: Callable[[bytes], R], body: bytes) -> R:
        return parsed(self.port, opcode, parser, body)


def split_text(text: str | bytes) -> list[bytes]:
    """``text`` as messages of at most 96 bytes; a ``str`` is split between characters only."""
    raw = text.encode() if isinstance(text, str) else bytes(text)
    parts = []
    while raw:
        end = min(TEXT_MAX, len(raw))
        if isinstance(text, str):
            while end < len(raw) and raw[end] & 0xC0 == 0x80:  # a continuation byte: not the start of a character
                end -= 1
        parts.append(raw[:end])
        raw = raw[end:]
    return parts


def _exactly(length: int, raw: bytes) -> bytes:
    if len(raw) != length:
        raise ValueError(f"expected {length} bytes, got {len(raw)}")
    return raw


def _parse_bindings(body: bytes) -> Bindings:
    _exactly(1 + MAX_CONTROLLERS * SERVICE_ID_LENGTH, body)
    places = [body[k : k + SERVICE_ID_LENGTH] for k in range(1, len(body), SERVICE_ID_LENGTH)]
    return Bindings(PIN_TRIES - body[0], [place for place in places if any(place)])


def _parse_peer(number: int, body: bytes) -> Peer:
    _exactly(1 + HEADER_LENGTH + 4, body)
    state, epoch = PeerState(body[0]), int.from_bytes(body[-4:], "little")
    if state == PeerState.EMPTY:
        return Peer(number, state, bytes(8), 0, False, 0)
    header = PeerHeader.from_bytes(body[1 : 1 + HEADER_LENGTH])
    return Peer(number, state, header.peer_id, header.pair_index, header.low, epoch)
