"""The figures of a report, each with its drawing, its numbers as a table, its method and its number of chips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import Figures
from .svg import Plot, heat_maps, waterfall

__all__ = ["Figure", "all_figures"]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Parameters
    ----------
    name : str
        For file names and anchors.
    title, caption : str
        What it shows; method and number of chips.
    svg : str
    columns : sequence of str
    rows : sequence of sequences
        The numbers behind the drawing.
    """

    name: str
    title: str
    caption: str
    svg: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def all_figures(result: Figures, without_table: Figures | None = None) -> list[Figure]:
    """Figures of what `evaluate` found, those that its data allow; and beside it, without a layout table."""
    bare = (without_table or {}).get("entropy")
    makers: tuple[Callable[[Figures], Figure | None], ...] = (
        _maps,
        _distances,
        _aliasing,
        _reads,
        _conditions,
        _correlation,
        _spectrum,
        lambda result: _account(result, bare),
        _acceptance,
        _noise,
        _failure,
        _search,
    )
    return [figure for make in makers if (figure := make(result)) is not None]


def _layers(grid: list[Any], values: Sequence[float]) -> Iterator[list[list[float | None]]]:
    for layer in grid:
        yield [[None if ring < 0 or ring >= len(values) else values[ring] for ring in row] for row in layer]


def _maps(result: Figures) -> Figure:
    maps = result["die"]["maps"]
    fields = [
        (name + _half(maps["grid"], layer), [[_percent(v) for v in row] for row in rows])
        for name, key in (("mean", "mean"), ("layout", "layout"), ("one chip", "example"))
        for layer, rows in enumerate(_layers(maps["grid"], maps[key]))
    ]
    scale = float(np.quantile(np.abs(maps["example"]), 0.98)) * 100
    die = result["die"]
    return Figure(
        "maps",
        "Die maps",
        f"Frequency of each ring relative to the mean of its chip: mean over all {result['chips']} chips, its "
        "deviation from "
        "the row of 16 (what a layout table holds), and one chip. The layout has a spread of "
        f"{die['layout_sd']:.3%}, what "
        f"remains {die['residual_sd']:.3%}: the layout's share of the variance is {_span(die, 'layout_share', '.1%')}. "
        f"Moran's I with four neighbors: {die['moran_raw']:.2f} raw, {die['moran_residual']:.2f} without the "
        "mean pattern, "
        f"{die['moran_row']:.2f} from the row; independent rings: {die['moran_expected']:.3f}.",
        heat_maps(fields, scale, "%", "Die maps"),
        ("ring", "mean", "layout", "one chip"),
        list(zip(range(len(maps["mean"])), maps["mean"], maps["layout"], maps["example"], strict=True)),
    )


def _half(grid: list[Any], layer: int) -> str:
    return f", half {chr(65 + layer)}" if len(grid) > 1 else ""


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _span(figures: Figures, name: str, form: str) -> str:
    interval = figures.get(f"{name}_ci")
    return f"{figures[name]:{form}}" + (f" [{interval[0]:{form}}, {interval[1]:{form}}]" if interval else "")


def _distances(result: Figures) -> Figure | None:
    methods = {name: figures for name, figures in result["methods"].items() if any(figures["distances_between"])}
    if not methods:
        return None
    top = max(height for f in methods.values() for _, height in _binned(_share(f, _KINDS[1]), f["bits"]))
    plot = Plot((0, 0.7), (0, 1.15 * top), "Hamming distance / bits", "density")
    rows: list[Sequence[Any]] = []
    for color, (name, figures) in enumerate(methods.items()):
        bits = figures["bits"]
        within, between = (_share(figures, kind) for kind in _KINDS)
        # a read's distances are few and narrow: drawn up to the top of the axis
        bars = [
            ((d - 0.5) / bits, (d + 0.5) / bits, min(v * bits, 1.1 * top)) for d, v in enumerate(within) if v > 1e-4
        ]
        plot.bars([(max(left, 0.0), right, height) for left, right, height in bars], f"{name}: reads", color)
        plot.line(_binned(between, bits), f"{name}: chips", color)
        rows += [
            (name, d, a, b) for d, (a, b) in enumerate(zip(*(figures[kind] for kind in _KINDS), strict=True)) if a or b
        ]
    chips = ", ".join(f"{name} {figures['distances_chips']}" for name, figures in methods.items())
    return Figure(
        "distances",
        "Distances within and between chips",
        "Bars: distance of each read from its reference (cut at the top). Lines: distance of two chips, "
        "within folds for the "
        f"device method. Chips used: {chips}.",
        plot.svg("Hamming distances"),
        ("method", "distance in bits", "reads", "pairs of chips"),
        rows,
    )


def _share(figures: Figures, kind: str) -> NDArray[np.float64]:
    return np.asarray(np.array(figures[kind]) / max(sum(figures[kind]), 1))


def _binned(shares: NDArray[np.float64], bits: int) -> list[tuple[float, float]]:
    """Density over distances in steps of about one hundredth of the bits, where there is any."""
    width = max(1, round(bits / 100))
    steps = np.arange(len(shares)) // width
    mass, number = np.bincount(steps, shares), np.bincount(steps)
    used = np.flatnonzero(mass)
    if not len(used):
        return []
    ends = range(max(used[0] - 1, 0), min(used[-1] + 2, len(mass)))
    return [((at + 0.5) * width / bits, mass[at] * bits / number[at]) for at in ends]


_KINDS = ("distances_within", "distances_between")


def _aliasing(result: Figures) -> Figure | None:
    device = result["methods"].get("device")
    if device is None:
        return None
    shares = device["bit_shares"]
    fields = [
        ("share of ones" + _half(result["die"]["maps"]["grid"], layer), rows)
        for layer, rows in enumerate(_layers(result["die"]["maps"]["grid"], [share - 0.5 for share in shares]))
    ]
    return Figure(
        "aliasing",
        "Bit-aliasing of the device's bits",
        f"Share of chips on which a ring's bit is 1, minus one half; {result['chips']} chips, layout table: "
        f"{device['layout']}. "
        f"Spread {device['bit_aliasing_sd']:.3f}; freed from what so few chips add: "
        f"{_span(device, 'bit_aliasing_sd_corrected', '.3f')}.",
        heat_maps(fields, 0.25, "", "Bit-aliasing"),
        ("ring", "share of ones"),
        list(enumerate(shares)),
    )


def _reads(result: Figures) -> Figure | None:
    methods = {name: figures for name, figures in result["methods"].items() if len(figures["wrong_by_read"]) > 1}
    if not methods:
        return None
    top = max(max(figures["wrong_by_read"]) for figures in methods.values()) or 0.01
    plot = Plot((0, result["reads"]), (0, 1.15 * top), "read", "bits unlike the reference", percent=True)
    rows: list[Sequence[Any]] = []
    for color, (name, figures) in enumerate(methods.items()):
        first = result["reads"] - len(figures["wrong_by_read"])
        points = [(first + read, share) for read, share in enumerate(figures["wrong_by_read"])]
        plot.line(points, name, color)
        rows += [(name, *point) for point in points]
    words = "; ".join(
        f"{name}: {figures['wrong_bits']:,} of {figures['bits_read']:,} bits wrong".replace(",", "\u202f")
        for name, figures in methods.items()
    )
    references = "; ".join(f"{name}: {figures['reference']}" for name, figures in methods.items())
    return Figure(
        "reads",
        "Reliability over the reads",
        f"Share of bits unlike the reference in each read, mean over {result['chips']} chips. {words}. "
        f"Reference - {references}.",
        plot.svg("Reliability over the reads"),
        ("method", "read", "share of wrong bits"),
        rows,
    )


def _conditions(result: Figures) -> Figure | None:
    names = result["conditions"]
    if len(names) < 2:
        return None
    methods = result["methods"]
    top = max(1 - row[0] for figures in methods.values() for row in figures["reliability_by_condition"]) or 0.01
    plot = Plot(
        (0, len(names) + 1), (0, 1.2 * top), "condition (number below)", "bits unlike the reference", percent=True
    )
    rows: list[Sequence[Any]] = []
    for color, (name, figures) in enumerate(methods.items()):
        points = [(at + 1, 1 - row[0]) for at, row in enumerate(figures["reliability_by_condition"])]
        plot.line(points, name, color, dots=True)
        rows += [(name, names[at - 1], share) for at, share in points]
    listed = "; ".join(f"{number} {name}" for number, name in enumerate(names, 1))
    return Figure(
        "conditions",
        "Reliability over conditions",
        f"Reads under each condition against the reference taken at {names[result['nominal_condition']]}; "
        f"{result['chips']} chips. Conditions: {listed}.",
        plot.svg("Reliability over conditions"),
        ("method", "condition", "share of wrong bits"),
        rows,
    )


def _correlation(result: Figures) -> Figure:
    rows = result["die"]["correlation_map"]
    reach_y, reach_x = max(row["dy"] for row in rows), max(row["dx"] for row in rows)
    field: list[list[float | None]] = [[None] * (2 * reach_x + 1) for _ in range(2 * reach_y + 1)]
    for row in rows:
        for sign in (1, -1):
            field[reach_y + sign * row["dy"]][reach_x + sign * row["dx"]] = row["correlation"]
    field[reach_y][reach_x] = None
    largest = max((abs(row["correlation"] or 0) for row in rows if row["dy"] or row["dx"]), default=0.0)
    return Figure(
        "correlation",
        "Correlation of rings in space",
        "Correlation of the deviations from the row, without the mean pattern, of two rings so many rows and "
        "columns apart; "
        f"{result['chips']} chips, up to {max(row['pairs'] for row in rows if row['dy'] or row['dx'])} pairs "
        "of rings a cell.",
        heat_maps([("correlation by distance", field)], largest, "", "Correlation of rings in space"),
        ("dy", "dx", "correlation", "pairs"),
        [(row["dy"], row["dx"], row["correlation"], row["pairs"]) for row in rows],
    )


def _spectrum(result: Figures) -> Figure | None:
    entropy = result["entropy"]
    if entropy is None:
        return None
    model, sample = entropy["spectrum"], entropy["sample_spectrum"]
    plot = Plot((0, len(model)), (0.01, 1.3 * max(sample)), "number", "eigenvalue", log_y=True)
    plot.line(list(enumerate(sample, 1)), "sample", 1, "5 4")
    plot.line(list(enumerate(model, 1)), "model (with shrinkage)", 0)
    plot.line([(1, 1.0), (len(model), 1.0)], "independent rings", 2, "2 4")
    return Figure(
        "spectrum",
        "Spectrum of the correlations",
        f"Eigenvalues of the correlation matrix of {entropy['rings']} rings (contrasts within rows), "
        f"{result['chips']} chips. "
        "The sample alone cannot tell noise from correlation; the model is drawn to the mean of equal "
        "distances with weight "
        f"{entropy['shrinkage']:.2f}. Its determinant costs {_span(entropy, 'lost_to_correlation', '.1f')} bits.",
        plot.svg("Spectrum of the correlations"),
        ("number", "model", "sample"),
        list(zip(range(1, len(model) + 1), model, sample, strict=True)),
    )


def _account(result: Figures, bare: Figures | None) -> Figure | None:
    entropy = result["entropy"]
    if entropy is None or "total" not in entropy:
        return None
    rows = [
        (f"{entropy['rings']} rings", float(entropy["rings"]), True),
        (f"means of {entropy['rows']} rows", -float(entropy["rows"]), False),
        ("bit-aliasing", -entropy["lost_to_aliasing"], False),
        ("correlation in space", -entropy["lost_to_correlation"], False),
        ("leakage of the helper data", -float(entropy["leaked"]), False),
        ("entropy", entropy["total"], True),
    ]
    beside = f" (without a layout table: {_span(bare, 'total', '.0f')})" if bare else ""
    return Figure(
        "entropy",
        "Entropy account",
        f"In bits, for {entropy['rings']} rings, {result['chips']} chips: {_span(entropy, 'total', '.0f')}{beside}. "
        "Aliasing as "
        "min-entropy, freed from chance; correlation by a Gaussian model with shrinkage, an upper bound of "
        "what bits tell of "
        "one another; leakage as mutual information of bit and helper value.",
        waterfall(rows, "Entropy account", "bits"),
        ("item", "bits"),
        [(name, value) for name, value, _ in rows],
    )


def _acceptance(result: Figures) -> Figure | None:
    methods = {name: figures for name, figures in result["methods"].items() if "false_accept" in figures}
    if not methods:
        return None
    plot = Plot((0, 0.6), (1e-12, 1), "threshold: distance / bits", "share", log_y=True)
    rows: list[Sequence[Any]] = []
    for color, (name, figures) in enumerate(methods.items()):
        bits = figures["bits"]
        curves = [figures[kind] for kind in ("false_accept", "false_accept_model", "false_reject")]
        plot.line([(d / bits, v) for d, v in enumerate(curves[1])], f"{name}: accept", color)
        plot.line([(d / bits, v) for d, v in enumerate(curves[2])], f"{name}: reject", color, "4 4")
        rows += [(name, d, *values) for d, values in enumerate(zip(*curves, strict=True))]
    gaps = "; ".join(
        f"{name}: reads up to {f['largest_within']}, chips from {f['smallest_between']} of {f['bits']} bits"
        for name, f in methods.items()
    )
    return Figure(
        "acceptance",
        "False acceptance and rejection",
        "If reads up to the threshold were taken for the chip: share of other chips accepted (binomial with "
        "the degrees of "
        f"freedom that fit) and of own reads rejected (as seen). {gaps}. {result['chips']} chips.",
        plot.svg("False acceptance and rejection"),
        ("method", "threshold", "false accept seen", "false accept model", "false reject seen"),
        rows,
    )


def _noise(result: Figures) -> Figure | None:
    rows = result["die"]["allan"]
    if len(rows) < 2:
        return None
    values = [row[kind] for row in rows for kind in ("total", "from_row")]
    low, high = 10 ** np.floor(np.log10(max(min(values), 1e-12))), 10 ** np.ceil(np.log10(max(*values, 1e-11)))
    plot = Plot((1, rows[-1]["reads"]), (low, high), "reads averaged", "Allan deviation", log_x=True, log_y=True)
    for color, (kind, name) in enumerate((("total", "ring alone"), ("from_row", "from its row"))):
        if all(row[f"{kind}_ci"] for row in rows):
            plot.band([(row["reads"], *row[f"{kind}_ci"]) for row in rows], color)
        plot.line([(row["reads"], row[kind]) for row in rows], name, color, dots=True)
    return Figure(
        "noise",
        "Noise by lag",
        f"Allan deviation of the relative frequency, mean over the rings of {result['chips']} chips; bands: "
        "95 % intervals. "
        "White noise falls with the root of the lag; what the row takes away is common to its rings.",
        plot.svg("Noise by lag"),
        ("reads", "ring alone", "from its row"),
        [(row["reads"], row["total"], row["from_row"]) for row in rows],
    )


def _failure(result: Figures) -> Figure | None:
    failure = result.get("key_failure")
    if failure is None:
        return None
    plot = Plot(
        (0, max(row["shift"] for row in failure["corner"])), (1e-12, 1), "shift, sigma", "keys lost", log_y=True
    )
    budgets = sorted({row["budget"] for row in failure["corner"]})
    for color, budget in enumerate(budgets):
        for kind, dash in (("corner", ""), ("measured", "5 4")):
            chosen = [row for row in failure[kind] if row["budget"] == budget]
            name = f"{budget} {'try' if budget == 1 else 'tries'}" if kind == "corner" else "measured"
            plot.line([(row["shift"], row["rate"]) for row in chosen], name, color, dash, dots=True)
    rows = [
        (kind, row["shift"], row["budget"], row["wrong_bit_rate"], row["rate"], *row["rate_ci"], row["bch"])
        for kind in ("corner", "measured")
        for row in failure[kind]
    ]
    return Figure(
        "failure",
        "Failure rate of the key",
        f"Importance sampling, 192 rings. Solid: corner model, every ring moved by an independent normal shift since "
        f"enrollment, read noise {failure['read_noise']:.3f} sigma. Dashed: margins and noise of "
        f"{failure['measured_rings']} "
        f"measured rings of {failure['chips']} chips, moved by the same shift; reads taken as normal beyond "
        "what was seen.",
        plot.svg("Failure rate of the key"),
        ("kind", "shift", "budget", "wrong bit rate", "rate", "low", "high", "BCH(255,171,11)"),
        rows,
    )


def _search(result: Figures) -> Figure | None:
    failure = result.get("key_failure")
    if failure is None:
        return None
    rows = failure["by_window"]
    shift = rows[0]["shift"]
    values = [row["rate"] for row in rows]
    ends = 10 ** np.floor(np.log10(max(min(values), 1e-15))), 10 ** np.ceil(np.log10(max(*values, 1e-14)))
    plot = Plot(
        (rows[0]["window"], rows[-1]["window"]), ends, "window, clocks of 12 MHz", "keys lost", log_x=True, log_y=True
    )
    plot.line([(row["window"], row["rate"]) for row in rows], f"192 rings, {rows[0]['budget']} tries", 0, dots=True)
    more = "; ".join(f"{row['rings']} rings {row['rate']:.1e}" for row in failure["by_rings"])
    return Figure(
        "window",
        "Failure rate by window and rings",
        f"Corner model at a shift of {shift:g} sigma, {rows[0]['budget']} tries (modeled, no chips). By "
        f"rings, at 512 clocks: {more}.",
        plot.svg("Failure rate by window"),
        ("window", "rings", "budget", "rate", "low", "high"),
        [
            (row.get("window", 512), row["rings"], row["budget"], row["rate"], *row["rate_ci"])
            for row in rows + failure["by_rings"]
        ],
    )
