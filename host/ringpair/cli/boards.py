"""``ringpair boards``: which boards there are, and what fits on them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .gateware import PROFILES, boards_module, builds
from .output import Output

HELP = "list the boards, what fits on them, and where their ports are"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--builds", type=Path, default=Path("build"), metavar="DIR", help="where builds lie (build)")


def run(arguments: argparse.Namespace, output: Output) -> None:
    with builds():
        rows = [describe(board, arguments.builds) for board in boards_module("build").boards()]
    output.table(
        {"boards": rows},
        ("board", "name", "chip", "rings", *PROFILES, "admin port", "flashed by"),
        (
            [
                *(row["title"], row["board"], row["chip"], row["rings"]),
                *(_words(row["profiles"][profile]) for profile in PROFILES),
                *(row["admin"], row["program"]),
            ]
            for row in rows
        ),
    )


def describe(board: Any, folder: Path) -> dict[str, Any]:
    """A `Board` for ``--json``: what its chip has, what each profile may take, and what the last build took."""
    chip = board.chip
    return {
        "board": board.name,
        "title": board.title,
        "chip": chip.name,
        "cells_available": chip.cells,
        "rams_available": chip.rams,
        "dsps_available": chip.dsps,
        "clock_mhz": board.clock_mhz,
        "rings": board.floorplan.rings,
        "floorplan": board.floorplan.identifier.hex(),
        "admin": board.admin.where,
        "peer": board.peer.where,
        "program": board.program[0],
        "notes": list(board.notes),
        "profiles": {profile: _fit(board, profile, folder) for profile in PROFILES},
    }


def _fit(board: Any, profile: str, folder: Path) -> dict[str, Any]:
    if profile not in board.budgets:
        return {"fits": False, "budget": None, "built": None}
    budget, chip = board.budgets[profile], board.chip
    fits = budget.cells <= chip.cells and budget.rams <= chip.rams and budget.dsps <= chip.dsps
    path = folder / f"{board.name}-{profile}" / f"{board.name}-{profile}.json"
    built = None
    try:
        report = boards_module("report").BuildReport.read(path)
    except (OSError, ValueError, TypeError):  # never built, or by another version
        pass
    else:
        built = {"cells": report.cells, "rams": report.rams, "fmax_mhz": report.fmax_mhz, "refused": report.refused}
    return {"fits": fits, "budget": {"cells": budget.cells, "rams": budget.rams, "dsps": budget.dsps}, "built": built}


def _words(fit: dict[str, Any]) -> str:
    built, budget = fit["built"], fit["budget"]
    if built:
        return f"{built['cells']} cells, {built['rams']} RAM" + (", refused" if built["refused"] else "")
    return f"fits: <= {budget['cells']} cells, {budget['rams']} RAM" if fit["fits"] else "does not fit"
