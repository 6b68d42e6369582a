"""The reference model of a device behind a real pty or TCP port, in real time: what host tests talk to.

Everything the host sees is the protocol's own model; nothing here knows a layout. Faults of the line are injected at
the two places where bytes pass: ``damage_in`` and ``damage_out``.
"""

import os
import select
import socket
import threading
import time
import tty
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from ringpair_protocol import frames
from ringpair_protocol.ascon import xof128
from ringpair_protocol.device import DeviceModel, Out, Port
from ringpair_protocol.nor import JEDEC_W25Q32, NorFlash
from ringpair_protocol.records import BINDING_END
from ringpair_protocol.store import NorPort

from protocol.tests.rig import IDENTITY, FixedPuf

TICK_S = 0.005


class ModelBoard:
    """A powered device; ``port`` is what the host opens. A context manager.

    Parameters
    ----------
    name
        Its silicon.
    tcp
        Serve ``socket://`` instead of a pty.
    speed
        How much faster than real time the device's timeouts run.
    flash
        What another run of this device left; blank by default.
    """

    def __init__(self, name: str, *, tcp: bool = False, speed: float = 1.0, identity=IDENTITY, flash=None):
        self.name, self.speed, self.identity = name, speed, identity
        self.flash = bytearray(b"\xff" * BINDING_END) if flash is None else flash
        self.puf = FixedPuf(name.encode())
        self.wired: ModelBoard | None = None
        self.damage_in: Callable[[bytes], bytes] = lambda data: data
        self.damage_out: Callable[[bytes], bytes] = lambda data: data
        self.peer_line: list[bytes] = []
        self.wire_inbox: deque[bytes] = deque()
        self._draws = 0
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._line: int | None = None
        self._server: socket.socket | None = None
        self._slave: int | None = None
        self._connection: socket.socket | None = None
        if tcp:
            self._server = socket.create_server(("127.0.0.1", 0))
            self.port = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        else:
            self._line, self._slave = os.openpty()
            tty.setraw(self._slave)
            self.port = os.ttyname(self._slave)
        self._power_up()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _power_up(self) -> list[Out]:
        self._decoder = frames.Decoder()
        self.model = DeviceModel(self.puf, self._noise, NorPort(NorFlash(self.flash)), self.identity, JEDEC_W25Q32)
        return self.model.boot()

    def _noise(self, length: int) -> bytes:
        self._draws += 1
        return xof128(f"{self.name} {self._draws}".encode(), length)

    def __enter__(self) -> "ModelBoard":
        return self

    def __exit__(self, *exception: object) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Pull the cable: the port is gone."""
        self._stop.set()
        self._thread.join()
        for fd in (self._line, self._slave):
            if fd is not None:
                os.close(fd)
        self._line = self._slave = None
        for opened in (self._connection, self._server):
            if opened is not None:
                opened.close()

    def power_cycle(self) -> None:
        """Off and on again; the flash stays."""
        with self._lock:
            self._send(self._power_up())

    def hold_button(self) -> None:
        """Until the end of time."""
        self.model.button = True

    def long_press(self) -> None:
        """Ten seconds of button."""
        with self._lock:
            self._send(self.model.button_long())

    def emit(self, raw: bytes) -> None:
        """Put bytes on the admin line, as a fault would."""
        self._write(raw)

    def _run(self) -> None:
        before = time.monotonic()
        while not self._stop.is_set():
            data = self._receive()
            with self._lock:
                for frame in self._decoder.feed(self.damage_in(data)) if data else ():
                    if isinstance(frame, frames.FrameError):
                        self._send(self.model.admin_damaged(frame.kind))
                    else:
                        self._send(self.model.admin(frame))
                while self.wire_inbox:
                    self._send(self.model.peer(self.wire_inbox.popleft()))
                now = time.monotonic()
                milliseconds = int((now - before) * 1000 * self.speed)
                if milliseconds:
                    before += milliseconds / 1000 / self.speed
                    self._send(self.model.tick(milliseconds))

    def _receive(self) -> bytes:
        source = self._line if self._server is None else (self._connection or self._server)
        if not select.select([source], [], [], TICK_S)[0]:
            return b""
        if self._server is None:
            with suppress(OSError):
                return os.read(self._line, 4096)
            return b""
        if self._connection is None:
            self._connection = self._server.accept()[0]
            return b""
        data = b""
        with suppress(OSError):
            data = self._connection.recv(4096)
        if not data:
            self._connection.close()
            self._connection = None
        return data

    def _write(self, raw: bytes) -> None:
        with suppress(OSError):
            if self._server is None:
                os.write(self._line, raw)
            elif self._connection:
                self._connection.sendall(raw)

    def _send(self, outputs: list[Out]) -> None:
        for port, payload in outputs:
            if port is Port.ADMIN:
                self._write(self.damage_out(frames.encode(payload)))
            else:
                self.peer_line.append(payload)
                if self.wired is not None:
                    self.wired.wire_inbox.append(payload)


def wire(a: ModelBoard, b: ModelBoard) -> None:
    """Join two boards by their peer ports."""
    a.wired, b.wired = b, a
