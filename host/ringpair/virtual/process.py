"""A virtual board in a process of its own: for tests, the demo and the command line."""

import json
import os
import selectors
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .. import errors
from ..errors import RingpairError
from .compile import Progress, build, quiet
from .control import Control
from .server import Settings
from .state import BoardBusy, BoardFolder

START_S = 60.0
STOP_S = 10.0


class VirtualBoard:
    """A virtual board as a subprocess, from `start` to `stop` or `kill`; a context manager does both.

    The process ends with this one, whatever happens. Flash and silicon stay in the board's folder.

    Parameters
    ----------
    name : str
        Name of the board.
    design : Design or amaranth component or Path, optional
        Gateware or compiled library; the virtual board of this version by default.
    progress : callable
        Told of slow steps.
    **settings
        Further fields of `Settings`: ``base``, ``parameters``, ``silicon``, ``noise``, ``noise_seed``, ``peer``,
        ``tcp_port``, ``tap``, ``pace``.
    """

    def __init__(self, name: str, design: Any = None, *, progress: Progress = quiet, **settings: Any) -> None:
        self.name = name
        library = design if isinstance(design, Path) else build(design, progress)
        base = settings.pop("base", None)
        self.settings = Settings(name, str(library), base=str(base) if base else None, **settings)
        self.folder = BoardFolder(name, Path(base) if base else None)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None
        self.addresses: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # ------------------------------------------------------------------------------------------------------ life

    def start(self) -> Self:
        """Power up; returns once the ports exist.

        Raises
        ------
        BoardBusy
            Another process runs this board.
        RingpairError
            It does not start; the message says why.
        """
        if self._process is not None:
            raise RingpairError(f"board {self.name!r} was started already: stop it first")
        self.folder.path.mkdir(parents=True, exist_ok=True)
        with open(self.folder.log_path, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ringpair.virtual", self.settings.to_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # an interrupt on the terminal is for the caller
            )
        try:
            self.addresses = self._first_line()
            self._control = Control(self.addresses["control"])
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Power down in an orderly way; nothing happens when it does not run."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._forget()

    def kill(self) -> None:
        """Pull the plug: the process gets no chance to do anything. The flash stays as it is at this moment."""
        if self._process is not None:
            self._process.kill()
        self._forget()

    def power_cycle(self, **changes: Any) -> Self:
        """`kill` and `start` again, optionally with other settings; the ports get new names."""
        self.kill()
        self.settings = replace(self.settings, **changes)
        return self.start()

    @property
    def running(self) -> bool:
        """The process lives."""
        return self._process is not None and self._process.poll() is None

    # ------------------------------------------------------------------------------------------------------ access

    @property
    def port(self) -> str:
        """Path of the pseudo-terminal: the admin port."""
        return str(self.addresses["port"])

    @property
    def url(self) -> str:
        """The admin port by TCP."""
        return str(self.addresses["url"])

    @property
    def control(self) -> Control:
        """Button, LEDs, power, environment, counters."""
        if self._control is None:
            raise RingpairError(f"board {self.name!r} does not run: start it first")
        return self._control

    @property
    def flash_path(self) -> Path:
        """The flash's content, up to date at any moment."""
        return self.folder.flash_path

    # ------------------------------------------------------------------------------------------------------ inside

    def _first_line(self) -> dict[str, Any]:
        assert self._process is not None
        output = self._process.stdout
        assert output is not None
        line = b""
        end = time.monotonic() + START_S
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                data = os.read(output.fileno(), 4096) if selector.select(max(0.0, end - time.monotonic())) else b""
                if not data:
                    break
                line += data
        if not line.endswith(b"\n"):
            tail = self.folder.log_path.read_text(errors="replace")[-2000:].strip()
            raise RingpairError(f"board {self.name!r} did not start; its log {self.folder.log_path} ends with:\n{tail}")
        content: dict[str, Any] = json.loads(line)
        if "error" in content:
            kind = BoardBusy if content["kind"] == "BoardBusy" else getattr(errors, content["kind"], RingpairError)
            raise kind(content["error"])
        return content

    def _forget(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.wait()
            self._process = None


def attach(name: str, base: Path | None = None) -> tuple[Control, dict[str, Any]]:
    """Control channel and addresses of a board that runs in another process.

    Raises
    ------
    RingpairError
        It does not run.
    """
    addresses = BoardFolder(name, base).running()
    if addresses is None:
        raise RingpairError(f"expected board {name!r} to run, but it does not: start it with: ringpair sim {name}")
    return Control(addresses["control"]), addresses
