"""What stays of a virtual board between two runs: its folder with flash, silicon, and the lock of who runs it.

::

    RINGPAIR_HOME (or the user's data folder)/boards/NAME/
        flash.bin       the flash, byte for byte, as left
        silicon.json    which silicon this board has
        running.json    process and addresses of the board while it runs
        lock            held by the running process
        board.log       messages of the running process
"""

import contextlib
import hashlib
import json
import mmap
import os
import re
import secrets
import tempfile
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ringpair_boards.locks import Lock
from ringpair_protocol.nor import map_file, write_whole

from ..errors import RingpairError, UsageError
from ..home import BOARDS_FOLDER, home

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


class BoardBusy(RingpairError):
    """Another process runs this virtual board."""

    exit_code = 3


def socket_path(purpose: str, identity: str) -> Path:
    """A short path for a local socket (their names may have about 100 bytes), private to this user."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "ringpair" if runtime else Path(tempfile.gettempdir()) / f"ringpair-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise RingpairError(f"{folder} belongs to another user: remove it, or set XDG_RUNTIME_DIR to a folder of yours")
    return folder / f"{purpose}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Silicon:
    """Which silicon a board has, and where it works.

    Attributes
    ----------
    seed : int
        Of the silicon model; the board's identity. Drawn at random for a new board.
    temperature, voltage, age : float
        Degrees Celsius, volts, years; of the silicon model.
    file, chip : str and int, optional
        Measured silicon instead: reads of this chip in an ``.npz`` file.
    plain : bool
        Rings that differ but have no noise and no environment: for tests of the board itself.
    """

    seed: int = 0
    temperature: float = 25.0
    voltage: float = 1.2
    age: float = 0.0
    file: str | None = None
    chip: int | None = None
    plain: bool = False


class BoardFolder:
    """The folder of one virtual board.

    Parameters
    ----------
    name : str
        Name of the board: letters, digits, ``-``, ``_``, ``.``; at most 32.
    base : Path, optional
        Instead of `ringpair.home.home`.
    """

    def __init__(self, name: str, base: Path | None = None) -> None:
        if not NAME.fullmatch(name):
            raise UsageError(
                f"expected a board name of 1 to 32 letters, digits, '-', '_' and '.', got {name!r}: choose another"
            )
        self.name = name
        self.path = ((base or home()) / BOARDS_FOLDER / name).resolve()
        self.flash_path = self.path / "flash.bin"
        self.log_path = self.path / "board.log"
        self._lock = Lock(self.path / "lock")

    def control_path(self) -> Path:
        """Socket of the control channel."""
        return socket_path("control", str(self.path))

    def link_path(self, other: str) -> Path:
        """Socket of the wires between this board and another one of the same home."""
        ends = sorted((str(self.path), str(self.path.parent / other)))
        return socket_path("link", "\n".join(ends))

    # ------------------------------------------------------------------------------------------------------ running

    def acquire(self) -> None:
        """Become the process that runs this board.

        Raises
        ------
        BoardBusy
            Another one does.
        """
        if not self._lock.acquire():
            info = self.read_json("running.json") or {}
            who = f"process {info['pid']}, port {info['port']}" if "pid" in info else "another process"
            raise BoardBusy(f"board {self.name!r} is running already ({who}): use that one, or stop it first")

    def release(self) -> None:
        """Let another process run this board."""
        self.remove("running.json")
        self._lock.release()

    def running(self) -> dict[str, Any] | None:
        """Addresses of the running board, None if it does not run."""
        info = self.read_json("running.json")
        if info is None or not self._lock.acquire():
            return info
        self._lock.release()
        return None

    # ------------------------------------------------------------------------------------------------------ content

    def map_flash(self, size: int) -> mmap.mmap:
        """The flash, mapped: what is written is in the file at once."""
        self.path.mkdir(parents=True, exist_ok=True)
        memory = map_file(self.flash_path, size)
        if len(memory) != size:
            found = len(memory)
            memory.close()
            raise RingpairError(
                f"{self.flash_path} has {found} bytes, but the board's flash has {size}: "
                "remove the file for a blank flash"
            )
        return memory

    def silicon(self, changes: dict[str, Any] | None = None) -> Silicon:
        """The board's silicon; drawn and stored the first time.

        Parameters
        ----------
        changes : dict, optional
            Fields of `Silicon`. Environment fields replace the stored ones. What a board is made of cannot change.

        Raises
        ------
        UsageError
            The board has other silicon.
        """
        changes = {name: value for name, value in (changes or {}).items() if value is not None}
        if "file" in changes:
            changes["file"] = str(Path(changes["file"]).resolve())
        stored = self.read_json("silicon.json")
        if stored is None:
            silicon = Silicon(**({"seed": secrets.randbits(32)} | changes))
        else:
            known = {field.name for field in fields(Silicon)}
            old = Silicon(**{name: value for name, value in stored.items() if name in known})
            for name in ("seed", "file", "chip", "plain"):
                if name in changes and changes[name] != getattr(old, name):
                    raise UsageError(
                        f"board {self.name!r} has silicon with {name} {getattr(old, name)!r}, not {changes[name]!r}: "
                        f"take another board name, or remove {self.path}"
                    )
            silicon = replace(old, **changes)
        self.write_json("silicon.json", asdict(silicon))
        return silicon

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Content of a file of this folder; None if it is not there."""
        try:
            return dict(json.loads((self.path / name).read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, RecursionError) as error:
            raise RingpairError(f"{self.path / name} is damaged ({error}): remove it") from error

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Replace a file of this folder in one step."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / name, f"{json.dumps(content, indent=1)}\n".encode())

    def remove(self, name: str) -> None:
        """Remove a file of this folder, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / name).unlink()
