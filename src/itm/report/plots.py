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


@dataclass(frozen=True)
class Bar:
    """One difference: its name, its value and interval (NaN: none), the text beside it, its class (up, down or same)
    and what is told on hover."""

    name: str
    value: float
    low: float
    high: float
    shown: str
    kind: str
    tip: str


def lines(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    *,
    y_from_zero: bool = False,
    switch: bool = True,
) -> Markup:
    """A line chart with markers, and its figures as a table; points that are not finite are left out.

    Colours follow the order of the series (classes s0, s1, ... of the page), so give every chart of a page the
    same order. With `switch` the page's choice of methods hides series (classes m0, m1, ...).
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
        if not line:
            continue
        body.append(f'<g class="series{f" m{index}" if switch else ""}">')
        if each.spread and any(half > 0 for half in each.spread):
            body.append(_band(index, each, x_axis, y_axis))
        path = " ".join(f"{'L' if i else 'M'}{x_axis(x)} {y_axis(y)}" for i, (x, y) in enumerate(line))
        dash = f' stroke-dasharray="{DASHES[index % len(DASHES)]}"' if index % len(DASHES) else ""
        body.append(f'<path class="line s{index % 6}" d="{path}"{dash}/>')
        for x, y in line:
            tip = escape(f"{each.name}: {x_label} {x:g}, {y_label} {y:.4g}")
            body.append(f'<g class="mark s{index % 6}">{_marker(index, x_axis(x), y_axis(y))}<title>{tip}</title></g>')
        body.append("</g>")
    named = [(swatch(i), s.name, f"m{i}" if switch else "") for i, s in enumerate(series) if points[i]]
    shown = [(s.name, line) for s, line in zip(series, points, strict=True) if line]
    return _svg(title, body, named, _figures(title, x_label, shown))


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
    legend = [(Markup(f'<span class="block l{i % 6}"></span>'), name, "") for i, (name, _) in enumerate(groups)]
    heads = ["from", "to", *(name for name, _ in groups)]
    rows = [
        [f"{edges[i]:.3g}", f"{edges[i + 1]:.3g}", *(f"{counts[i]:,}" for _, counts in groups)]
        for i in range(len(edges) - 1)
    ]
    return _svg(title, body, legend, _table(title, heads, rows))


def bars(title: str, x_label: str, rows: Sequence[Bar]) -> Markup:
    """Horizontal bars from zero, with intervals: a difference a row, its figure as text beside it."""
    known = [bar for bar in rows if math.isfinite(bar.value)]
    if not known:
        return Markup("")
    ends = [end for bar in known for end in (bar.value, bar.low, bar.high) if math.isfinite(end)]
    width, step = 720, 22
    left, right = 270, width - 90
    axis = Axis.around(min(0.0, *ends), max(0.0, *ends), left, right)
    height = TOP + step * len(known) + BOTTOM
    body, bottom = [], TOP + step * len(known)
    for tick in axis.ticks:
        x = axis(tick)
        body.append(f'<path class="grid" d="M{x} {TOP}V{bottom}"/>')
        body.append(f'<text class="tick" x="{x}" y="{bottom + 15}" text-anchor="middle">{_tick(tick)}</text>')
    for index, bar in enumerate(known):
        y, end, zero = TOP + step * index, axis(bar.value), axis(0)
        body.append(
            f'<rect class="change {bar.kind}" x="{min(end, zero):.1f}" y="{y + 4}" '
            f'width="{max(abs(end - zero), 0.8):.1f}" height="{step - 8}"><title>{escape(bar.tip)}</title></rect>'
        )
        if math.isfinite(bar.low) and math.isfinite(bar.high):
            low, high, middle = axis(bar.low), axis(bar.high), y + step / 2
            body.append(f'<path class="axis" d="M{low} {middle}H{high}M{low} {middle - 3}v6M{high} {middle - 3}v6"/>')
        body.append(
            f'<text class="label" x="{left - 6}" y="{y + 14}" text-anchor="end">{escape(bar.name)}</text>'
            f'<text class="tick" x="{right + 6}" y="{y + 14}">{escape(bar.shown)}</text>'
        )
    body.append(f'<path class="axis" d="M{axis(0)} {TOP}V{bottom}"/>')
    body.append(
        f'<text class="label" x="{(left + right) / 2}" y="{height - 10}" text-anchor="middle">{escape(x_label)}</text>'
    )
    return _svg(title, body, [], width=width, height=height)


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


def _figures(title: str, x_label: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Markup:
    """The points of a chart as a table: one row an x where all series share them, else one a point."""
    places = [[x for x, _ in line] for _, line in series]
    if all(place == places[0] for place in places):
        heads = [x_label, *(name for name, _ in series)]
        rows = [[f"{x:.4g}", *(f"{line[i][1]:.4g}" for _, line in series)] for i, x in enumerate(places[0])]
    else:
        heads = ["series", x_label, "value"]
        rows = [[name, f"{x:.4g}", f"{y:.4g}"] for name, line in series for x, y in line]
    return _table(title, heads, rows)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return Markup(
        f'<details class="figures"><summary>Figures<span class="unseen"> of: {escape(title)}</span></summary>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}, figures"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def _svg(
    title: str,
    body: Sequence[str],
    names: Sequence[tuple[Markup, str, str]],
    table: str = "",
    width: float = WIDTH,
    height: float = HEIGHT,
) -> Markup:
    rows = "".join(f'<li class="{kind}">{sample}<span>{escape(name)}</span></li>' for sample, name, kind in names)
    legend = f'<ul class="legend">{rows}</ul>' if len(names) > 1 else ""
    return Markup(
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{"".join(body)}</svg>'
        f"{legend}{table}</figure>"
    )
