"""Whether a method differs from the baseline by more than the choice of test images explains.

A paired bootstrap: per-query values are averaged over seeds, their differences to the baseline summed by image
(the captions of an image are no independent queries), and images drawn with replacement. Differences are marked
when the 99 % interval of the mean difference leaves out zero. Spread over seeds is not part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itm.report.columns import Column, columns
from itm.report.results import Results

SAMPLES = 2000
CONFIDENCE = 0.99
SEED = 0
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """A paired comparison with the baseline: ▲ better, ▼ worse, '' not told apart; and the words for it."""

    mark: str
    text: str


@dataclass(frozen=True)
class Interval:
    """The mean difference of a method to the baseline, and its bootstrap interval."""

    difference: float
    low: float
    high: float


def paired_bootstrap(
    differences: Doubles,
    groups: NDArray[np.int64],
    samples: int = SAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> Interval:
    """The interval of the mean of per-query differences when whole groups of queries are drawn again.

    Args:
        differences: (queries,) method less baseline; NaN queries are left out.
        groups: (queries,) the image of each query.

    >>> paired_bootstrap(np.array([0.5, 0.5, 0.5]), np.array([0, 0, 1]), samples=10)
    Interval(difference=0.5, low=0.5, high=0.5)
    """
    known = np.isfinite(differences)
    value, group = differences[known], np.unique(groups[known], return_inverse=True)[1]
    total, size = np.bincount(group, value), np.bincount(group)
    rng = np.random.default_rng(seed)
    sums, counts = np.empty(samples), np.empty(samples)
    for sample in range(samples):
        drawn = rng.integers(0, len(size), len(size))
        sums[sample], counts[sample] = total[drawn].sum(), size[drawn].sum()
    tail = (1 - confidence) / 2
    low, high = np.quantile(sums / counts, [tail, 1 - tail])
    return Interval(float(value.mean()), float(low), float(high))


def per_query(
    benchmark: str, key: str, arrays: Mapping[str, NDArray[np.generic]]
) -> tuple[Doubles, NDArray[np.int64]] | None:
    """The values whose mean a metric is, with the image of each query; None where it is no mean over queries."""
    name = key.replace(".", "_")
    hit = re.fullmatch(r"(i2t|t2i)\.r(\d+)", key)
    if hit and benchmark in ("retrieval", "cxc") and f"{hit[1]}_rank" in arrays:
        values = (arrays[f"{hit[1]}_rank"] < int(hit[2])).astype(np.float64)  # type: ignore[operator]
        if f"{hit[1]}_answerable" in arrays:
            values = values * arrays[f"{hit[1]}_answerable"].astype(np.float64)
    elif benchmark in ("false_negatives", "hierarcaps") and name in arrays:
        values = arrays[name].astype(np.float64)
    else:
        return None
    if key.startswith("t2i"):
        return (values, arrays["owners"].astype(np.int64)) if "owners" in arrays else None
    return values, np.arange(len(values))


def compare(results: Results, baseline: str) -> dict[tuple[str, str, str], Verdict]:
    """The verdict of every key metric that is a mean over queries, as ``[method, benchmark, key]``."""
    verdicts = {}
    for benchmark in results.benchmarks:
        values = {method: _averaged(results, method, benchmark) for method in results.methods}
        for each in columns(benchmark, results.keys(benchmark)):
            if each.key not in values[baseline]:
                continue
            base, groups = values[baseline][each.key]
            for method in results.methods:
                if method != baseline and len(values[method][each.key][0]) == len(base):
                    interval = paired_bootstrap(values[method][each.key][0] - base, groups)
                    verdicts[method, benchmark, each.key] = _verdict(interval, each, baseline)
    return verdicts


def _averaged(results: Results, method: str, benchmark: str) -> dict[str, tuple[Doubles, NDArray[np.int64]]]:
    """Per-query values of each key metric, averaged over seeds."""
    found: dict[str, list[Doubles]] = {}
    groups: dict[str, NDArray[np.int64]] = {}
    for seed in results.seeds:
        arrays = results.arrays(method, seed, benchmark)
        if "owners" not in arrays and "retrieval" in results.benchmarks:
            arrays["owners"] = results.arrays(method, seed, "retrieval")["owners"]
        for each in columns(benchmark, results.keys(benchmark)):
            given = per_query(benchmark, each.key, arrays)
            if given is not None:
                found.setdefault(each.key, []).append(given[0])
                groups[each.key] = given[1]
    return {key: (np.mean(values, axis=0), groups[key]) for key, values in found.items()}


def _verdict(interval: Interval, column: Column, baseline: str) -> Verdict:
    above, below = interval.low > 0, interval.high < 0
    better, worse = (above, below) if column.higher else (below, above)
    mark = "▲" if better else "▼" if worse else ""
    low, high = column.show(interval.low), column.show(interval.high)
    difference = ("+" if interval.difference >= 0 else "") + column.show(interval.difference)
    return Verdict(mark, f"{difference} against {baseline}, {CONFIDENCE:.0%} interval {low} to {high}")
