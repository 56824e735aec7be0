"""The charts' figures as files for `dvc plots show` and `dvc plots diff`; how they are drawn is in .dvc/plots."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from itm.data.files import atomic_path
from itm.report import series
from itm.report.dataset import Dataset
from itm.report.results import Results


def write_plots(folder: Path, results: Results, data: Dataset, digits: int) -> None:
    """Write order.csv, threshold.csv and descriptiveness.csv, one line a point.

    A file without points has its heading only: the stage's outputs are the same whatever is evaluated.
    """
    for name, x, y, found in (
        ("order", "descriptiveness", "similarity", series.order_series(results, data)),
        ("threshold", "recall", "precision", series.threshold_series(results)),
    ):
        points = [
            (line.name, round(float(a), digits), round(float(b), digits))
            for line in found
            for a, b in zip(line.x, line.y, strict=True)
        ]
        _write(folder / f"{name}.csv", ("method", x, y), points)
    edges, groups = series.distribution(data)
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
