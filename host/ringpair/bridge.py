"""Carry peer messages between two ends when no wire joins the boards.

An end is a board on its admin port, or the way to a bridge on another machine:

==========================  ==========================================================================================
end                         meaning
==========================  ==========================================================================================
any port                    a board (serial port, pty, ``socket://host:port``, name of a running virtual board)
``udp://host:port``         one message per datagram, to and from that host only; the local port is the same number,
                            or ``udp://host:port?local=N``
``udp-listen://:port``      the same, answering whoever sent the last well-formed datagram (the far end behind NAT)
``tcp://host:port``         each message after one byte with its length; reconnects when the line breaks
``tcp-listen://:port``      the same, waiting for the far end; one connection at a time, the newest wins
==========================  ==========================================================================================

A bridge sees only what an eavesdropper on the wire would see and need not be trusted: whatever it loses, alters,
repeats or makes up is dropped by the devices. So it drops what it cannot deliver, and never retries.
"""

import contextlib
import logging
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

from ringpair_protocol.frames import MAX_PAYLOAD

from .board import Board
from .errors import Refused, RingpairError, TransportError, UsageError
from .events import PeerOut
from .portlock import reason
from .transport import CONNECT_TIMEOUT_S, split_address

log = logging.getLogger(__name__)

MAX_MESSAGE = MAX_PAYLOAD - 1
"""Longest peer message that fits PEER_IN: a frame's payload without the opcode."""
POLL_S = 0.1
RECONNECT_S = 1.0

SCHEMES = ("udp", "udp-listen", "tcp", "tcp-listen")


class End(ABC):
    """One side of a bridge: whole peer messages in and out."""

    name: str

    @abstractmethod
    def receive(self, timeout: float) -> bytes | None:
        """The next message from this side, None after ``timeout`` seconds without one."""

    @abstractmethod
    def deliver(self, message: bytes) -> None:
        """Send a message out on this side; what cannot be delivered now is dropped."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back."""


class BoardEnd(End):
    """A board on its admin port; closed by whoever opened it."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.name = board.port

    def receive(self, timeout: float) -> bytes | None:
        event = self.board.next_event(timeout, PeerOut)
        return None if event is None else event.message

    def deliver(self, message: bytes) -> None:
        try:
            self.board.peer_in(message)
        except Refused as refusal:
            log.info("%s: %s", self.name, refusal)

    def close(self) -> None:
        """Nothing: the board outlives the bridge."""


class UdpEnd(End):
    """One message per datagram."""

    def __init__(self, url: str) -> None:
        self.name = url
        host, port = split_address(url)
        listening = url.startswith("udp-listen")
        try:
            options = dict(parse_qsl(urlsplit(url).query, strict_parsing=True)) if urlsplit(url).query else {}
            local = int(options.pop("local", port))
            if options or not 0 <= local < 65536 or (not listening and not host):
                raise ValueError
        except ValueError:
            raise UsageError(f"expected udp://host:port, optionally ?local=PORT, got {url!r}") from None
        opened = None
        try:
            where = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_DGRAM)[0]
            opened = socket.socket(where[0], socket.SOCK_DGRAM)
            if listening:
                opened.bind(where[4])
            else:
                opened.bind(("", local))
                opened.connect(where[4])  # the kernel drops datagrams from anybody else
        except OSError as problem:
            if opened is not None:
                opened.close()
            raise TransportError(f"cannot use {url}: {reason(problem)}; is the port free here?") from problem
        self._socket = opened
        self._far: object = None if listening else where[4]
        self._listening = listening

    def receive(self, timeout: float) -> bytes | None:
        self._socket.settimeout(timeout)
        try:
            message, sender = self._socket.recvfrom(2 * MAX_PAYLOAD)
        except TimeoutError:
            return None
        except ConnectionRefusedError:  # the far bridge is not up (yet)
            time.sleep(timeout)
            return None
        except OSError as problem:
            raise TransportError(f"{self.name} broke off: {reason(problem)}") from problem
        if not _well_formed(message, self.name):
            return None
        if self._listening:
            self._far = sender
        return message

    def deliver(self, message: bytes) -> None:
        try:
            if not self._listening:
                self._socket.send(message)
            elif self._far is not None:
                self._socket.sendto(message, self._far)  # type: ignore[call-overload]
            else:
                log.info("%s: nobody called yet; %d bytes dropped", self.name, len(message))
        except OSError as problem:
            log.info("%s: %d bytes dropped (%s)", self.name, len(message), problem)

    def close(self) -> None:
        self._socket.close()


class TcpEnd(End):
    """Each message after one byte with its length."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._address = split_address(url)
        self._buffer = b""
        self._line: socket.socket | None = None
        self._retry_at = 0.0
        self._server: socket.socket | None = None
        if url.startswith("tcp-listen"):
            try:
                self._server = socket.create_server(self._address)
            except OSError as problem:
                raise TransportError(f"cannot listen at {url}: {reason(problem)}; is the port free here?") from problem
        elif not self._address[0]:
            raise UsageError(f"expected tcp://host:port, got {url!r}")
        else:
            try:
                self._line = socket.create_connection(self._address, timeout=CONNECT_TIMEOUT_S)
            except OSError as problem:
                raise TransportError(
                    f"cannot connect to {url}: {reason(problem)}; is the far bridge listening?"
                ) from problem

    def receive(self, timeout: float) -> bytes | None:
        deadline = time.monotonic() + timeout
        while True:
            if self._server is not None:
                self._accept(0.0 if self._line else timeout)
            elif self._line is None:
                self._reconnect(timeout)
            message = self._cut()
            if message is not None and _well_formed(message, self.name):
                return message
            left = deadline - time.monotonic()
            if self._line is None or left <= 0:
                return None
            self._fill(self._line, left)

    def _cut(self) -> bytes | None:
        """One whole message out of the buffer."""
        if not self._buffer or len(self._buffer) < 1 + self._buffer[0]:
            return None
        end = 1 + self._buffer[0]
        message, self._buffer = self._buffer[1:end], self._buffer[end:]
        return message

    def _fill(self, line: socket.socket, timeout: float) -> None:
        line.settimeout(timeout)
        try:
            data = line.recv(4096)
        except TimeoutError:
            return
        except OSError:
            data = b""
        if data:
            self._buffer += data
        else:
            self._drop(line)

    def _accept(self, timeout: float) -> None:
        assert self._server is not None
        self._server.settimeout(timeout)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            line, caller = self._server.accept()
            log.info("%s: %s connected", self.name, caller[0])
            if self._line is not None:
                self._drop(self._line)
            self._line = line

    def _reconnect(self, timeout: float) -> None:
        if time.monotonic() < self._retry_at:
            time.sleep(timeout)
            return
        self._retry_at = time.monotonic() + RECONNECT_S
        try:
            self._line = socket.create_connection(self._address, timeout=CONNECT_TIMEOUT_S)
            log.info("%s: connected again", self.name)
        except OSError as problem:
            log.info("%s: %s", self.name, problem)

    def _drop(self, line: socket.socket) -> None:
        log.info("%s: the line broke", self.name)
        self._buffer = b""
        self._line = None
        line.close()

    def deliver(self, message: bytes) -> None:
        line = self._line
        if line is None:
            log.info("%s: not connected; %d bytes dropped", self.name, len(message))
            return
        try:
            line.sendall(bytes([len(message)]) + message)
        except OSError as problem:
            log.info("%s: %d bytes dropped (%s)", self.name, len(message), problem)

    def close(self) -> None:
        for opened in (self._line, self._server):
            if opened is not None:
                opened.close()


def is_network_end(text: str) -> bool:
    """Whether ``text`` names a way to another bridge, not a port."""
    return text.partition("://")[0] in SCHEMES


def open_network_end(url: str) -> End:
    """The end behind ``udp://``, ``udp-listen://``, ``tcp://`` or ``tcp-listen://``."""
    return UdpEnd(url) if url.startswith("udp") else TcpEnd(url)


def _well_formed(message: bytes, name: str) -> bool:
    if 1 <= len(message) <= MAX_MESSAGE:
        return True
    log.info("%s: dropped a message of %d bytes, expected 1 to %d", name, len(message), MAX_MESSAGE)
    return False


class Bridge:
    """Carries messages both ways between two ends, in two threads, until closed.

    Parameters
    ----------
    a, b
        The two ends; closed with the bridge.
    watch
        Called with the name of the end a message came from and the message, before it is passed on.

    Attributes
    ----------
    failure
        Why the bridge stopped by itself, if it did.
    """

    def __init__(self, a: End, b: End, watch: Callable[[str, bytes], None] | None = None) -> None:
        self.failure: RingpairError | None = None
        self.carried = 0
        self._ends = (a, b)
        self._watch = watch
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._carry, args=ends, name=f"{ends[0].name} to {ends[1].name}", daemon=True)
            for ends in ((a, b), (b, a))
        ]
        for thread in self._threads:
            thread.start()

    def _carry(self, source: End, sink: End) -> None:
        try:
            while not self._stop.is_set():
                message = source.receive(POLL_S)
                if message is not None:
                    log.debug("%s -> %s: %d bytes", source.name, sink.name, len(message))
                    if self._watch:
                        self._watch(source.name, message)
                    sink.deliver(message)
                    self.carried += 1
        except RingpairError as problem:
            if not self._stop.is_set():
                self.failure = problem
        finally:
            self._stop.set()

    def wait(self, timeout: float | None = None) -> None:
        """Until the bridge stops by itself or ``timeout`` seconds are over; raises what made it stop."""
        self._stop.wait(timeout)
        if self.failure:
            raise self.failure

    def close(self) -> None:
        """Stop carrying and close both ends."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def __enter__(self) -> "Bridge":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
