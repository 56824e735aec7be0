"""The best of many similarities, a page at a time: with probabilities and matches where the model has a grade."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from itm.errors import ConfigError, DataError, ModelError, first_few, printable, shown
from itm.grading.calibrator import Calibrator
from itm.grading.files import grade_of
from itm.grading.texts import describe
from itm.model import Model

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
PAGE = 12
"""How many candidates come at a time."""

MOST_SPECIFIC = 1.5


class View(BaseModel):
    """Which part of a list is asked for.

    Attributes:
        specificity: 0 orders by all that is true, 1 by what says most, more by the most specific still.
        threshold: percentage from which on a pair counts as a match.
        only: list nothing but matches, where the model knows them.
        skip: candidates of the list that come before the page.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    specificity: float = Field(0.0, ge=0, le=MOST_SPECIFIC)
    threshold: int = Field(50, ge=1, le=99)
    only: bool = False
    skip: int = Field(0, ge=0, le=10**9)


FIRST = View()
"""What is shown first of any list."""


def read_view(given: Mapping[str, str]) -> View:
    """The view that a query string asks for.

    Raises:
        DataError: a name is unknown, or a value no number or out of range.
    """
    try:
        return View.model_validate(dict(given))
    except ValidationError as error:
        faults = [f"{shown(f['loc'][0])}: {f['msg']}, not {shown(f['input'])}" for f in error.errors()]
        raise DataError(f"the view is not understood: {first_few(faults)}", reason="bad-view") from None


class Ranked(NamedTuple):
    """A page of a list of candidates, best first.

    Attributes:
        places: of the page's candidates among all.
        facts: of each: similarity, bar (0..1), and probability and match (None without a grade).
        listed: how many candidates the whole list has.
        matches: how many of all candidates are matches; None without a grade.
        about: what all of them together say, in a sentence or two.
    """

    places: list[int]
    facts: list[dict[str, Any]]
    listed: int
    matches: int | None
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

    def images(self, similarities: Floats, text: str, view: View) -> Ranked:
        """The images that are best for a text."""
        if self._grade is None:
            return by_similarity(similarities, self._why, view)
        return images_by_grade(similarities, self._grade.calibrator, describe([text], self._grade.idf), view)

    def captions(self, similarities: Floats, view: View) -> Ranked:
        """The captions that are best for a photo."""
        if self._grade is None:
            return by_similarity(similarities, self._why, view)
        return captions_by_grade(similarities, self._grade.calibrator, self._captions, view)


def by_similarity(similarities: Floats, why: str, view: View) -> Ranked:
    """The most similar, with bars between the best (1) and the median of all or below (0); matches are not known.

    >>> found = by_similarity(np.array([0.0, 0.5, 1.0, 0.25, 0.0], np.float32), "no grade", View(skip=1))
    >>> found.places, [each["bar"] for each in found.facts], found.listed, found.matches
    ([1, 3, 0, 4], [0.3333, 0.0, 0.0, 0.0], 5, None)
    """
    places = _page(_order(similarities), view)
    middle, best = float(np.median(similarities)), float(similarities.max())
    span = best - middle
    bars = (similarities[places].astype(np.float64) - middle) / span if span > 0 else np.ones(len(places))
    facts = [
        {"similarity": _short(similarities[place]), "bar": bar, "probability": None, "match": None}
        for place, bar in zip(places, np.clip(bars, 0, 1).round(4).tolist(), strict=True)
    ]
    about = "Bars: full is the best, empty is the median of all or below. No probabilities: "
    return Ranked(places, facts, len(similarities), None, about + why)


def images_by_grade(similarities: Floats, calibrator: Calibrator, d: Doubles, view: View) -> Ranked:
    """The most similar images to a text of one descriptiveness [1]; no specificity changes their order."""
    probability = calibrator.probability(similarities, d)
    fits = float(calibrator.multiplicity(similarities[:, None], d).expected[0])
    amount = f"about {fits:,.0f}" if fits >= 0.5 else "fewer than 1"
    about = f"Fits {amount} of {len(probability):,} images. "
    return _graded(_order(similarities), similarities, probability, about, view)


def captions_by_grade(similarities: Floats, calibrator: Calibrator, d: Doubles, view: View) -> Ranked:
    """The captions of the best grade at the view's specificity."""
    probability = calibrator.probability(similarities, d)
    order = _order(calibrator.grade(similarities, d, view.specificity))
    return _graded(order, similarities, probability, "", view)


def _graded(order: NDArray[np.intp], similarities: Floats, probability: Doubles, about: str, view: View) -> Ranked:
    match = 100 * probability >= view.threshold  # the page rounds 100 P down: what it shows as 50% is a match
    if view.only:
        order = order[match[order]]
    places = _page(order, view)
    facts = [
        {
            "similarity": _short(similarities[place]),
            "bar": _short(probability[place]),
            "probability": float(probability[place]),
            "match": bool(match[place]),
        }
        for place in places
    ]
    about += "Bars and percentages: the probability that it is true."
    return Ranked(places, facts, len(order), int(match.sum()), about)


def _order(values: NDArray[Any]) -> NDArray[np.intp]:
    """The places of the largest values first; of equals, the first first."""
    return np.argsort(-values, kind="stable")


def _page(order: NDArray[np.intp], view: View) -> list[int]:
    found: list[int] = order[view.skip : view.skip + PAGE].tolist()
    return found


def _short(value: Any) -> float:
    return round(float(value), 4)
