"""From a similarity and a descriptiveness to the probability that a caption is true, and to the grade."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.data.files import read_json, write_json
from itm.errors import DataError, MetricError, ModelError

Doubles = NDArray[np.float64]
VERSION = 1
FINER = 4
"""Cells of the table of log P in one cell of the fitted ratio."""
_ROUNDING = 0.1


class Multiplicity(NamedTuple):
    """How many of N images a caption fits: by their similarities, and by its descriptiveness alone."""

    expected: Doubles
    prior: Doubles


@dataclass(frozen=True, eq=False)
class Calibrator:
    """What one model's similarities mean. `itm.grading.fit_calibrator` makes it; docs/grade.md has the theory.

    Two functions of similarity s and descriptiveness d are kept, both straight lines between knots:

    - `ratio` [S, D]: r(s, d) = log p(s | own pair, d) / p(s | any pair, d), at S evenly spaced similarities from
      `low` to `high` and the D descriptivenesses of `knots`. It rises with s everywhere.
    - `log_prior` [D]: log pi(d), pi(d) the share of images of which such a caption is true.

    log P(true | s, d) = cap(log pi(d) + r(s, d)) with cap(x) = (x - sqrt(x^2 + 0.01)) / 2: x itself where P is small,
    and never above 0. It is taken at the knots and three times between any two, and is straight between those. Beyond
    `low` and `high` it goes on (towards 0, never above), beyond the outer `knots` it stays.

    Raises:
        DataError: shapes do not fit, a value is not finite, knots or ratios do not rise, or a prior is above 1.
    """

    low: float
    high: float
    knots: Doubles
    ratio: Doubles
    log_prior: Doubles
    model: str
    """What made the similarities."""
    idf: str
    """Hash of the idf table behind d (`itm.grading.texts.idf_hash`)."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What it was fitted on; for the reader."""

    def __post_init__(self) -> None:
        shapes = self.ratio.ndim == 2 and self.ratio.shape[1:] == self.knots.shape == self.log_prior.shape
        if not shapes or self.ratio.shape[0] < 2 or self.ratio.shape[1] < 1:
            raise DataError(
                f"calibrator: ratio {self.ratio.shape}, knots {self.knots.shape}, prior {self.log_prior.shape}: no fit",
                reason="shape",
            )
        finite = all(
            np.isfinite(values).all() for values in (self.low, self.high, self.knots, self.ratio, self.log_prior)
        )
        if not finite or self.low >= self.high or (self.log_prior > 0).any():
            raise DataError("calibrator: a value is not finite, low >= high, or a prior is above 1", reason="damaged")
        if (np.diff(self.knots) <= 0).any() or (np.diff(self.ratio, axis=0) <= 0).any():
            raise DataError("calibrator: knots and ratios must rise", reason="damaged")

    def probability(self, s: ArrayLike, d: ArrayLike) -> Doubles:
        """The probability that a caption of descriptiveness d is true of an image, 0..1 float64.

        s and d are of one shape, or of shapes that numpy broadcasts, as [images, captions] and [captions].

        Raises:
            MetricError: shapes do not fit, or a value is not finite.
        """
        return np.exp(self.grade(s, d))

    def grade(self, s: ArrayLike, d: ArrayLike, specificity: float = 0.0) -> Doubles:
        """log P(true | s, d) - specificity x log pi(d), float64; shapes and errors as `probability`.

        Specificity 0 asks what is true. 1 asks what says most about this image: the pointwise mutual information of
        image and caption. More asks for the most specific still. The order of images for one caption never changes.
        """
        if not np.isfinite(specificity):
            raise MetricError(f"grade: the specificity is {specificity}; expected a number", reason="specificity")
        similarity, descriptiveness = _checked(s, d)
        first, share = self._between(descriptiveness)
        second = np.minimum(first + 1, len(self.knots) - 1)
        place = np.clip((similarity - self.low) / self.step, -self.cells, 2 * self.cells)
        cell = np.clip(place, 0, self.cells).astype(np.int64)
        values, slopes = self.table
        rest = place - cell
        low = values[cell, first] + rest * slopes[cell, first]
        high = values[cell, second] + rest * slopes[cell, second]
        return np.asarray(low + share * (high - low) - specificity * self.log_prior_of(descriptiveness))

    def multiplicity(self, s: ArrayLike, d: ArrayLike) -> Multiplicity:
        """How many of N images captions fit: the sum of P over the images, and N pi(d).

        Args:
            s: [N] similarities of one caption with N images, or [N, captions].
            d: the caption's descriptiveness, or [captions].

        Raises:
            MetricError: as `probability`; or there are no images.
        """
        count = np.shape(s)[0] if np.ndim(s) else 0
        if np.ndim(s) != np.ndim(d) + 1 or not count:
            raise MetricError(
                f"multiplicity: similarities {np.shape(s)} for descriptiveness {np.shape(d)};"
                " expected [images] and one, or [images, captions] and [captions]",
                reason="shape",
            )
        probability = self.probability(s, d)
        return Multiplicity(probability.sum(axis=0), count * self.prior(d))

    def prior(self, d: ArrayLike) -> Doubles:
        """pi(d): the share of images of which a caption of this descriptiveness is true, 0..1."""
        return np.exp(self.log_prior_of(_checked(0.0, d)[1]))

    def log_prior_of(self, d: Doubles) -> Doubles:
        """log pi(d) of finite d."""
        return np.asarray(np.interp(d, self.knots, self.log_prior))

    @property
    def cells(self) -> int:
        """Cells of the table of log P from `low` to `high`."""
        return FINER * (len(self.ratio) - 1)

    @property
    def step(self) -> float:
        """Width of a cell."""
        return (self.high - self.low) / self.cells

    def lines(self, d: Doubles, specificity: float = 0.0) -> tuple[Doubles, Doubles]:
        """[captions, cells + 1] twice: each caption's grade at the start of each cell, and its rise over the cell.

        The last cell is all that lies beyond `high`.
        """
        first, share = self._between(d)
        second = np.minimum(first + 1, len(self.knots) - 1)
        values, slopes = (each[:, first] + share * (each[:, second] - each[:, first]) for each in self.table)
        return (values - specificity * self.log_prior_of(d)).T, slopes.T

    def check(self, model: str, idf: str, where: str = "this calibrator") -> Self:
        """The calibrator itself, if it is this model's and this idf table's.

        Raises:
            ModelError: it was fitted on another model's similarities, or on another table's descriptiveness.
        """
        for what, own, other in (("model", self.model, model), ("idf table", self.idf, idf)):
            if own != other:
                raise ModelError(
                    f"{where} was fitted for the {what} '{own}', not for '{other}': a similarity of one means"
                    " nothing to another; fit one for it (`itm grade fit`)",
                    reason=f"other-{what.split()[0]}",
                )
        return self

    def save(self, path: str | Path) -> None:
        """Write as JSON: a few kilobytes, equal bytes for equal fits."""
        write_json(
            path,
            {
                "itm_grade": VERSION,
                "model": self.model,
                "idf": self.idf,
                "similarity": [self.low, self.high],
                "descriptiveness": self.knots.tolist(),
                "log_ratio": self.ratio.T.tolist(),
                "log_prior": self.log_prior.tolist(),
                "fitted": self.facts,
            },
        )

    @classmethod
    def load(cls, path: str | Path, model: str | None = None, idf: str | None = None) -> Self:
        """Read what `save` wrote; with `model` and `idf`, only if it is theirs.

        Raises:
            DataError: the file is missing, of another version, or damaged.
            ModelError: it is another model's or another idf table's; or the model has no grade ("no-grade").
        """
        if not Path(path).exists():
            raise DataError(f"{path}: no such file; `itm grade fit` writes one", reason="missing-file")
        stored = read_json(path)
        version = stored.get("itm_grade") if isinstance(stored, dict) else None
        if version == VERSION and "none" in stored:
            raise ModelError(f"{path}: this model has no grade: {stored['none']}", reason="no-grade")
        if version != VERSION:
            raise DataError(
                f"{path}: not a calibrator of version {VERSION} (found: {version}); `itm grade fit` writes one",
                reason="version",
            )
        try:
            low, high = (float(value) for value in stored["similarity"])
            names = ("descriptiveness", "log_ratio", "log_prior")
            knots, ratio, prior = (np.array(stored[name], dtype=np.float64) for name in names)
            own = str(stored["model"]), str(stored["idf"])
            found = cls(low, high, knots, ratio.T, prior, *own, dict(stored["fitted"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: damaged ({error}); `itm grade fit` writes one", reason="damaged") from None
        except DataError as error:
            raise DataError(f"{path}: {error}; `itm grade fit` writes one", reason=error.reason) from None
        return found.check(own[0] if model is None else model, own[1] if idf is None else idf, str(path))

    @cached_property
    def table(self) -> tuple[Doubles, Doubles]:
        """[cells + 1, D] log P at the start of each cell, and its rise over the cell; the last is beyond `high`."""
        places = np.arange(self.cells + 1) / FINER
        known = np.arange(len(self.ratio))
        ratio = np.stack([np.interp(places, known, column) for column in self.ratio.T], axis=1)
        values = soft_cap(ratio + self.log_prior)
        slopes = np.diff(values, axis=0)
        beyond = np.minimum(slopes[-1], -values[-1] / self.cells)  # at most 0 where similarities are cut off
        return values, np.vstack((slopes, beyond))

    def _between(self, d: Doubles) -> tuple[NDArray[np.int64], Doubles]:
        """The knot at or below each d, and the share of the way to the next."""
        place = np.interp(d, self.knots, np.arange(len(self.knots)))
        first = np.clip(place.astype(np.int64), 0, max(0, len(self.knots) - 2))
        return first, place - first


def write_no_grade(path: str | Path, why: str) -> None:
    """Write in a calibrator's place why there is none."""
    write_json(path, {"itm_grade": VERSION, "none": why})


def soft_cap(x: Doubles) -> Doubles:
    """(x - sqrt(x^2 + 0.01)) / 2: x itself far below 0, -0.05 at 0 (P = 0.95), and rising towards 0 without end.

    An exponential's tail would make all that is above 0 equal in a few digits; this one keeps its order.

    >>> soft_cap(np.array([-3.0, 0.0, 3.0])).round(4).tolist()
    [-3.0008, -0.05, -0.0008]
    """
    root = np.sqrt(x * x + _ROUNDING**2)
    return np.where(x < 0, (x - root) / 2, -(_ROUNDING**2) / 2 / (np.abs(x) + root))


def _checked(s: ArrayLike, d: ArrayLike) -> tuple[Doubles, Doubles]:
    """Both as float64, of shapes that fit."""
    try:
        similarity, descriptiveness = np.asarray(s, dtype=np.float64), np.asarray(d, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MetricError(f"grade: similarity and descriptiveness must be numbers ({error})", reason="dtype") from None
    try:
        np.broadcast_shapes(similarity.shape, descriptiveness.shape)
    except ValueError:
        raise MetricError(
            f"grade: similarities of shape {similarity.shape} do not fit descriptiveness of {descriptiveness.shape};"
            " expected one d a caption, as [images, captions] and [captions]",
            reason="shape",
        ) from None
    for name, values in (("similarities", similarity), ("values of descriptiveness", descriptiveness)):
        bad = int(np.size(values) - np.isfinite(values).sum())
        if bad:
            raise MetricError(f"grade: {bad} of {np.size(values)} {name} are NaN or infinite", reason="not-finite")
    return similarity, descriptiveness
