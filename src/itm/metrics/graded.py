"""Ranking quality when a query has several right answers, or answers right to a degree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError, first_few
from itm.metrics.positives import Positives
from itm.metrics.scorer import Scorer, as_scorer
from itm.metrics.top import top_items

_QUERIES = 4096  # queries whose lists are held at once


@dataclass(frozen=True, eq=False)
class PrecisionAtR:
    """R-Precision and mAP@R of each query, [queries] float64; NaN where a query has no answer at all (R = 0)."""

    r_precision: NDArray[np.float64]
    map_at_r: NDArray[np.float64]


def precision_at_r(scores: Scorer | ArrayLike, positives: Positives) -> PrecisionAtR:
    """R-Precision and average precision at R of each query (a row of `scores`).

    With R right answers and ranked list L:  R-Precision = |{L1..LR} in P| / R  and
    mAP@R = (1/R) sum over i <= R of Prec@i [Li in P]  (Musgrave et al. 2020; ECCV Caption, Chun et al. 2022).
    The divisor is always R, not the answers found. R counts answers outside the gallery
    (`positives.missing`), which can never be found.

    Differs from: torchmetrics' `retrieval_average_precision(top_k=R)`, which divides by the answers found.

    Raises:
        MetricError: shapes differ, or no query has an answer.

    >>> result = precision_at_r([[0.9, 0.1, 0.5, 0.3]], Positives.from_pairs([0, 0], [0, 3], (1, 4)))
    >>> result.r_precision.tolist(), result.map_at_r.tolist()
    ([0.5], [0.5])
    """
    scorer = as_scorer(scores)
    if scorer.shape != (len(positives), positives.gallery):
        raise MetricError(
            f"answers are for {len(positives)} queries x {positives.gallery} items, scores for"
            f" {scorer.shape[0]} x {scorer.shape[1]}",
            reason="shape",
        )
    longest = int(positives.relevant.max(initial=0))
    if longest == 0:
        raise MetricError("no query has an answer", reason="no-answers")
    return precision_at_r_of_lists(top_items(scorer, min(longest, positives.gallery)), positives)


def precision_at_r_of_lists(lists: NDArray[np.int64], positives: Positives) -> PrecisionAtR:
    """R-Precision and mAP@R of ranked lists [queries, at least min(R, gallery)] of distinct gallery positions.

    Raises:
        MetricError: the lists are shorter than the R of some query (a short list would raise precision).
    """
    relevant = positives.relevant
    short = np.flatnonzero(np.minimum(relevant, positives.gallery) > lists.shape[1])
    if len(short):
        raise MetricError(
            f"{len(short)} queries have more answers than the {lists.shape[1]} items of their lists"
            f" (queries {first_few(short)}); give at least {int(relevant.max())} items a query",
            reason="short-lists",
        )
    precision = np.full(len(positives), np.nan)
    average = np.full(len(positives), np.nan)
    place = np.arange(1, lists.shape[1] + 1)
    for top in range(0, len(positives), _QUERIES):
        part = np.arange(top, min(top + _QUERIES, len(positives)))
        part = part[relevant[part] > 0]
        hit = positives.contains(part[:, None], lists[part]) & (place <= relevant[part, None])
        precision[part] = hit.sum(axis=1) / relevant[part]
        average[part] = (hit * np.cumsum(hit, axis=1) / place).sum(axis=1) / relevant[part]
    return PrecisionAtR(precision, average)


def ndcg(scores: ArrayLike, grades: ArrayLike, *, k: int | None = None, gain: str = "linear") -> float:
    """The normalised discounted cumulative gain of one query's items.

    DCG = sum over places i = 1.. of gain(grade) / log2(i + 1), divided by the DCG of the best order
    (Jarvelin and Kekalainen 2002). Tied scores share the mean of their places' discounts (McSherry and
    Najork 2008), so that the order of the input does not matter.

    Args:
        scores: [items] float.
        grades: [items] float, 0 = not relevant; not negative.
        k: count the first k places only.
        gain: "linear" (the grade) or "exponential" (2^grade - 1).

    Returns:
        0..1; NaN when all gains are zero.

    Raises:
        MetricError: lengths differ, a grade is negative or not finite, or `gain` is unknown.

    >>> round(ndcg([0.9, 0.5, 0.1], [0, 0, 3]), 4), ndcg([0.9, 0.5, 0.1], [3, 1, 0])
    (0.5, 1.0)
    """
    score, grade = np.asarray(scores, dtype=np.float64), np.asarray(grades, dtype=np.float64)
    if score.shape != grade.shape or score.ndim != 1:
        raise MetricError(
            f"nDCG: {score.shape} scores for {grade.shape} grades; expected equal lengths", reason="shape"
        )
    if not np.isfinite(score).all():
        raise MetricError(f"nDCG: {int((~np.isfinite(score)).sum())} scores are not finite", reason="not-finite")
    if not np.isfinite(grade).all() or (grade < 0).any():
        raise MetricError("nDCG: grades must be finite and not negative", reason="grade")
    if gain not in ("linear", "exponential"):
        raise MetricError(f"nDCG: unknown gain '{gain}'; known: exponential, linear", reason="gain")
    gains = grade if gain == "linear" else np.exp2(grade) - 1
    discount = 1 / np.log2(np.arange(2, len(gains) + 2))
    if k is not None:
        discount[k:] = 0
    best = float(np.sort(gains)[::-1] @ discount)
    if best == 0:
        return float("nan")
    _, group, size = np.unique(-score, return_inverse=True, return_counts=True)
    shared = np.add.reduceat(discount, np.concatenate(([0], np.cumsum(size)[:-1]))) / size
    return float(gains @ shared[group]) / best
