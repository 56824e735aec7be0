"""`itm compare`: two methods on the same queries, metric by metric, with the errors of many tests controlled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from itm.evaluation.keys import chosen_keys
from itm.evaluation.result import PerQuery, read_per_query, shared
from itm.metrics import Comparison, compare_correlations, compare_paired, holm, spearman

CORRELATION_SAMPLES = 1000
"""Bootstrap samples of correlations, which cost more than means."""


@dataclass(frozen=True)
class Row:
    """One metric of both methods and the comparison b - a; `holm_p` is adjusted over all rows of the table."""

    metric: str
    a: float
    b: float
    seeds: tuple[int, int]
    queries: int
    comparison: Comparison
    holm_p: float

    def to_json(self) -> dict[str, Any]:
        """The row as plain values."""
        return {**asdict(self), "seeds": list(self.seeds), "comparison": asdict(self.comparison)}


def compare(
    a: Path, b: Path, patterns: Sequence[str] = ("*",), *, samples: int = 10_000, level: float = 0.95, seed: int = 0
) -> list[Row]:
    """Every shared per-query metric of two methods, tested by pairing queries and resampling images.

    Args:
        a, b: ranks.parquet of `itm evaluate`, or evaluations/<method> of the pipeline (all its seeds).
        patterns: keys of metrics, with wildcards; every one that is left out makes Holm's correction milder.
        samples: bootstrap samples, and as many permutations.

    Raises:
        DataError: a file is missing, or the queries differ.
        ConfigError: a pattern stands for no metric.
    """
    first, second = (read_per_query(path, correlations=True) for path in (a, b))
    both = shared(first, second)
    keys = chosen_keys(patterns, list(both))
    found = [compare_queries(*both[key], samples=samples, level=level, seed=seed) for key in keys]
    adjusted = holm([comparison.p for comparison in found])
    return [
        Row(
            key,
            _figure(first[key]),
            _figure(second[key]),
            (len(first[key].values), len(second[key].values)),
            len(first[key].queries),
            comparison,
            float(p),
        )
        for key, comparison, p in zip(keys, found, adjusted, strict=True)
    ]


def compare_queries(
    a: PerQuery, b: PerQuery, *, samples: int = 10_000, level: float = 0.95, seed: int = 0
) -> Comparison:
    """One metric of two methods: means by `compare_paired`, correlations by `compare_correlations`."""
    if a.ratings is None:
        return compare_paired(a.values, b.values, a.groups, samples=samples, level=level, seed=seed)
    fewer = min(samples, CORRELATION_SAMPLES)
    return compare_correlations(a.values, b.values, a.ratings, a.groups, samples=fewer, level=level, seed=seed)


def _figure(method: PerQuery) -> float:
    """The metric itself: a mean over queries, or a correlation, and its mean over seeds."""
    if method.ratings is None:
        return float(method.values.mean())
    return sum(spearman(scores, method.ratings) for scores in method.values) / len(method.values)
