"""Normalised descriptiveness dn: d on a scale that the training captions set (option A4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from itm.errors import DataError

if TYPE_CHECKING:
    from itm.config.data import ScoreParameters


@dataclass(frozen=True)
class Normaliser:
    """The map from a score to its normalised form, fitted on training scores."""

    option: str
    low: float
    """clip: the lower quantile; sigmoid: the mean."""
    high: float
    """clip: the upper quantile; sigmoid: mean plus one standard deviation."""
    training: np.ndarray
    """rank: the sorted training scores; empty otherwise."""

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Normalised scores, float32: in [0, 1] unless the option is none."""
        scores = np.asarray(scores, dtype=np.float64)
        if self.option == "none":
            result = scores
        elif self.option == "rank":
            below = np.searchsorted(self.training, scores, side="left")
            at_most = np.searchsorted(self.training, scores, side="right")
            result = (below + at_most) / (2 * len(self.training))
        else:
            scaled = (scores - self.low) / ((self.high - self.low) or 1.0)
            result = np.clip(scaled, 0, 1) if self.option == "clip" else 1 / (1 + np.exp(-np.clip(scaled, -60, 60)))
        return result.astype(np.float32)


def fit_normaliser(scores: np.ndarray, parameters: ScoreParameters) -> Normaliser:
    """The normaliser of option A4, fitted on the scores of the training captions.

    clip: (d - q_low) / (q_high - q_low), clipped to [0, 1], with two quantiles of the training scores;
    rank: the share of training scores below d, equal ones counting half;
    sigmoid: 1 / (1 + exp(-z)) with z = (d - mean) / standard deviation; none: d itself.
    Where all training scores are equal, the spread counts as 1.

    >>> from itm.config import load
    >>> rank = load().score.model_copy(update={"normalisation": "rank"})
    >>> fit_normaliser(np.array([1.0, 2.0, 2.0, 3.0]), rank)(np.array([0.0, 2.0, 9.0])).tolist()
    [0.0, 0.5, 1.0]

    Raises:
        DataError: there are no training scores.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not len(scores):
        raise DataError("score: no training captions to normalise by; check the split column", reason="empty")
    low = high = 0.0
    training = np.zeros(0)
    if parameters.normalisation == "clip":
        quantiles = [parameters.quantiles.low, parameters.quantiles.high]
        low, high = (float(q) for q in np.quantile(scores, quantiles))
    elif parameters.normalisation == "sigmoid":
        low = float(scores.mean())
        high = low + float(scores.std())
    elif parameters.normalisation == "rank":
        training = np.sort(scores)
    return Normaliser(parameters.normalisation, low, high, training)
