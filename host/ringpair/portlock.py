"""One command at a time on one port: a lock file that names its owner."""

import hashlib
import os
import sys
import time
from pathlib import Path

from ringpair_boards.locks import Lock

from .errors import PortBusy, TransportError


class PortLock:
    """The lock file of one port; the kernel gives it back when this process ends, however it ends."""

    def __init__(self, port: str) -> None:
        import platformdirs

        canonical = port if "://" in port else os.path.realpath(port)
        folder = platformdirs.user_cache_path("ringpair") / "locks"
        self._lock = Lock(folder / (hashlib.sha256(canonical.encode()).hexdigest()[:24] + ".lock"))
        for patience in (0.0, 0.1, 0.2):  # a command that just ended may be a moment slow to let go
            time.sleep(patience)
            try:
                free = self._lock.acquire()
            except OSError as problem:
                raise TransportError(
                    f"cannot write the lock file {self._lock.path}: {reason(problem)}; "
                    f"give this user write access to {folder}"
                ) from problem
            if free:
                self._lock.sign(f"process {os.getpid()} ({Path(sys.argv[0]).name})")
                return
        owner = self._lock.signature() or "another process"
        raise PortBusy(f"{port} is in use by {owner}: one command at a time can use a port; end that one first")

    def release(self) -> None:
        """Let others have the port. May be called twice."""
        self._lock.release()


def reason(problem: Exception) -> str:
    """What the system says of a problem, in one line, without its number."""
    text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return " ".join(text.split()) or type(problem).__name__
