"""Reading what others have written: whatever is wrong with a file, there is one kind of error for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def reading(path: str | Path, error: type[Exception], hint: str) -> Iterator[None]:
    """Whatever a library raises on a damaged file inside becomes ``error``; the file's own complaints pass.

    Readers of NPZ, HDF5, Parquet and JSON let through what they meet on the way: errors of zip, zlib, the tokenizer of
    Python, ``struct``, recursion, memory. A list of them was never complete.

    Parameters
    ----------
    path
        The file, for the message.
    error
        What is raised instead.
    hint
        What was expected, and what to do.
    """
    try:
        yield
    except error:
        raise
    except Exception as problem:
        text = str(getattr(problem, "strerror", None) or problem).partition("\n")[0] or type(problem).__name__
        raise error(f"cannot read {path} ({text}); {hint}") from problem


def is_text(word: str) -> bool:
    """Whether an argument or a variable was UTF-8; Python keeps what was not as characters that cannot be written."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
