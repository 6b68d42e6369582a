"""Run ProVerif on all symbolic models and compare with the verdicts that they must get.

    python -m formal.symbolic                 # all; exit code 1 if a verdict is another one
    python -m formal.symbolic unlinkable      # one or some
    python -m formal.symbolic --show pairing  # only print the model

ProVerif (https://proverif.inria.fr) must be on PATH: `opam install proverif`. No package of pip, npm or Debian has it.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .models import MODELS, Model

RESULT = re.compile(r"^RESULT .*?(is true|is false|cannot be proved)\.?", re.MULTILINE | re.DOTALL)
LIMIT = 600
MISSING = "ProVerif is not installed: nothing was checked. Get it with `opam install proverif`, then run this again."


def verdicts(text: str) -> list[bool | None]:
    """What ProVerif says of each query: true, false, or neither (None)."""
    return [{"is true": True, "is false": False}.get(verdict) for verdict in RESULT.findall(text)]


def wrong(model: Model, found: list[bool | None]) -> list[str]:
    """Where verdicts are not those that the model must get."""
    if len(found) != len(model.queries):
        return [f"expected {len(model.queries)} verdicts, got {len(found)}"]
    answers = dict(zip(model.queries, found, strict=True))
    return [
        f"{query}: expected {right}, got {answers[query]}"
        for query, right in model.expected.items()
        if answers[query] is not right
    ]


def run(model: Model, program: str) -> str:
    """ProVerif's output."""
    with tempfile.TemporaryDirectory(prefix="ringpair-") as folder:
        path = Path(folder) / "model.pv"
        path.write_text(model.text(), encoding="utf-8")
        done = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=LIMIT, check=False)
    return done.stdout + done.stderr


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; all without one")
    parser.add_argument("--show", action="store_true", help="print the models instead of running them")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in MODELS:
            parser.error(f"there is no model {name!r}; there are {', '.join(MODELS)}")
    chosen = {name: MODELS[name] for name in options.names or MODELS}
    if options.show:
        print("\n".join(model.text() for model in chosen.values()))
        return 0
    program = shutil.which("proverif")
    if program is None:
        print(MISSING, file=sys.stderr)
        return 2
    failed = 0
    for name, model in chosen.items():
        output = run(model, program)
        mistakes = wrong(model, verdicts(output))
        failed += bool(mistakes)
        print(f"{name:20} {'as expected' if not mistakes else '; '.join(mistakes)}")
        if mistakes:
            print(output[-2000:], file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
