"""Whether a method differs from the baseline by more than the drawn test images and seeds explain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itm.metrics.significance import Comparison, compare_paired, holm
from itm.report.columns import Column, columns
from itm.report.results import Results

SAMPLES = 2000
LEVEL = 0.95
Doubles = NDArray[np.float64]


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
    for benchmark in results.benchmarks:
        chosen = columns(benchmark, results.keys(benchmark))
        tables = {method: _tables(results, method, benchmark, chosen) for method in results.methods}
        for each in chosen:
            if each.key not in tables[baseline]:
                continue
            base, groups = tables[baseline][each.key]
            for method in results.methods:
                if method != baseline:
                    other = tables[method][each.key][0]
                    known = np.isfinite(base).all(axis=0) & np.isfinite(other).all(axis=0)
                    if known.any():
                        found = compare_paired(
                            base[:, known], other[:, known], groups[known], samples=SAMPLES, level=LEVEL
                        )
                        tests[method, benchmark, each.key] = found, each
    p_values = holm([found.permutation_p for found, _ in tests.values()]).tolist() if tests else []
    return {
        key: _verdict(found, float(p), column, baseline)
        for (key, (found, column)), p in zip(tests.items(), p_values, strict=True)
    }


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


def _tables(
    results: Results, method: str, benchmark: str, chosen: list[Column]
) -> dict[str, tuple[Doubles, NDArray[np.int64]]]:
    """[seeds, queries] values of each metric that is a mean over queries, and the image of each query."""
    rows: dict[str, list[Doubles]] = {}
    groups: dict[str, NDArray[np.int64]] = {}
    for seed in results.seeds:
        arrays = results.arrays(method, seed, benchmark)
        if "owners" not in arrays and "retrieval" in results.benchmarks:
            arrays["owners"] = results.arrays(method, seed, "retrieval")["owners"]
        for each in chosen:
            given = per_query(benchmark, each.key, arrays)
            if given is not None:
                rows.setdefault(each.key, []).append(given[0])
                groups[each.key] = given[1]
    return {key: (np.stack(values), groups[key]) for key, values in rows.items()}


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
