"""Locks between processes that the system releases by itself when their holder dies, however it dies."""

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, wait: bool) -> None:
        while True:
            try:
                return msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError as problem:  # with patience, too, it gives up after ten seconds
                if not wait:
                    raise BlockingIOError from problem

else:
    import fcntl

    def _lock(file: int, wait: bool) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


class Lock:
    """An exclusive lock on a file.

    The file keeps existing when the lock is given back: removing it would let two processes lock two files of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self, wait: bool = False) -> bool:
        """Take the lock; False when another holder has it and ``wait`` is not set."""
        if self._file is not None:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            _lock(file, wait)
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def sign(self, text: str) -> None:
        """Say in the file who holds the lock."""
        assert self._file is not None, "only its holder signs a lock"
        os.ftruncate(self._file, 0)
        os.write(self._file, text.encode())

    def signature(self) -> str:
        """Who says to hold the lock; empty if nobody does, or where the system does not let others read the file."""
        try:
            return self.path.read_bytes()[:200].decode(errors="replace")
        except OSError:
            return ""
