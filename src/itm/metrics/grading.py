"""Metrics of grades: calibrated probabilities, sets, half-true texts, texts of growing detail.

How many images a caption fits is compared by `spearman`, one threshold over all pairs by `threshold_curve`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """How far stated probabilities are from the shares that come true."""

    bins: Doubles
    """[bins, 3] mean probability, share true and number of pairs, bins of equal width, empty ones left out."""
    brier: float
    """Mean of (probability - truth)^2, 0..1; 0 is best."""

    @property
    def ece(self) -> float:
        """Expected calibration error: |mean probability - share true|, mean over pairs, 0..1 (Guo et al. 2017)."""
        gaps, count = np.abs(self.bins[:, 0] - self.bins[:, 1]), self.bins[:, 2]
        return float((gaps * count).sum() / count.sum())


def calibration_of(probabilities: ArrayLike, truth: ArrayLike, bins: int = 10) -> Calibration:
    """Reliability of probabilities, in bins of equal width (`reliability` has bins of equal size, for any score).

    Where few pairs are true nearly all lie in the lowest bin, and with them the ECE: look at `bins` too.

    Args:
        probabilities: [pairs] float, 0..1.
        truth: [pairs] bool; or the share of judges that say yes.

    Raises:
        MetricError: lengths differ, there are no pairs or bins, or a value is not in 0..1.

    >>> found = calibration_of([0.1, 0.1, 0.9, 0.9], [False, False, True, False])
    >>> found.bins.round(2).tolist(), round(found.ece, 2), round(found.brier, 2)
    ([[0.1, 0.0, 2.0], [0.9, 0.5, 2.0]], 0.25, 0.21)
    """
    probability, true = _pairs(probabilities, truth, "calibration")
    if bins < 1:
        raise MetricError(f"calibration: {bins} bins; at least one is needed", reason="bins")
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    filled = count > 0
    sums = [np.bincount(place, weights=values, minlength=bins)[filled] for values in (probability, true)]
    table = np.stack([sums[0] / count[filled], sums[1] / count[filled], count[filled]], axis=1)
    return Calibration(table, float(np.mean((probability - true) ** 2)))


def calibration_by(
    values: ArrayLike, probabilities: ArrayLike, truth: ArrayLike, groups: int = 4, bins: int = 10
) -> list[tuple[float, Calibration]]:
    """The mean value and the calibration of each group of pairs, groups of equal size by value (descriptiveness).

    Equal values stay in one group, so that there may be fewer groups. Errors as `calibration_of`.

    >>> [(value, round(found.ece, 2)) for value, found in calibration_by([1, 1, 2, 2], [0, 0, 1, 1], [0, 0, 0, 1], 2)]
    [(1.0, 0.0), (2.0, 0.5)]
    """
    value = np.asarray(values, dtype=np.float64).reshape(-1)
    probability, true = _pairs(probabilities, truth, "calibration")
    if len(value) != len(probability) or groups < 1 or not np.isfinite(value).all():
        raise MetricError(
            f"calibration: {len(value)} values for {len(probability)} pairs in {groups} groups; expected one finite"
            " value a pair and at least one group",
            reason="shape",
        )
    edges = np.unique(np.quantile(value, np.arange(1, groups) / groups, method="lower"))
    group = np.searchsorted(edges, value, side="left")
    return [
        (float(value[group == one].mean()), calibration_of(probability[group == one], true[group == one], bins))
        for one in np.unique(group)
    ]


def set_f1(probabilities: ArrayLike, truth: ArrayLike, threshold: float = 0.5) -> Doubles:
    """[queries] F1 of the set of items with a probability of at least `threshold`, against the set of true ones.

    2 |said and true| / (|said| + |true|); 1 where both sets are empty: nothing is true, and nothing was said.

    Args:
        probabilities: [queries, items] float.
        truth: [queries, items] bool.

    Raises:
        MetricError: shapes differ, or a probability is not in 0..1.

    >>> set_f1([[0.9, 0.6, 0.1], [0.2, 0.1, 0.0]], [[True, False, True], [False, False, False]]).tolist()
    [0.5, 1.0]
    """
    shape = np.shape(probabilities)
    if len(shape) != 2 or shape != np.shape(truth):
        raise MetricError(
            f"set F1: probabilities {shape} and truth {np.shape(truth)}; expected one matrix each", reason="shape"
        )
    probability, true = (each.reshape(shape) for each in _pairs(probabilities, truth, "set F1"))
    said = probability >= threshold
    both, sizes = (said * true).sum(axis=1), said.sum(axis=1) + true.sum(axis=1)
    return np.where(sizes > 0, 2 * both / np.where(sizes > 0, sizes, 1), 1.0)


def half_truth(true: ArrayLike, half_true: ArrayLike) -> NDArray[np.bool_]:
    """[items] whether a true text scores strictly higher than the same text with a wrong detail added.

    The mean is the half-truth accuracy (after Kargi, Uselis and Oh 2026, arXiv 2602.23906). A score that rises with
    every detail, right or wrong, has 0; a model that sees nothing of the detail has a half, and a constant score 0.

    Raises:
        MetricError: lengths differ, there are no items, or a score is not finite.

    >>> half_truth([0.9, 0.5, 0.4], [0.2, 0.5, 0.7]).tolist()
    [True, False, False]
    """
    first, second = np.asarray(true, dtype=np.float64), np.asarray(half_true, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise MetricError(
            f"half-truth: scores {first.shape} and {second.shape}; expected two equal lengths", reason="shape"
        )
    _refuse_not_finite(np.stack((first, second)), "half-truth")
    return first > second


@dataclass(frozen=True, eq=False)
class Monotonicity:
    """How scores follow the detail of texts that are all true of an image."""

    rising: NDArray[np.bool_]
    """[items] whether they rise strictly from text to text; the mean is HiMo@2 for two texts, HiMo@3 for three."""
    pearson: Doubles
    """[items] correlation of position and score, its mean HiMo@K; NaN where all scores are equal."""


def monotonicity(scores: ArrayLike) -> Monotonicity:
    """Whether scores rise with true detail (HiMo of HiMo-CLIP, AAAI 2026, arXiv 2511.06653).

    Args:
        scores: [items, K] float, scores of an image with K texts, each the one before with a further true detail.

    Raises:
        MetricError: fewer than two texts an item, no items, or a score is not finite.

    >>> found = monotonicity([[0.1, 0.2, 0.3], [0.1, 0.3, 0.3]])
    >>> found.rising.tolist(), found.pearson.round(3).tolist()
    ([True, False], [1.0, 0.866])
    """
    score = np.asarray(scores, dtype=np.float64)
    if score.ndim != 2 or score.shape[1] < 2 or not len(score):
        raise MetricError(f"monotonicity: scores {score.shape}; expected [items, two or more texts]", reason="shape")
    _refuse_not_finite(score, "monotonicity")
    place = np.arange(score.shape[1]) - (score.shape[1] - 1) / 2
    centred = score - score.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=1) * (place**2).sum())
    constant = (score == score[:, :1]).all(axis=1)
    pearson = np.where(constant, np.nan, centred @ place / np.where(constant, 1.0, size))
    rising = np.asarray((np.diff(score, axis=1) > 0).all(axis=1))
    return Monotonicity(rising, np.clip(pearson, -1.0, 1.0))


def frontier_area(first: ArrayLike, second: ArrayLike) -> float:
    """Area of what a curve of compromises reaches: of all (x, y), 0..1 each, that one of its points surpasses in both.

    The hypervolume of two wishes (Zitzler and Thiele 1999), from (0, 0). It needs no order of the points, draws no line
    between them, and more of either wish never makes it smaller.

    Args:
        first, second: [points] how well each wish is met; below 0 counts as 0.

    Raises:
        MetricError: lengths differ, there are no points, or a value is above 1 or not finite.

    >>> frontier_area([0.5, 1.0], [0.8, 0.2])
    0.5
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise MetricError(f"frontier: {x.shape} and {y.shape} values; expected two equal lengths", reason="shape")
    _refuse_not_finite(np.stack((x, y)), "frontier")
    if max(x.max(), y.max()) > 1:
        raise MetricError(f"frontier: a value is {max(x.max(), y.max()):.6g}; at most 1", reason="range")
    order = np.argsort(-x, kind="stable")
    reached = np.maximum.accumulate(np.maximum(y[order], 0.0))
    return float(np.sum(-np.diff(np.maximum(x[order], 0.0), append=0.0) * reached))


def _pairs(probabilities: ArrayLike, truth: ArrayLike, name: str) -> tuple[Doubles, Doubles]:
    probability = np.asarray(probabilities, dtype=np.float64).reshape(-1)
    true = np.asarray(truth, dtype=np.float64).reshape(-1)
    if len(probability) != len(true) or not len(true):
        raise MetricError(f"{name}: {len(probability)} probabilities for {len(true)} truths", reason="shape")
    for what, values in (("probabilities", probability), ("truths", true)):
        bad = int((~((values >= 0) & (values <= 1))).sum())
        if bad:
            raise MetricError(f"{name}: {bad} of {len(values)} {what} are not in 0..1", reason="range")
    return probability, true


def _refuse_not_finite(scores: Doubles, name: str) -> None:
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise MetricError(f"{name}: {bad} of {scores.size} scores are not finite", reason="not-finite")
