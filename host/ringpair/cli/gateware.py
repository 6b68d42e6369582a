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

PROFILES = ("pair", "characterize")
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
    parser.add_argument("--seed", type=int, default=1, help="seed of placement (%(default)s)")


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
    return boards_module("build").build(
        arguments.board,
        arguments.profile,
        seed=arguments.seed,
        folder=arguments.output,
        progress=lambda step: output.note(f"    {step} ..."),
    )


def find(name: str) -> Any:
    """A `Board` by its name; within `builds`."""
    return boards_module("build").board(name)
