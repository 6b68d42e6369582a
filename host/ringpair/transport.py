"""The way to a device's admin port: a serial port, a pseudo-terminal, or TCP.

=====================  ==========================================================
port                   opened as
=====================  ==========================================================
``/dev/ttyUSB1`` ...   serial port or pty, by pyserial
``socket://host:1234`` a plain TCP connection (a virtual board, or ser2net)
other ``scheme://``    whatever pyserial's ``serial_for_url`` knows (rfc2217, ...)
=====================  ==========================================================

One process at a time: a lock file per port, which names its owner, keeps two ringpair commands apart, and pyserial's
exclusive mode keeps other programs away.
"""

import contextlib
import errno
import logging
import os
import select
import socket
from typing import Any, Protocol
from urllib.parse import urlsplit

from ringpair_protocol.admin import BAUD

from .errors import PortBusy, TransportError, UsageError
from .portlock import PortLock, reason

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 5.0


class Transport(Protocol):
    """A byte stream to one device, used by one process."""

    name: str

    def read(self, timeout: float) -> bytes:
        """What has arrived, at once when anything has; empty after ``timeout`` seconds of silence."""

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""

    def close(self) -> None:
        """Give the port back. May be called twice."""


def open_port(port: str, baud: int = BAUD) -> Transport:
    """Open ``port`` for this process alone.

    Raises
    ------
    UsageError
        The string is no port at all.
    PortBusy
        Another process has it.
    TransportError
        It does not exist, may not be used, or nothing listens there.
    """
    if not port:
        raise UsageError("expected a port such as /dev/ttyUSB1 or socket://host:1234, got an empty string")
    lock = PortLock(port)
    try:
        return SocketTransport(port, lock) if port.startswith("socket://") else SerialTransport(port, baud, lock)
    except BaseException:
        lock.release()
        raise


class SerialTransport:
    """A serial port or pty behind pyserial."""

    def __init__(self, port: str, baud: int, lock: PortLock) -> None:
        import serial

        self.name = port
        self._lock = lock
        self._broken: type[Exception] = serial.SerialException
        try:
            self._port: Any = serial.serial_for_url(
                port, baudrate=baud, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True
            )
        except (serial.SerialException, OSError, ValueError) as problem:
            raise _open_error(port, problem) from problem
        self._fd = self._port.fileno() if os.name == "posix" and hasattr(self._port, "fd") else None

    def read(self, timeout: float) -> bytes:
        try:
            if self._fd is not None:
                if not select.select([self._fd], [], [], timeout)[0]:
                    return b""
                return bytes(self._port.read(4096))
            self._port.timeout = timeout
            first = bytes(self._port.read(1))
            return first + bytes(self._port.read(self._port.in_waiting)) if first else b""
        except (self._broken, OSError, ValueError, TypeError) as problem:
            raise _broken(self.name, problem) from problem

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except (self._broken, OSError) as problem:
            raise _broken(self.name, problem) from problem

    def close(self) -> None:
        with contextlib.suppress(self._broken, OSError):
            self._port.close()
        self._lock.release()


class SocketTransport:
    """A TCP connection. pyserial's own ``socket://`` reads byte by byte and sleeps on closing."""

    def __init__(self, port: str, lock: PortLock) -> None:
        self.name = port
        self._lock = lock
        host, number = split_address(port)
        try:
            self._socket = socket.create_connection((host, number), timeout=CONNECT_TIMEOUT_S)
        except OSError as problem:
            raise TransportError(
                f"cannot connect to {port}: {reason(problem)}; is the board (or the server of its port) running there?"
            ) from problem
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, timeout: float) -> bytes:
        try:
            if not select.select([self._socket], [], [], timeout)[0]:
                return b""
            data = self._socket.recv(4096)
        except (OSError, ValueError) as problem:
            raise _broken(self.name, problem) from problem
        if not data:
            raise TransportError(f"{self.name} was closed by the other side: is the board still running, and alone?")
        return data

    def write(self, data: bytes) -> None:
        try:
            self._socket.settimeout(WRITE_TIMEOUT_S)
            self._socket.sendall(data)
        except OSError as problem:
            raise _broken(self.name, problem) from problem

    def close(self) -> None:
        self._socket.close()
        self._lock.release()


def split_address(url: str) -> tuple[str, int]:
    """Host and port number of ``scheme://host:port``.

    Raises
    ------
    UsageError
        There is no port number from 1 to 65535.
    """
    try:
        parts = urlsplit(url)
        host, number = parts.hostname or "", parts.port
    except ValueError:
        number = None
    if not number:
        raise UsageError(f"expected scheme://host:port with a port from 1 to 65535, got {url!r}")
    return host, number


def _open_error(port: str, problem: Exception) -> TransportError:
    """Why a serial port did not open, and what helps."""
    number = getattr(problem, "errno", None)
    if number in (errno.EAGAIN, errno.EBUSY) or "exclusively lock" in str(problem):
        return PortBusy(f"{port} is in use by another program: close it (a terminal program, a serial monitor) first")
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return TransportError(f"there is no port {port}{_known_ports()}; is the board plugged in?")
    if number in (errno.EACCES, errno.EPERM):
        return TransportError(f"no permission to open {port}: add this user to the group that owns it (often dialout)")
    if number in (errno.ENOTTY, errno.EISDIR, errno.EINVAL) or "configure port" in str(problem):
        return TransportError(f"{port} is not a serial port: expected a serial device, a pty or socket://host:port")
    return TransportError(f"cannot open {port}: {reason(problem)}; expected a serial port, a pty or socket://host:port")


def _known_ports() -> str:
    from serial.tools.list_ports import comports

    found = ", ".join(sorted(str(entry.device) for entry in comports()))
    return f" (here: {found})" if found else ""


def _broken(name: str, problem: Exception) -> TransportError:
    return TransportError(f"{name} broke off ({reason(problem)}): was the cable pulled or the board switched off?")
