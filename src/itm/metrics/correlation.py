"""Rank correlations with ties: Spearman's rho, Kendall's tau-b and tau-c."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError


def average_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """[n] ranks from 1; equal values share the mean of their ranks.

    >>> average_ranks([10, 30, 20, 20]).tolist()
    [1.0, 4.0, 2.5, 2.5]
    """
    _, group, size = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(size)
    ranks: NDArray[np.float64] = (last - (size - 1) / 2)[group]
    return ranks


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rho: Pearson's correlation of the average ranks, -1..1; NaN when one side is constant.

    Equals `scipy.stats.spearmanr` (which warns on constant input; so does this).

    Raises:
        MetricError: lengths differ, fewer than two pairs, or a value is not finite.

    >>> round(spearman([1, 2, 3, 4], [1, 3, 2, 4]), 4)
    0.8
    """
    left, right = _pairs(first, second, "Spearman")
    return pearson(average_ranks(left), average_ranks(right))


def pearson(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Pearson's correlation of two arrays; NaN, with a warning, when one of them is constant."""
    left, right = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((left @ left) * (right @ right)))
    if norm == 0:
        warnings.warn("correlation of a constant is undefined: NaN", RuntimeWarning, stacklevel=3)
        return float("nan")
    return max(-1.0, min(1.0, float(left @ right) / norm))


def kendall(first: ArrayLike, second: ArrayLike, variant: str = "b") -> float:
    """Kendall's tau-b or tau-c, -1..1; NaN, with a warning, when one variable is constant.

    tau-b = (C - D) / sqrt((n0 - n1)(n0 - n2)) and tau-c (Stuart) = 2 (C - D) m / (n^2 (m - 1)), with C and D the
    concordant and discordant pairs, n0 all pairs, n1 and n2 the pairs tied in each variable, m the smaller
    number of distinct values. By `scipy.stats.kendalltau`, with input checked and constants told.

    Raises:
        MetricError: lengths differ, fewer than two pairs, a value is not finite, or an unknown variant.

    >>> round(kendall([1, 2, 3, 4], [1, 3, 2, 4]), 12), kendall([1, 2, 3, 4], [0, 0, 1, 1], variant="c")
    (0.666666666667, 1.0)
    """
    if variant not in ("b", "c"):
        raise MetricError(f"Kendall: unknown variant '{variant}'; known: b, c", reason="variant")
    from scipy.stats import kendalltau  # 0.3 s that other metrics do not need

    left, right = _pairs(first, second, "Kendall")
    if min(len(np.unique(left)), len(np.unique(right))) == 1:
        warnings.warn("correlation of a constant is undefined: NaN", RuntimeWarning, stacklevel=2)
        return float("nan")
    return float(kendalltau(left, right, variant="b" if variant == "b" else "c").statistic)


def _pairs(first: ArrayLike, second: ArrayLike, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left, right = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise MetricError(f"{name}: shapes {left.shape} and {right.shape}; expected two equal lengths", reason="shape")
    if len(left) < 2:
        raise MetricError(f"{name}: {len(left)} pairs; at least two are needed", reason="too-few")
    bad = int((~(np.isfinite(left) & np.isfinite(right))).sum())
    if bad:
        raise MetricError(f"{name}: {bad} of {len(left)} pairs hold NaN or infinity", reason="not-finite")
    return left, right
