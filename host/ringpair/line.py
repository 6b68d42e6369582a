"""The admin line: commands and their replies in step, events beside them, whatever the line does.

One thread reads the port and sorts what comes into replies and events. Commands may come from several threads and take
turns. A reply belongs to the command before it, because replies come in order and after any doubt (a timeout, a damaged
frame) an IDENTITY brings both sides in step again.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from ringpair_protocol import LEVEL, frames
from ringpair_protocol.admin import BAUD, MAGIC, REPLY, Code, Event, Identity, Opcode

from .errors import NoReply, ProtocolError, Refused, RingpairError, TransportError
from .events import AnyEvent, Started, parse_event
from .transport import Transport, open_port

log = logging.getLogger(__name__)

SYNC_TRIES, SYNC_TIMEOUT_S = 8, 0.75
"""A device that just starts, or forgets everything, answers when it is done."""
RESENDS = 3
READ_POLL_S = 0.05
INBOX_SIZE = 65536

R = TypeVar("R")


@dataclass(frozen=True)
class Reply:
    """One reply, and how many events had come before it."""

    opcode: int
    code: Code
    body: bytes
    events_before: int


class Line:
    """The admin line of one device over an open transport, which it closes.

    Raises
    ------
    ProtocolError
        Nothing answers, or something that is not a ringpair device of this protocol level.
    """

    def __init__(self, transport: Transport) -> None:
        self.name = transport.name
        self._transport = transport
        self._turn = threading.RLock()
        self._news = threading.Condition()
        self._replies: deque[Reply] = deque()
        self._inbox: deque[tuple[int, AnyEvent]] = deque(maxlen=INBOX_SIZE)
        self._arrived = 0
        self._restarts = 0
        self._received = 0
        self._failure: RingpairError | None = None
        self._in_step = False
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"reader of {self.name}", daemon=True)
        self._reader.start()
        try:
            self.identity = self._synchronize()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the port go. May be called twice."""
        self._closing.set()
        self._reader.join()
        self._transport.close()

    def exchange(self, opcode: Opcode, body: bytes, timeout: float) -> Reply:
        """One command and its OK reply.

        Raises
        ------
        Refused
            The device says no.
        NoReply
            No answer, or the device restarted before it answered: whether it acted is unknown.
        TransportError
            The port broke.
        """
        with self._turn:
            if not self._in_step:
                self._synchronize()
            for _ in range(RESENDS):
                log.debug("%s <- %s, %d bytes", self.name, opcode.name, len(body))
                reply = self._ask(bytes([opcode]) + body, opcode, timeout)
                if reply is not None:
                    log.debug("%s -> %s %s, %d bytes", self.name, opcode.name, reply.code.name, len(reply.body))
                    if reply.code != Code.OK:
                        raise Refused(opcode, reply.code, f" [{reply.body.hex()}]" if reply.body else "")
                    return reply
                log.warning("%s: the line damaged a frame; %s is sent again", self.name, opcode.name)
        raise ProtocolError(
            f"{RESENDS} times {self.name} received {opcode.name} damaged: check cable, ground and baud rate"
        )

    def _ask(self, payload: bytes, opcode: Opcode, timeout: float) -> Reply | None:
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
                    f"expected a reply to {opcode.name} from {self.name} within {timeout:g} s, got none: it may or may "
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
        """Flush half a frame that somebody left on the line, and ask who is there until an answer comes.

        A device that is just starting says so first, and answers then: no reason to give up.
        """
        with self._turn:
            for _ in range(SYNC_TRIES):
                with self._news:
                    self._replies.clear()
                self._transport.write(bytes([frames.DELIMITER]) + frames.encode(bytes([Opcode.IDENTITY])))
                deadline = time.monotonic() + SYNC_TIMEOUT_S
                while (reply := self._next_reply(deadline)) is not None:
                    if reply.opcode == Opcode.IDENTITY:
                        identity = self._check_identity(reply)
                        self._in_step = True
                        return identity
        if self._received:
            raise ProtocolError(
                f"expected a ringpair device on {self.name}, got {self._received} bytes without its identity: "
                "is it the admin port, at the right baud rate, with ringpair gateware?"
            )
        raise NoReply(
            f"nothing answers on {self.name}: expected the identity of a ringpair device; is the board powered and "
            "flashed, and is this its admin port (boards with two USB serial ports often use the second)?"
        )

    def _check_identity(self, reply: Reply) -> Identity:
        body = reply.body
        if reply.code != Code.OK or body[:4] != MAGIC:
            raise ProtocolError(
                f"expected a ringpair device on {self.name} (identity {MAGIC.decode()}), got "
                f"{body[:4].hex() or 'nothing'}: choose another port"
            )
        if body[4:5] != bytes([LEVEL]):
            raise ProtocolError(
                f"expected protocol level {LEVEL} on {self.name}, the device speaks level {body[4:5].hex() or '?'}: "
                "bring host and gateware to the same release"
            )
        return parsed(self.name, Opcode.IDENTITY, Identity.from_bytes, body)

    def _next_reply(self, deadline: float, restarts: int | None = None) -> Reply | None:
        with self._news:
            while not self._replies:
                if self._failure:
                    raise self._failure
                if restarts is not None and self._restarts != restarts:
                    raise NoReply(
                        f"the device on {self.name} restarted before it replied: the command may or may not have been "
                        "carried out; look with `ringpair info`, and check the power supply"
                    )
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._news.wait(left)
            return self._replies.popleft()

    def take(self, kinds: tuple[type, ...], timeout: float | None, since: int = 0) -> AnyEvent | None:
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
            failure: RingpairError = TransportError(f"{self.name} is closed")
        except RingpairError as problem:
            failure = problem
        except Exception as problem:
            log.exception("reader of %s", self.name)
            failure = TransportError(f"{self.name} broke off: {problem}")
        with self._news:
            self._failure = failure
            self._news.notify_all()

    def _sort(self, frame: bytes | frames.FrameError) -> None:
        if isinstance(frame, frames.FrameError):
            log.info("%s: a damaged frame was dropped (%s)", self.name, frame)
            return
        try:
            event = parse_event(frame) if frame[0] >= Event.STARTED else None
            code = Code(frame[1]) if event is None else Code.OK
            if not frame[0] & REPLY:
                raise ValueError("neither reply nor event")
        except (ProtocolError, ValueError, IndexError) as problem:
            log.info("%s: a frame of %d bytes makes no sense (%s)", self.name, len(frame), problem)
            return
        with self._news:
            if event is None:
                self._replies.append(Reply(frame[0] & ~REPLY, code, frame[2:], self._arrived))
            else:
                log.debug("%s -> %r", self.name, event)
                self._inbox.append((self._arrived, event))
                self._arrived += 1
                self._restarts += isinstance(event, Started)
            self._news.notify_all()


def parsed(name: str, opcode: Opcode, parser: Callable[[bytes], R], body: bytes) -> R:
    """The body of a reply, parsed.

    Raises
    ------
    ProtocolError
        It cannot be what it should be.
    """
    try:
        return parser(body)
    except (ValueError, IndexError) as problem:
        raise ProtocolError(
            f"{name} answered {opcode.name} with {len(body)} bytes that cannot be right ({problem}): "
            "bring host and gateware to the same release"
        ) from problem


class OnLine:
    """What is at the other end of a `Line`; made from an open transport, which it closes."""

    _line: Line

    def __init__(self, transport: Transport) -> None:
        self._line = Line(transport)
        self.identity = self._line.identity

    @classmethod
    def open(cls, port: str, baud: int = BAUD) -> Self:
        """Connect to the device at ``port`` (see :mod:`ringpair.transport`)."""
        return cls(open_port(port, baud))

    @property
    def port(self) -> str:
        """Where the device is."""
        return self._line.name

    def close(self) -> None:
        """Let the port go. May be called twice."""
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
