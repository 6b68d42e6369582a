"""The ends of a virtual board's wires: pseudo-terminal, TCP, and the local socket to the other board.

Everything is non-blocking and driven by one selector. A stream calls ``receive(bytes)`` for what arrives; what is sent
and cannot go out yet waits, up to a limit, beyond which it is lost like on a line nobody reads.
"""

import contextlib
import errno
import os
import selectors
import socket
import tty
from collections.abc import Callable
from pathlib import Path

from ringpair_boards.locks import Lock

from ..errors import TransportError

Receive = Callable[[bytes], None]
LIMIT = 1 << 16
CHUNK = 4096
RETRY_S = 0.02


class Stream:
    """A non-blocking byte stream on a file descriptor.

    Parameters
    ----------
    selector : selectors.BaseSelector
        Who watches it.
    fd : int
        The descriptor; closed by `close`.
    receive : callable
        Called with what arrives.
    closed : callable
        Called when the other end is gone.
    limit : int
        Bytes that may wait to be sent.
    full : callable
        While it says True, nothing is read.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        fd: int,
        receive: Receive,
        closed: Callable[[], None],
        limit: int = LIMIT,
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._selector = selector
        self._receive = receive
        self._closed = closed
        self._limit = limit
        self._full = full
        self._waiting = bytearray()
        selector.register(fd, selectors.EVENT_READ, self._ready)

    def send(self, data: bytes) -> None:
        """Send, now or as soon as there is room."""
        if self.fd < 0:
            return
        self._waiting += data[: self._limit - len(self._waiting)]
        self._flush()

    def close(self) -> None:
        """End it; may be called twice."""
        if self.fd >= 0:
            self._selector.unregister(self.fd)
            os.close(self.fd)
            self.fd = -1

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if events & selectors.EVENT_READ and self.fd >= 0 and not self._full():
            try:
                data = os.read(self.fd, CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self._receive(data)
            else:
                self.close()
                self._closed()

    def _flush(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self.fd, self._waiting)]
        except BlockingIOError:
            pass
        except OSError:  # the reading side will notice
            self._waiting.clear()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._waiting else 0)
        if self._selector.get_key(self.fd).events != events:
            self._selector.modify(self.fd, events, self._ready)


class Listener:
    """A listening socket; ``accepted(fd)`` gets each connection."""

    def __init__(
        self, selector: selectors.BaseSelector, listening: socket.socket, accepted: Callable[[int], None]
    ) -> None:
        listening.setblocking(False)
        self._selector = selector
        self._socket = listening
        self._accepted = accepted
        selector.register(listening, selectors.EVENT_READ, self._ready)

    @property
    def port(self) -> int:
        """TCP port."""
        return int(self._socket.getsockname()[1])

    def _ready(self, events: int) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection, _ = self._socket.accept()
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted(connection.detach())

    def close(self) -> None:
        """Stop listening."""
        self._selector.unregister(self._socket)
        self._socket.close()


def listen_tcp(selector: selectors.BaseSelector, port: int, accepted: Callable[[int], None]) -> Listener:
    """Listen on this machine only; port 0 lets the system choose."""
    listening = socket.create_server(("127.0.0.1", port), backlog=4)
    return Listener(selector, listening, accepted)


def listen_unix(selector: selectors.BaseSelector, path: Path, accepted: Callable[[int], None]) -> Listener:
    """Listen on a local socket. The caller holds a lock: whatever lies there is left from a dead process."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(path))
        listening.listen(4)
    except BaseException:
        listening.close()
        raise
    return Listener(selector, listening, accepted)


class AdminPort:
    """The host's side of the admin line: a pty and a TCP port at once.

    The device's bytes go to whoever connected or spoke last. A new TCP connection ends the one before.
    """

    def __init__(
        self, selector: selectors.BaseSelector, tcp_port: int, receive: Receive, full: Callable[[], bool]
    ) -> None:
        self._selector = selector
        self._full = full
        self._receive = receive
        self._client: Stream | None = None
        try:
            self._listener = listen_tcp(selector, tcp_port, self._accept)
        except OSError as problem:
            raise TransportError(
                f"TCP port {tcp_port} cannot be had ({os.strerror(problem.errno or 0)}): expected a free one; "
                "choose another, or 0 for any"
            ) from problem
        self.url = f"socket://127.0.0.1:{self._listener.port}"
        master, self._slave = os.openpty()  # the slave stays open: a port does not vanish when nobody uses it
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._pty = Stream(selector, master, self._from_pty, lambda: None, full=full)
        self._to = self._pty

    def send(self, data: bytes) -> None:
        """Bytes of the device."""
        self._to.send(data)

    def close(self) -> None:
        """Remove both ports."""
        self._listener.close()
        self._pty.close()
        os.close(self._slave)
        if self._client:
            self._client.close()

    def _from_pty(self, data: bytes) -> None:
        self._to = self._pty
        self._receive(data)

    def _from_tcp(self, data: bytes) -> None:
        if self._client:
            self._to = self._client
        self._receive(data)

    def _accept(self, fd: int) -> None:
        if self._client:
            self._client.close()
        self._client = self._to = Stream(self._selector, fd, self._from_tcp, self._left, full=self._full)

    def _left(self) -> None:
        self._client = None
        self._to = self._pty


class PeerLink:
    """The wires to the other board: a local socket that carries the bytes of the line and nothing else.

    Both ends are equal. Whoever holds the lock beside the socket listens, the other one connects; when the listener
    dies the lock is free and the next one takes it. A new connection replaces the old one. Unconnected wires lose
    bytes.

    Parameters
    ----------
    selector : selectors.BaseSelector
        Who watches it.
    path : Path
        The socket; both ends name the same.
    receive : callable
        Called with what arrives.
    """

    def __init__(self, selector: selectors.BaseSelector, path: Path, receive: Receive) -> None:
        self._selector = selector
        self._path = path
        self._receive = receive
        self._lock = Lock(path.with_name(path.name + ".lock"))
        self._listener: Listener | None = None
        self._stream: Stream | None = None
        self.poll()

    @property
    def connected(self) -> bool:
        """Another board is at the other end."""
        return self._stream is not None

    @property
    def retry_s(self) -> float | None:
        """When to call `poll` next; None when there is nothing to retry."""
        return None if self._stream or self._listener else RETRY_S

    def poll(self) -> None:
        """Listen or connect, if neither is the case."""
        if self._stream or self._listener:
            return
        if self._lock.acquire():
            self._listener = listen_unix(self._selector, self._path, self._accept)
            return
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN):
                raise
            return
        self._accept(connection.detach())

    def send(self, data: bytes) -> None:
        """Bytes on the way to the other board."""
        if self._stream:
            self._stream.send(data)

    def close(self) -> None:
        """Pull the wires out."""
        if self._stream:
            self._stream.close()
            self._stream = None
        if self._listener:
            self._listener.close()
            self._listener = None
        self._lock.release()

    def _accept(self, fd: int) -> None:
        if self._stream:
            self._stream.close()
        self._stream = Stream(self._selector, fd, self._receive, self._left)

    def _left(self) -> None:
        self._stream = None
