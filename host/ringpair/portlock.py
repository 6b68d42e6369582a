"""One command at a time on one port: a lock file that names its owner."""

import contextlib
import hashlib
import os
import sys
import time
from pathlib import Path

from .errors import PortBusy, TransportError


class PortLock:
    """The lock file of one port; the kernel gives it back when this process ends, however it ends."""

    def __init__(self, port: str) -> None:
        import platformdirs

        canonical = port if "://" in port else os.path.realpath(port)
        folder = platformdirs.user_cache_path("ringpair") / "locks"
        path = folder / (hashlib.sha256(canonical.encode()).hexdigest()[:24] + ".lock")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as problem:
            raise TransportError(
                f"cannot write the lock file {path}: {reason(problem)}; give this user write access to {folder}"
            ) from problem
        for patience in (0.0, 0.1, 0.2):  # a command that just ended may be a moment slow to let go
            time.sleep(patience)
            with contextlib.suppress(BlockingIOError):
                _try_lock(self._fd)
                os.ftruncate(self._fd, 0)
                os.write(self._fd, f"process {os.getpid()} ({Path(sys.argv[0]).name})".encode())
                return
        owner = os.read(self._fd, 200).decode(errors="replace") or "another process"
        os.close(self._fd)
        raise PortBusy(f"{port} is in use by {owner}: one command at a time can use a port; end that one first")

    def release(self) -> None:
        """Let others have the port. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _try_lock(fd: int) -> None:
    """Lock without waiting; ``BlockingIOError`` if another process holds it."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError as problem:
            raise BlockingIOError from problem
    else:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def reason(problem: Exception) -> str:
    """What the system says of a problem, in one line, without its number."""
    text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return " ".join(text.split()) or type(problem).__name__
