"""``ringpair demo``: two virtual boards from blank flash to encrypted text, attacks included."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from .output import Output

HELP = "show everything on two virtual boards: enroll, pair, connect, talk, and what attackers get"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", metavar="DIR", type=Path, help="keep flash images, registry and recording there")


def run(arguments: argparse.Namespace, output: Output) -> int:
    from ringpair.errors import UsageError

    try:
        from ringpair.demo import DemoFailed, as_json, figures, run_demo
    except ModuleNotFoundError as problem:
        raise UsageError(
            f"the demo needs {problem.name}, which is not installed: pip install 'ringpair[virtual]'"
        ) from problem

    def tell(step: int, text: str) -> None:
        (output.note if output.json else print)(f"{step:2}  {text}")

    def progress(step: str) -> None:
        output.note(f"    {step}")

    with tempfile.TemporaryDirectory(prefix="ringpair-demo-") as temporary:
        folder = arguments.keep or Path(temporary)
        if arguments.keep:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise UsageError(f"expected an empty folder for --keep, {folder} has files: choose another one")
        try:
            findings = run_demo(folder, tell, progress)
        except DemoFailed as problem:
            output.result({"held": False, "failure": str(problem)}, f"the demonstration failed: {problem}")
            return 1
    output.table(as_json(findings), ("figure", "measured on the boards"), figures(findings))
    return 0 if findings.held else 1
