"""``ringpair metrics FILE...``: how good is this PUF?"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringpair.errors import UsageError

from .output import Output

if TYPE_CHECKING:
    from ringpair.measure.dataset import Dataset
    from ringpair.measure.evaluate import Options
    from ringpair.measure.work import Runner

HELP = "uniqueness, reliability, entropy and more of measured rings"

METHODS = {"neighbor": "neighbor", "neighbour": "neighbor", "chain": "chain", "device": "device"}
SHOWN = (
    "bits",
    "uniqueness",
    "reliability",
    "uniformity",
    "bit_aliasing_sd",
    "min_entropy_per_bit",
    "min_entropy_per_bit_corrected",
    "steadiness",
    "diffuseness",
    "leakage_bits_per_ring",
    "wrong_bits",
    "bits_read",
)
SHOWN_DIE = (
    *("layout_sd", "residual_sd", "layout_share", "moran_raw", "moran_residual", "moran_row"),
    *("temperature_coefficient", "temperature_shift_per_unit", "voltage_coefficient", "voltage_shift_per_unit"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    add_options(parser)
    parser.add_argument("--failure", action="store_true", help="also failure rates of the key, down to 1e-9")
    parser.add_argument(
        "--method", choices=METHODS, metavar="METHOD", help="only one way to make bits: neighbor, chain or device"
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """The positional FILES."""
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="measurements: .parquet, .npz, .h5 or .hdf5, .csv or .txt (one chip a file), or a folder of these texts; "
        "several are one data set: other chips, or the same chips under other conditions",
    )
    parser.add_argument("--rings", type=int, metavar="N", help="use only the first N rings of each chip")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="compute on the Dask cluster of this scheduler, such as tcp://HOST:8786"
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """How to evaluate."""
    table = parser.add_mutually_exclusive_group()
    table.add_argument(
        "--layout-folds",
        type=int,
        default=4,
        metavar="K",
        help="the device method learns its layout table on the chips of the other folds (%(default)s); 0: no table",
    )
    table.add_argument("--layout", type=Path, metavar="FILE", help="a layout table learned elsewhere")
    parser.add_argument("--sigma-ppm", type=int, metavar="PPM", help="spread for the device method (default: learned)")
    parser.add_argument(
        "--replicates", type=int, default=400, metavar="N", help="of the bootstrap (%(default)s); 0: no intervals"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of bootstrap and counter phases (%(default)s)"
    )


def open_data(arguments: argparse.Namespace) -> Dataset:
    """The data set that FILES name.

    Raises
    ------
    UsageError
        The libraries for measurements are not installed.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small: a second thread only waits
    try:
        from ringpair.measure.readers import open_files
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed: pip install 'ringpair[measure]'") from error
    if arguments.rings is not None and arguments.rings < 1:
        raise UsageError(f"--rings must be at least 1, not {arguments.rings}")
    paths = [path.absolute() for path in arguments.files] if arguments.scheduler else arguments.files
    return open_files(paths, arguments.rings)


@contextmanager
def open_runner(arguments: argparse.Namespace) -> Iterator[Runner]:
    """What makes the sums: this process, or the cluster of --scheduler."""
    if arguments.scheduler is None:
        from ringpair.measure.work import here

        yield here
    else:
        from ringpair.measure.cluster import Cluster

        with Cluster(arguments.scheduler) as cluster:
            yield cluster


def make_options(arguments: argparse.Namespace, data: Dataset, **more: Any) -> Options:
    """Options of the evaluation."""
    from ringpair_protocol import puf

    from ringpair.measure.evaluate import Options
    from ringpair.measure.layout import read_layout

    for name, low, high in (
        ("layout_folds", 0, 1000),
        ("replicates", 0, 100_000),
        ("seed", 0, 2**32 - 1),
        ("sigma_ppm", 1, puf.SIGMA_PPM_MAX),
    ):
        value = getattr(arguments, name)
        if value is not None and not low <= value <= high:
            raise UsageError(f"--{name.replace('_', '-')} must be {low} to {high}, not {value}")
    if arguments.layout_folds == 1:
        raise UsageError(
            "--layout-folds must be 0 or at least 2: a table is not judged on the chips it was learned from"
        )
    return Options(
        folds=arguments.layout_folds,
        tables=read_layout(arguments.layout).tables(data.rings) if arguments.layout else None,
        sigma_ppm=arguments.sigma_ppm,
        replicates=arguments.replicates,
        seed=arguments.seed,
        **more,
    )


def run(arguments: argparse.Namespace, output: Output) -> None:
    data = open_data(arguments)
    from ringpair.measure.evaluate import evaluate
    from ringpair.measure.makers import possible_methods

    chosen = (METHODS[arguments.method],) if arguments.method else possible_methods(data)
    options = make_options(arguments, data, methods=chosen, failure=arguments.failure)
    with open_runner(arguments) as run, Progress(output) as progress:
        result = evaluate(data, options, progress, run)
    for note in result["notes"]:
        output.note(note)
    if arguments.method:
        result |= {"method": chosen[0]} | result.pop("methods")[chosen[0]]
    methods = result.get("methods") or {chosen[0]: result}
    rows = [
        [name.replace("_", " "), *(_cell(figures, name) for figures in methods.values())]
        for name in SHOWN
        if any(name in figures for figures in methods.values())
    ]
    rows += [
        [name.replace("_", " "), _cell(result["die"], name)] + [""] * (len(methods) - 1)
        for name in SHOWN_DIE
        if result["die"].get(name) is not None
    ]
    rows += _account(result["entropy"], len(methods)) + _failure(result.get("key_failure"), len(methods))
    title = f"{result['chips']} chips, {result['rings']} rings, {result['reads']} reads"
    output.table(result, (title, *methods), rows)


def _account(entropy: dict[str, Any] | None, columns: int) -> list[list[str]]:
    if not entropy or "total" not in entropy:
        return []
    about = f"of {entropy['rings']} rings"
    return [[f"entropy {about}, bits", *([""] * (columns - 1)), _cell(entropy, "total", ".1f")]]


def _failure(failure: dict[str, Any] | None, columns: int) -> list[list[str]]:
    if failure is None:
        return []
    return [
        [f"key failure, {kind}, shift {row['shift']:g} sigma", *([""] * (columns - 1)), _cell(row, "rate", ".2g")]
        for kind in ("measured", "corner")
        for row in failure[kind]
        if row["budget"] == max(entry["budget"] for entry in failure[kind])
    ]


def _cell(figures: dict[str, Any], name: str, form: str = ".5g") -> str:
    value = figures.get(name)
    if value is None or isinstance(value, int):
        return "" if value is None else str(value)
    interval = figures.get(name + "_ci")
    return f"{value:{form}}" + (f"  [{interval[0]:{form}}, {interval[1]:{form}}]" if interval else "")


class Progress:
    """A bar on a terminal's standard error, nothing elsewhere."""

    def __init__(self, output: Output) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self._bar = Bar(console=console, transient=True, disable=output.json or not console.is_terminal)
        self._task = self._bar.add_task("chips")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, all: int) -> None:
        self._bar.update(self._task, completed=done, total=all)
