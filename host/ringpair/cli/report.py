"""``ringpair report FILE... -o report.html``: the metrics as a page one can send to a reviewer."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from .metrics import Progress, add_data, add_options, make_options, open_data, open_runner
from .output import Output

HELP = "a page with all metrics and figures of measured rings"


def configure(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    add_options(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="the page, .html; an earlier report is replaced",
    )
    parser.add_argument("--title", help="heading (default: the files)")
    parser.add_argument(
        "--export", type=Path, metavar="DIR", help="also each figure as SVG and CSV, all numbers as JSON"
    )


def run(arguments: argparse.Namespace, output: Output) -> None:
    data = open_data(arguments)
    from ringpair.measure.evaluate import device_account, evaluate
    from ringpair.measure.figures import all_figures
    from ringpair.measure.files import check_folder, check_output, write_whole
    from ringpair.measure.makers import possible_methods
    from ringpair.measure.page import GENERATOR, NUMBERS, claims, export, page

    check_output(arguments.output, ".html", "report of ringpair", GENERATOR)
    if arguments.export:
        check_folder(arguments.export, NUMBERS)
    methods = possible_methods(data)
    options = make_options(arguments, data, methods=methods, failure=True)
    with open_runner(arguments) as run, Progress(output) as progress:
        result = evaluate(data, options, progress, run)
        without = None
        if "device" in methods and result["methods"]["device"]["layout"] != "no table":
            bare = replace(options, methods=("device",), folds=0, tables=None, sigma_ppm=None, die=False, failure=False)
            without = evaluate(data, bare, progress, run)["methods"]["device"]
            if "total" in (result["entropy"] or {}):
                without["entropy"] = device_account(result["entropy"], without)
    figures = all_figures(result, without)
    title = arguments.title or "Ring-oscillator PUF: " + Path(data.name).name
    write_whole(arguments.output, page(result, without, figures, title))
    files = export(arguments.export, figures, result) if arguments.export else []
    output.note(f"wrote {arguments.output}" + (f" and {len(files)} files in {arguments.export}" if files else ""))
    rows = claims(result)
    names = ("claim", "target", "found", "verdict")
    summary = [dict(zip(names, row, strict=True)) for row in rows]
    output.table({"file": str(arguments.output), "figures": [f.name for f in figures], "claims": summary}, names, rows)
