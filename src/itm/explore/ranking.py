"""The best of many similarities: with probabilities and orders by specificity where the model has a grade."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itm.errors import ConfigError, ModelError, printable
from itm.grading.calibrator import Calibrator
from itm.grading.files import grade_of
from itm.grading.texts import describe
from itm.model import Model

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
SHOWN = 12
LIKELY = 0.5
"""Probability from which on a pair counts as a match."""

SPECIFICITIES = (np.arange(16) / 10).tolist()
"""The places of the slider: 0 asks for all that is true, 1 for what says most, more for the most specific still."""


class Ranked(NamedTuple):
    """Candidates and the orders in which they are shown.

    Attributes:
        places: of the candidates among all.
        facts: of each: similarity, bar (0..1), and probability and match (None without a grade).
        orders: positions in `places`, best first: one order for each of `SPECIFICITIES`, or the only one.
        about: what all of them together say, in a sentence or two.
    """

    places: list[int]
    facts: list[dict[str, Any]]
    orders: list[list[int]]
    about: str


class Ranker:
    """What is best by one model, and what its similarities mean.

    Raises:
        DataError: the grade in the model's folder is damaged.
    """

    def __init__(self, model: Model, captions: list[str]) -> None:
        self._grade, self._why, self._captions = None, "", np.zeros(0)
        try:
            grade = grade_of(model.folder, model.hash)
            self._captions = describe(captions, grade.idf)
            self._grade = grade
        except (ModelError, ConfigError) as error:  # none, another model's, or of a d that needs the training captions
            self._why = printable(str(error))

    def images(self, similarities: Floats, text: str) -> Ranked:
        """The images that are best for a text."""
        if self._grade is None:
            return by_similarity(similarities, self._why)
        return images_by_grade(similarities, self._grade.calibrator, describe([text], self._grade.idf))

    def captions(self, similarities: Floats) -> Ranked:
        """The captions that are best for a photo."""
        if self._grade is None:
            return by_similarity(similarities, self._why)
        return captions_by_grade(similarities, self._grade.calibrator, self._captions)


def by_similarity(similarities: Floats, why: str) -> Ranked:
    """The most similar, with bars between the best (1) and the median of all or below (0).

    >>> found = by_similarity(np.array([0.0, 0.5, 1.0, 0.25, 0.0], np.float32), "no grade")
    >>> found.places[:3], [each["bar"] for each in found.facts][:3], found.orders
    ([2, 1, 3], [1.0, 0.3333, 0.0], [[0, 1, 2, 3, 4]])
    """
    places = _first(similarities)
    middle, best = float(np.median(similarities)), float(similarities.max())
    span = best - middle
    bars = (similarities[places].astype(np.float64) - middle) / span if span > 0 else np.ones(len(places))
    facts = [
        {"similarity": _short(similarities[place]), "bar": bar, "probability": None, "match": None}
        for place, bar in zip(places, np.clip(bars, 0, 1).round(4).tolist(), strict=True)
    ]
    about = "Bars: full is the best, empty is the median of all or below. No probabilities: "
    return Ranked(places, facts, [list(range(len(places)))], about + why)


def images_by_grade(similarities: Floats, calibrator: Calibrator, d: Doubles) -> Ranked:
    """The most similar images to a text of one descriptiveness [1]; no specificity changes their order."""
    probability = calibrator.probability(similarities, d)
    fits = float(calibrator.multiplicity(similarities[:, None], d).expected[0])
    amount = f"about {fits:,.0f}" if fits >= 0.5 else "fewer than 1"
    about = f"Fits {amount} of {len(probability):,} images. "
    return _graded([_first(similarities)], similarities, probability, about)


def captions_by_grade(similarities: Floats, calibrator: Calibrator, d: Doubles) -> Ranked:
    """The best captions at each specificity, those of the first first."""
    probability = calibrator.probability(similarities, d)
    orders = [_first(calibrator.grade(similarities, d, specificity)) for specificity in SPECIFICITIES]
    return _graded(orders, similarities, probability, "")


def _graded(orders: list[list[int]], similarities: Floats, probability: Doubles, about: str) -> Ranked:
    places = list(dict.fromkeys(place for order in orders for place in order))
    position = {place: row for row, place in enumerate(places)}
    facts = [
        {
            "similarity": _short(similarities[place]),
            "bar": _short(probability[place]),
            "probability": float(probability[place]),
            "match": bool(probability[place] >= LIKELY),
        }
        for place in places
    ]
    count = int((probability >= LIKELY).sum())
    about += f"Matches (a probability of {LIKELY:.0%} or more that it is true): {count:,} of {len(probability):,}. "
    about += "Bars and percentages: that probability."
    return Ranked(places, facts, [[position[place] for place in order] for order in orders], about)


def _first(values: NDArray[Any]) -> list[int]:
    """The places of the largest values; of equals, the first."""
    found: list[int] = np.argsort(-values, kind="stable")[:SHOWN].tolist()
    return found


def _short(value: Any) -> float:
    return round(float(value), 4)
