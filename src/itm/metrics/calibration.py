"""Precision and recall of one global threshold: whether a similarity means the same for every pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """Precision and recall of "score >= threshold is a true pair", one entry a distinct score, falling."""

    threshold: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    @property
    def average_precision(self) -> float:
        """Sum of precision x gain in recall over the thresholds, 0..1; the base rate when scores are constant."""
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    @property
    def best_f1(self) -> float:
        """The largest harmonic mean of precision and recall over the thresholds, 0..1."""
        total = self.precision + self.recall
        return float(np.max(2 * self.precision * self.recall / np.where(total > 0, total, 1)))


def threshold_curve(scores: ArrayLike, truth: ArrayLike) -> ThresholdCurve:
    """Precision and recall of a single threshold over all pairs, at every distinct score.

    Unlike a ranking metric this compares scores of different queries: it is high only when true pairs
    score higher than false pairs anywhere. Equal scores fall on the same side of a threshold.

    Args:
        scores: [pairs] float.
        truth: [pairs] bool.

    Raises:
        MetricError: lengths differ, a score is not finite, or no pair is true.

    >>> curve = threshold_curve([0.9, 0.8, 0.7, 0.7], [True, False, True, False])
    >>> curve.precision.tolist(), curve.recall.tolist()
    ([1.0, 0.5, 0.5], [0.5, 0.5, 1.0])
    >>> curve.average_precision
    0.75
    """
    score, true = np.asarray(scores).reshape(-1), np.asarray(truth, dtype=bool).reshape(-1)
    if len(score) != len(true):
        raise MetricError(f"threshold curve: {len(score)} scores for {len(true)} truths", reason="shape")
    if not np.isfinite(score).all():
        raise MetricError(f"threshold curve: {int((~np.isfinite(score)).sum())} scores not finite", reason="not-finite")
    if not true.any():
        raise MetricError("threshold curve: no pair is true", reason="no-answers")
    order = np.argsort(-score)
    ranked = score[order]
    last = np.flatnonzero(np.concatenate((ranked[1:] != ranked[:-1], [True])))
    found = np.cumsum(true[order])[last]
    return ThresholdCurve(ranked[last].astype(np.float64), found / (last + 1), found / found[-1])


def reliability(scores: ArrayLike, grades: ArrayLike, bins: int = 10) -> NDArray[np.float64]:
    """[bins, 3] mean score, mean grade and number of pairs in bins of equal size by score, lowest first.

    For a calibrated score the mean grade rises with every bin. Equal scores may be split between bins.

    >>> reliability([0.1, 0.2, 0.8, 0.9], [0, 1, 4, 5], bins=2).round(3).tolist()
    [[0.15, 0.5, 2.0], [0.85, 4.5, 2.0]]
    """
    score = np.asarray(scores, dtype=np.float64).reshape(-1)
    grade = np.asarray(grades, dtype=np.float64).reshape(-1)
    if len(score) != len(grade) or not 1 <= bins <= max(1, len(score)):
        raise MetricError(
            f"reliability: {len(score)} scores, {len(grade)} grades, {bins} bins; expected equal lengths >= bins",
            reason="shape",
        )
    order = np.argsort(score, kind="stable")
    parts = np.array_split(order, bins)
    return np.array([[score[part].mean(), grade[part].mean(), len(part)] for part in parts])
