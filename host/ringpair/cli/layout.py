"""``ringpair layout learn FILE... -o layout.json``: the systematic part of the ring frequencies."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ringpair.errors import UsageError

from .metrics import add_data, open_data, open_runner
from .output import Output

if TYPE_CHECKING:
    from ringpair.measure.dataset import Dataset

HELP = "learn the layout table of a design from characterized chips"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    learn = actions.add_parser("learn", help="learn a table and judge it by cross-validation")
    add_data(learn)
    learn.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="the table, .json; an earlier table is replaced",
    )
    learn.add_argument("--version", type=int, default=1, metavar="N", help="version of the table (%(default)s)")
    learn.add_argument("--folds", type=int, default=4, metavar="K", help="of the cross-validation (%(default)s)")
    learn.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace, output: Output) -> None:
    data = open_data(arguments)
    from ringpair.measure.files import check_output
    from ringpair.measure.layout import KIND, learn_layout, write_layout

    check_output(arguments.output, ".json", "layout table", KIND)
    if arguments.folds < 2:
        raise UsageError(f"--folds must be 2 or more, not {arguments.folds}: no table is judged on its own chips")
    with open_runner(arguments) as run:
        layout = learn_layout(data, arguments.version, arguments.folds, run=run)
    if (floorplan := floorplan_of(data)) is not None:
        layout = replace(layout, floorplan=floorplan)
    write_layout(arguments.output, layout)
    judged = layout.cross_validation
    names = [name for name in judged["with_table"] if not name.endswith("_ci")]
    rows = [[name.replace("_", " "), *(_cell(judged[side][name]) for side in SIDES)] for name in names]
    output.note(f"wrote {arguments.output}: {len(layout.entries)} rings, learned from {layout.chips} chips")
    result = {
        "file": str(arguments.output),
        "version": layout.version,
        "chips": layout.chips,
        "rings": len(layout.entries),
        "sigma_ppm": layout.sigma_ppm,
        "floorplan": layout.floorplan,
        "cross_validation": judged,
    }
    output.table(result, ("on chips not learned from", *(side.replace("_", " ") for side in SIDES)), rows)


def floorplan_of(data: Dataset) -> str | None:
    """Floorplan id of the boards from which the data were captured, in hex; None if the data do not tell.

    Raises
    ------
    UsageError
        The boards have different ones.
    """
    found = {board["floorplan"] for part in _parts(data) for board in part.meta.extra.get("boards", {}).values()}
    if len(found) > 1:
        raise UsageError(f"the boards have different floorplans, {', '.join(sorted(found))}: learn a table for each")
    return found.pop() if found else None


def _parts(data: Dataset) -> Iterator[Dataset]:
    """The data sets that one is made of, as captured."""
    from ringpair.measure.dataset import FirstRings
    from ringpair.measure.joined import Conditions, Joined

    if isinstance(data, Joined | Conditions):
        for part in data.parts:
            yield from _parts(part)
    else:
        yield data.source if isinstance(data, FirstRings) else data


SIDES = ("with_table", "as_built", "without_table")


def _cell(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.5g}"
