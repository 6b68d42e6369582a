"""Capturing counts and noise from several boards at once, a thread each.

A board of this gateware has no identity of its own: it is known by its rings. One read of the array, taken when the run
begins, tells it from any other when the run goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from ringpair_protocol.characterize import BUFFER_BYTES

from ringpair.characterize import Characterizer
from ringpair.errors import NoReply, RingpairError, TransportError, UsageError

from .partial import Partial

__all__ = ["SAME_BOARD", "Capture", "unlikeness"]

SAME_BOARD = 0.0025
"""Largest spread of the ratios of all rings to those of an earlier read. One chip: up to 0.0005 by noise (97 measured
chips, first read and 100th), in the silicon model 0.0008 over 0 to 60 °C and ±5 %, 0.0009 in ten years. Two chips: at
least 0.0055 (the same 97), 0.0066 in the model."""
LEAST_COUNT, MOST_COUNT = 16, 0xF000
"""Mean counts of a ring that a window may lead to: what the counter holds, less the spread of the rings."""
REOPEN_S = 60.0
POLL_S = 0.2

Progress = Callable[[str, int], None]
"""Told of a board's name and how many of its reads are kept."""


class WrongBoard(RingpairError):
    """Another board than the one that the run began with, or one that does not fit the others."""


class _Stopped(Exception):
    """The user has had enough."""


def unlikeness(counts: list[int], earlier: list[int]) -> float:
    """Relative spread of the ratio of each ring to itself: small for the same chip, at any common speed."""
    ratio = np.array(counts) / np.array(earlier)
    return float(ratio.std() / ratio.mean())


class Capture:
    """A run over all boards.

    Parameters
    ----------
    partial : Partial
        Where reads are kept.
    ports : mapping
        A function that tells the port, by the name of each board.
    baud : int
    note : callable
        Told what a human should know or do.
    cycle : callable, optional
        Switches the board of that name off and on. Without it somebody has to, when `note` says so.
    progress : callable
        Told of each read.
    """

    def __init__(
        self,
        partial: Partial,
        ports: Mapping[str, Callable[[], str]],
        baud: int,
        note: Callable[[str], None],
        progress: Progress,
        cycle: Callable[[str], None] | None = None,
    ) -> None:
        self.cycle = cycle
        self.partial, self.plan, self.ports, self.baud = partial, partial.plan, ports, baud
        self.note, self.progress = note, progress
        self._boards: dict[str, Characterizer] = {}
        self._stop = threading.Event()

    def run(self) -> None:
        """Capture what is not there yet.

        Raises
        ------
        RingpairError
            A board failed; the others finished their series first, and all that was read is kept.
        """
        try:
            self._on_all(self._connect)
            self._agree()
            for series in range(self.plan.series):
                if series:
                    self._power_cycle(series)
                self._on_all(partial(self._series, series))
            self._on_all(self._noise)
        finally:
            for board in self._boards.values():
                board.close()

    def _on_all(self, action: Callable[[str], None]) -> None:
        """Do something with every board at once; the first failure is raised when all have ended."""
        with ThreadPoolExecutor(len(self.plan.names)) as pool:
            jobs = {name: pool.submit(self._one, action, name) for name in self.plan.names}
            try:
                failed = {name: problem for name, job in jobs.items() if (problem := job.exception())}
            except BaseException:  # Ctrl-C: the boards stop after the read they are at
                self._stop.set()
                raise
        for problem in failed.values():
            if not isinstance(problem, RingpairError):
                raise problem
        for name, problem in failed.items():
            if len(self.plan.names) > 1:
                problem.args = (f"{name}: {problem}",)
            raise problem

    def _one(self, action: Callable[[str], None], name: str) -> None:
        try:
            action(name)
        except RingpairError as problem:
            if len(self.plan.names) > 1:  # said at once, as the others may take a while
                self.note(f"{name}: {problem}")
            raise

    # ------------------------------------------------------------------------------------------------- connecting

    def _connect(self, name: str) -> None:
        self._boards[name] = Characterizer.open(self.ports[name](), self.baud)

    def _agree(self) -> None:
        """Boards are what the plan says, or the plan is completed by what they say."""
        plan, boards = self.plan, self._boards
        head = boards[plan.names[0]]
        for what in ("clock_mhz", "floorplan"):
            expected = getattr(head.identity, what)
            for name in plan.names:
                found = getattr(boards[name].identity, what)
                if found != expected:
                    raise WrongBoard(
                        f"{name} has {what.replace('_', ' ')} {_plain(found)}, {plan.names[0]} has {_plain(expected)}: "
                        "characterize different kinds of boards one by one"
                    )
        plan.windows = plan.windows or [head.window]
        plan.clock_mhz = head.identity.clock_mhz
        for name in plan.names:
            if name in plan.boards:
                plan.boards[name]["resumed_at"].append(self.partial.done(name))
            self._recognize(name)
        self._check_windows()
        self.partial.save_plan()

    def _recognize(self, name: str) -> None:
        """Note who a board is, or compare it with who it was."""
        board, known = self._boards[name], self.plan.boards.get(name)
        (counts,) = board.counts_of_all()
        if not all(counts):
            raise WrongBoard(f"{name}: ring {counts.index(0)} does not run: its gateware or the board is faulty")
        identity = {
            key: _plain(value) if isinstance(value, bytes) else value for key, value in asdict(board.identity).items()
        } | {"profile": board.identity.profile.name.lower()}
        if known is None:
            for other, entry in self.plan.boards.items():
                if unlikeness(counts, entry["fingerprint"]) < SAME_BOARD:
                    raise WrongBoard(f"{name} and {other} are one and the same board: name each board once")
            self.plan.boards[name] = identity | {"port": board.port, "fingerprint": counts, "resumed_at": []}
            return
        difference = unlikeness(counts, known["fingerprint"])
        if difference >= SAME_BOARD:
            raise WrongBoard(
                f"the board on {board.port} is not the {name} that this run began with: its rings differ by "
                f"{difference:.2%}, those of one board by less than {SAME_BOARD:.2%}; connect that board"
            )
        for key, value in identity.items():
            if known[key] != value:
                raise WrongBoard(
                    f"{name} had {key.replace('_', ' ')} {known[key]} when this run began, now {value}: "
                    "flash what it had"
                )
        known["port"] = board.port

    def _check_windows(self) -> None:
        base = self._boards[self.plan.names[0]].window
        for name in self.plan.names:
            counts = self.plan.boards[name]["fingerprint"]
            for window in self.plan.windows:
                low, high = (count * window / base for count in (min(counts), max(counts)))
                if low < LEAST_COUNT or high > MOST_COUNT:
                    most, least = int(MOST_COUNT * base / max(counts)), -(-LEAST_COUNT * base // min(counts))
                    raise UsageError(
                        f"in a window of {window} clocks {name} counts {low:.0f} to {high:.0f}, its counters hold "
                        f"16 bits: expected {least} to {most} clocks"
                    )

    # ------------------------------------------------------------------------------------------------- capturing

    def _series(self, series: int, name: str) -> None:
        plan, board = self.plan, self._boards[name]
        size = len(plan.windows) * plan.reads
        for number in range(self.partial.done(name), (series + 1) * size):
            if self._stop.is_set():
                raise _Stopped
            window = plan.windows[number % size // plan.reads]
            (counts,) = board.counts_of_all(window)
            if not all(counts):
                raise RingpairError(f"ring {counts.index(0)} stood still in read {number}: check the board's supply")
            self.partial.append(name, counts)
            self.progress(name, number + 1)

    def _noise(self, name: str) -> None:
        while (done := self.partial.noise_done(name)) < self.plan.noise_bytes:
            if self._stop.is_set():
                raise _Stopped
            size = min(BUFFER_BYTES, self.plan.noise_bytes - done)
            self.partial.append_noise(name, self._boards[name].noise(size, self.plan.interval))

    # ---------------------------------------------------------------------------------------------- power cycles

    def _power_cycle(self, series: int) -> None:
        """Wait until every board that has not begun this series was seen to start anew."""
        begun = series * len(self.plan.windows) * self.plan.reads
        waiting = [name for name in self.plan.names if self.partial.done(name) == begun]
        if not waiting:
            return
        for name in waiting:
            while self._boards[name].restarted(0):
                pass
        if self.cycle is None:
            self.note(f"switch off and on again, for series {series + 1} of {self.plan.series}: {', '.join(waiting)}")
        self._on_all(lambda name: self._restart(name, series) if name in waiting else None)
        self.partial.save_plan()

    def _restart(self, name: str, series: int) -> None:
        if self.cycle is not None:
            self.cycle(name)
        while not self._boards[name].restarted(POLL_S):
            if self._stop.is_set():
                raise _Stopped
        self._boards[name].close()
        end = time.monotonic() + REOPEN_S
        while True:
            try:
                self._connect(name)
                break
            except (TransportError, NoReply) as problem:
                if time.monotonic() > end:
                    raise TransportError(
                        f"{name} was switched off for series {series + 1} of {self.plan.series} and did not come back "
                        f"within {REOPEN_S:g} s ({problem}): connect it again, and go on with --resume"
                    ) from problem
                if self._stop.is_set():
                    raise
                time.sleep(POLL_S)
        if self.plan.restart_bytes:
            first = self._boards[name].noise(self.plan.restart_bytes, self.plan.interval)
            self.partial.keep_restart(name, series, first)
        self._recognize(name)
        if self.cycle is None:
            self.note(f"{name} started anew")


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
