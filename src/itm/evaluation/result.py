"""The outcome of a benchmark: metrics, per-query values, and the protocol that makes them comparable."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.data.files import read_npz, readable, together, write_json, write_npz
from itm.errors import DataError, first_few
from itm.parse import parse_json

Metrics = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Result:
    """One benchmark of one model.

    metrics: nested dict of numbers; recalls and correlations are fractions.
    per_query: arrays from which the metrics can be built again, compared and bootstrapped.
    protocol: sizes, denominators, thresholds, seeds.
    """

    metrics: Metrics
    per_query: dict[str, NDArray[Any]]
    protocol: dict[str, Any] = field(default_factory=dict)


def write_result(result: Result, metrics: Path, per_query: Path, digits: int) -> None:
    """Write the metrics as JSON, rounded, and the per-query arrays with the protocol as .npz."""
    write_per_query(result, per_query)
    write_json(metrics, rounded(result.metrics, digits))


@together()
def write_together(results: Mapping[Path, Result], metrics: Any = None, out: Path | None = None) -> None:
    """Write per-query values by file, and metrics where `out` names one: all of them, or none where one cannot be."""
    for path, result in results.items():
        write_per_query(result, path)
    if out is not None:
        write_json(out, metrics)


def write_per_query(result: Result, path: Path) -> None:
    """Write the per-query arrays with the protocol as .npz."""
    arrays = {name: array.astype(str) if array.dtype == object else array for name, array in result.per_query.items()}
    write_npz(path, {"protocol": json.dumps(result.protocol, sort_keys=True), **arrays})


def rounded(metrics: Metrics, digits: int, where: str = "") -> Metrics:
    """The metrics rounded for a file kept in git; what is not a number becomes null, with a warning.

    >>> rounded({"i2t": {"r1": 0.123456}, "rsum": 31}, 3)
    {'i2t': {'r1': 0.123}, 'rsum': 31}
    """
    found: Metrics = {}
    for name, value in metrics.items():
        key = f"{where}/{name}" if where else name
        if isinstance(value, dict):
            found[name] = rounded(value, digits, key)
        elif isinstance(value, int):
            found[name] = value
        elif math.isfinite(value):
            found[name] = round(float(value), digits) + 0.0  # no negative zero
        else:
            warnings.warn(
                f"{key} is not defined for this model (a constant similarity?); written as null", stacklevel=2
            )
            found[name] = None
    return found


def id_hash(ids: NDArray[Any]) -> str:
    """Twelve hex digits that change with any id or their order: equal hashes mean the same gallery.

    >>> import numpy as np
    >>> id_hash(np.array([1, 2])) == id_hash(np.array(["1", "2"])) != id_hash(np.array([2, 1]))
    True
    """
    return hashlib.sha256("\n".join(str(one) for one in ids.tolist()).encode()).hexdigest()[:12]


Doubles = NDArray[np.float64]
RECALL_AT = (1, 5, 10)
_BY_IMAGE = {
    "grading": (
        *(
            f"{at}/{key}"
            for at in ("specificity_0", "specificity_05", "specificity_1")
            for key in ("map_at_r", "order")
        ),
        *(f"half_truth/{at}" for at in ("similarity", "specificity_0", "specificity_05", "specificity_1")),
        "probability/set_f1",
    ),
    "false_negatives": ("order/level", "order/descriptiveness"),
    "hierarcaps": (
        "tau_d",
        *(
            f"{path}/{name}"
            for path in ("radius_levels", "interpolation")
            for name in ("precision", "recall", "ordered_recall", "any_recall")
        ),
    ),
}
"""Metrics with a value for each image. In the arrays' names an underscore stands for the slash."""


@dataclass(frozen=True, eq=False)
class PerQuery:
    """One metric of every query: `values` [seeds, queries], and the image of each query, the unit of resampling.

    With `ratings`, queries are rated pairs, `values` the model's scores, and the metric is their correlation.
    """

    values: Doubles
    queries: NDArray[Any]
    groups: NDArray[Any]
    ratings: Doubles | None = None


def read_per_query(path: Path, *, correlations: bool = False) -> dict[str, PerQuery]:
    """All per-query metrics of one method, under keys such as ``retrieval/i2t/r1``.

    With `correlations` also the scores of rated pairs, such as ``cxc/sits/spearman_all_pairs``: these have `ratings`,
    and their figure is a correlation, not the mean of their values.

    `path` is a ranks.parquet of `itm evaluate`, or a folder of the pipeline, evaluations/<method>, whose seeds
    are read together.

    Raises:
        DataError: nothing is there, or seeds were evaluated on different queries.
    """
    path = Path(path)
    if path.is_file():
        with readable(path, "write it again with `itm evaluate --ranks`"):  # columns may be of any type
            table = _from_table(path)
        return {key: found for key, found in table.items() if correlations or found.ratings is None}
    seeds = sorted(path.glob("seed*"), key=lambda folder: (len(folder.name), folder.name)) or [path]
    runs = [_from_arrays(folder) for folder in seeds]
    if not runs[0]:
        raise DataError(
            f"{path}: no per-query values; expected ranks.parquet or evaluations/<method>", reason="missing-file"
        )
    found = {}
    for key, first in runs[0].items():
        if first.ratings is not None and not correlations:
            continue
        others = [paired(first, run[key]) for run in runs if key in run]
        if len(others) != len(runs) or None in others:
            raise DataError(f"{path}: the seeds were evaluated on different queries ({key})", reason="queries")
        found[key] = replace(first, values=np.concatenate([other.values for other in others if other]))
    return found


def paired(first: PerQuery, second: PerQuery) -> PerQuery | None:
    """`second` with its queries in the order of `first`; None where they are others, or of other images or ratings."""
    order = np.arange(len(second.queries))
    if not np.array_equal(first.queries, second.queries):
        here, there = (np.argsort(each.queries, kind="stable") for each in (first, second))
        if not np.array_equal(first.queries[here], second.queries[there]):
            return None
        order[here] = there
    groups = second.groups[order]
    if not _same_partition(first.groups, groups):
        return None
    ratings = None if second.ratings is None else second.ratings[order]
    if first.ratings is not None and not (ratings is not None and np.array_equal(first.ratings, ratings)):
        return None
    return PerQuery(second.values[:, order], first.queries, groups, ratings)


def _same_partition(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays are equal in the same places, whatever the values are called."""
    (first, a), (second, b) = (np.unique(each, return_inverse=True) for each in (one, other))
    return len(first) == len(second) == len(np.unique(a * max(1, len(second)) + b))


def shared(first: Mapping[str, PerQuery], second: Mapping[str, PerQuery]) -> dict[str, tuple[PerQuery, PerQuery]]:
    """The metrics that both have, the second's queries in the order of the first's.

    Raises:
        DataError: there is none, or a shared metric was computed on different queries.
    """
    both = {key: paired(first[key], second[key]) for key in first if key in second}
    if not both:
        raise DataError("the two have no metric in common", reason="no-metric")
    other = [key for key, found in both.items() if found is None]
    if other:
        raise DataError(
            f"{len(other)} metrics were computed on different queries ({first_few(other)})", reason="queries"
        )
    return {key: (first[key], found) for key, found in both.items() if found is not None}


def _from_table(path: Path) -> dict[str, PerQuery]:
    from itm.data.tables import read_columns

    table = read_columns(path, ("benchmark", "task", "metric", "query_id", "group_id", "value"))
    table["value"] = table["value"].astype(np.float64)
    names = table["benchmark"] + "/" + table["task"] + "/" + table["metric"]
    found: dict[str, PerQuery] = {}
    _, first = np.unique(names, return_index=True)
    for name in names[np.sort(first)]:
        row = np.flatnonzero(names == name)
        query, group, value = (table[column][row] for column in ("query_id", "group_id", "value"))
        if len(np.unique(query)) != len(query):
            raise DataError(f"{path}: {name}: a query comes twice", reason="repeated-id")
        base, metric = str(name).rsplit("/", 1)
        if metric == "rank":
            _keep_hits(found, base, value, query, group, RECALL_AT)
        elif metric == "model_score":
            rated = names == f"{base}/rating"
            ratings = PerQuery(table["value"][rated][None], table["query_id"][rated], table["group_id"][rated])
            own = PerQuery(value[None], query, group)
            if (fitting := paired(own, ratings)) is None:
                raise DataError(f"{path}: {base}: scores and ratings are not of the same pairs", reason="queries")
            found[f"{base}/spearman_all_pairs"] = replace(own, ratings=fitting.values[0])
        elif metric != "rating" and not metric.startswith("rank_"):
            found[str(name)] = PerQuery(value[None], query, group)
    return found


def _from_arrays(folder: Path) -> dict[str, PerQuery]:
    """The per-query values of the pipeline's .npz files in one folder."""
    found: dict[str, PerQuery] = {}
    for path in sorted(folder.glob("*.npz")):
        arrays = read_npz(path, "run the evaluate stage again")
        try:
            _add(found, path.stem, arrays, parse_json(str(arrays.get("protocol", "{}")), "protocol"))
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:  # arrays that do not fit
            raise DataError(
                f"{path}: not as the evaluate stage writes it ({str(error)[:200]}); run it again", reason="damaged"
            ) from None
    return found


def _add(found: dict[str, PerQuery], benchmark: str, arrays: Mapping[str, Any], protocol: Any) -> None:
    """Add the per-query values of one benchmark's arrays."""
    images = len(arrays["image_ids"]) if "image_ids" in arrays else -1
    names = {"i": arrays.get("image_ids", np.arange(images)), "t": arrays.get("caption_ids")}
    for task in ("i2t", "t2i", "t2t", "i2i"):
        by_caption = task[0] == "t"
        if by_caption and "owners" not in arrays:
            continue
        groups = arrays["owners"] if by_caption else np.arange(images)
        ids = names[task[0]]
        queries = np.arange(len(groups)) if ids is None or len(ids) != len(groups) else ids
        rank = arrays.get(f"{task}_rank")
        if rank is not None:
            answerable = arrays.get(f"{task}_answerable", np.ones(len(rank), dtype=bool))
            values = np.where(answerable, rank, np.nan)
            at = protocol.get("recall_at", RECALL_AT)
            _keep_hits(found, f"{benchmark}/{task}", values, queries, groups, at)
        for name in ("map_at_r", "r_precision", "unlabelled_recall", "spearman"):
            _keep(found, f"{benchmark}/{task}/{name}", arrays.get(f"{task}_{name}"), queries, groups)
    for kind in ("sts", "sis", "sits", "expert", "crowdflower"):
        if f"{kind}_image" in arrays:
            groups = arrays[f"{kind}_image"]
            kept = ~arrays[f"{kind}_own"] if kind == "expert" else np.ones(len(groups), dtype=bool)
            name = "spearman" if benchmark == "judgements" else "spearman_all_pairs"
            ratings = arrays[f"{kind}_rating" if benchmark == "cxc" else f"{kind}_grade"][kept]
            scores = arrays[f"{kind}_model"][kept][None]
            found[f"{benchmark}/{kind}/{name}"] = PerQuery(scores, np.flatnonzero(kept), groups[kept], ratings)
    ids = np.arange(images) if names["i"] is None else names["i"]
    for key in _BY_IMAGE.get(benchmark, ()):
        _keep(found, f"{benchmark}/{key}", arrays.get(key.replace("/", "_")), ids, np.arange(images))


def _keep(
    found: dict[str, PerQuery], key: str, values: NDArray[Any] | None, queries: NDArray[Any], groups: NDArray[Any]
) -> None:
    """Keep a metric's defined values; a query that is undefined for one model is so for all (it has no answers)."""
    if values is not None and len(values) == len(groups):
        known = np.flatnonzero(np.isfinite(values))
        if len(known):
            found[key] = PerQuery(values[known].astype(np.float64)[None], queries[known], groups[known])


def _keep_hits(
    found: dict[str, PerQuery], base: str, rank: Doubles, query: NDArray[Any], group: NDArray[Any], at: Sequence[int]
) -> None:
    """Keep R@K for each K. A query without an answer (NaN) is a miss, but in t2t and i2i it is not asked at all."""
    asked = np.isfinite(rank) if base.endswith(("/t2t", "/i2i")) else np.ones(len(rank), dtype=bool)
    for k in at:
        found[f"{base}/r{k}"] = PerQuery((rank[asked] < k).astype(np.float64)[None], query[asked], group[asked])
