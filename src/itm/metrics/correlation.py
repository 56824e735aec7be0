"""Rank correlations with ties: Spearman's rho, Kendall's tau-b and tau-c, in O(n log n) numpy."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

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


@dataclass(frozen=True)
class PairCounts:
    """Pairs of observations: all, concordant minus discordant, tied in the first and in the second variable."""

    total: int
    agreement: int
    tied_first: int
    tied_second: int
    observations: int
    smaller_side: int

    @property
    def tau_b(self) -> float:
        """(C - D) / sqrt((n0 - n1)(n0 - n2)); NaN when one variable is constant."""
        scale = float(np.sqrt(float(self.total - self.tied_first) * float(self.total - self.tied_second)))
        return self.agreement / scale if scale else float("nan")

    @property
    def tau_c(self) -> float:
        """2 (C - D) m / (n^2 (m - 1)), m = the smaller number of distinct values; NaN when m = 1."""
        m = self.smaller_side
        return 2 * self.agreement * m / (self.observations**2 * (m - 1)) if m > 1 else float("nan")


def pair_counts(first: ArrayLike, second: ArrayLike) -> PairCounts:
    """Concordant and tied pairs of two variables, in O(n log n) by counting inversions (Knight 1966)."""
    left, right = _pairs(first, second, "Kendall")
    _, x = np.unique(left, return_inverse=True)
    _, y = np.unique(right, return_inverse=True)
    n = len(x)
    total = n * (n - 1) // 2
    tied_x, tied_y = _tied_pairs(np.bincount(x)), _tied_pairs(np.bincount(y))
    tied_both = _tied_pairs(np.unique(x * (int(y.max()) + 1) + y, return_counts=True)[1])
    discordant = inversions(y[np.lexsort((y, x))])
    agreement = total - tied_x - tied_y + tied_both - 2 * discordant
    return PairCounts(total, agreement, tied_x, tied_y, n, min(int(x.max()), int(y.max())) + 1)


def kendall(first: ArrayLike, second: ArrayLike, variant: str = "b") -> float:
    """Kendall's tau-b or tau-c, -1..1; NaN, with a warning, when one variable is constant.

    tau-b = (C - D) / sqrt((n0 - n1)(n0 - n2)) and tau-c (Stuart) = 2 (C - D) m / (n^2 (m - 1)), with C and D the
    concordant and discordant pairs, n0 all pairs, n1 and n2 the pairs tied in each variable, m the smaller
    number of distinct values. Equals `scipy.stats.kendalltau(variant=...)`.

    Raises:
        MetricError: lengths differ, fewer than two pairs, a value is not finite, or an unknown variant.

    >>> kendall([1, 2, 3, 4], [1, 3, 2, 4]), kendall([1, 2, 3, 4], [0, 0, 1, 1], variant="c")
    (0.6666666666666666, 1.0)
    """
    if variant not in ("b", "c"):
        raise MetricError(f"Kendall: unknown variant '{variant}'; known: b, c", reason="variant")
    counts = pair_counts(first, second)
    if counts.smaller_side == 1:
        warnings.warn("correlation of a constant is undefined: NaN", RuntimeWarning, stacklevel=2)
    return counts.tau_b if variant == "b" else counts.tau_c


def inversions(values: NDArray[np.int64]) -> int:
    """How many pairs i < j have values[i] > values[j]; values are integers from 0.

    One pass a bit, highest first: inside groups of equal higher bits, count ones before zeros, then
    split each group by the bit and keep its order.

    >>> inversions(np.array([2, 0, 1]))
    2
    """
    current = np.asarray(values, dtype=np.int64)
    total = 0
    for bit in reversed(range(int(current.max(initial=0)).bit_length())):
        group = current >> (bit + 1)  # groups lie together: earlier passes sorted by them
        ones = (current >> bit) & 1
        before = np.cumsum(ones) - ones
        start = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
        size = np.diff(np.concatenate((start, [len(current)])))
        inside = before - np.repeat(before[start], size)
        total += int(inside[ones == 0].sum())
        current = current[np.argsort(current >> bit, kind="stable")]
    return total


def _tied_pairs(sizes: NDArray[np.int64]) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


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
