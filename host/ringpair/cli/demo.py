"""``ringpair demo``: two virtual boards from blank flash to encrypted text, attacks included."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from .output import Output

HELP = "show everything on virtual boards: enroll, pair, connect, talk, what attackers get, and a lock that is bound"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", metavar="DIR", type=Path, help="keep flash images, registry and recording there")


def run(arguments: argparse.Namespace, output: Output) -> int:
    from ringpair.errors import UsageError

    try:
        from ringpair.demo import Demo, figures
        from ringpair.virtual import Design, build
    except ModuleNotFoundError as problem:
        raise UsageError(
            f"the demo needs {problem.name}, which is not installed: pip install 'ringpair[virtual]'"
        ) from problem

    def tell(step: int, text: str) -> None:
        line = f"{step:2}  {text}"
        output.note(line) if output.json else print(line, flush=True)

    with tempfile.TemporaryDirectory(prefix="ringpair-demo-", ignore_cleanup_errors=True) as temporary:
        folder = _empty(arguments.keep) if arguments.keep else Path(temporary)
        library = build(progress=lambda step: output.note(f"    {step} ..."))
        full = build(Design(arguments={"profile": "full"}), progress=lambda step: output.note(f"    {step} ..."))
        with Demo(folder, library, full, tell) as demo:
            findings = demo.run()
    if findings.failure is None:
        output.table(findings.as_json(), ("figure", "measured on the boards"), figures(findings))
    else:
        output.result(findings.as_json(), "")
    if not findings.held:
        output.note(f"ringpair: the demonstration failed: {findings.failure or ', '.join(findings.broken)}")
    return 0 if findings.held else 1


def _empty(folder: Path) -> Path:
    """The folder, made if needed.

    Raises
    ------
    UsageError
        It cannot be used, or has files.
    """
    from ringpair.errors import UsageError
    from ringpair.portlock import reason

    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as problem:
        raise UsageError(f"cannot use the folder {folder}: {reason(problem)}; choose another for --keep") from problem
    if used:
        raise UsageError(f"expected an empty folder for --keep, {folder} has files: choose another")
    return folder
