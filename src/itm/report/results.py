"""The evaluated runs that params.yaml asks for: their metrics, their protocols, their training curves."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from itm.data.files import read_json, read_npz
from itm.errors import DataError, first_few
from itm.evaluation.keys import flat_metrics
from itm.parse import parse_json
from itm.report.columns import headline_columns

NOT_A_BENCHMARK = frozenset({"train"})
"""JSON files of a run's folder that are not metrics of a benchmark."""
_AGAIN = "run the evaluate stage again"


@dataclass(frozen=True)
class Results:
    """Metrics and protocols of methods x seeds x benchmarks, every one present.

    `metrics[method, seed, benchmark]` maps a key ("i2t/r1") to a number, NaN where the metric
    is undefined; `protocols` maps the same triple to the protocol that evaluate stored.
    """

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    benchmarks: tuple[str, ...]
    runs: Path
    evaluations: Path
    metrics: Mapping[tuple[str, int, str], dict[str, float]]
    protocols: Mapping[tuple[str, int, str], dict[str, Any]]
    ignored: tuple[str, ...] = field(default=())

    def keys(self, benchmark: str) -> list[str]:
        """The metric keys of a benchmark, in the order of its first run."""
        seen: dict[str, None] = {}
        for method in self.methods:
            for seed in self.seeds:
                seen.update(dict.fromkeys(self.metrics[method, seed, benchmark]))
        return list(seen)

    def values(self, method: str, benchmark: str, key: str) -> list[float]:
        """A metric of a method, one value a seed; NaN where a run lacks it."""
        return [self.metrics[method, seed, benchmark].get(key, float("nan")) for seed in self.seeds]

    def protocol(self, benchmark: str) -> dict[str, Any]:
        """What the runs of a benchmark agree on (method and seed are left out)."""
        runs = [self.protocols[m, s, benchmark] for m in self.methods for s in self.seeds]
        first = runs[0]
        return {
            key: value
            for key, value in first.items()
            if key not in ("method", "seed") and all(run.get(key) == value for run in runs)
        }

    def arrays(self, method: str, seed: int, benchmark: str) -> dict[str, np.ndarray]:
        """The per-query arrays of one evaluation."""
        path = evaluation_path(self.evaluations, method, seed, benchmark)
        return {name: array for name, array in read_npz(path, _AGAIN).items() if name != "protocol"}


def metrics_path(runs: Path, method: str, seed: int, benchmark: str) -> Path:
    """Where evaluate writes the metrics of one run on one benchmark."""
    return runs / method / f"seed{seed}" / f"{benchmark}.json"


def evaluation_path(evaluations: Path, method: str, seed: int, benchmark: str) -> Path:
    """Where evaluate writes the per-query arrays of one run on one benchmark."""
    return evaluations / method / f"seed{seed}" / f"{benchmark}.npz"


def collect(runs: Path, evaluations: Path, methods: list[str], seeds: list[int], benchmarks: list[str]) -> Results:
    """The results of methods x seeds x benchmarks. What else lies in the folders is left alone and listed.

    Raises:
        DataError: a metrics file or an evaluation is missing or damaged. All missing ones are counted and the
            first three named, with the command that makes them.
    """
    wanted = [(m, s, b) for m in methods for s in seeds for b in benchmarks]
    missing = [
        path
        for triple in wanted
        for path in (metrics_path(runs, *triple), evaluation_path(evaluations, *triple))
        if not path.is_file()
    ]
    if missing:
        raise DataError(
            f"report: {len(missing)} of {2 * len(wanted)} results are missing ({first_few(missing)}); "
            f"params.yaml asks for {len(methods)} methods x {len(seeds)} seeds x {len(benchmarks)} benchmarks: "
            "run `dvc repro` (or `make repro`) to make them",
            reason="missing-results",
        )
    return Results(
        tuple(methods),
        tuple(seeds),
        tuple(benchmarks),
        runs,
        evaluations,
        {triple: flat_metrics(read_json(metrics_path(runs, *triple))) for triple in wanted},
        {triple: _read_protocol(evaluation_path(evaluations, *triple)) for triple in wanted},
        tuple(_others(runs, {metrics_path(runs, *triple) for triple in wanted})),
    )


def read_history(path: Path) -> dict[str, list[float]]:
    """The columns of a training history; empty when there is none. A cell that is empty is NaN."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {name: [_number(row[name]) for row in rows] for name in (rows[0] if rows else {})}


def _number(cell: str | None) -> float:
    try:
        return float(cell or "nan")
    except ValueError:
        return float("nan")


def _read_protocol(path: Path) -> dict[str, Any]:
    stored = read_npz(path, _AGAIN, ["protocol"])
    if "protocol" not in stored:
        raise DataError(f"{path}: has no `protocol` array; {_AGAIN} (`dvc repro -f`)", reason="no-protocol")
    protocol = parse_json(str(stored["protocol"]), f"{path}: protocol")
    if not isinstance(protocol, dict):
        raise DataError(f"{path}: `protocol` is not a JSON object", reason="damaged")
    return protocol


def _others(runs: Path, wanted: set[Path]) -> Iterator[str]:
    for path in sorted(runs.glob("*/seed*/*.json")):
        if path not in wanted and path.stem not in NOT_A_BENCHMARK:
            yield path.relative_to(runs).as_posix()


@dataclass(frozen=True)
class Summary:
    """A metric over seeds: its mean, and its sample standard deviation where there are two seeds or more."""

    mean: float
    std: float | None

    @property
    def defined(self) -> bool:
        """False when a seed lacks the metric."""
        return not math.isnan(self.mean)


def summarise(values: Sequence[float], digits: int) -> Summary:
    """Mean and sample standard deviation (divisor n - 1), rounded; NaN as soon as one value is NaN, or without any.

    >>> summarise([0.1, 0.2, 0.6], 4)
    Summary(mean=0.3, std=0.2646)
    >>> summarise([0.25], 4)
    Summary(mean=0.25, std=None)
    """
    if not values or any(math.isnan(value) for value in values):
        return Summary(math.nan, None)
    std = round(statistics.stdev(values), digits) if len(values) > 1 else None
    return Summary(round(statistics.fmean(values), digits), std)


def aggregate(results: Results, digits: int) -> dict[str, dict[str, dict[str, Summary]]]:
    """The summary of every metric as ``[method][benchmark][key]``."""
    return {
        method: {
            benchmark: {
                key: summarise(results.values(method, benchmark, key), digits) for key in results.keys(benchmark)
            }
            for benchmark in results.benchmarks
        }
        for method in results.methods
    }


def as_metrics(summaries: Mapping[str, Mapping[str, Mapping[str, Summary]]]) -> dict[str, dict[str, float | None]]:
    """The content of results/metrics.json: the headline figures of each method, means over seeds, null where undefined.

    It is all that `dvc metrics diff` and `dvc exp show` list; every figure of every run stands in results/runs.
    """
    return {
        method: {
            f"{benchmark}/{each.key}": keys[each.key].mean if keys[each.key].defined else None
            for benchmark, keys in benchmarks.items()
            for each in headline_columns(benchmark, list(keys))
        }
        for method, benchmarks in summaries.items()
    }


def best(values: Sequence[float], higher: bool, digits: int) -> list[bool]:
    """Which values are best once rounded to what is shown: ties share the mark, NaN never has it.

    A single value has nobody to beat: no mark.

    >>> best([0.31, 0.44, 0.44], True, 2)
    [False, True, True]
    >>> best([3.0, float("nan"), 9.0], False, 1)
    [True, False, False]
    """
    shown = [round(value, digits) if not math.isnan(value) else None for value in values]
    known = [value for value in shown if value is not None]
    if len(known) < 2:
        return [False] * len(shown)
    top = max(known) if higher else min(known)
    return [value == top for value in shown]
