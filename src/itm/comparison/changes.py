"""Differences between the figures of two revisions, each with its test.

The test is the best that the files allow: query by query where the per-query values of both are here and belong to the
same queries, else by the spread over seeds, else none.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from itm.data.files import read_npz
from itm.errors import DataError
from itm.evaluation.compare import compare_queries
from itm.evaluation.keys import flat_metrics
from itm.evaluation.result import PerQuery, paired, read_per_query
from itm.metrics.significance import holm
from itm.pipeline.revisions import Revision
from itm.report.columns import Column, columns
from itm.report.results import Summary, summarise

LEVEL = 0.95
SAMPLES = 2000
QUERIES, SEEDS, NONE = "queries", "seeds", "none"
TESTS = {
    QUERIES: "query by query: sign-flip permutation over images (correlations: bootstrap over images), with a "
    "bootstrap interval over images and seeds",
    SEEDS: "by seeds: Welch's t-test between the seeds of both, for figures that are no mean over queries, and where "
    "per-query values are neither in DVC's cache nor in the workspace, or belong to other queries",
    NONE: "not tested: one seed, and no per-query values of both",
}
DIGITS = 6


@dataclass(frozen=True)
class Change:
    """One figure of one method in both revisions; difference, low and high are B - A. p is Holm's, NaN untested.

    verdict: better, worse, same (not told apart) or untested.
    """

    method: str
    benchmark: str
    column: Column
    a: Summary
    b: Summary
    difference: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    test: str = NONE

    @property
    def verdict(self) -> str:
        """better or worse with p < 0.05 after Holm's correction and an interval without zero."""
        if self.test == NONE or math.isnan(self.p):
            return "untested"
        if self.p < 1 - LEVEL and (self.low > 0 or self.high < 0):
            return "better" if (self.difference > 0) == self.column.higher else "worse"
        return "same"


def compare_revisions(first: Revision, second: Revision, *, samples: int = SAMPLES) -> list[Change]:
    """The key figures that both have, by benchmark and method, with p-values adjusted over all of them.

    Raises:
        DataError: they share no method and benchmark.
    """
    shared = [method for method in first.methods if method in second.methods]
    pairs = [
        (benchmark, method)
        for benchmark in dict.fromkeys(each for _, _, each in first.metrics)
        for method in shared
        if any((method, seed, benchmark) in second.metrics for seed in second.seeds(method))
    ]
    if not pairs:
        raise DataError(
            f"{first.label} has {', '.join(first.methods)} and {second.label} has {', '.join(second.methods)}: no "
            "method and benchmark in common",
            reason="nothing-shared",
        )
    found = [change for pair in pairs for change in _changes(first, second, *pair, samples=samples)]
    tested = [i for i, change in enumerate(found) if not math.isnan(change.p)]
    adjusted = holm([found[i].p for i in tested]).tolist() if tested else []
    for i, p in zip(tested, adjusted, strict=True):
        found[i] = replace(found[i], p=float(p))
    return found


def _changes(first: Revision, second: Revision, benchmark: str, method: str, *, samples: int) -> list[Change]:
    values = [_by_seed(each, method, benchmark) for each in (first, second)]
    shared = [key for key in values[0] if key in values[1]]
    queries = [_per_query(each, method, benchmark) for each in (first, second)]
    same = all(queries) and _same_queries(first, second, method, benchmark)
    found = []
    for column in columns(benchmark, shared):
        a, b = values[0][column.key], values[1][column.key]
        both = summarise(a, DIGITS), summarise(b, DIGITS)
        plain = Change(method, benchmark, column, *both, both[1].mean - both[0].mean)
        tested = _paired(plain, queries[0], queries[1], samples) if same else None
        found.append(tested or _by_spread(plain, a, b))
    return found


def _by_seed(revision: Revision, method: str, benchmark: str) -> dict[str, list[float]]:
    """Each metric's values, one a seed."""
    stored = [found for (name, _, each), found in revision.metrics.items() if (name, each) == (method, benchmark)]
    runs = [flat_metrics(each) for each in stored]
    return {key: [run.get(key, math.nan) for run in runs] for key in (runs[0] if runs else {})}


def _files(revision: Revision, method: str, benchmark: str) -> list[Path]:
    """The evaluations of all seeds; empty when one is not here."""
    triples = [(method, seed, benchmark) for seed in revision.seeds(method)]
    if any(triple not in revision.evaluations for triple in triples):
        return []
    return [revision.evaluations[triple] for triple in triples]


def _per_query(revision: Revision, method: str, benchmark: str) -> Mapping[str, PerQuery]:
    files = _files(revision, method, benchmark)
    if not files:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(files):
            # the names that the reader looks for: files of the cache are called by their hash
            named = Path(folder) / f"seed{number}" / f"{benchmark}.npz"
            named.parent.mkdir()
            named.symlink_to(file.resolve())
        return read_per_query(Path(folder), correlations=True)


def _same_queries(first: Revision, second: Revision, method: str, benchmark: str) -> bool:
    """Whether both were evaluated on the same images and captions."""
    one, two = (_files(each, method, benchmark)[0] for each in (first, second))
    names = ("image_ids", "caption_ids", "owners")
    a, b = (read_npz(path, "run the evaluate stage again", names) for path in (one, two))
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def _paired(
    plain: Change, first: Mapping[str, PerQuery], second: Mapping[str, PerQuery], samples: int
) -> Change | None:
    """The change tested query by query; None for a figure that no per-query values stand for."""
    key = f"{plain.benchmark}/{plain.column.key}"
    for name in (key, f"{key}_all_pairs"):
        a, b = first.get(name), second.get(name)
        if a and b and (pair := paired(a, b)):
            found = compare_queries(a, pair, samples=samples, level=LEVEL)
            return replace(plain, low=found.low, high=found.high, p=found.p, test=QUERIES)
    return None


def _by_spread(plain: Change, a: list[float], b: list[float]) -> Change:
    """The change tested by Welch's t-test; as it is with one seed. Equal values without any spread have p = 1."""
    if min(len(a), len(b)) < 2 or not all(map(math.isfinite, [*a, *b])):
        return plain
    if len({*a}) == len({*b}) == 1:
        same = a[0] == b[0]
        return replace(plain, low=plain.difference, high=plain.difference, p=1.0 if same else 0.0, test=SEEDS)
    from scipy.stats import ttest_ind

    found = ttest_ind(b, a, equal_var=False)
    interval = found.confidence_interval(LEVEL)
    return replace(plain, low=float(interval.low), high=float(interval.high), p=float(found.pvalue), test=SEEDS)
