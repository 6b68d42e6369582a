"""What the verbs for real boards share: options, and the errors of the builds as this package's."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ringpair.errors import RingpairError, UsageError

from .output import Output

PROFILES = ("pair", "full", "characterize")
INSTALL = "pip install 'ringpair[build]'"


class BuildRefused(RingpairError):
    """A build came to an end, and its result must not be used."""


class ToolMissing(RingpairError):
    """A program that this command runs is not installed."""


def add_build(parser: argparse.ArgumentParser) -> None:
    """The positional BOARD and the options of a build."""
    parser.add_argument("board", metavar="BOARD", help="name of a board: see `ringpair boards`")
    parser.add_argument("--profile", choices=PROFILES, default="pair", help="which gateware (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder (default: build/BOARD-PROFILE)")
    parser.add_argument("--seed", type=int, help="seed of placement (default: the one that suits the profile)")
    parser.add_argument(
        "--layout", type=Path, metavar="FILE", help="layout table of this board's rings, from `ringpair layout learn`"
    )


def boards_module(name: str) -> Any:
    """A module of `ringpair_boards`, which a host-only installation lacks.

    Raises
    ------
    ToolMissing
    """
    try:
        return import_module(f"ringpair_boards.{name}")
    except ModuleNotFoundError as problem:
        raise ToolMissing(f"builds need {problem.name}, which is not installed: {INSTALL}") from problem


@contextmanager
def builds() -> Iterator[None]:
    """Errors of `ringpair_boards` as errors of the command line, one line each.

    Raises
    ------
    UsageError
        No such board, or an option without sense.
    ToolMissing, BuildRefused, RingpairError
    """
    build, report, tools = map(boards_module, ("build", "report", "tools"))
    try:
        yield
    except report.BuildFailed as problem:
        raise BuildRefused("refused: " + "; ".join(problem.report.refused)) from problem
    except tools.ToolMissing as problem:
        raise ToolMissing(str(problem)) from problem
    except tools.ToolError as problem:
        raise RingpairError("; ".join(line.strip() for line in str(problem).splitlines() if line.strip())) from problem
    except (build.UnknownBoard, ValueError) as problem:
        raise UsageError(str(problem)) from problem
    except OSError as problem:
        raise UsageError(f"cannot write the build's files: {problem}") from problem


def build_for(arguments: argparse.Namespace, output: Output) -> Any:
    """Build what the options name, telling of each step; returns a `BuildReport`."""
    return boards_module("build").build(arguments.board, arguments.profile, **build_options(arguments, output))


def build_options(arguments: argparse.Namespace, output: Output) -> dict[str, Any]:
    """What the options say of a build, besides board and profile.

    Raises
    ------
    UsageError
        The layout table is for other rings.
    """
    quantizer = None
    if arguments.layout is not None:
        rings = find(arguments.board).floorplan
        quantizer = read_quantizer(arguments.layout, rings.identifier.hex(), f"{arguments.board} ({rings.name})")
    return {
        "seed": arguments.seed,
        "quantizer": quantizer,
        "folder": arguments.output,
        "progress": lambda step: output.note(f"    {step} ..."),
    }


def read_quantizer(path: Path, floorplan: str, whose: str) -> Any:
    """The `Quantizer` of a layout table for the rings of a floorplan.

    Parameters
    ----------
    path : Path
        A file of `ringpair layout learn`.
    floorplan : str
        Id of the floorplan, in hex.
    whose : str
        What has these rings.

    Raises
    ------
    UsageError
        The table is of another floorplan, or has another number of rings.
    """
    try:
        from ringpair.measure.layout import read_layout
    except ModuleNotFoundError as problem:
        raise UsageError(f"{problem.name} is not installed: pip install 'ringpair[measure]'") from problem
    layout = read_layout(path)
    if layout.floorplan != floorplan:
        raise UsageError(
            f"{path} was learned from rings of floorplan {layout.floorplan}, those of {whose} are {floorplan}: "
            "learn a table from boards of this kind"
        )
    try:
        return layout.quantizer()
    except ValueError as problem:
        raise UsageError(f"{path}: {problem}") from problem


def find(name: str) -> Any:
    """A `Board` by its name; within `builds`."""
    return boards_module("build").board(name)
