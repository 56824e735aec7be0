"""The correlation protocol of Crisscrossed Captions: Spearman over random halves of the queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError


@dataclass(frozen=True, eq=False)
class BootstrapCorrelation:
    """The mean and population standard deviation over trials; NaN when any trial is undefined."""

    mean: float
    std: float
    trials: NDArray[np.float64]
    queries: int


def bootstrap_spearman(
    queries: ArrayLike, ratings: ArrayLike, scores: ArrayLike, *, trials: int = 1000, seed: int = 0
) -> BootstrapCorrelation:
    """Spearman's rho between ratings and scores, averaged over random half samples of the queries.

    A trial draws floor(Q / 2) queries without replacement, for each of them one of its rated pairs
    uniformly, and correlates the drawn pairs with average ranks (Parekh et al. 2021, section 4; the
    protocol is quoted in arXiv 2203.06875, section 4.2). Which item is the query is the caller's choice
    and part of the metric: with the same data the result moves by several points.

    Args:
        queries: [pairs] int, the query of each rated pair. List a pair twice to let both of its items ask.
        ratings: [pairs] float, human scores.
        scores: [pairs] float, the model's.
        trials: half samples to draw.
        seed: of the draws.

    Raises:
        MetricError: lengths differ, a value is not finite, or there are fewer than four queries.

    >>> result = bootstrap_spearman([0, 0, 1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], trials=10)
    >>> result.mean, result.std, result.queries
    (1.0, 0.0, 4)
    """
    query = np.asarray(queries)
    rating, score = np.asarray(ratings, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if not len(query) == len(rating) == len(score):
        raise MetricError(
            f"bootstrap: {len(query)} queries, {len(rating)} ratings and {len(score)} scores; one of each a pair",
            reason="shape",
        )
    bad = int((~(np.isfinite(rating) & np.isfinite(score))).sum())
    if bad:
        raise MetricError(f"bootstrap: {bad} of {len(rating)} pairs hold NaN or infinity", reason="not-finite")
    order = np.argsort(query, kind="stable")
    _, first, size = np.unique(query[order], return_index=True, return_counts=True)
    if len(first) < 4:
        raise MetricError(f"bootstrap: {len(first)} queries; half of them must be at least two", reason="too-few")
    # dense ranks once; a trial then ranks its sample by counting, without sorting
    rating_rank = np.unique(rating[order], return_inverse=True)[1]
    score_rank = np.unique(score[order], return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    half = len(first) // 2
    results = np.empty(trials)
    for trial in range(trials):
        drawn = rng.permutation(len(first))[:half]
        pair = first[drawn] + (rng.random(half) * size[drawn]).astype(np.int64)
        results[trial] = _rank_correlation(rating_rank[pair], score_rank[pair])
    return BootstrapCorrelation(float(results.mean()), float(results.std()), results, len(first))


def _rank_correlation(left: NDArray[np.int64], right: NDArray[np.int64]) -> float:
    x, y = _centred_ranks(left), _centred_ranks(right)
    # einsum, not @: a threaded BLAS spends more on waking its threads than on so short a product
    squares = float(np.einsum("i,i->", x, x)) * float(np.einsum("i,i->", y, y))
    return max(-1.0, min(1.0, float(np.einsum("i,i->", x, y)) / np.sqrt(squares))) if squares else float("nan")


def _centred_ranks(dense: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average ranks less their mean, (n + 1) / 2, of integers that order like the values."""
    count = np.bincount(dense)
    middle = np.cumsum(count) - (count - 1) / 2 - (len(dense) + 1) / 2
    centred: NDArray[np.float64] = middle[dense]
    return centred
