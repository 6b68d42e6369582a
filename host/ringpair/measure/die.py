"""Figures of the rings themselves, before any bit: layout pattern, correlation in space, noise, environment."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bits import Figures, plain
from .dataset import Batch, Dataset
from .entropy import JointSums
from .floorplan import Lags, grid
from .resample import interval
from .survey import Survey, deviations, row_length

__all__ = ["DieSums", "Geometry", "die_figures"]

FloatArray = NDArray[np.float64]
SCALARS = ("moran_raw", "moran_residual", "moran_row", "frequency", "frequency2")
SLOPES = ("common", "spread")
ENVIRONMENT = (("temperature", 2.0), ("voltage", 0.01))
"""What may change from condition to condition, and by how much it must to count."""


class Geometry:
    """What every batch of a data set needs and never changes."""

    def __init__(self, data: Dataset, first_pass: Survey) -> None:
        self.survey, self.nominal, self.conditions = first_pass, data.nominal, data.conditions
        self.grid = grid(data.meta.floorplan, data.rings)
        self.lags = Lags(self.grid)
        self.spans = [1 << power for power in range(20) if 1 << power <= data.reads // 2]
        """Lags of the Allan deviation, in reads."""
        self.series, self.slopes, self.confounded = self._environment()

    def _environment(self) -> tuple[list[int], FloatArray, bool]:
        """How slopes come from the conditions: which ones, the weight of each (2 x conditions), whether none can.

        Least squares by temperature and voltage together, over the conditions with the nominal window. What hardly
        changes is left out: its slope has no weights.
        """
        window = self.conditions[self.nominal].window
        weights = np.zeros((2, 0))
        alike = [number for number, at in enumerate(self.conditions) if at.window == window]

        def known(name: str) -> list[float]:
            return [value for number in alike if (value := getattr(self.conditions[number], name)) is not None]

        used = [name for name, least in ENVIRONMENT if np.ptp(known(name) or [0]) > least]
        series = [
            number for number in alike if all(getattr(self.conditions[number], name) is not None for name in used)
        ]
        if not used or not series:
            return [], weights, False
        values = np.array([[getattr(self.conditions[number], name) for name in used] for number in series], dtype=float)
        values -= values.mean(0)
        if np.linalg.matrix_rank(values / np.linalg.norm(values, axis=0).clip(1e-9), tol=0.1) < len(used):
            return [], weights, True
        weights = np.zeros((2, len(series)))
        weights[[name in used for name, _ in ENVIRONMENT]] = np.linalg.pinv(values)
        return series, weights, False


@dataclass
class DieSums:
    """Sums over chips; axis 0 is estimate and bootstrap replicates.

    Attributes
    ----------
    weight, weight2 : 1 + B
    pattern : (1 + B) x rings
        Deviations from the row.
    squares : 1 + B
        Their squares, mean over rings.
    scalars : (1 + B) x len(SCALARS)
    allan : (1 + B) x 2 x spans
        Allan variance of each ring, total and from the row.
    slopes : (1 + B) x 2 x len(SLOPES)
        Temperature and voltage: mean relative slope of the rings of a chip, and variance among its rings.
    products : steps
        Of standardized deviations a distance apart.
    example : rings
        Deviation of the first chip from its own mean.
    joint : JointSums
    """

    weight: FloatArray
    weight2: FloatArray
    pattern: FloatArray
    squares: FloatArray
    scalars: FloatArray
    allan: FloatArray
    slopes: FloatArray
    products: FloatArray
    example: FloatArray
    joint: JointSums

    @classmethod
    def empty(cls, rings: int, geometry: Geometry, replicates: int) -> DieSums:
        rows, spans = 1 + replicates, len(geometry.spans)
        return cls(
            weight=np.zeros(rows),
            weight2=np.zeros(rows),
            pattern=np.zeros((rows, rings)),
            squares=np.zeros(rows),
            scalars=np.zeros((rows, len(SCALARS))),
            allan=np.zeros((rows, 2, spans)),
            slopes=np.zeros((rows, 2, len(SLOPES))),
            products=np.zeros(len(geometry.lags.steps)),
            example=np.zeros(rings),
            joint=JointSums.empty(rings),
        )

    def __add__(self, other: DieSums) -> DieSums:
        sums = {
            part.name: getattr(self, part.name) + getattr(other, part.name)
            for part in fields(self)
            if part.name != "example"
        }
        return DieSums(**sums, example=self.example if self.example.any() else other.example)

    def add(self, batch: Batch, geometry: Geometry, weights: FloatArray) -> None:
        """Take some chips in."""
        survey, values = geometry.survey, batch.values[:, geometry.nominal]
        sums = values.sum(2, dtype=float)
        rows, relative = deviations(sums), sums / sums.mean(1, keepdims=True) - 1
        residual = rows - survey.pattern
        self.weight += weights.sum(1)
        self.weight2 += (weights**2).sum(1)
        self.pattern += weights @ rows
        self.squares += weights @ (rows**2).mean(1)
        frequency = values.mean((1, 2)) / survey.mean
        moran = geometry.lags.moran
        scalars = (moran(relative), moran(relative - survey.relative_pattern), moran(residual))
        self.scalars += weights @ np.nan_to_num(np.stack([*scalars, frequency, frequency**2], 1))
        if geometry.spans:
            self.allan += np.einsum("bc,ctl->btl", weights, _allan(values, geometry.spans))
        for number, slopes in enumerate(geometry.slopes):
            if slopes.any():
                self.slopes[:, number] += weights @ _slopes(batch.values, geometry, slopes)
        standard = residual / survey.deviation
        self.products += geometry.lags.products(standard).sum(0)
        if batch.first == 0:
            self.example = relative[0]
        self.joint.add(standard, batch.first)


def _allan(values: NDArray[Any], spans: list[int]) -> FloatArray:
    """Allan variance of the relative frequency, mean over rings: chips x (total, from the row) x spans.

    sigma^2(m) = 1/2 <(y[k + 1] - y[k])^2> with y[k] the mean of reads k m ... k m + m - 1 (Allan, Proc. IEEE 54, 1966).
    """
    total = values / values.mean(2, keepdims=True)
    result = np.empty((len(values), 2, len(spans)))
    for kind, series in enumerate((total, deviations(values))):
        for number, span in enumerate(spans):
            whole = series.shape[2] // span * span
            means = series[:, :, :whole].reshape(*series.shape[:2], -1, span).mean(3)
            result[:, kind, number] = (np.diff(means, axis=2) ** 2).mean((1, 2)) / 2
    return result


def _slopes(values: NDArray[Any], geometry: Geometry, weights: FloatArray) -> FloatArray:
    """Least squares through the conditions, relative to the nominal frequency: chips x SLOPES."""
    means = values.mean(3)
    slopes = np.einsum("k,ckr->cr", weights, means[:, geometry.series] / means[:, [geometry.nominal]])
    length = row_length(slopes.shape[1])
    rows = slopes.reshape(len(slopes), -1, length)
    spread = rows.var(2, ddof=1).mean(1) if length > 1 else np.zeros(len(rows))
    return np.stack([slopes.mean(1), spread], 1)


def die_figures(sums: DieSums, geometry: Geometry) -> Figures:
    """Figures with their intervals, and maps."""
    survey, chips = geometry.survey, int(sums.weight[0])
    weight = sums.weight
    result: Figures = {}

    def put(name: str, values: FloatArray, center: bool = False) -> None:
        result[name], result[name + "_ci"] = interval(values, center=center)

    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums.pattern / weight[:, None]
        spread = sums.squares / weight - (mean**2).mean(1)
        spread *= weight**2 / (weight**2 - sums.weight2)  # unbiased
        layout = np.maximum((mean**2).mean(1) - spread * sums.weight2 / weight**2, 0)
        scalars = sums.scalars / weight[:, None]
        put("layout_sd", np.sqrt(layout))
        put("residual_sd", np.sqrt(spread))
        put("layout_share", layout / (layout + spread))
        for number, name in enumerate(SCALARS[:3]):
            put(name, scalars[:, number])
        put("chip_frequency_sd", np.sqrt(np.maximum(scalars[:, 4] - scalars[:, 3] ** 2, 0)))
        result["moran_expected"] = -1 / (survey.pattern.size - 1)
        allan = np.sqrt(sums.allan / weight[:, None, None])
        for number, (name, _) in enumerate(ENVIRONMENT):
            if geometry.slopes[number].any():
                put(f"{name}_coefficient", sums.slopes[:, number, 0] / weight)
                put(f"{name}_coefficient_sd", np.sqrt(sums.slopes[:, number, 1] / weight))
                sigma = np.sqrt(spread)
                put(f"{name}_shift_per_unit", np.sqrt(sums.slopes[:, number, 1] / weight) / sigma)
            else:
                result[f"{name}_coefficient"] = None
    names = ("total", "from_row")
    result["allan"] = [
        {"reads": span}
        | {name: interval(allan[:, kind, at])[0] for kind, name in enumerate(names)}
        | {f"{name}_ci": interval(allan[:, kind, at])[1] for kind, name in enumerate(names)}
        for at, span in enumerate(geometry.spans)
    ]
    scale = sums.products[0] / geometry.lags.pairs[0] or np.nan
    shares = sums.products / np.maximum(geometry.lags.pairs, 1) / scale
    result["correlation_map"] = [
        {"dy": dy, "dx": dx, "correlation": float(share), "pairs": int(pairs) * chips}
        for (dy, dx), share, pairs in zip(geometry.lags.steps, shares, geometry.lags.pairs, strict=True)
    ]
    result["maps"] = {
        "mean": survey.relative_pattern.tolist(),
        "layout": survey.pattern.tolist(),
        "example": sums.example.tolist(),
        "grid": geometry.grid.tolist(),
    }
    return {name: plain(value) for name, value in result.items()}
