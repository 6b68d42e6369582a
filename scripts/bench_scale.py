"""How memory and time of the metrics grow with the number of boards.

    python scripts/bench_scale.py make FILE [--boards N]       a file of modeled boards, written board by board
    python scripts/bench_scale.py run [--boards N...] [--folder DIR]

`run` makes a file of each size, evaluates it with `ringpair metrics` in a process of its own, and prints that process's
peak memory (resident set, with all libraries) and its processor time. 100 000 boards of 192 rings x 20 reads take
0.4 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ringpair.measure.dataset import Batch, Condition, Dataset, Meta
from ringpair.measure.makers import DEVICE_COUNTS
from ringpair.measure.table import write_parquet
from ringpair.silicon import BOARD, RANDOM, SLOW_NOISE, WHITE_NOISE
from ringpair_protocol import puf

SIZES = (12_500, 25_000, 50_000, 100_000)
READS = 20
LIMIT_MIB = 1024
LAYOUT = 0.0044
"""Spread of the pattern that all boards share, as on the measured chips."""


class ModeledBoards(Dataset):
    """Boards drawn when their turn comes, each from its own number: common pattern, board, ring, slow and white noise.

    Parameters
    ----------
    boards, rings, reads : int
    """

    def __init__(self, boards: int, rings: int = puf.RINGS, reads: int = READS) -> None:
        self.name, self.chips, self.rings, self.reads = "modeled boards", boards, rings, reads
        self.conditions, self.meta = (Condition(25.0, 1.2, 42.67e-6),), Meta("simulated", "rows16")
        self._pattern = LAYOUT * np.random.default_rng(0).standard_normal(rings)

    def raw(self, size: int) -> Iterator[Batch]:
        for first in range(0, self.chips, size):
            boards = range(first, min(first + size, self.chips))
            yield Batch(first, [f"board {number}" for number in boards], np.stack([self._board(n) for n in boards]))

    def _board(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([1, number])
        ring = 1 + self._pattern + RANDOM * rng.standard_normal(self.rings)
        slow = SLOW_NOISE * rng.standard_normal(self.rings)
        noise = 1 + slow[:, None] + WHITE_NOISE * rng.standard_normal((self.rings, self.reads))
        periods = DEVICE_COUNTS * (1 + BOARD * rng.standard_normal()) * ring[:, None] * noise
        return (periods + rng.random(periods.shape)).astype(np.uint32)[None]


class Run(NamedTuple):
    """What one evaluation took: seconds of processor time, so that other programs do not count."""

    boards: int
    seconds: float
    peak_mib: float
    figures: dict


def measured(path: Path, *options: str) -> Run:
    """Evaluate a file in a process of its own."""
    command = [sys.executable, "-m", "ringpair.cli", "metrics", str(path), "--json", *options]
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
        out.seek(0)
        figures = json.load(out)
    return Run(figures["chips"], usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, figures)


def make(path: Path, boards: int) -> None:
    """Write a file of modeled boards; memory does not depend on their number."""
    write_parquet(path, ModeledBoards(boards))


def run(sizes: list[int], folder: Path | None) -> int:
    """Print a table; returns 1 if a process needed more than `LIMIT_MIB`."""
    print(f"{'boards':>8} {'file, MB':>9} {'peak, MiB':>10} {'seconds':>8} {'ms a board':>11} {'uniqueness':>11}")
    highest = 0.0
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        for boards in sizes:
            path = Path(temporary) / f"{boards}.parquet"
            make(path, boards)
            found = measured(path)
            size, each = path.stat().st_size / 1e6, 1000 * found.seconds / boards
            unique = found.figures["methods"]["device"]["uniqueness"]
            print(
                f"{boards:8} {size:9.0f} {found.peak_mib:10.0f} {found.seconds:8.1f} {each:11.3f} {unique:11.4%}",
                flush=True,
            )
            path.unlink()
            highest = max(highest, found.peak_mib)
    print(f"highest peak {highest:.0f} MiB, limit {LIMIT_MIB} MiB: {'held' if highest <= LIMIT_MIB else 'NOT held'}")
    return int(highest > LIMIT_MIB)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    actions = parser.add_subparsers(dest="action", required=True)
    maker = actions.add_parser("make", help="write a file of modeled boards")
    maker.add_argument("file", type=Path)
    maker.add_argument("--boards", type=int, default=SIZES[-1])
    runner = actions.add_parser("run", help="measure memory and time by size")
    runner.add_argument("--boards", type=int, nargs="+", default=list(SIZES))
    runner.add_argument("--folder", type=Path, help="for the files, which are removed again")
    arguments = parser.parse_args()
    if arguments.action == "make":
        make(arguments.file, arguments.boards)
        return 0
    return run(arguments.boards, arguments.folder)


if __name__ == "__main__":
    sys.exit(main())
