"""Mean and spread over seeds, and who is best."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from itm.report.results import Results


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


def as_metrics(
    summaries: dict[str, dict[str, dict[str, Summary]]],
) -> dict[str, dict[str, dict[str, dict[str, float | None]]]]:
    """The content of results/metrics.json; ``std`` only with two seeds or more, null where undefined."""

    def plain(summary: Summary) -> dict[str, float | None]:
        found: dict[str, float | None] = {"mean": summary.mean if summary.defined else None}
        if summary.std is not None:
            found["std"] = summary.std
        return found

    return {
        method: {
            benchmark: {key: plain(value) for key, value in keys.items()} for benchmark, keys in benchmarks.items()
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
