"""What was captured so far: a folder beside the output, from which the output is made in one go.

``run.parquet.partial/`` holds

=================  =================================================================================================
``plan.json``      :class:`Plan`: what is to be captured, of which boards, and what is known of them
``NAME.counts``    192 counts of 2 bytes, little-endian, a read; series by series, in each window by window
``NAME.noise``     raw samples of the noise source, 8 a byte, the first one in bit 0
``NAME.restarts``  the same: the first samples after each power cycle, one after the other
=================  =================================================================================================

Reads are only ever appended. A read that a crash left half-written is cut off when the folder is opened again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ringpair_protocol.characterize import BUFFER_BYTES
from ringpair_protocol.puf import RINGS

from ringpair.errors import RingpairError, UsageError
from ringpair.portlock import reason

from .dataset import Batch, Condition, Dataset, Meta
from .table import write_parquet

__all__ = ["Partial", "Plan"]

LEVEL = 1
READ = np.dtype("<u2")
READ_BYTES = RINGS * READ.itemsize
FIXED = ("names", "windows", "reads", "series", "noise_bytes", "restart_bytes", "interval")
"""What a run must not change when it goes on."""


@dataclass
class Plan:
    """What is captured.

    Attributes
    ----------
    names : list of str
        Boards.
    windows : list of int
        Counting times in clocks; empty until the first board told its own.
    reads : int
        In each window of each series.
    series : int
        Before each but the first, the boards are switched off and on.
    noise_bytes, restart_bytes, interval : int
        Raw noise of each board, in the end and after each power cycle, and clocks from one sample to the next.
    clock_mhz : int
        Of all boards; 0 until they were asked.
    boards : dict
        What is known of each board, by its name.
    ambient : list of dict
        Temperature and voltage, with the time at which they were noted.
    extra : dict
        Date and versions.
    """

    names: list[str]
    windows: list[int]
    reads: int
    series: int = 1
    noise_bytes: int = 0
    restart_bytes: int = 0
    interval: int = 0
    clock_mhz: int = 0
    boards: dict[str, dict[str, Any]] = field(default_factory=dict)
    ambient: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    level: int = LEVEL

    @property
    def records(self) -> int:
        """Reads of one board."""
        return self.series * len(self.windows) * self.reads


class Partial(Dataset):
    """The folder of an unfinished run; as a data set, once all is there.

    Parameters
    ----------
    output : Path
        The file to be made.
    plan : Plan
        What is wanted.
    resume : bool
        Go on with an earlier run instead of beginning one.

    Raises
    ------
    UsageError
        The output exists; there is (or is not) an earlier run; it was another one.
    """

    def __init__(self, output: Path, plan: Plan, resume: bool) -> None:
        self.output, self.plan = output, plan
        self.folder = output.with_name(output.name + ".partial")
        if output.suffix.lower() != ".parquet":
            raise UsageError(f"expected an output that ends in .parquet, got {output}")
        for path in (output, *self._noise_files(plan).values()):
            if path.exists():
                raise UsageError(f"{path} exists: choose another name for the output, or move that file away")
        if resume:
            self.plan = self._earlier(plan)
        elif self.folder.exists():
            raise UsageError(
                f"{self.folder} holds an unfinished run: go on with --resume, or remove that folder to begin anew"
            )

    def _earlier(self, plan: Plan) -> Plan:
        path = self.folder / "plan.json"
        try:
            found = Plan(**json.loads(path.read_text()))
        except FileNotFoundError as problem:
            raise UsageError(f"there is no unfinished run {self.folder}: begin one without --resume") from problem
        except (OSError, ValueError, TypeError) as problem:
            raise RingpairError(f"cannot read {path} ({problem}): remove {self.folder} and begin anew") from problem
        if found.level != LEVEL:
            raise RingpairError(f"{path} has level {found.level}, this version writes level {LEVEL}: update ringpair")
        for name in FIXED:
            ours, theirs = getattr(plan, name), getattr(found, name)
            if ours != theirs and not (name == "windows" and not ours):
                raise UsageError(
                    f"the run in {self.folder} has {name.replace('_', ' ')} {_plain(theirs)}, this command "
                    f"{_plain(ours)}: repeat the command as it was, with --resume"
                )
        return found

    # -------------------------------------------------------------------------------------------------- capturing

    def save_plan(self) -> None:
        """Write the plan, whole or not at all; the first time, this begins the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "plan.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self.plan), indent=1))
        new.replace(path)

    def done(self, name: str) -> int:
        """Reads of this board that are kept."""
        return _whole(self._counts(name), READ_BYTES) // READ_BYTES

    def noise_done(self, name: str) -> int:
        """Bytes of noise of this board that are kept."""
        path = self.folder / f"{name}.noise"
        size = _whole(path, 1)
        return size if size == self.plan.noise_bytes else _whole(path, BUFFER_BYTES)

    def append(self, name: str, counts: list[int]) -> None:
        """Keep one read."""
        _append(self._counts(name), np.array(counts, READ).tobytes())

    def append_noise(self, name: str, data: bytes) -> None:
        """Keep some noise."""
        _append(self.folder / f"{name}.noise", data)

    def keep_restart(self, name: str, series: int, data: bytes) -> None:
        """Keep the noise after the power cycle before this series, which may have broken off behind it once already."""
        path = self.folder / f"{name}.restarts"
        path.touch()
        os.truncate(path, (series - 1) * self.plan.restart_bytes)
        _append(path, data)

    @property
    def complete(self) -> bool:
        """All that was planned is there."""
        return bool(self.plan.boards) and all(
            self.done(name) == self.plan.records and self.noise_done(name) == self.plan.noise_bytes
            for name in self.plan.names
        )

    # --------------------------------------------------------------------------------------------------- finishing

    def finish(self) -> list[Path]:
        """Make the output, and remove the folder; returns the files, the Parquet file first.

        The Parquet file appears last, and whole; until then, a failure leaves the folder as it is.
        """
        plan, noise = self.plan, self._noise_files(self.plan)
        self.name, self.chips, self.rings = str(self.output), len(plan.names), RINGS
        self.reads = plan.series * plan.reads
        ambient = plan.ambient[0] if plan.ambient else {}
        self.conditions = tuple(
            Condition(ambient.get("temperature"), ambient.get("voltage"), window / (plan.clock_mhz * 1e6))
            for window in plan.windows
        )
        kinds = {board["simulated"] for board in plan.boards.values()}
        silicon = "mixed" if len(kinds) > 1 else "simulated" if kinds.pop() else "measured"
        self.meta = Meta(silicon, "ringpair", self._extra(noise))
        new = self.folder / "output"
        try:
            write_parquet(new, self)
            with open(new, "rb+") as file:
                os.fsync(file.fileno())
            for kept, path in noise.items():
                shutil.copyfile(self.folder / kept, path)
            new.replace(self.output)
        except OSError as problem:
            for path in (new, *noise.values()):
                path.unlink(missing_ok=True)
            raise RingpairError(
                f"cannot write {self.output}: {reason(problem)}; all reads are kept: "
                "make room, and repeat with --resume"
            ) from problem
        shutil.rmtree(self.folder)
        return [self.output, *noise.values()]

    def _extra(self, noise: dict[str, Path]) -> dict[str, Any]:
        plan = self.plan
        extra = plan.extra | {
            "window_clocks": plan.windows,
            "clock_mhz": plan.clock_mhz,
            "series": plan.series,
            "reads_per_series": plan.reads,
            "ambient": plan.ambient,
            "boards": plan.boards,
        }
        for kind, what, size in (
            ("noise", "bits", plan.noise_bytes),
            ("restarts", "bits_a_restart", plan.restart_bytes),
        ):
            if size:
                extra["noise" if kind == "noise" else "restart_noise"] = {
                    name: {
                        "file": noise[f"{name}.{kind}"].name,
                        what: 8 * size,
                        "interval_clocks": plan.interval,
                        "sha256": _sha256(self.folder / f"{name}.{kind}"),
                    }
                    for name in plan.names
                }
        return extra

    def raw(self, size: int) -> Iterator[Batch]:
        plan = self.plan
        for first in range(0, self.chips, size):
            names = plan.names[first : first + size]
            yield Batch(first, names, np.stack([self._chip(name) for name in names]))

    def _chip(self, name: str) -> NDArray[Any]:
        """Windows x rings x reads, the reads of all series one after the other."""
        plan = self.plan
        counts = np.fromfile(self._counts(name), READ).reshape(plan.series, len(plan.windows), plan.reads, RINGS)
        return counts.transpose(1, 3, 0, 2).reshape(len(plan.windows), RINGS, -1).astype(np.uint32)

    def _counts(self, name: str) -> Path:
        return self.folder / f"{name}.counts"

    def _noise_files(self, plan: Plan) -> dict[str, Path]:
        """Where the raw noise goes in the end, by its name in the folder."""
        kinds = [kind for kind, size in (("noise", plan.noise_bytes), ("restarts", plan.restart_bytes)) if size]
        files = [f"{name}.{kind}" for kind in kinds for name in plan.names]
        return {file: self.output.with_name(f"{self.output.stem}.{file}") for file in files}


def _whole(path: Path, unit: int) -> int:
    """Size of a file in bytes, after what is no whole unit was cut off."""
    size = path.stat().st_size if path.exists() else 0
    if size % unit:
        size -= size % unit
        os.truncate(path, size)
    return size


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _append(path: Path, data: bytes) -> None:
    try:
        with open(path, "ab", buffering=0) as file:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as problem:
        raise RingpairError(
            f"cannot write {path}: {reason(problem)}; what was read is kept: make room, and repeat with --resume"
        ) from problem


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
