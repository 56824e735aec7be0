"""Grades of all pairs in blocks, wherever similarities of all pairs are asked for."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError
from itm.grading.calibrator import Calibrator
from itm.metrics.scorer import Floats, Scorer, as_scorer, in_threads

Doubles = NDArray[np.float64]
_ROWS, _CAPTIONS = 256, 1024  # one block's similarities and its captions' lines stay in the processor's cache


class Graded:
    """A scorer (`itm.metrics.Scorer`) of the grades of images and captions: ranks, lists and metrics take it as they
    take similarities. Nothing is stored but a line of 129 values a caption; `block` interpolates in it.

    Args:
        scores: similarities, a scorer or the matrix; images are rows unless `captions_first`.
        calibrator: the same model's.
        descriptiveness: [captions] d.
        specificity: see `Calibrator.grade`.
        captions_first: captions are the rows.

    Raises:
        MetricError: one d a caption is not what was given, or a value is not finite.
    """

    def __init__(
        self,
        scores: Scorer | ArrayLike,
        calibrator: Calibrator,
        descriptiveness: ArrayLike,
        specificity: float = 0.0,
        *,
        captions_first: bool = False,
    ) -> None:
        self._base = as_scorer(scores)
        self.shape = self._base.shape
        self._calibrator, self._specificity, self._first = calibrator, specificity, captions_first
        self._d = np.asarray(descriptiveness, dtype=np.float64)
        captions = self.shape[0 if captions_first else 1]
        if self._d.shape != (captions,):
            raise MetricError(f"grade: {self._d.shape} values of d for {captions} captions; one each", reason="shape")
        calibrator.grade(0.0, self._d, specificity)  # finite?

    def block(self, rows: slice, columns: slice, dtype: type[np.floating] = np.float32) -> Floats:
        """[rows, columns] grades of a block, of the precision of its similarities."""
        s = self._base.block(rows, columns, dtype)
        out = np.empty_like(s)
        axis = 0 if self._first else 1
        first = (rows if self._first else columns).indices(self.shape[axis])[0]
        for start in range(0, s.shape[axis], _CAPTIONS):
            part = slice(start, min(start + _CAPTIONS, s.shape[axis]))
            place = (part, slice(None)) if self._first else (slice(None), part)
            out[place] = self._interpolate(s[place], slice(first + part.start, first + part.stop))
        return out

    def exact(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Doubles:
        """[pairs] grades of single pairs, in float64."""
        d = self._d[rows if self._first else columns]
        return self._calibrator.grade(self._base.exact(rows, columns), d, self._specificity)

    def error(self, dtype: type[np.floating]) -> tuple[Doubles, Doubles]:
        """The bounds of the similarities times the steepest rise, and the rounding of the interpolation."""
        calibrator = self._calibrator
        values, slopes = calibrator.table
        steep = np.interp(self._d, calibrator.knots, slopes.max(axis=0))
        steepest = steep / calibrator.step
        size = np.interp(self._d, calibrator.knots, np.abs(values).max(axis=0))
        size += np.abs(self._specificity * calibrator.log_prior_of(self._d))
        size += (3 * calibrator.cells + abs(calibrator.low) / calibrator.step) * steep
        rounding = 8 * float(np.finfo(dtype).eps) * size
        rows, columns = self._base.error(dtype)
        if self._first:
            return rows * steepest + rounding, columns * steepest.max(initial=0) + rounding.max(initial=0)
        return rows * steepest.max(initial=0) + rounding.max(initial=0), columns * steepest + rounding

    def transposed(self) -> Graded:
        """The same grades with the columns as rows."""
        return Graded(
            self._base.transposed(), self._calibrator, self._d, self._specificity, captions_first=not self._first
        )

    def multiplicity(self) -> Doubles:
        """[captions] how many of the images each caption is expected to fit: its P summed, block by block."""
        if self._first:
            return self.transposed().multiplicity()
        total = np.zeros(self.shape[1])
        parts = (slice(top, min(top + _ROWS, self.shape[0])) for top in range(0, self.shape[0], _ROWS))
        shift = self._specificity * self._calibrator.log_prior_of(self._d)
        for found in in_threads(lambda rows: self._sums(rows, shift), parts):
            total += found
        return total

    def _sums(self, rows: slice, shift: Doubles) -> Doubles:
        sums = np.empty(self.shape[1])
        for left in range(0, self.shape[1], _CAPTIONS):
            part = slice(left, min(left + _CAPTIONS, self.shape[1]))
            log_p = self.block(rows, part)
            sums[part] = np.exp(log_p + shift[part].astype(log_p.dtype)).sum(axis=0, dtype=np.float64)
        return sums

    def _interpolate(self, s: Floats, captions: slice) -> Floats:
        """Grades of similarities; `captions` are those of the rows or of the columns."""
        values, slopes = self._lines(captions, s.dtype.type)
        cells = self._calibrator.cells
        place = s - s.dtype.type(self._calibrator.low)
        place *= s.dtype.type(1 / self._calibrator.step)
        np.clip(place, -cells, 2 * cells, out=place)
        cell = np.clip(place, 0, cells).astype(np.intp)
        place -= cell
        start = np.arange(len(values)) * (cells + 1)
        cell += start[:, None] if self._first else start
        place *= slopes.reshape(-1)[cell]
        place += values.reshape(-1)[cell]
        return place

    def _lines(self, captions: slice, dtype: type[np.floating]) -> tuple[Floats, Floats]:
        if dtype is np.float32:
            return self._float32[0][captions], self._float32[1][captions]
        return self._calibrator.lines(self._d[captions], self._specificity)

    @cached_property
    def _float32(self) -> tuple[Floats, Floats]:
        """The lines of all captions: 1 KB each, half of what an embedding of 512 numbers takes."""
        lines = [np.empty((len(self._d), self._calibrator.cells + 1), dtype=np.float32) for _ in range(2)]
        for start in range(0, len(self._d), _CAPTIONS):
            part = slice(start, start + _CAPTIONS)
            lines[0][part], lines[1][part] = self._calibrator.lines(self._d[part], self._specificity)
        return lines[0], lines[1]
