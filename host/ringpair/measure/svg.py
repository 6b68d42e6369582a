"""Charts as SVG text: colors are CSS variables, so that one drawing fits light, dark and paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10

__all__ = ["DARK", "LIGHT", "Plot", "heat_maps", "standalone", "waterfall"]

STEPS = 10
"""Shades of a heat map on each side of the middle."""
MAPS_WIDTH = 640


def _shades(low: str, middle: str, high: str) -> dict[str, str]:
    def mixed(a: str, b: str, share: float) -> str:
        pairs = ((int(a[i : i + 2], 16), int(b[i : i + 2], 16)) for i in (1, 3, 5))
        return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in pairs)

    return {
        f"d{step}": mixed(middle, high if step > 0 else low, abs(step) / STEPS) for step in range(-STEPS, STEPS + 1)
    }


LIGHT = {
    "page": "#ffffff",
    "ink": "#14181d",
    "soft": "#5b6470",
    "grid": "#e3e6ea",
    "a": "#2563b8",
    "b": "#c8531c",
    "c": "#0f8a61",
    "e": "#7a4fb5",
    "good": "#0b7a43",
    "bad": "#b3261e",
    "open": "#8a6100",
    **_shades("#1f5fb4", "#f1f2f4", "#b8401c"),
}
DARK = {
    "page": "#14171b",
    "ink": "#eceff3",
    "soft": "#a3acb8",
    "grid": "#2d333b",
    "a": "#5b9bf0",
    "b": "#f08a56",
    "c": "#3fc495",
    "e": "#b592ea",
    "good": "#4fce88",
    "bad": "#ff8a80",
    "open": "#e6b84c",
    **_shades("#62a2f5", "#262b32", "#f2804d"),
}
COLORS = ("a", "b", "c", "e")
FONT = "font-family='system-ui,sans-serif'"


def standalone(svg: str) -> str:
    """The drawing with the light colors in place, for a file of its own."""
    filled = re.sub(r"var\(--([a-z0-9-]+)\)", lambda found: LIGHT[found[1]], svg)
    return filled.replace("<svg ", "<svg xmlns='http://www.w3.org/2000/svg' ", 1)


def _text(x: float, y: float, text: str, anchor: str = "middle", color: str = "soft", size: int = 12) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' fill='var(--{color})'>"
        f"{escape(text)}</text>"
    )


class Plot:
    """Lines, points and bars over two axes.

    Parameters
    ----------
    x, y : (low, high)
        Range of the axes.
    x_label, y_label : str
    log_x, log_y : bool
    percent : bool
        Label the vertical axis in percent.
    """

    WIDTH, HEIGHT = 640, 340
    LEFT, RIGHT, TOP, BOTTOM = 66, 18, 52, 48

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        x_label: str,
        y_label: str,
        *,
        log_x: bool = False,
        log_y: bool = False,
        percent: bool = False,
    ) -> None:
        self._x, self._y, self._log_x, self._log_y, self._percent = x, y, log_x, log_y, percent
        self._parts: list[str] = []
        self._legend: list[tuple[str, str, str]] = []
        self._labels = x_label, y_label

    def _at(self, x: float, y: float) -> tuple[float, float]:
        def share(value: float, ends: tuple[float, float], log: bool) -> float:
            low, high = ends
            if log:
                value, low, high = log10(max(value, low)), log10(low), log10(high)
            return (value - low) / (high - low)

        width, height = self.WIDTH - self.LEFT - self.RIGHT, self.HEIGHT - self.TOP - self.BOTTOM
        return (
            self.LEFT + width * share(x, self._x, self._log_x),
            self.TOP + height * (1 - share(y, self._y, self._log_y)),
        )

    def line(
        self, points: Sequence[tuple[float, float]], name: str, color: int, dash: str = "", dots: bool = False
    ) -> None:
        """A curve; values below a logarithmic axis end it."""
        inside = [point for point in points if self._x[0] <= point[0] <= self._x[1]]
        seen = [point for point in inside if not self._log_y or point[1] >= self._y[0]]
        places = [self._at(*point) for point in seen]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        paint = f"var(--{COLORS[color]})"
        self._parts.append(
            f"<polyline points='{path}' fill='none' stroke='{paint}' stroke-width='2' stroke-dasharray='{dash}'/>"
        )
        for (x, y), (value_x, value_y) in zip(places, seen, strict=True) if dots else ():
            self._parts.append(
                f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{paint}'>"
                f"<title>{escape(name)}: {value_x:g}, {value_y:.4g}</title></circle>"
            )
        self._legend.append((name, COLORS[color], dash))

    def band(self, points: Sequence[tuple[float, float, float]], color: int) -> None:
        """Between a lower and an upper curve: an interval."""
        upper = [self._at(x, high) for x, _, high in points]
        lower = [self._at(x, low) for x, low, _ in reversed(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in upper + lower)
        self._parts.append(f"<polygon points='{path}' fill='var(--{COLORS[color]})' opacity='0.18'/>")

    def bars(self, bars: Sequence[tuple[float, float, float]], name: str, color: int) -> None:
        """Histogram: left end, right end, height."""
        for left, right, height in bars:
            if height <= 0:
                continue
            x0, y0 = self._at(left, height)
            x1, y1 = self._at(right, self._y[0])
            self._parts.append(
                f"<rect x='{x0:.1f}' y='{y0:.1f}' width='{max(x1 - x0 - 0.5, 0.8):.1f}' height='{y1 - y0:.1f}' "
                f"fill='var(--{COLORS[color]})' opacity='0.8'><title>{escape(name)}: {left:.4g} to {right:.4g}: "
                f"{height:.4g}</title></rect>"
            )
        self._legend.append((name, COLORS[color], "bar"))

    def svg(self, title: str) -> str:
        """The drawing."""
        return (
            f"<svg viewBox='0 0 {self.WIDTH} {self.HEIGHT}' role='img' aria-label='{escape(title, quote=True)}' {FONT}>"
            f"{self._axes()}{''.join(self._parts)}{self._legends()}</svg>"
        )

    def _axes(self) -> str:
        parts = []
        base = self.HEIGHT - self.BOTTOM
        for value in _ticks(*self._y, self._log_y):
            _, y = self._at(self._x[0], value)
            label = f"{100 * value:g} %" if self._percent else _number(value, self._log_y)
            parts.append(
                f"<line x1='{self.LEFT}' x2='{self.WIDTH - self.RIGHT}' y1='{y:.1f}' y2='{y:.1f}' "
                "stroke='var(--grid)'/>"
            )
            parts.append(_text(self.LEFT - 7, y + 4, label, "end"))
        for value in _ticks(*self._x, self._log_x):
            x, _ = self._at(value, self._y[0])
            parts.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{base}' y2='{base + 5}' stroke='var(--soft)'/>")
            parts.append(_text(x, base + 19, _number(value, self._log_x)))
        parts.append(
            f"<line x1='{self.LEFT}' x2='{self.WIDTH - self.RIGHT}' y1='{base}' y2='{base}' stroke='var(--soft)'/>"
        )
        parts.append(_text((self.LEFT + self.WIDTH - self.RIGHT) / 2, self.HEIGHT - 8, self._labels[0]))
        middle = (self.TOP + base) / 2
        parts.append(f"<g transform='rotate(-90 14 {middle:.0f})'>{_text(14, middle, self._labels[1])}</g>")
        return "".join(parts)

    def _legends(self) -> str:
        parts, x, y = [], float(self.LEFT), 0
        for name, color, dash in self._legend:
            paint, width = f"var(--{color})", 40 + 6.7 * len(name)
            if x + width > self.WIDTH + 20:
                x, y = float(self.LEFT), y + 18
            if dash == "bar":
                parts.append(f"<rect x='{x:.0f}' y='{y + 7}' width='14' height='11' fill='{paint}' opacity='0.8'/>")
            else:
                parts.append(
                    f"<line x1='{x:.0f}' x2='{x + 16:.0f}' y1='{y + 13}' y2='{y + 13}' stroke='{paint}' "
                    "stroke-width='2.5' "
                    f"stroke-dasharray='{dash}'/>"
                )
            parts.append(_text(x + 21, y + 17, name, "start", "ink"))
            x += width
        return "".join(parts)


def _number(value: float, log: bool) -> str:
    if not log:
        return f"{value:g}"
    power = round(log10(value))
    if abs(value / 10.0**power - 1) > 1e-6 or -2 <= power <= 4:
        return f"{value:g}"
    return "10" + "".join("⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".index(char)] for char in str(power))


def _ticks(low: float, high: float, log: bool) -> list[float]:
    if log:
        powers = range(ceil(log10(low) - 1e-9), floor(log10(high) + 1e-9) + 1)
        step = max(1, ceil(len(powers) / 7))
        if len(powers) >= 3:
            return [10.0**power for power in powers if (powers[-1] - power) % step == 0]
        value, ticks = low, []
        while value <= high * 1.0001:
            ticks.append(value)
            value *= 2
        return ticks
    rough = (high - low) / 5
    step_size = next(
        s * 10.0 ** floor(log10(rough)) for s in (1, 2, 2.5, 5, 10) if s * 10.0 ** floor(log10(rough)) >= rough
    )
    first = ceil(low / step_size - 1e-9)
    return [round(number * step_size, 12) for number in range(first, floor(high / step_size + 1e-9) + 1)]


def heat_maps(maps: Sequence[tuple[str, list[list[float | None]]]], scale: float, unit: str, title: str) -> str:
    """Fields of cells side by side, zero in the middle of the shades, `scale` at their ends."""
    cell = min(18.0, max(9.0, 600 / sum(len(field[0]) + 1 for _, field in maps)))
    parts, x, y, right, base = [], 4.0, 0.0, 300.0, 0.0
    for name, field in maps:
        width = max((len(field[0]) + 1) * cell, 7.0 * len(name) + 12)
        if x > 4 and x + width > MAPS_WIDTH:
            x, y = 4.0, base
        parts.append(_text(x, y + 16, name, "start", "ink"))
        for row, values in enumerate(field):
            for column, value in enumerate(values):
                if value is None:
                    continue
                shade = max(-STEPS, min(STEPS, round(STEPS * value / scale))) if scale else 0
                parts.append(
                    f"<rect x='{x + column * cell:.1f}' y='{y + 26 + row * cell:.1f}' width='{cell - 0.6:.1f}' "
                    f"height='{cell - 0.6:.1f}' fill='var(--d{shade})'><title>({column}, {row}): {value:.4g} {unit}"
                    "</title></rect>"
                )
        x, base = x + width, max(base, y + 38 + len(field) * cell)
        right = max(right, x)
    width = right
    bar = min(280.0, width - 20) / (2 * STEPS + 1)
    for step in range(-STEPS, STEPS + 1):
        parts.append(
            f"<rect x='{4 + (step + STEPS) * bar:.1f}' y='{base:.1f}' width='{bar + 0.3:.1f}' height='9' "
            f"fill='var(--d{step})'/>"
        )
    ends = ((-1, "start", 4.0), (0, "middle", 4 + (STEPS + 0.5) * bar), (1, "end", 4 + (2 * STEPS + 1) * bar))
    parts += [_text(at, base + 24, f"{sign * scale:.2g} {unit}" if sign else "0", anchor) for sign, anchor, at in ends]
    return (
        f"<svg viewBox='0 0 {width:.0f} {base + 30:.0f}' role='img' aria-label='{escape(title, quote=True)}' "
        f"style='max-width:{1.25 * width:.0f}px' {FONT}>{''.join(parts)}</svg>"
    )


def waterfall(rows: Sequence[tuple[str, float, bool]], title: str, unit: str) -> str:
    """Amounts taken off one after the other; a total stands at the left again."""
    left, width, line = 250, 640, 34
    scale = (width - left - 70) / max(abs(value) for _, value, _ in rows)
    parts, position = [], 0.0
    for number, (name, value, total) in enumerate(rows):
        y = 10 + number * line
        start = 0.0 if total else position + min(value, 0)
        color = "a" if total else "b"
        parts.append(_text(left - 10, y + 16, name, "end", "ink"))
        parts.append(
            f"<rect x='{left + start * scale:.1f}' y='{y}' width='{max(abs(value) * scale, 1):.1f}' height='22' "
            f"fill='var(--{color})'><title>{escape(name)}: {value:.4g} {unit}</title></rect>"
        )
        parts.append(
            _text(
                left + (start + abs(value)) * scale + 6,
                y + 16,
                f"{value:+.1f}" if not total else f"{value:.1f}",
                "start",
                "ink",
            )
        )
        position = value if total else position + value
    label = escape(title, quote=True)
    size = f"0 0 {width} {20 + line * len(rows)}"
    return f"<svg viewBox='{size}' role='img' aria-label='{label}' {FONT}>{''.join(parts)}</svg>"
