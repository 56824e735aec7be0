"""Figures over seeds as tables, and paired tests of two methods: for grade.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from grade_figures import Figures, Split, multiplicity
from scipy.stats import ttest_rel

from itm.evaluation.benchmarks.grading import SPECIFICITIES
from itm.metrics import Comparison, compare_correlations, compare_paired, frontier_area, holm, spearman

CERTAIN = 0.01


@dataclass(frozen=True)
class Figure:
    title: str
    times: float = 1.0
    digits: int = 3
    by: str = "image"
    """What its values belong to: image, caption, seed; or scores that are correlated: rated, counts."""
    sign: int = 1
    """-1 where less is better."""


RANKED = {
    "i2t": Figure("image to text mAP@R", 100, 1),
    "t2i": Figure("text to image mAP@R", 100, 1, "caption"),
    "ap": Figure("AP over all pairs", by="seed"),
    "order": Figure("order τ"),
    "rsum": Figure("RSUM", digits=1, by="seed"),
    "rated": Figure("ratings ρ", by="rated"),
    "half": Figure("half-truths", 100, 1),
    "chain_map": Figure("chains mAP@R", 100, 1),
    "chain_rising": Figure("chains rising", 100, 1),
    "chain_pearson": Figure("chains, Pearson"),
}
STATED = {
    "ece": Figure("ECE", by="seed", sign=-1),
    "brier": Figure("Brier", sign=-1),
    "pairs": Figure("true pairs predicted / real", digits=2, by="seed"),
    "f1": Figure("set F1, P ≥ .5"),
    "counts": Figure("multiplicity ρ", by="counts"),
}
WALK = {
    "hierarcaps/radius_levels/precision": Figure("HierarCaps precision", 100, 1),
    "hierarcaps/radius_levels/recall": Figure("HierarCaps recall", 100, 1),
    "hierarcaps/tau_d": Figure("HierarCaps τd"),
}


def value(figures: Figures, name: str, figure: Figure, split: Split) -> float:
    found = figures[name]
    if figure.by == "counts":
        assert split is not None
        return multiplicity(found, split)
    if figure.by == "rated":
        assert split is not None
        return spearman(found, split.rated.score)
    return figure.times * (float(np.nanmean(found)) if np.isfinite(found).any() else float("nan"))


def mean(runs: Sequence[Figures], name: str) -> float:
    return float(np.mean([np.nanmean(one[name]) for one in runs]))


def cell(runs: Sequence[Figures], name: str, figure: Figure, split: Split) -> str:
    if name not in runs[0]:
        return ""
    values = np.array([value(one, name, figure, split) for one in runs])
    spread = f" ±{values.std(ddof=1):.{figure.digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{figure.digits}f}{spread}"


def paired(b: Sequence[Figures], a: Sequence[Figures], name: str, figure: Figure, split: Split) -> Comparison:
    """b against a, paired by image, caption or rated pair and resampled over images and seeds; or by seed alone."""
    first, second = (np.stack([one[name] for one in runs]) for runs in (a, b))
    if figure.by == "seed":
        gain = float((second - first).mean())
        if len(first) < 2 or np.ptp(second - first) == 0:
            return Comparison(gain, gain, gain, 1.0, "t", 0.0, len(first))
        found = ttest_rel(second, first)
        low, high = found.confidence_interval(0.95)
        return Comparison(gain, float(low), float(high), float(found.pvalue), "t", 0.0, len(first))
    assert split is not None or figure.by == "image"
    if figure.by == "rated":
        assert split is not None
        return compare_correlations(first, second, split.rated.score, split.rated.second)
    if figure.by == "counts":
        assert split is not None
        return compare_correlations(first, second, split.truth.sum(axis=0), split.owners)
    known = np.isfinite(first).all(axis=0) & np.isfinite(second).all(axis=0)
    groups = split.owners[known] if split is not None and figure.by == "caption" else None
    return compare_paired(first[:, known], second[:, known], groups)


Rows = dict[str, tuple[Figure, Comparison, float]]
"""By title: the figure, b - a, and p after Holm's correction over the rows."""


def differences(b: Sequence[Figures], a: Sequence[Figures], names: dict[str, Figure], split: Split) -> Rows:
    found = [
        (figure, paired(b, a, name, figure, split)) for name, figure in names.items() if name in b[0] and name in a[0]
    ]
    return corrected(found)


def corrected(found: list[tuple[Figure, Comparison]]) -> Rows:
    adjusted = holm([comparison.p for _, comparison in found])
    return {figure.title: (figure, one, float(p)) for (figure, one), p in zip(found, adjusted, strict=True)}


def sides(rows: Rows) -> tuple[list[str], list[str], list[str]]:
    """Titles that are better, worse and neither: p after correction and the interval both say so."""
    up: list[str] = []
    down: list[str] = []
    level: list[str] = []
    for title, (figure, found, p) in rows.items():
        low, high = sorted((figure.sign * found.low, figure.sign * found.high))
        (up if p < CERTAIN and low > 0 else down if p < CERTAIN and high < 0 else level).append(title)
    return up, down, level


def difference_table(columns: dict[str, Rows]) -> list[str]:
    titles = list(dict.fromkeys(title for rows in columns.values() for title in rows))
    lines = ["| | " + " | ".join(columns) + " |", "|:--|" + "--:|" * len(columns)]
    for title in titles:
        cells = []
        for rows in columns.values():
            if title not in rows:
                cells.append("")
                continue
            figure, found, p = rows[title]
            times = figure.times
            values = [f"{times * each:+.{figure.digits}f}" for each in (found.difference, found.low, found.high)]
            shown = f"p {p:.2g}" if p >= 0.001 else "p < 0.001"
            cells.append(f"{values[0]} [{values[1]}, {values[2]}] {shown}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def figure_table(
    head: str, rows: Mapping[str, Sequence[Figures]], figures: dict[str, Figure], split: Split
) -> list[str]:
    names = [name for name in figures if any(name in runs[0] for runs in rows.values())]
    lines = [f"| {head} | " + " | ".join(figures[name].title for name in names) + " |", "|:--|" + "--:|" * len(names)]
    for title, runs in rows.items():
        lines.append(f"| {title} | " + " | ".join(cell(runs, name, figures[name], split) for name in names) + " |")
    return lines


def frontier_table(curves: dict[str, list[list[Figures]]]) -> list[str]:
    titles = [f"`{method}` {what}" for method in curves for what in ("mAP@R", "order τ", "RSUM")]
    lines = ["| specificity | " + " | ".join(titles) + " |", "|:--|" + "--:|" * len(titles)]
    for place, at in enumerate([*(f"{each:.1f}" for each in SPECIFICITIES), "similarity"]):
        cells = []
        for found in curves.values():
            runs = found[place]
            cells += [f"{100 * mean(runs, 'i2t'):.1f}", f"{mean(runs, 'order'):.3f}", f"{mean(runs, 'rsum'):.1f}"]
        lines.append(f"| {at} | " + " | ".join(cells) + " |")
    return lines


def areas(curves: dict[str, list[list[Figures]]], chosen: float) -> list[str]:
    """A row a method: truth at 0, order and RSUM at the chosen specificity, and the area under all of its frontier."""
    place = int(np.abs(SPECIFICITIES - chosen).argmin())
    lines = [f"| | mAP@R at 0 | mAP@R at {chosen:g} | order τ at {chosen:g} | RSUM at {chosen:g} | area |"]
    lines.append("|:--|" + "--:|" * 5)
    for method, found in curves.items():
        by_seed = [
            frontier_area(*([mean([runs[seed]], name) for runs in found[:-1]] for name in ("order", "i2t")))
            for seed in range(len(found[0]))
        ]
        there = found[place]
        lines.append(
            f"| `{method}` | {100 * mean(found[0], 'i2t'):.1f} | {100 * mean(there, 'i2t'):.1f} | "
            f"{mean(there, 'order'):.3f} | {mean(there, 'rsum'):.1f} | {np.mean(by_seed):.3f} |"
        )
    return lines
