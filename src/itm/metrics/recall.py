"""Hit rates of the retrieval literature: R@K, MedR, MeanR and RSUM, from ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from itm.errors import MetricError
from itm.metrics.ranks import HitRanks


def hit_rates(ranks: HitRanks, at: Sequence[int] = (1, 5, 10), *, answerable_only: bool = False) -> dict[str, float]:
    """R@K for each K, MedR and MeanR of one retrieval direction.

    R@K is the share of queries whose best answer has rank < K. The literature calls it recall; it is a hit
    rate: with five right captions, one among the first K is enough. MedR = floor(median rank) + 1,
    MeanR = mean rank + 1 (ranks from 0), over queries that have an answer.

    Args:
        ranks: of `hit_ranks`.
        at: values of K.
        answerable_only: leave out queries without an answer in the gallery (else they are misses).

    Returns:
        fractions 0..1 under "r<K>"; ranks from 1 up under "median_rank" and "mean_rank".

    Raises:
        MetricError: no query is left, or a K is below 1.

    >>> from itm.metrics import Positives, hit_ranks
    >>> i2t, _ = Positives.from_owners([0, 0, 1], images=2)
    >>> hit_rates(hit_ranks([[0.9, 0.1, 0.5], [0.8, 0.2, 0.2]], i2t), at=(1, 3))
    {'r1': 0.5, 'r3': 1.0, 'median_rank': 2.0, 'mean_rank': 2.0}
    """
    if min(at) < 1:
        raise MetricError(f"R@K needs K >= 1, not {min(at)}", reason="k")
    answered = ranks.rank[ranks.answerable]
    counted = answered if answerable_only else ranks.rank
    if not len(answered):
        raise MetricError("no query has an answer in the gallery", reason="no-answers")
    # a query without an answer has the gallery's size as rank: a miss even when K is larger
    hits = {f"r{k}": float(np.count_nonzero(answered < k) / len(counted)) for k in at}
    return {**hits, "median_rank": float(np.floor(np.median(answered)) + 1), "mean_rank": float(answered.mean() + 1)}


def rsum(*directions: dict[str, float]) -> float:
    """The sum of all R@K of all directions in percent: 0..600 for three K and two directions.

    >>> rsum({"r1": 0.5, "r5": 1.0, "median_rank": 1.0}, {"r1": 0.25})
    175.0
    """
    return 100.0 * sum(value for rates in directions for name, value in rates.items() if name[0] == "r")


def fold_means(folds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean over folds of each metric: COCO 1K is the mean of five folds, not the best of them.

    >>> fold_means([{"r1": 0.25}, {"r1": 0.75}])
    {'r1': 0.5}
    """
    return {name: float(np.mean([fold[name] for fold in folds])) for name in folds[0]}


def hits_at(ranks: HitRanks, k: int) -> NDArray[np.float64]:
    """[queries] 1.0 where the best answer has rank < k: the per-query values behind R@k."""
    return ((ranks.rank < k) & ranks.answerable).astype(np.float64)
