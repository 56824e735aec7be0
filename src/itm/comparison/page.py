"""The comparison as one self-contained page: verdicts, bars of differences, every figure, and the causes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from itm.comparison.changes import TESTS, Change
from itm.pipeline.revisions import Revision
from itm.report.plots import Bar, bars
from itm.report.words import TITLES, counted, listed

GROUPS = (
    ("percentage points", ("percent",)),
    ("correlations and shares", ("correlation", "fraction")),
    ("points", ("points", "count")),
)
KINDS = {"better": "up", "worse": "down", "same": "same", "untested": "same"}
MARKS = {"better": "▲", "worse": "▼", "same": "", "untested": "?"}


def to_html(
    first: Revision,
    second: Revision,
    changes: Sequence[Change],
    parameters: Sequence[tuple[str, str, str]],
    code: Sequence[str],
) -> str:
    """One HTML document; `parameters` are (key, in A, in B) of those that differ, `code` the files that do."""
    template = _environment().get_template("comparison.html.j2")
    methods = list(dict.fromkeys(change.method for change in changes))
    files = sorted({*first.sources, *second.sources})
    return template.render(
        a=first,
        b=second,
        changes=changes,
        claims=[claim(method, changes) for method in methods] + data_claim(first, second),
        charts=[(method, charts(method, changes)) for method in methods],
        only=[(each.label, [m for m in each.methods if m not in methods]) for each in (first, second)],
        tests={name: text for name, text in TESTS.items() if any(change.test == name for change in changes)},
        parameters=parameters,
        code=code,
        data=[(path, first.sources.get(path, "–"), second.sources.get(path, "–")) for path in files],
        titles=TITLES,
        marks=MARKS,
        shown=shown,
        interval=interval,
        probability=probability,
    )


def claim(method: str, changes: Sequence[Change]) -> str:
    """How a method fares, in a sentence."""
    own = [change for change in changes if change.method == method]
    count = Counter(change.verdict for change in own)
    words = {"better": "better in", "worse": "worse in", "same": "not told apart in", "untested": "untested in"}
    parts = [f"{text} {count[name]}" for name, text in words.items() if count[name]]
    return f"{method}: of {counted(len(own), 'figure')} B is {listed(parts)}."


def data_claim(first: Revision, second: Revision) -> list[str]:
    """A warning where the two stand on other source files; nothing where they do not, or it is not recorded."""
    if not first.sources or not second.sources or first.sources == second.sources:
        return []
    return ["The source data differ: the figures of A and B are not of the same test."]


def charts(method: str, changes: Sequence[Change]) -> list[Markup]:
    """Bars of B - A, one chart a unit, since differences of different units have no common scale."""
    found = []
    for label, units in GROUPS:
        own = [change for change in changes if change.method == method and change.column.unit in units]
        rows = [_bar(change) for change in own]
        found.append(bars(f"{method}: B − A in {label}", f"B − A ({label})", rows))
    return [chart for chart in found if chart]


def shown(change: Change) -> str:
    """The difference with its sign, in the figure's unit."""
    sign = "+" if change.difference > 0 else ""
    return sign + change.column.show(change.difference)


def interval(change: Change) -> str:
    """The interval of the difference; empty where nothing was tested."""
    if math.isnan(change.low):
        return ""
    return f"{change.column.show(change.low)} to {change.column.show(change.high)}"


def probability(change: Change) -> str:
    """The adjusted p-value."""
    if math.isnan(change.p):
        return "–"
    return "< 0.001" if change.p < 0.001 else f"{change.p:.3f}"


def value_text(value: Any) -> str:
    """A parameter's value as shown."""
    return "–" if value is None else str(value)


def _bar(change: Change) -> Bar:
    scale, column = change.column.scale, change.column
    name = f"{TITLES.get(change.benchmark, change.benchmark).split(' (')[0]}: {column.label}"
    tip = f"{name}: {column.show(change.a.mean)} → {column.show(change.b.mean)}, {change.verdict}"
    return Bar(
        name + ("" if column.higher else " ↓"),
        change.difference * scale,
        change.low * scale,
        change.high * scale,
        f"{shown(change)} {MARKS[change.verdict]}".rstrip(),
        KINDS[change.verdict],
        tip,
    )


def _environment() -> Environment:
    packages = [PackageLoader("itm.comparison", "templates"), PackageLoader("itm.report", "templates")]
    return Environment(
        loader=ChoiceLoader(packages),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
