"""Results tables as plain cells, so that the HTML page and its Markdown twin show the same numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itm.evaluation.benchmarks.hierarcaps import WORD_COUNT
from itm.report.columns import Column
from itm.report.compare import Verdict
from itm.report.results import Summary, best

Summaries = Mapping[str, Mapping[str, Mapping[str, Summary]]]
Chance = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Cell:
    """One number as shown: text, spread over seeds ('' with one seed), best of its column, ▲ or ▼ or ''."""

    text: str
    spread: str = ""
    best: bool = False
    mark: str = ""
    title: str = ""


@dataclass(frozen=True)
class Row:
    """A line of a table; `kind` is method, chance (also of other controls) or quoted."""

    name: str
    cells: list[Cell]
    kind: str = "method"
    source: str = ""


@dataclass(frozen=True)
class Table:
    """Columns in groups (a group heading spans its columns), then rows."""

    title: str
    groups: list[tuple[str, int]]
    heads: list[tuple[str, bool]]
    rows: list[Row]

    @property
    def starts(self) -> list[bool]:
        """Which columns begin a group, the first group's aside."""
        firsts = [column == 0 for _, span in self.groups for column in range(span)]
        return [False, *firsts[1:]] if firsts else [False] * len(self.heads)


def results_table(
    title: str,
    chosen: Sequence[tuple[str, Column]],
    methods: Sequence[str],
    summaries: Summaries,
    chance: Chance,
    verdicts: Mapping[tuple[str, str, str], Verdict],
    below: Sequence[Row] = (),
) -> Table:
    """Methods x columns, then the chance level and the rows `below`; `chosen` lists (benchmark, column), equal
    benchmarks together."""
    columns = [
        [summaries[method][benchmark].get(column.key, Summary(math.nan, None)) for method in methods]
        for benchmark, column in chosen
    ]
    marks = [
        best([summary.mean * column.scale for summary in values], column.higher, column.digits)
        for values, (_, column) in zip(columns, chosen, strict=True)
    ]
    rows = [
        Row(
            method,
            [
                _cell(values[i], column, mark[i], verdicts.get((method, benchmark, column.key)))
                for values, mark, (benchmark, column) in zip(columns, marks, chosen, strict=True)
            ],
        )
        for i, method in enumerate(methods)
    ]
    levels = [chance.get(benchmark, {}).get(column.key) for benchmark, column in chosen]
    if any(level is not None for level in levels):
        cells = [Cell(column.show(level)) for level, (_, column) in zip(levels, chosen, strict=True)]
        rows.append(Row("chance", cells, "chance"))
    groups: list[tuple[str, int]] = []
    for benchmark, _ in chosen:
        if groups and groups[-1][0] == benchmark:
            groups[-1] = (benchmark, groups[-1][1] + 1)
        else:
            groups.append((benchmark, 1))
    heads = [(column.label, column.higher) for _, column in chosen]
    return Table(title, groups, heads, [*rows, *below])


def full_table(
    title: str,
    benchmark: str,
    metrics: Sequence[Column],
    methods: Sequence[str],
    summaries: Summaries,
    chance: Chance,
) -> Table:
    """Every metric of a benchmark, one a row, without marks; methods and chance are the columns."""
    levels = chance.get(benchmark, {})
    rows = [
        Row(
            column.key,
            [_cell(summaries[method][benchmark][column.key], column, False, None) for method in methods]
            + ([Cell(column.show(levels.get(column.key)))] if levels else []),
        )
        for column in metrics
    ]
    heads = [(name, True) for name in [*methods, *(["chance"] if levels else [])]]
    return Table(title, [], heads, rows)


def _cell(summary: Summary, column: Column, is_best: bool, verdict: Verdict | None) -> Cell:
    spread = "" if summary.std is None or not summary.defined else column.show(summary.std)
    return Cell(
        column.show(summary.mean),
        spread,
        is_best,
        verdict.mark if verdict else "",
        verdict.text if verdict else "",
    )


HIERARCAPS = (
    "hierarcaps",
    {
        "radius_levels/precision": "hierarcaps/precision",
        "radius_levels/recall": "hierarcaps/recall",
        "tau_d": "hierarcaps/tau_d",
    },
)
COMPARABLE: dict[tuple[str, str], tuple[str, Mapping[str, str], int]] = {
    ("flickr8k", "hierarcaps"): (*HIERARCAPS, 1000),
    ("coco", "hierarcaps"): (*HIERARCAPS, 1000),
    ("coco", "retrieval"): ("coco", {r"(\w+)/(r\d+)": r"coco_5k/\1/\2", "rsum": "coco_5k/rsum"}, 5000),
    ("coco", "cxc"): ("cxc", {r"(\w+)/(\w+)": r"cxc/\1/\2"}, 5000),
    ("flickr30k", "retrieval"): ("flickr30k", {r"(\w+)/(r\d+)": r"flickr30k/\1/\2", "rsum": "flickr30k/rsum"}, 1000),
}
"""By data set and benchmark: the quoted benchmark that has the same photos, texts and protocol; the quoted name of
each metric key (patterns); and the images that it must have been evaluated on."""


def quoted_rows(data_name: str, benchmark: str, columns: Sequence[Column], protocol: Mapping[str, Any]) -> list[Row]:
    """The quoted rows of a table; none where photos or protocol differ. A number the source lacks is a dash."""
    from itm.evaluation.published.quoted import QUOTED

    name, names, images = COMPARABLE.get((data_name, benchmark), ("", {}, -1))
    if protocol.get("images") != images or protocol.get("split") != "test":
        return []
    keys = [_quoted_key(column.key, names) for column in columns]
    return [
        Row(
            each.model,
            [_quoted_cell(c, each.values.get(k)) for c, k in zip(columns, keys, strict=True)],
            "quoted",
            each.source,
        )
        for each in QUOTED
        if each.benchmark == name and any(key in each.values for key in keys)
    ]


def control_rows(columns: Sequence[Column], protocol: Mapping[str, Any]) -> list[Row]:
    """What figures are without any model, other than by chance: tau_d of HierarCaps by the number of words."""
    if WORD_COUNT not in protocol:
        return []
    cells = [Cell(column.show(protocol[WORD_COUNT] if column.key == "tau_d" else None)) for column in columns]
    return [Row("word count", cells, "chance")]


def _quoted_key(key: str, names: Mapping[str, str]) -> str:
    for pattern, quoted in names.items():
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(quoted)
    return ""


def _quoted_cell(column: Column, value: float | None) -> Cell:
    """As printed; correlations that are printed in percent are shown as ours, as fractions."""
    if value is None:
        return Cell("–")
    return Cell(f"{value / 100:g}" if column.unit == "correlation" and abs(value) > 1 else f"{value:g}")
