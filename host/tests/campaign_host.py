"""Campaigns on the host; `scripts/campaign.py` runs them."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from host.tests.parsers import PARSERS
from scripts.campaign import ROOT, Trial

RUNS = re.compile(r"number_of_executed_units: (\d+)")
LAST = 1500
"""Characters of a failed run that are shown."""


def parsers(trial: Trial) -> None:
    """Every reader under libFuzzer, the slow ones less often; what it found interesting is told by their number."""
    share = trial.goal / sum(1 / parser.cost for parser in PARSERS.values())
    for name, parser in PARSERS.items():
        with tempfile.TemporaryDirectory(prefix="ringpair-fuzz-") as folder:
            runs = max(20, round(share / parser.cost))
            arguments = [f"-runs={runs}", f"-seed={trial.seed & 0xFFFFFFFF or 1}", f"-artifact_prefix={folder}/"]
            command = [sys.executable, str(ROOT / "scripts" / "fuzz.py"), name, *arguments]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=ROOT)
            inputs = [file.read_bytes()[:500].hex() for file in Path(folder).iterdir()]
        tried = sum(map(int, RUNS.findall(done.stderr)))
        trial.count(tried)
        trial.notes[name] = tried
        if done.returncode or inputs:
            trial.lose(f"{name}: input {inputs}\n{(done.stdout + done.stderr)[-LAST:]}")
