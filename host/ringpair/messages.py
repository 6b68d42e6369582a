"""Puzzles, revocations and resets as files: one line of text that survives mail, paper and a terminal.

::

    ringpair 41 01000000 414106...        the word, then the message in hexadecimal; spaces and line breaks are free

Raw bytes are taken as well. The messages are public: only the device they are for can open them.
"""

import string
from contextlib import suppress
from pathlib import Path

from ringpair_protocol.messages import LENGTHS, PUZZLE, RESET, REVOKE
from ringpair_protocol.pairing import sealed_index

from .errors import UsageError
from .portlock import reason

WORD = b"ringpair"
NAMES = {PUZZLE: "puzzle", REVOKE: "revocation", RESET: "reset"}
MAX_FILE = 4096


def to_text(message: bytes) -> str:
    """The message as one line."""
    return f"{WORD.decode()} {message.hex()}\n"


def parse(content: bytes, origin: str) -> bytes:
    """The message in a file's content.

    Raises
    ------
    UsageError
        It is none, or not whole.
    """
    raw = content
    words = content.split()
    if words[:1] == [WORD]:
        digits = b"".join(words[1:]).decode("ascii", errors="replace")
        if len(digits) % 2 or not all(digit in string.hexdigits for digit in digits):
            raise UsageError(f"{origin}: expected hexadecimal digits after {WORD.decode()!r}: copy the whole line")
        raw = bytes.fromhex(digits)
    kind = raw[0] if raw else None
    if kind not in NAMES:
        raise UsageError(f"{origin} is no puzzle, revocation or reset: expected a file made by ringpair pair or revoke")
    if len(raw) != LENGTHS[kind]:
        raise UsageError(f"{origin}: a {NAMES[kind]} has {LENGTHS[kind]} bytes, got {len(raw)}: copy the whole file")
    return raw


def read_file(path: Path) -> bytes:
    """The message in a file.

    Raises
    ------
    UsageError
        The file is missing or holds something else.
    """
    try:
        with path.open("rb") as file:
            return parse(file.read(MAX_FILE), str(path))
    except OSError as problem:
        raise UsageError(
            f"cannot read {path}: {reason(problem)}; expected a file made by ringpair pair or revoke"
        ) from problem


def write_file(path: Path, message: bytes) -> None:
    """Write the message to ``path``, whole or not at all.

    Raises
    ------
    UsageError
        The place cannot be written. The message stays in the registry's outbox.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(to_text(message))
        partial.replace(path)
    except OSError as problem:
        with suppress(OSError):
            partial.unlink()
        raise UsageError(
            f"cannot write {path}: {reason(problem)}; the message stays in the outbox (ringpair registry outbox -o DIR)"
        ) from problem


def file_name(recipient: str, message: bytes) -> str:
    """Name of the file for a message: recipient, index, kind."""
    return f"{recipient}-{sealed_index(message):06d}.{NAMES[message[0]]}"
