"""Keys of many chips in the compiled gateware, in other reads and other weather; `scripts/campaign.py` runs them.

A key counts as regenerated if the device says so, and its id, which follows from the key, is the one it enrolled with.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ringpair.measure.readers import open_files
from ringpair.measure.survey import Tables, fold_of, survey
from ringpair.silicon import MeasuredSilicon
from ringpair.virtual import Design, Parameters, RingReads, Silicon, build
from ringpair.virtual.rings import Rings
from ringpair.virtual.silicon import rings_of
from ringpair_boards.virtual import layout_argument
from ringpair_protocol import puf
from ringpair_protocol.admin import Code, Opcode, Status
from scipy.stats import beta  # type: ignore[import-untyped]

from scripts.bench_device import PUF, Host
from scripts.campaign import Trial

DATA = "spartan3e_ro_dev97.npz"
FOLDS = 2
CELSIUS, VOLT = (0.0, 60.0), (1.14, 1.26)
KEYS_OF_A_BOARD = 25
CONFIDENCE = 0.95


class Bench(Host):
    """A board whose silicon changes under its hands; enrolled on that which it is given first."""

    def __init__(self, library: Path, seed: int, rings: Rings):
        super().__init__(library, seed, silicon=rings)
        self.entry = self.enroll()

    def key(self, rings: Rings) -> tuple[bool, int, int]:
        """Whether the key of now is that of the enrollment; candidates and cycles that it took."""
        self.device.set_rings(rings)
        before = self.device.status.phase_cycles[PUF]
        code = self.code(Opcode.PEER, b"\0")
        cycles = int(self.device.status.phase_cycles[PUF] - before)
        if code not in (Code.OK, Code.PUF_FAILED):
            raise RuntimeError(f"expected OK or PUF_FAILED, the device said {code.name}")
        status = Status.from_bytes(self.ask(Opcode.STATUS))
        return code is Code.OK and status.device_id == self.entry.device_id, status.tries, cycles


def interval(hits: int, trials: int) -> tuple[float, float]:
    """95 % interval of a probability (Clopper and Pearson, Biometrika 26, 1934); one-sided if none or all were hit."""
    tail = (1 - CONFIDENCE) / (2 if 0 < hits < trials else 1)
    low = float(beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.isf(tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return low, high


class Count:
    """What became of the keys of a campaign, noted after each board: an interrupt leaves what there is."""

    def __init__(self, trial: Trial):
        self.trial = trial
        self.boards = self.lost = self.boards_lost = self.searched = self.tries = self.cycles = 0

    @contextmanager
    def board(self, name: str, bench: Bench) -> Iterator[None]:
        """Counts the keys of one board."""
        self.name, self.bench, before = name, bench, self.lost
        try:
            yield
        finally:
            bench.device.close()
            self.boards += 1
            self.boards_lost += self.lost > before
            self.note()

    def keys(self, conditions: Iterable[tuple[str, Rings]]) -> None:
        """A key in each of these conditions, as long as the trial wants."""
        for condition, rings in conditions:
            if not self.trial.left:
                return
            kept, tries, cycles = self.bench.key(rings)
            self.trial.count()
            if not kept:
                self.lost += 1
                self.trial.lose(f"the key of {self.name}, {condition}")
                continue
            self.searched += tries > 1
            self.tries, self.cycles = max(self.tries, tries), max(self.cycles, cycles)

    def note(self) -> None:
        """Figures for the table. Keys of one board are alike: so there is a rate of boards with a lost key, too."""
        for name, hits, trials in (
            ("rate of lost keys", self.lost, self.trial.tried),
            ("of boards", self.boards_lost, self.boards),
        ):
            low, high = interval(hits, trials)
            self.trial.notes[name] = f"{hits / trials:.2g} [{low:.2g}, {high:.2g}]"
        self.trial.notes |= {
            "boards": self.boards,
            "keys that needed the search": self.searched,
            "most tries": self.tries,
            "most cycles": self.cycles,
        }


# ------------------------------------------------------------------------------------------------------ measured chips


def tables_of(path: Path) -> list[puf.Quantizer]:
    """For each half of the chips the table and spread of the other half, as `ringpair metrics` learns them."""
    learned = Tables.learned(survey(open_files([path], puf.RINGS), FOLDS))
    return [
        puf.Quantizer(puf.Layout(1 + fold, tuple(map(int, entries))).packed(), int(sigma))
        for fold, (entries, sigma) in enumerate(zip(learned.entries[0], learned.sigma_ppm[0], strict=True))
    ]


def measured(trial: Trial) -> None:
    """Every chip of the measured set as a virtual board's silicon: enrolled on its first 16 reads, and its key
    regenerated from each of the others.

    The table is in the gateware's ROM and is never learned on a chip that it judges: two boards are compiled.
    """
    folder = os.environ.get("RINGPAIR_RO_DATA")
    if folder is None:
        raise RuntimeError(f"the measured chips need RINGPAIR_RO_DATA: the folder of {DATA}")
    path = Path(folder, DATA)
    quantizers = tables_of(path)
    chips = open_files([path]).chips
    folds = fold_of(np.arange(chips), FOLDS)
    count, libraries = Count(trial), dict[int, Path]()
    for chip, fold in enumerate(folds.tolist()):
        if not trial.left:
            break
        if fold not in libraries:
            libraries[fold] = build(Design(arguments={"layout": layout_argument(quantizers[fold])}), trial.tell)
        silicon = MeasuredSilicon(path, chip, first_read=0, noise_seed=trial.seed)
        counts = silicon.frequencies.T * puf.WINDOW_CLOCKS / puf.WINDOW_FREQUENCY
        bench = Bench(libraries[fold], trial.seed + chip, RingReads(counts[: puf.ENROLL_READS]))
        with count.board(f"chip {chip}", bench):
            count.keys(
                (f"read {read}", RingReads(counts[read : read + 1])) for read in range(puf.ENROLL_READS, len(counts))
            )


# ------------------------------------------------------------------------------------------------------ modeled boards


def modeled(seed: int, celsius: float = 25.0, volt: float = 1.2) -> Rings:
    """Rings of the silicon model."""
    return rings_of(Silicon(seed=seed, temperature=celsius, voltage=volt), Parameters())


def weather(trial: Trial) -> None:
    """Boards of the silicon model, enrolled at 25 degrees and 1.2 V; keys at the four corners of 0 to 60 degrees and
    1.2 V +- 5 %, and at conditions drawn from in between.
    """
    library, count, number = build(Design(), trial.tell), Count(trial), 0
    low, high = zip(CELSIUS, VOLT, strict=True)
    while trial.left:
        drawn = np.random.default_rng([trial.seed, number]).uniform(low, high, (KEYS_OF_A_BOARD - 4, 2))
        conditions = [(celsius, volt) for celsius in CELSIUS for volt in VOLT] + drawn.tolist()
        with count.board(f"board {number}", Bench(library, number, modeled(number))):
            count.keys((f"{c:.1f} degrees, {v:.3f} V", modeled(number, c, v)) for c, v in conditions)
        number += 1
