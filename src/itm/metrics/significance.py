"""The dependence of a figure, or of a difference of two, on the queries and seeds that happened to be drawn.

Queries of one image are no independent observations: give `groups` (the image of each query) and whole
groups are drawn, or flipped, together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError
from itm.metrics.correlation import average_ranks

Doubles = NDArray[np.float64]
_DRAWS = 2**22  # random numbers held at once


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same queries: b - a, with an interval, p-values and an effect size.

    difference, low, high: the difference and its bootstrap interval over queries (and seeds).
    p: two-sided, of `test`: "sign flips" (means) or "bootstrap" (correlations).
    effect: difference in standard deviations: of the groups' differences (means; Cohen's d_z), of the bootstrap
    samples (correlations).
    better, worse: shares of groups with a positive and a negative difference, the rest are equal; wilcoxon_p:
    two-sided, signed ranks. All three None for correlations, which have no value of a single query.
    """

    difference: float
    low: float
    high: float
    p: float
    test: str
    effect: float
    groups: int
    wilcoxon_p: float | None = None
    better: float | None = None
    worse: float | None = None

    @property
    def permutation_p(self) -> float:
        """`p`, under the name of the test of means."""
        return self.p


def bootstrap_interval(
    values: ArrayLike, groups: ArrayLike | None = None, *, samples: int = 10_000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of per-query values and its percentile bootstrap interval over queries.

    Args:
        values: [queries] or [seeds, queries] float; with seeds, these are drawn with replacement as well.
        groups: [queries] int, queries that are drawn together; each its own when left out.
        samples: bootstrap samples.
        level: coverage of the interval, between 0 and 1.
        seed: of the draws.

    Raises:
        MetricError: shapes differ, no query is left, a value is not finite, or `level` is out of range.

    >>> bootstrap_interval([1.0, 1.0, 1.0])
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    total, size = _by_group(values, groups)
    if not 0 < level < 1:
        raise MetricError(f"the interval's level must lie between 0 and 1, not {level}", reason="level")
    rng = np.random.default_rng(seed)
    tail = (1 - level) / 2
    low, high = np.quantile(_resampled_means(total, size, samples, rng), [tail, 1 - tail])
    return Interval(float(total.sum() / (size.sum() * len(total))), float(low), float(high))


def compare_paired(
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    samples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Method b against method a on the same queries: paired bootstrap, sign-flip permutation, Wilcoxon.

    The permutation test flips the sign of each group's summed difference at random; p = (1 + flips at least
    as far from zero as observed) / (1 + samples), so it is never 0. Wilcoxon's signed-rank test leaves out
    zero differences and uses the normal approximation with the correction for ties. With several seeds the
    per-query means over seeds are tested, and the interval draws seeds of each method as well as queries.

    Args:
        a, b: [queries] or [seeds, queries] float, queries in the same order; numbers of seeds may differ.
        groups: [queries] int, as in `bootstrap_interval`.
        samples: bootstrap samples, and as many permutations.

    Raises:
        MetricError: the queries differ in number, or as `bootstrap_interval`.

    >>> result = compare_paired([0, 0, 1, 0], [1, 1, 1, 0])
    >>> result.difference, result.better, result.worse
    (0.5, 0.5, 0.0)
    """
    first, size = _by_group(a, groups)
    second, other = _by_group(b, groups)
    if len(size) != len(other) or (size != other).any():
        raise MetricError(
            f"the methods have {int(size.sum())} and {int(other.sum())} queries; pair them", reason="pairs"
        )
    if not 0 < level < 1:
        raise MetricError(f"the interval's level must lie between 0 and 1, not {level}", reason="level")
    rng = np.random.default_rng(seed)
    sums = second.mean(axis=0) - first.mean(axis=0)
    if len(first) == len(second) == 1:
        resampled = _resampled_means(sums[None], size, samples, rng)
    else:
        resampled = _resampled_differences(first, second, size, samples, rng)
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    mean = sums / size
    deviation = float(mean.std(ddof=1)) if len(mean) > 1 else 0.0
    return Comparison(
        difference=float(sums.sum() / size.sum()),
        low=float(low),
        high=float(high),
        p=_sign_flip_p(sums, samples, rng),
        test="sign flips",
        effect=float(mean.mean()) / deviation if deviation else 0.0,
        groups=len(size),
        wilcoxon_p=wilcoxon_p(mean),
        better=float(np.mean(mean > 0)),
        worse=float(np.mean(mean < 0)),
    )


def compare_correlations(
    a: ArrayLike,
    b: ArrayLike,
    ratings: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Spearman's rho of method b with the ratings, less that of method a: a paired bootstrap over groups.

    A sample draws groups with replacement and correlates all their pairs. With several seeds each sample takes
    one seed of each method at random; `difference` is that of the means over seeds.
    p = 2 x the smaller share of samples on either side of zero (counting one more on each), at most 1.

    Args:
        a, b: [pairs] or [seeds, pairs] float, the methods' scores of the rated pairs.
        ratings: [pairs] float.
        groups: [pairs] int, as in `bootstrap_interval`.

    Raises:
        MetricError: lengths differ, or a value is not finite.

    >>> compare_correlations([3, 1, 2, 0], [0, 1, 2, 3], [0, 1, 2, 3], samples=10).difference
    1.8
    """
    first, second = (np.atleast_2d(np.asarray(scores, dtype=np.float64)) for scores in (a, b))
    rating = np.asarray(ratings, dtype=np.float64)
    if not first.shape[1] == second.shape[1] == len(rating):
        raise MetricError(
            f"{first.shape[1]} and {second.shape[1]} scores for {len(rating)} ratings; one of each a pair",
            reason="pairs",
        )
    _by_group(np.vstack((first, second, rating)), groups)  # its checks
    member = np.arange(len(rating)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    count = int(member.max()) + 1
    order = [[np.unique(row, return_inverse=True)[1] for row in scores] for scores in (first, second)]
    truth = np.unique(rating, return_inverse=True)[1]
    every = np.ones(len(rating))
    rho = [[_weighted_spearman(row, truth, every) for row in rows] for rows in order]
    rng = np.random.default_rng(seed)
    differences = np.empty(samples)
    for sample in range(samples):
        weight = np.bincount(rng.integers(0, count, count), minlength=count)[member].astype(np.float64)
        drawn = [_weighted_spearman(rows[rng.integers(len(rows))], truth, weight) for rows in order]
        differences[sample] = drawn[1] - drawn[0]
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    deviation = float(differences.std())
    difference = float(np.mean(rho[1]) - np.mean(rho[0]))
    sides = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return Comparison(
        difference,
        float(low),
        float(high),
        p=min(1.0, 2 * (1 + sides) / (1 + samples)),
        test="bootstrap",
        effect=difference / deviation if deviation else 0.0,
        groups=count,
    )


def holm(p_values: ArrayLike) -> Doubles:
    """[tests] p-values adjusted for several tests at once (Holm 1979): the family-wise error stays below level.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def wilcoxon_p(differences: ArrayLike) -> float:
    """The two-sided p-value of Wilcoxon's signed-rank test; 1 when all differences are zero.

    >>> round(wilcoxon_p([1.0, 2.0, 3.0, 4.0, -0.5]), 4)
    0.0796
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]
    n = len(values)
    if n == 0:
        return 1.0
    ranks = average_ranks(np.abs(values))
    _, tied = np.unique(ranks, return_counts=True)
    variance = (n * (n + 1) * (2 * n + 1) - float((tied**3 - tied).sum()) / 2) / 24
    statistic = abs(float(ranks[values > 0].sum()) - n * (n + 1) / 4) / math.sqrt(variance)
    return math.erfc(statistic / math.sqrt(2))


def _by_group(values: ArrayLike, groups: ArrayLike | None) -> tuple[Doubles, Doubles]:
    """[seeds, groups] sums of the values, and [groups] numbers of queries."""
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    queries = table.shape[1]
    member = np.arange(queries) if groups is None else np.asarray(groups)
    if table.ndim != 2 or member.shape != (queries,):
        raise MetricError(f"{member.shape} groups for values of shape {table.shape}; one a query", reason="shape")
    if not queries:
        raise MetricError("there are no queries to draw from", reason="empty")
    if not np.isfinite(table).all():
        raise MetricError(
            f"{int((~np.isfinite(table)).sum())} of {table.size} values are not finite;"
            " leave those queries out of both methods",
            reason="not-finite",
        )
    _, place = np.unique(member, return_inverse=True)
    return np.stack([np.bincount(place, row) for row in table]), np.bincount(place).astype(np.float64)


def _resampled_means(total: Doubles, size: Doubles, samples: int, rng: np.random.Generator) -> Doubles:
    """[samples] means over groups (and seeds) drawn with replacement.

    Of a single seed, equal groups are drawn as one count: the same distribution, much faster.
    """
    means = np.empty(samples)
    if len(total) == 1:
        kinds, count = np.unique(np.stack((total[0], size)), axis=1, return_counts=True)
        step = max(1, _DRAWS // len(count))
        for start in range(0, samples, step):
            part = slice(start, min(start + step, samples))
            drawn = rng.multinomial(len(size), count / len(size), size=part.stop - start)
            means[part] = drawn @ kinds[0] / (drawn @ kinds[1])
        return means
    for sample in range(samples):
        drawn = np.bincount(rng.integers(0, len(size), len(size)), minlength=len(size))
        rows = total[rng.integers(0, len(total), len(total))].mean(axis=0)
        means[sample] = rows @ drawn / (size @ drawn)
    return means


def _resampled_differences(
    first: Doubles, second: Doubles, size: Doubles, samples: int, rng: np.random.Generator
) -> Doubles:
    """[samples] differences of means; groups are drawn once for both methods, seeds for each by itself."""
    means = np.empty(samples)
    for sample in range(samples):
        drawn = np.bincount(rng.integers(0, len(size), len(size)), minlength=len(size))
        rows = [total[rng.integers(0, len(total), len(total))].mean(axis=0) for total in (first, second)]
        means[sample] = (rows[1] - rows[0]) @ drawn / (size @ drawn)
    return means


def _weighted_spearman(left: NDArray[np.int64], right: NDArray[np.int64], weight: Doubles) -> float:
    """Spearman's rho of a sample that holds pair i weight[i] times; both sides as dense ranks."""
    x, y = _weighted_ranks(left, weight), _weighted_ranks(right, weight)
    squares = float(np.einsum("i,i,i->", weight, x, x)) * float(np.einsum("i,i,i->", weight, y, y))
    return float(np.einsum("i,i,i->", weight, x, y)) / math.sqrt(squares) if squares else float("nan")


def _weighted_ranks(dense: NDArray[np.int64], weight: Doubles) -> Doubles:
    """Average ranks of the replicated sample less their mean."""
    size = np.bincount(dense, weight)
    middle = np.cumsum(size) - size / 2 - float(weight.sum()) / 2
    centred: Doubles = middle[dense]
    return centred


def _sign_flip_p(sums: Doubles, permutations: int, rng: np.random.Generator) -> float:
    """The two-sided p-value of the sign-flip test. Equal distances flip as one binomial count."""
    distance, count = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    if not len(distance):
        return 1.0
    observed = abs(float(sums.sum())) * (1 - 1e-12)  # sums in another order may differ in the last bits
    extreme = 0
    step = max(1, _DRAWS // len(distance))
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        positive = rng.binomial(count, 0.5, size=(rows, len(count)))
        extreme += int(np.count_nonzero(np.abs((2 * positive - count) @ distance) >= observed))
    return (1 + extreme) / (1 + permutations)
