"""Output files: checked before the work begins, never put over something else, and there whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ringpair.errors import RingpairError, UsageError
from ringpair.portlock import reason

__all__ = ["check_folder", "check_output", "write_whole"]

HEAD = 4096
"""Bytes in which a file of ours says what it is."""


def check_output(path: Path, ending: str, what: str, mark: str) -> None:
    """Whether a file may be written: nothing is there, or an earlier one of the same kind.

    Parameters
    ----------
    path : Path
    ending : str
        That it must have.
    what : str
        Of what kind it is, for messages.
    mark : str
        Near the beginning of every file of this kind.

    Raises
    ------
    UsageError
        It must not, or cannot.
    """
    if path.suffix.lower() != ending:
        raise UsageError(f"expected an output that ends in {ending}, got {path}")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    try:
        with path.open("rb") as file:
            ours = mark.encode() in file.read(HEAD)
    except FileNotFoundError:
        return
    except OSError as problem:
        raise UsageError(f"cannot write {path}: {reason(problem)}; choose another name for the output") from problem
    if not ours:
        raise UsageError(f"{path} exists and is no {what}: choose another name for the output, or move that file away")


def check_folder(path: Path, mark: str) -> None:
    """Whether files may be put into a folder: it is new or empty, or holds the file `mark` of an earlier time.

    Raises
    ------
    UsageError
        They may not.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is no folder: choose another name")
    if path.is_dir() and any(path.iterdir()) and not (path / mark).is_file():
        raise UsageError(f"{path} holds other files: choose another folder, or a new one")


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises
    ------
    RingpairError
        It cannot be written; what was there before still is.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as problem:
        raise RingpairError(
            f"cannot write {path}: {reason(problem)}; check the folder, its permissions and the disk's space"
        ) from problem
    finally:
        with suppress(OSError):
            partial.unlink()
