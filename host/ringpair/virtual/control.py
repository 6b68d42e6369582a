"""The control channel: what hands, eyes and a laboratory bench do to a board, as JSON objects a line on a local socket.

========================================  =============================================================================
request                                   what it does
========================================  =============================================================================
``{"do": "status"}``                      nothing; the reply has everything the board counts
``{"do": "press", "seconds": 0.1}``       presses the button for so long; until ``release`` without ``seconds``
``{"do": "release"}``                     lets the button go
``{"do": "power", "on": false}``          takes the power away, or gives it back
``{"do": "cut", "program": 1, ...}``      takes the power away during the n-th page ``program`` or ``erase`` from now,
                                          after ``fraction`` of its time, or ``at`` a cycle
``{"do": "silicon", "temperature": 60}``  other ``temperature``, ``voltage``, ``age``, from the next measurement on
``{"do": "noise", "one": 0.5}``           other probabilities of the raw random bit: ``one``, ``repeat``
``{"do": "wire", "connected": false}``    pulls the peer wires out, or puts them back
``{"do": "inject", "hex": "00"}``         puts bytes on the peer line, as if the other board had sent them
``{"do": "events"}``                      takes the event log: cycle, kind, value
``{"do": "quit"}``                        ends the process
========================================  =============================================================================

A reply has ``"ok": true`` and the result, or ``"ok": false`` and ``"error"``.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..errors import RingpairError
from .device import NoiseSource
from .streams import Stream, listen_unix

if TYPE_CHECKING:
    from .server import Server

POLL_S = 0.01


class ControlPort:
    """The server's side; any number of clients."""

    def __init__(self, selector: selectors.BaseSelector, path: Path, server: Server) -> None:
        self._selector = selector
        self._path = path
        self._server = server
        self._clients: set[Stream] = set()
        self._listener = listen_unix(selector, path, self._accept)

    def close(self) -> None:
        """End all connections."""
        self._listener.close()
        self._path.unlink(missing_ok=True)
        for client in self._clients:
            client.close()

    def _accept(self, fd: int) -> None:
        received = bytearray()

        def receive(data: bytes) -> None:
            received.extend(data)
            while b"\n" in received:
                line, _, rest = received.partition(b"\n")
                received[:] = rest
                client.send(json.dumps(self._answer(bytes(line))).encode() + b"\n")

        client = Stream(self._selector, fd, receive, lambda: self._clients.discard(client), limit=1 << 24)
        self._clients.add(client)

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            name = request.pop("do")
            action = getattr(self, f"do_{name}", None)
            if action is None:
                known = ", ".join(sorted(key[3:] for key in dir(self) if key.startswith("do_")))
                raise ValueError(f"unknown request {name!r}: expected one of {known}")
            return {"ok": True, **(action(**request) or {})}
        except (RingpairError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            return {"ok": False, "error": str(error) or repr(error)}

    def do_status(self) -> dict[str, Any]:
        """Everything the board counts."""
        server = self._server
        status = server.device.status
        result: dict[str, Any] = {}
        for entry in status._fields_:
            value = getattr(status, entry[0])
            result[entry[0]] = value if isinstance(value, int) else list(value)
        return result | {
            "pid": os.getpid(),
            "connected": bool(server.link and server.link.connected),
            "wired": server.wired,
            "clock_hz": server.parameters.clock_hz,
            "temperature": server.silicon.temperature,
            "voltage": server.silicon.voltage,
            "age": server.silicon.age,
        }

    def do_press(self, seconds: float | None = None) -> None:
        """Button down."""
        self._server.device.press(seconds)

    def do_release(self) -> None:
        """Button up."""
        self._server.device.release()

    def do_power(self, on: bool) -> None:
        """Power on or off."""
        if on:
            self._server.device.power_on()
        else:
            self._server.device.power_off()

    def do_cut(
        self, program: int | None = None, erase: int | None = None, at: int | None = None, fraction: float = 0.5
    ) -> None:
        """Power off at a chosen moment."""
        device = self._server.device
        if program is not None:
            device.cut_in_program(program, fraction)
        if erase is not None:
            device.cut_in_erase(erase, fraction)
        if at is not None:
            device.cut_at(at)

    def do_silicon(
        self, temperature: float | None = None, voltage: float | None = None, age: float | None = None
    ) -> None:
        """Another environment."""
        self._server.set_silicon({"temperature": temperature, "voltage": voltage, "age": age})

    def do_noise(self, one: float = 0.5, repeat: float = 0.0) -> None:
        """Another random source."""
        self._server.device.set_noise(NoiseSource(one, repeat))

    def do_wire(self, connected: bool) -> None:
        """Peer wires in or out."""
        self._server.wired = bool(connected)

    def do_inject(self, hex: str) -> None:
        """Bytes on the peer line."""
        self._server.device.write(bytes.fromhex(hex), peer=True)

    def do_events(self) -> dict[str, Any]:
        """Take the event log."""
        events, self._server.events = self._server.events, []
        return {"events": events}

    def do_quit(self) -> None:
        """End the process."""
        self._server.stop()


class Control:
    """The client's side.

    Parameters
    ----------
    path : str or Path
        The running board's socket.
    """

    def __init__(self, path: str | Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(30)
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise RingpairError(f"expected a running board at {path}: {error}; start it first") from error
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()

    def request(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and return its reply.

        Raises
        ------
        RingpairError
            The board refused it, or is gone.
        """
        try:
            self._socket.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
            line = self._file.readline()
        except OSError as error:
            raise RingpairError(f"the board did not answer {do!r}: {error}; start it again") from error
        if not line:
            raise RingpairError(f"the board ended before it answered {do!r}: start it again")
        reply: dict[str, Any] = json.loads(line)
        if not reply.pop("ok"):
            raise RingpairError(f"the board refused {do!r}: {reply['error']}")
        return reply

    def status(self) -> dict[str, Any]:
        """Everything the board counts."""
        return self.request("status")

    def press(self, seconds: float | None = None, wait: bool = False) -> None:
        """Press the button for some virtual time (until `release` without); optionally return once it is up again."""
        self.request("press", seconds=seconds)
        if wait and seconds is not None:
            self.wait(lambda status: not status["button"], limit=10 * seconds + 10)

    def wait(self, condition: Any, limit: float = 10.0) -> dict[str, Any]:
        """Poll the status until ``condition(status)`` holds, and return it.

        Raises
        ------
        TimeoutError
            It does not within ``limit`` real seconds.
        """
        end = time.monotonic() + limit
        while not condition(status := self.status()):
            if time.monotonic() > end:
                raise TimeoutError(f"the board did not get there within {limit} s; its status is {status}")
            time.sleep(POLL_S)
        return status
