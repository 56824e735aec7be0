"""Charts as inline SVG: no library to load, the same bytes every time, colours from the page's style sheet.

A series is told apart by colour, by dash pattern and by marker, so that colour is never the only sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 14, 44
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2")


@dataclass(frozen=True)
class Series:
    """One line: its name, its points, and half the height of the band around each (0 or absent: none)."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()


def lines(title: str, x_label: str, y_label: str, series: Sequence[Series], *, y_from_zero: bool = False) -> Markup:
    """A line chart with markers; points that are not finite are left out.

    Colours follow the order of the series (classes s0, s1, ... of the page), so give every chart of a page the
    same order.
    """
    points = [
        [(float(x), float(y)) for x, y in zip(s.x, s.y, strict=True) if math.isfinite(x) and math.isfinite(y)]
        for s in series
    ]
    xs = [x for line in points for x, _ in line]
    if not xs:
        return Markup("")
    low_high = [
        y + sign * half
        for s in series
        for x, y, half in zip(s.x, s.y, s.spread or [0.0] * len(s.x), strict=True)
        for sign in (-1, 1)
        if math.isfinite(x) and math.isfinite(y)
    ]
    x_axis = Axis.around(
        min(xs), max(xs), LEFT, WIDTH - RIGHT, tight=True, whole=all(x == int(x) for x in xs) and max(xs) > 1
    )
    y_axis = Axis.around(min([*low_high, *([0.0] if y_from_zero else [])]), max(low_high), HEIGHT - BOTTOM, TOP)
    body = [_frame(x_axis, y_axis, x_label, y_label)]
    for index, (each, line) in enumerate(zip(series, points, strict=True)):
        if each.spread and any(half > 0 for half in each.spread):
            body.append(_band(index, each, x_axis, y_axis))
        path = " ".join(f"{'L' if i else 'M'}{x_axis(x)} {y_axis(y)}" for i, (x, y) in enumerate(line))
        dash = f' stroke-dasharray="{DASHES[index % len(DASHES)]}"' if index % len(DASHES) else ""
        body.append(f'<path class="line s{index % 6}" d="{path}"{dash}/>')
        for x, y in line:
            tip = escape(f"{each.name}: {x_label} {x:g}, {y_label} {y:.4g}")
            body.append(f'<g class="mark s{index % 6}">{_marker(index, x_axis(x), y_axis(y))}<title>{tip}</title></g>')
    return _svg(title, body, [(swatch(i), s.name) for i, s in enumerate(series) if points[i]])


def histogram(title: str, x_label: str, edges: Sequence[float], groups: Sequence[tuple[str, Sequence[int]]]) -> Markup:
    """Bars of counts between edges, the groups stacked in their order."""
    totals = [sum(counts[i] for _, counts in groups) for i in range(len(edges) - 1)]
    if not any(totals):
        return Markup("")
    x_axis = Axis.around(edges[0], edges[-1], LEFT, WIDTH - RIGHT, tight=True)
    y_axis = Axis.around(0, max(totals), HEIGHT - BOTTOM, TOP)
    body = [_frame(x_axis, y_axis, x_label, "captions")]
    for i in range(len(edges) - 1):
        base = 0
        for index, (name, counts) in enumerate(groups):
            if counts[i]:
                top = y_axis(base + counts[i])
                tip = escape(f"{name}: {counts[i]:,} between {edges[i]:.3g} and {edges[i + 1]:.3g}")
                left, right = x_axis(edges[i]) + 0.5, x_axis(edges[i + 1]) - 0.5
                body.append(
                    f'<rect class="bar l{index % 6}" x="{left:.1f}" y="{top}" width="{right - left:.1f}" '
                    f'height="{y_axis(base) - top:.1f}"><title>{tip}</title></rect>'
                )
                base += counts[i]
    legend = [(Markup(f'<span class="block l{i % 6}"></span>'), name) for i, (name, _) in enumerate(groups)]
    return _svg(title, body, legend)


def swatch(index: int) -> Markup:
    """The legend's sample of a line: colour, dash and marker of series `index`."""
    dash = f' stroke-dasharray="{DASHES[index % len(DASHES)]}"' if index % len(DASHES) else ""
    return Markup(
        f'<svg class="swatch" viewBox="0 0 34 12" width="34" height="12" aria-hidden="true">'
        f'<path class="line s{index % 6}" d="M1 6H33"{dash}/>'
        f'<g class="mark s{index % 6}">{_marker(index, 17, 6)}</g></svg>'
    )


@dataclass(frozen=True)
class Axis:
    """A linear scale from values to pixels, and its tick values."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def around(
        cls, low: float, high: float, start: float, end: float, tight: bool = False, whole: bool = False
    ) -> Axis:
        """The axis that shows low..high with four to eight round ticks; widened to ticks unless tight.

        `whole` keeps ticks to whole numbers.
        """
        if high - low <= 1e-12 * max(1.0, abs(high)):
            low, high = low - 0.5, high + 0.5
        step = round_step((high - low) / 5)
        if whole:
            step = max(1.0, math.ceil(step))
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = [round(i * step, 12) for i in range(first, last + 1)]
        if tight:
            ticks = [tick for tick in ticks if low - 1e-9 <= tick <= high + 1e-9]
        else:
            low, high = ticks[0], ticks[-1]
        return cls(low, high, start, end, tuple(ticks))

    def __call__(self, value: float) -> float:
        """The pixel of a value, to a tenth."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def round_step(step: float) -> float:
    """The nearest step of the form 1, 2, 2.5 or 5 times a power of ten that is not smaller.

    >>> [round_step(step) for step in (0.013, 0.21, 3, 7)]
    [0.02, 0.25, 5.0, 10.0]
    """
    power = 10.0 ** math.floor(math.log10(step))
    return next(round(factor * power, 12) for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))


def _frame(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> str:
    bottom, parts = HEIGHT - BOTTOM, []
    for tick in y_axis.ticks:
        y = y_axis(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(tick)}</text>')
    for tick in x_axis.ticks:
        x = x_axis(tick)
        parts.append(f'<path class="axis" d="M{x} {bottom}v4"/>')
        parts.append(f'<text class="tick" x="{x}" y="{bottom + 17}" text-anchor="middle">{_tick(tick)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{WIDTH - RIGHT}"/>')
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f'{escape(x_label)}</text><text class="label" transform="translate(13 {middle}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )
    return "".join(parts)


def _tick(value: float) -> str:
    text = f"{value:,.10g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _band(index: int, series: Series, x_axis: Axis, y_axis: Axis) -> str:
    rows = [
        (x, y, half)
        for x, y, half in zip(series.x, series.y, series.spread, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    upper = [f"{x_axis(x)} {y_axis(y + half)}" for x, y, half in rows]
    lower = [f"{x_axis(x)} {y_axis(y - half)}" for x, y, half in reversed(rows)]
    return f'<path class="band s{index % 6}" d="M{" L".join(upper + lower)}Z"/>'


def _marker(index: int, x: float, y: float) -> str:
    shape = index % 4
    if shape == 0:
        return f'<circle cx="{x}" cy="{y}" r="3"/>'
    if shape == 1:
        return f'<rect x="{x - 2.7:.1f}" y="{y - 2.7:.1f}" width="5.4" height="5.4"/>'
    if shape == 2:
        return f'<path d="M{x} {y - 3.6:.1f}l3.5 6.2h-7z"/>'
    return f'<path d="M{x} {y - 3.8:.1f}l3.8 3.8-3.8 3.8-3.8-3.8z"/>'


def _svg(title: str, body: Sequence[str], names: Sequence[tuple[Markup, str]]) -> Markup:
    rows = "".join(f"<li>{sample}<span>{escape(name)}</span></li>" for sample, name in names)
    legend = f'<ul class="legend">{rows}</ul>' if len(names) > 1 else ""
    return Markup(
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(body)}</svg>'
        f"{legend}</figure>"
    )
