"""The figures behind the charts of the section on grading, as the page draws and plot files keep them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itm.data.files import atomic_path
from itm.report.dataset import Dataset
from itm.report.order import Curve, curve, curve_series
from itm.report.plots import Series
from itm.report.results import Results


def order_series(results: Results, data: Dataset) -> list[Series]:
    """A line a method: similarity of images to their own captions against descriptiveness."""
    curves: dict[str, list[Curve]] = {}
    for method, _, own in own_similarities(results):
        found = curve(own, data.captions.normalised, data.captions.owner)
        curves.setdefault(method, []).append(found)
    return curve_series(curves)


def own_similarities(results: Results) -> list[tuple[str, int, Any]]:
    """Method, seed and the similarity of each caption to its image; empty when retrieval is not evaluated."""
    if "retrieval" not in results.benchmarks:
        return []
    runs = [(method, seed) for method in results.methods for seed in results.seeds]
    return [(m, seed, results.arrays(m, seed, "retrieval")["own_similarity"]) for m, seed in runs]


def threshold_series(results: Results) -> list[Series]:
    """A line a method, the mean over its seeds; none where the exact relation is not evaluated."""
    if "false_negatives" not in results.benchmarks:
        return []
    series = []
    recalls = np.linspace(0.01, 1.0, 100)  # as itm.evaluation.benchmarks.false_negatives keeps them
    shown = np.append(0, np.arange(4, 100, 5))
    for method in results.methods:
        runs = [results.arrays(method, seed, "false_negatives")["threshold_precision"] for seed in results.seeds]
        values = np.array(runs)[:, shown]
        spread = values.std(axis=0, ddof=1).tolist() if len(runs) > 1 else []
        series.append(Series(method, recalls[shown].tolist(), values.mean(axis=0).tolist(), spread))
    return series


def distribution(data: Dataset) -> tuple[list[float], list[tuple[str, list[int]]]]:
    """Edges of descriptiveness, and by level the number of captions between them."""
    captions, edges = data.captions, np.linspace(0, 1, 21)
    groups = []
    for level in sorted(set(captions.level.tolist())):
        counts = np.histogram(np.clip(captions.normalised[captions.level == level], 0, 1), edges)[0]
        groups.append((f"level {level}" if level > 0 else "captions", counts.tolist()))
    return edges.tolist(), groups


def write_plots(folder: Path, results: Results, data: Dataset, digits: int) -> None:
    """Write order.csv, threshold.csv and descriptiveness.csv, one line a point.

    A file without points has its heading only: the stage's outputs are the same whatever is evaluated.
    """
    for name, x, y, found in (
        ("order", "descriptiveness", "similarity", order_series(results, data)),
        ("threshold", "recall", "precision", threshold_series(results)),
    ):
        points = [
            (line.name, round(float(a), digits), round(float(b), digits))
            for line in found
            for a, b in zip(line.x, line.y, strict=True)
        ]
        _write(folder / f"{name}.csv", ("method", x, y), points)
    edges, groups = distribution(data)
    bars = [(name, edges[i], count) for name, counts in groups for i, count in enumerate(counts)]
    _write(
        folder / "descriptiveness.csv",
        ("level", "descriptiveness", "captions"),
        ((name, round(start, digits), count) for name, start, count in bars),
    )


def _write(path: Path, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows(rows)
