"""The agreement of an order of captions with the truth: rank correlations without SciPy's start-up time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from itm.errors import MetricError


class GroupOrder(NamedTuple):
    """How a score orders the members of groups by level, averaged over the groups that have two levels."""

    tau: float
    """Mean Kendall tau-b, -1..1; a group whose scores are all equal counts 0."""
    strict: float
    """Share of groups in which every member of a higher level scores above every member of a lower one."""
    groups: int
    """Groups with at least two levels."""


def group_order(scores: np.ndarray, levels: np.ndarray, groups: np.ndarray) -> GroupOrder:
    """The order of scores against true levels inside each group.

    tau-b = (concordant - discordant) / sqrt((pairs - pairs tied in score) * (pairs - pairs tied in level)),
    Kendall (1945). All three arrays have one row a caption; groups are any comparable values.

    >>> group_order(np.array([1.0, 2.0, 3.0, 2.0]), np.array([1, 2, 3, 4]), np.array([7, 7, 7, 7]))
    GroupOrder(tau=0.5477225575051661, strict=0.0, groups=1)

    Raises:
        MetricError: the arrays differ in length.
    """
    taus, strict = group_taus(scores, levels, groups)
    if not len(taus):
        return GroupOrder(float("nan"), float("nan"), 0)
    return GroupOrder(float(taus.mean()), float(strict.mean()), len(taus))


def group_taus(scores: np.ndarray, levels: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kendall's tau-b (float64) and strict order (bool) of each group with two levels, as `group_order` averages.

    The groups' order depends on `levels` and `groups` only, so that two scores can be compared group by group.
    """
    _same_length(scores, levels, groups)
    group = np.unique(groups, return_inverse=True)[1]
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    ends = np.cumsum(sizes)
    taus, strict = [], []
    for size in sorted(set(sizes.tolist())):  # groups of one size at a time, as one array
        members = order[(ends[sizes == size] - size)[:, None] + np.arange(size)]
        a, b = np.triu_indices(size, 1)
        by_score = np.sign(scores[members[:, b]] - scores[members[:, a]])
        by_level = np.sign(levels[members[:, b]].astype(np.int64) - levels[members[:, a]])
        ordered = (by_level != 0).sum(1)
        agreement = (by_score * by_level).sum(1)
        scale = np.sqrt(((by_score != 0).sum(1) * ordered).astype(np.float64))
        kept = ordered > 0
        taus.append(np.divide(agreement, scale, out=np.zeros(len(scale)), where=scale > 0)[kept])
        strict.append((agreement == ordered)[kept])
    return np.concatenate([np.zeros(0), *taus]), np.concatenate([np.zeros(0, dtype=bool), *strict])


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation with average ranks for ties; NaN below two rows or for a constant.

    >>> round(spearman(np.array([1, 2, 3, 4]), np.array([10, 30, 20, 40])), 12)
    0.8

    Raises:
        MetricError: the arrays differ in length.
    """
    _same_length(first, second)
    ranks = [_average_ranks(np.asarray(values)) for values in (first, second)]
    centred = [values - values.mean() for values in ranks] if len(first) > 1 else [np.zeros(1), np.zeros(1)]
    scale = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum() / scale) if scale > 0 else float("nan")


def variance_within(scores: np.ndarray, groups: np.ndarray) -> float:
    """The share of the scores' variance that lies within groups, 0..1 (the rest lies between their means).

    NaN when there are no scores or they are all equal.

    >>> variance_within(np.array([0.0, 2.0, 10.0, 12.0]), np.array(["a", "a", "b", "b"]))
    0.038461538461538464
    """
    _same_length(scores, groups)
    if not len(scores):
        return float("nan")
    group = np.unique(groups, return_inverse=True)[1]
    means = np.bincount(group, weights=scores) / np.bincount(group)
    whole = float(((scores - scores.mean()) ** 2).sum())
    return float(((scores - means[group]) ** 2).sum()) / whole if whole > 0 else float("nan")


def group_means(values: np.ndarray, groups: np.ndarray) -> tuple[Any, np.ndarray]:
    """The distinct groups, sorted, and the mean value of each."""
    names, group = np.unique(groups, return_inverse=True)
    return names, np.bincount(group, weights=values) / np.bincount(group)


def _average_ranks(values: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def _same_length(*arrays: np.ndarray) -> None:
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise MetricError(f"validity: arrays of {', '.join(map(str, lengths))} rows; expected one row a caption each")
