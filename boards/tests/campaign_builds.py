"""The campaign that builds the device for every board with several seeds; `scripts/campaign.py` runs it."""

from itertools import islice, product

from ringpair_boards.build import BOARDS, SEED, board, build
from ringpair_boards.report import BuildFailed, BuildReport

from boards.tests.conftest import BUILDS
from scripts.campaign import Trial

SEEDS = (SEED, 2, 3)


def build_device(name: str, seed: int | None = None) -> BuildReport:
    """Report of the device's build, refused or not; cached by content. Without a seed, with the board's own."""
    seed = board(name).budgets["pair"].seed if seed is None else seed
    try:
        return build(name, seed=seed, folder=BUILDS / f"{name}-pair-{seed}")
    except BuildFailed as failure:
        return failure.report


def wrong_rings(name: str, seed: int) -> list[str]:
    """What is wrong with a build, but for its budget: that is kept with the board's own seed."""
    report = build_device(name, seed)
    wrong = [reason for reason in report.refused if "over the budget" not in reason and "MHz are needed" not in reason]
    if (report.rings, report.rings_identical) != (192, 192):
        wrong.append(f"{report.rings_identical} of {report.rings} identical")
    return wrong


def board_seeds(trial: Trial) -> None:
    """All 192 rings are alike, wherever the cells of the device fall."""
    for name, seed in islice(product(BOARDS, SEEDS), trial.goal):
        if wrong := wrong_rings(name, seed):
            trial.lose(f"{name} with seed {seed}: {', '.join(wrong)}")
        trial.count()
