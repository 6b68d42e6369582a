"""A board on its admin port, as a Python object.

::

    with Board.open("/dev/ttyUSB1") as board:
        print(board.identity.gateware.hex(), board.status().state.name)
        session = board.connect(0)
        board.send("hello")
        for event in board.listen(timeout=10):
            print(event)

One thread reads the port and sorts what comes into replies and events; commands may be given from several threads and
take turns. Nothing secret is ever logged: wrap keys and texts appear as lengths.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar, cast

from ringpair_protocol import LEVEL, frames
from ringpair_protocol.admin import (
    MAGIC,
    REPLY,
    Carrier,
    Code,
    DeviceStateCode,
    Event,
    Identity,
    Opcode,
    PeerState,
    Status,
)
from ringpair_protocol.messages import RESPONDER_TIMEOUT_S, TEXT_MAX
from ringpair_protocol.pairing import DeviceEntry, finish_enrollment, start_enrollment
from ringpair_protocol.records import HEADER_LENGTH, MAX_PEERS, PeerHeader

from .errors import ConnectFailed, NoReply, ProtocolError, Refused, RingpairError, TransportError
from .events import AnyEvent, SessionFailed, SessionUp, Started, parse_event
from .transport import DEFAULT_BAUD, Transport, open_port

log = logging.getLogger(__name__)

REPLY_TIMEOUT_S = 5.0
"""A command that makes the device derive keys and write flash takes milliseconds; a busy virtual board, longer."""
ENROLL_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 40.0
"""Three tries of the device take 14 s; the rest is for virtual boards slower than real time."""
SYNC_TRIES, SYNC_TIMEOUT_S = 4, 0.75
RESENDS = 3
READ_POLL_S = 0.05
INBOX_SIZE = 65536

RESET_DELIVERED = 0xFF
"""What :meth:`Board.import_puzzle` returns for a factory reset, in the place of a peer number."""

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
class Enrollment:
    """An enrollment that the device has not committed yet: keep ``entry`` safe, then confirm."""

    entry: DeviceEntry
    confirmation: bytes = field(repr=False)


@dataclass(frozen=True)
class _Reply:
    opcode: int
    code: Code
    body: bytes
    events_before: int


class Board:
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
        self._transport = transport
        self._turn = threading.RLock()
        self._news = threading.Condition()
        self._replies: deque[_Reply] = deque()
        self._inbox: deque[tuple[int, AnyEvent]] = deque(maxlen=INBOX_SIZE)
        self._arrived = 0
        self._restarts = 0
        self._received = 0
        self._failure: RingpairError | None = None
        self._in_step = False
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"reader of {transport.name}", daemon=True)
        self._reader.start()
        try:
            self.identity = self._synchronize()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, port: str, baud: int = DEFAULT_BAUD) -> "Board":
        """Connect to the device at ``port`` (see :mod:`ringpair.transport`)."""
        return cls(open_port(port, baud))

    @property
    def port(self) -> str:
        """Where the device is."""
        return self._transport.name

    def close(self) -> None:
        """Let the port go. May be called twice."""
        self._closing.set()
        if threading.current_thread() is not self._reader:
            self._reader.join()
        self._transport.close()

    def __enter__(self) -> "Board":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What the device is and knows

    def status(self) -> Status:
        """State of flash, session, noise source and button."""
        return self._parse(Opcode.STATUS, Status.from_bytes, self.command(Opcode.STATUS))

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
        e2 = self.command(Opcode.ENROLL, e1, timeout=ENROLL_TIMEOUT_S)
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
            body = self.command(Opcode.ENROLL_CONFIRM, enrollment.confirmation, timeout=ENROLL_TIMEOUT_S)
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

    def connect(self, peer: int, carrier: Carrier = Carrier.WIRE, timeout: float = CONNECT_TIMEOUT_S) -> SessionUp:
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
        since = self._exchange(Opcode.CONNECT, bytes([peer, carrier]), REPLY_TIMEOUT_S).events_before
        deadline = time.monotonic() + timeout
        superseded = False
        while True:
            event = self._take((SessionUp, SessionFailed), deadline - time.monotonic(), since)
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
                deadline = min(deadline, time.monotonic() + 2 * RESPONDER_TIMEOUT_S)

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

    def next_event(self, timeout: float, *kinds: type[E]) -> E | None:
        """The oldest waiting event of these kinds (of any, if none is given), or None after ``timeout`` seconds.

        Events of other kinds stay where they are.
        """
        return cast("E | None", self._take(kinds, timeout))

    def listen(self, timeout: float | None = None) -> Iterator[AnyEvent]:
        """Events as they come, until none came for ``timeout`` seconds."""
        while True:
            event = self._take((), timeout)
            if event is None:
                return
            yield event

    # The line

    def command(self, opcode: Opcode, body: bytes | list[int] = b"", timeout: float = REPLY_TIMEOUT_S) -> bytes:
        """Send one command and return the body of its reply.

        Raises
        ------
        Refused
            The device says no.
        NoReply
            No answer, or the device restarted before it answered: whether it acted is unknown.
        TransportError
            The port broke.
        """
        return self._exchange(opcode, bytes(body), timeout).body

    def _exchange(self, opcode: Opcode, body: bytes, timeout: float) -> _Reply:
        with self._turn:
            if not self._in_step:
                self._synchronize()
            for _ in range(RESENDS):
                log.debug("%s <- %s, %d bytes", self.port, opcode.name, len(body))
                reply = self._ask(bytes([opcode]) + body, opcode, timeout)
                if reply is not None:
                    log.debug("%s -> %s %s, %d bytes", self.port, opcode.name, reply.code.name, len(reply.body))
                    if reply.code != Code.OK:
                        raise Refused(opcode, reply.code, f" [{reply.body.hex()}]" if reply.body else "")
                    return reply
                log.warning("%s: the line damaged a frame; %s is sent again", self.port, opcode.name)
        raise ProtocolError(
            f"{RESENDS} times {self.port} received {opcode.name} damaged: check cable, ground and baud rate"
        )

    def _ask(self, payload: bytes, opcode: Opcode, timeout: float) -> _Reply | None:
        """Send and await the reply; None if the device certainly did not get the command.

        A BAD_FRAME may stem from noise before the command, and then the command was carried out: replies come in
        order, so an IDENTITY sent after it tells.
        """
        self._in_step = False
        with self._news:
            self._replies.clear()
            restarts = self._restarts
        self._transport.write(frames.encode(payload))
        deadline = time.monotonic() + timeout
        probing = False
        while True:
            reply = self._next_reply(deadline, restarts)
            if reply is None:
                raise NoReply(
                    f"expected a reply to {opcode.name} from {self.port} within {timeout:g} s, got none: it may or may "
                    "not have been carried out; look with `ringpair info` before trying again"
                )
            if reply.opcode == opcode:
                self._in_step = not probing
                return reply
            if reply.opcode == Opcode.NONE and not probing:
                probing = True
                self._transport.write(frames.encode(bytes([Opcode.IDENTITY])))
            elif reply.opcode == Opcode.IDENTITY and probing:
                self._in_step = True
                return None

    def _synchronize(self) -> Identity:
        """Flush half a frame that somebody left on the line, and ask who is there until an answer comes."""
        with self._turn:
            for _ in range(SYNC_TRIES):
                with self._news:
                    self._replies.clear()
                    restarts = self._restarts
                self._transport.write(bytes([frames.DELIMITER]) + frames.encode(bytes([Opcode.IDENTITY])))
                deadline = time.monotonic() + SYNC_TIMEOUT_S
                while (reply := self._next_reply(deadline, restarts)) is not None:
                    if reply.opcode == Opcode.IDENTITY:
                        identity = self._check_identity(reply)
                        self._in_step = True
                        return identity
        if self._received:
            raise ProtocolError(
                f"expected a ringpair device on {self.port}, got {self._received} bytes without its identity: "
                "is it the admin port, at the right baud rate, with ringpair gateware?"
            )
        raise NoReply(
            f"nothing answers on {self.port}: expected the identity of a ringpair device; is the board powered and "
            "flashed, and is this its admin port (boards with two USB serial ports often use the second)?"
        )

    def _check_identity(self, reply: _Reply) -> Identity:
        body = reply.body
        if reply.code != Code.OK or body[:4] != MAGIC:
            raise ProtocolError(
                f"expected a ringpair device on {self.port} (identity {MAGIC.decode()}), got "
                f"{body[:4].hex() or 'nothing'}: choose another port"
            )
        if body[4:5] != bytes([LEVEL]):
            raise ProtocolError(
                f"expected protocol level {LEVEL} on {self.port}, the device speaks level {body[4:5].hex() or '?'}: "
                "bring host and gateware to the same release"
            )
        return self._parse(Opcode.IDENTITY, Identity.from_bytes, body)

    def _parse(self, opcode: Opcode, parser: Callable[[bytes], R], body: bytes) -> R:
        try:
            return parser(body)
        except (ValueError, IndexError) as problem:
            raise ProtocolError(
                f"{self.port} answered {opcode.name} with {len(body)} bytes that cannot be right ({problem}): "
                "bring host and gateware to the same release"
            ) from problem

    def _next_reply(self, deadline: float, restarts: int) -> _Reply | None:
        with self._news:
            while not self._replies:
                if self._failure:
                    raise self._failure
                if self._restarts != restarts:
                    raise NoReply(
                        f"the device on {self.port} restarted before it replied: the command may or may not have been "
                        "carried out; look with `ringpair info`, and check the power supply"
                    )
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._news.wait(left)
            return self._replies.popleft()

    def _take(self, kinds: tuple[type, ...], timeout: float | None, since: int = 0) -> AnyEvent | None:
        """The first event of ``kinds`` with a number of at least ``since``, taken out of the inbox."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._news:
            while True:
                for entry in self._inbox:
                    number, event = entry
                    if number >= since and (not kinds or isinstance(event, kinds)):
                        self._inbox.remove(entry)
                        return event
                if self._failure:
                    raise self._failure
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._news.wait(left)

    # The reading thread

    def _read(self) -> None:
        decoder = frames.Decoder()
        try:
            while not self._closing.is_set():
                data = self._transport.read(READ_POLL_S)
                self._received += len(data)
                for frame in decoder.feed(data):
                    self._sort(frame)
            failure: RingpairError = TransportError(f"{self.port} is closed")
        except RingpairError as problem:
            failure = problem
        except Exception as problem:
            log.exception("reader of %s", self.port)
            failure = TransportError(f"{self.port} broke off: {problem}")
        with self._news:
            self._failure = failure
            self._news.notify_all()

    def _sort(self, frame: "bytes | frames.FrameError") -> None:
        if isinstance(frame, frames.FrameError):
            log.warning("%s: a damaged frame was dropped (%s)", self.port, frame)
            return
        try:
            event = parse_event(frame) if frame[0] >= Event.STARTED else None
            code = Code(frame[1]) if event is None else Code.OK
            if not frame[0] & REPLY:
                raise ValueError("neither reply nor event")
        except (ProtocolError, ValueError, IndexError) as problem:
            log.warning("%s: a frame of %d bytes makes no sense (%s)", self.port, len(frame), problem)
            return
        with self._news:
            if event is None:
                self._replies.append(_Reply(frame[0] & ~REPLY, code, frame[2:], self._arrived))
            else:
                log.debug("%s -> %r", self.port, event)
                self._inbox.append((self._arrived, event))
                self._arrived += 1
                self._restarts += isinstance(event, Started)
            self._news.notify_all()


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


def _parse_peer(number: int, body: bytes) -> Peer:
    _exactly(1 + HEADER_LENGTH + 4, body)
    state, epoch = PeerState(body[0]), int.from_bytes(body[-4:], "little")
    if state == PeerState.EMPTY:
        return Peer(number, state, bytes(8), 0, False, 0)
    header = PeerHeader.from_bytes(body[1 : 1 + HEADER_LENGTH])
    return Peer(number, state, header.peer_id, header.pair_index, header.low, epoch)
