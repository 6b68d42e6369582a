"""What a verb says: results on standard output, everything else on standard error."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ringpair.errors import ConnectFailed, Refused, RingpairError


class Output:
    """Where results go: as JSON objects or as text for humans."""

    def __init__(self, json: bool) -> None:
        self.json = json

    def result(self, data: Mapping[str, Any], text: str | None = None) -> None:
        """The result of the command: ``data`` for programs, ``text`` (default: one field a line) for humans."""
        if self.json:
            print(json.dumps(data), flush=True)
        elif text is not None:
            print(text, end="\n" if text else "", flush=True)
        else:
            width = max((len(key) for key in data), default=0)
            for key, value in data.items():
                print(f"{key.replace('_', ' '):{width}}  {_plain(value)}")

    def table(self, data: Mapping[str, Any], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """A result with rows."""
        if self.json:
            print(json.dumps(data), flush=True)
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            table.add_row(*(_plain(cell) for cell in row))

        class Results(Console):
            def on_broken_pipe(self) -> None:
                """Whoever read our output has enough: `main` knows what to do."""
                raise BrokenPipeError

        console = Results(markup=False, highlight=False)
        if not console.is_terminal:
            console.width = 1000  # files and pipes get whole lines
        console.print(table)

    def note(self, text: str) -> None:
        """Progress, or a remark for a human."""
        print(text, file=sys.stderr, flush=True)

    def error(self, problem: RingpairError) -> None:
        """Why the command failed."""
        if self.json:
            error = {"kind": type(problem).__name__, "message": str(problem)}
            if isinstance(problem, Refused | ConnectFailed):
                error["code"] = problem.code.name
            try:
                print(json.dumps({"error": error}), flush=True)
            except OSError:  # no room for results: what is left says why
                drop_results()
        print(f"ringpair: {problem}", file=sys.stderr, flush=True)


def drop_results() -> None:
    """Standard output goes nowhere from here on, so that what is buffered does not fail again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: bytes) -> str:
    """A peer's text for a terminal: what could control the terminal is shown as an escape."""
    decoded = text.decode(errors="backslashreplace")
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in decoded)


def _plain(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return "-"
        case list():
            return ", ".join(_plain(entry) for entry in value) or "-"
        case _:
            return str(value)
