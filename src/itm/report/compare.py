"""Verdicts: differences from the baseline, and whether drawn test images and seeds explain them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from itm.evaluation.result import PerQuery, paired, read_per_query
from itm.metrics.significance import Comparison, compare_paired, holm
from itm.report.columns import Column, columns
from itm.report.results import Results

SAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Verdict:
    """A paired comparison with the baseline: ▲ better, ▼ worse, '' not told apart; and the words for it."""

    mark: str
    text: str


def compare(results: Results, baseline: str) -> dict[tuple[str, str, str], Verdict]:
    """The verdict on every key metric that is a mean over queries, as ``[method, benchmark, key]``.

    A mark needs both: a sign-flip permutation test over images (p < 0.05 after Holm's correction for all tests
    of the report), and a 95 % bootstrap interval over images and seeds that leaves out zero.
    """
    tests: dict[tuple[str, str, str], tuple[Comparison, Column]] = {}
    values = {method: _by_seed(results, method) for method in results.methods}
    for benchmark in results.benchmarks:
        for each in columns(benchmark, results.keys(benchmark)):
            base = _seeds(values[baseline], benchmark, each.key)
            for method in results.methods:
                other = _seeds(values[method], benchmark, each.key)
                # a query that one model leaves undefined cannot be paired: such a metric is not tested
                if method != baseline and base and other and (pair := paired(base, other)):
                    found = compare_paired(base.values, pair.values, base.groups, samples=SAMPLES, level=LEVEL)
                    tests[method, benchmark, each.key] = found, each
    p_values = holm([found.permutation_p for found, _ in tests.values()]).tolist() if tests else []
    return {
        key: _verdict(found, float(p), column, baseline)
        for (key, (found, column)), p in zip(tests.items(), p_values, strict=True)
    }


def _by_seed(results: Results, method: str) -> list[dict[str, PerQuery]]:
    return [read_per_query(results.evaluations / method / f"seed{seed}") for seed in results.seeds]


def _seeds(runs: list[dict[str, PerQuery]], benchmark: str, key: str) -> PerQuery | None:
    """[seeds, queries] values whose mean a metric is; None where it is no mean over queries."""
    found = [run[f"{benchmark}/{key}"] for run in runs if f"{benchmark}/{key}" in run]
    pairs = [pair for each in found if (pair := paired(found[0], each))]
    if not found or len(pairs) < len(runs):
        return None
    return replace(found[0], values=np.concatenate([pair.values for pair in pairs]))


def _verdict(found: Comparison, p: float, column: Column, baseline: str) -> Verdict:
    clear = p < 1 - LEVEL and (found.low > 0 or found.high < 0)
    better = (found.difference > 0) == column.higher
    mark = ("▲" if better else "▼") if clear else ""
    sign = "+" if found.difference >= 0 else ""
    return Verdict(
        mark,
        f"{sign}{column.show(found.difference)} against {baseline}, {LEVEL:.0%} interval {column.show(found.low)} to "
        f"{column.show(found.high)}, p {'<' if p < 0.001 else '='} {max(p, 0.001):.3f}",
    )
