"""The rank of each query's best answer, counted block by block under one rule for ties.

The rule, used by every metric here: the rank of an item is the number of gallery items with a strictly
larger score plus the number of items with an equal score and a lower gallery position. A model that gives
every pair the same score is then no better than chance, and equal inputs give equal numbers anywhere.

Ranks count from 0: R@K asks for rank < K.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError
from itm.metrics.positives import Positives
from itm.metrics.scorer import Floats, Scorer, as_scorer, in_threads

BLOCK_ROWS = 256
BLOCK_COLUMNS = 32768
_CROWDED = 64  # more than 1 in 64 scores too close to call: the block is scored again in float64


@dataclass(frozen=True, eq=False)
class HitRanks:
    """Ranks of the best-ranked answer of each query, [queries] int64, 0 = first.

    `optimistic` and `pessimistic` are the ranks when ties are broken for or against the answers.
    A query without an answer in the gallery is not `answerable`; its rank is the gallery's size, a miss
    at any K.
    """

    rank: NDArray[np.int64]
    optimistic: NDArray[np.int64]
    pessimistic: NDArray[np.int64]
    answerable: NDArray[np.bool_]
    gallery: int

    @property
    def tied(self) -> float:
        """Share of the gallery that ties with the best answer, a mean over queries; 0 = no ties at all."""
        width = (self.pessimistic - self.optimistic)[self.answerable]
        return float(width.mean() / max(1, self.gallery)) if len(width) else 0.0


def hit_ranks(scores: Scorer | ArrayLike, positives: Positives, exclude: Positives | None = None) -> HitRanks:
    """Ranks of the best answer of each query, where queries are the rows of `scores`.

    Args:
        scores: a scorer, or the whole matrix [queries, gallery].
        positives: the right answers of each row.
        exclude: items that are not in a query's own gallery (itself, in text-to-text retrieval).

    Raises:
        MetricError: shapes differ, a score is not finite, or an answer is excluded.

    >>> i2t, _ = Positives.from_owners([0, 0, 1], images=2)
    >>> hit_ranks([[0.9, 0.1, 0.5], [0.8, 0.2, 0.2]], i2t).rank
    array([0, 2])
    """
    return rank_all(as_scorer(scores), rows=[positives], exclude=exclude)[0][0]


def rank_all(
    scorer: Scorer,
    rows: Sequence[Positives] = (),
    columns: Sequence[Positives] = (),
    exclude: Positives | None = None,
) -> tuple[list[HitRanks], list[HitRanks]]:
    """Hit ranks of several sets of answers in one pass over the scores, for rows and columns as queries.

    Blocks are scored in float32. Scores inside the rounding bound of the answer's own score are computed
    again, exactly, so that ranks are those of float64 scores. Memory: a block of 256 x 32,768 for each thread.
    """
    symmetric = bool(getattr(scorer, "symmetric", False))
    jobs = [_Counter(scorer, positives, 1, exclude) for positives in rows]
    jobs += [_Counter(scorer, positives, 0, exclude) for positives in columns]

    def look(place: tuple[slice, slice, bool]) -> list[tuple[_Counter, _Found]]:
        row_part, column_part, mirrored = place
        block = scorer.block(row_part, column_part)
        found = []
        for job in jobs:
            for axis in ((1, 0) if mirrored else (1,)) if symmetric else (job.axis,):
                found.append((job, job.look(block, row_part, column_part, axis)))
        return found

    for parts in in_threads(look, _blocks(scorer.shape, symmetric)):
        for job, found in parts:
            job.add(found)
    results = [job.result() for job in jobs]
    return results[: len(rows)], results[len(rows) :]


def _blocks(shape: tuple[int, int], symmetric: bool) -> Iterator[tuple[slice, slice, bool]]:
    """Blocks that cover the matrix; of a symmetric one the upper triangle, where mirrored blocks count twice."""
    for top in range(0, shape[0], BLOCK_ROWS):
        rows = slice(top, min(top + BLOCK_ROWS, shape[0]))
        if symmetric:
            yield rows, rows, False
        for left in range(rows.stop if symmetric else 0, shape[1], BLOCK_COLUMNS):
            yield rows, slice(left, min(left + BLOCK_COLUMNS, shape[1])), symmetric


class _Found(NamedTuple):
    """What a block says of some queries: how many items are surely above the best answer, and of the items too
    close to call in its precision the query of each that is above it, that ties and comes before, that ties."""

    queries: slice
    above: NDArray[np.int64]
    greater: NDArray[np.int64]
    before: NDArray[np.int64]
    equal: NDArray[np.int64]


class _Counter:
    """Counts, for each query, the items that rank before its best answer."""

    def __init__(self, scorer: Scorer, positives: Positives, axis: int, exclude: Positives | None) -> None:
        queries, gallery = scorer.shape if axis == 1 else scorer.shape[::-1]
        if (len(positives), positives.gallery) != (queries, gallery):
            raise MetricError(
                f"answers are for {len(positives)} queries x {positives.gallery} items,"
                f" scores for {queries} x {gallery}",
                reason="shape",
            )
        if exclude is not None and exclude.contains(positives.queries, positives.items).any():
            raise MetricError("an excluded item cannot be a right answer", reason="excluded-answer")
        self.scorer, self.positives, self.axis, self.exclude = scorer, positives, axis, exclude
        self.best, self.first, self.tied_answers = _best_answers(scorer, positives, axis)
        self.greater = np.zeros(queries, dtype=np.int64)
        self.before = np.zeros(queries, dtype=np.int64)
        self.equal = np.zeros(queries, dtype=np.int64)
        self._bounds: dict[tuple[type, int], tuple[Floats, Floats]] = {}

    def look(self, block: Floats, rows: slice, columns: slice, axis: int) -> _Found:
        """What one block says; `axis` is the one along which a query's items lie. Changes nothing."""
        queries = rows if axis == 1 else columns
        low, high = (bound[queries] for bound in self._band(block.dtype.type, axis))
        if axis == 1:
            low, high = low[:, None], high[:, None]
        above = block > high
        band = above ^ (block >= low)
        close_row, close_column = _nonzero(band)
        if len(close_row) > block.size // _CROWDED and block.dtype == np.float32 and block.size > 4096:
            finer = self.scorer.block(rows, columns, np.float64)
            if finer.dtype != np.float32:
                return self.look(finer, rows, columns, axis)
        close_row, close_column = close_row + rows.start, close_column + columns.start
        query, item = (close_row, close_column) if axis == 1 else (close_column, close_row)
        score = self.scorer.exact(close_row, close_column)
        same = score == self.best[query]
        return _Found(
            queries,
            _count(above, axis),
            query[score > self.best[query]],
            query[same & (item < self.first[query])],
            query[same],
        )

    def add(self, found: _Found, sign: int = 1) -> None:
        """Add what a block said."""
        self.greater[found.queries] += sign * found.above
        for total, query in ((self.greater, found.greater), (self.before, found.before), (self.equal, found.equal)):
            if len(query):
                total += sign * np.bincount(query, minlength=len(total))

    def result(self) -> HitRanks:
        """The finished ranks, less what is excluded."""
        if self.exclude is not None:
            query, item = self.exclude.queries, self.exclude.items
            score = self.scorer.exact(*((query, item) if self.axis == 1 else (item, query)))
            same = score == self.best[query]
            greater, before = query[score > self.best[query]], query[same & (item < self.first[query])]
            self.add(_Found(slice(0, 0), np.zeros(0, dtype=np.int64), greater, before, query[same]), sign=-1)
        answerable = self.positives.counts > 0
        gallery = self.positives.gallery
        return HitRanks(
            np.where(answerable, self.greater + self.before, gallery),
            np.where(answerable, self.greater, gallery),
            np.where(answerable, self.greater + self.equal - self.tied_answers, gallery),
            answerable,
            gallery,
        )

    def _band(self, dtype: type[np.floating], axis: int) -> tuple[Floats, Floats]:
        """Below `low` a block's score is surely smaller than the best answer's, above `high` surely larger."""
        key = (dtype, axis)
        if key not in self._bounds:
            error = self.scorer.error(dtype)[1 - axis]
            low, high = (self.best - error).astype(dtype), (self.best + error).astype(dtype)
            low = np.where(low > self.best - error, np.nextafter(low, dtype(-np.inf)), low)
            high = np.where(high < self.best + error, np.nextafter(high, dtype(np.inf)), high)
            self._bounds[key] = (low, high)
        return self._bounds[key]


def _best_answers(
    scorer: Scorer, positives: Positives, axis: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Score and position of each query's best answer, and how many answers share that score."""
    query, item = positives.queries, positives.items
    score = scorer.exact(*((query, item) if axis == 1 else (item, query)))
    best = np.full(len(positives), np.inf)
    filled = positives.counts > 0
    if filled.any():
        best[filled] = np.maximum.reduceat(score, positives.starts[:-1][filled])
    top = score == best[query]
    first = np.full(len(positives), -1, dtype=np.int64)
    first[query[top][::-1]] = item[top][::-1]  # written backwards: the lowest position stays
    return best, first, np.bincount(query[top], minlength=len(positives))


def _count(mask: NDArray[np.bool_], axis: int) -> NDArray[np.int64]:
    """How many are true along an axis; faster than numpy's own reduction of booleans."""
    if axis == 1:
        return np.fromiter((np.count_nonzero(row) for row in mask), dtype=np.int64, count=len(mask))
    total = np.zeros(mask.shape[1], dtype=np.int64)
    for top in range(0, len(mask), 255):  # 255 ones still fit a byte
        total += np.add.reduce(mask[top : top + 255].view(np.uint8), axis=0, dtype=np.uint8)
    return total


def _nonzero(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the few true values of a large contiguous mask, found eight at a time."""
    flat = mask.reshape(-1)
    whole = len(flat) // 8 * 8
    words = np.flatnonzero(flat[:whole].view(np.uint64))
    near = (words[:, None] * 8 + np.arange(8)).reshape(-1)
    near = np.concatenate((near, np.arange(whole, len(flat))))
    found = near[flat[near]]
    return found // mask.shape[1], found % mask.shape[1]


TIED_SHARE = 0.01
"""A mean tie of more than this share of the gallery is reported."""


class CollapseWarning(RuntimeWarning):
    """Scores are tied so widely that the tie rule, not the model, decides the ranks."""


def warn_if_collapsed(ranks: HitRanks, where: str) -> bool:
    """Whether ties are wide; warns with the interval of R@1 under the kindest and harshest order of ties."""
    if ranks.tied <= TIED_SHARE:
        return False
    answered = ranks.answerable
    low = float(np.mean(ranks.pessimistic[answered] < 1))
    high = float(np.mean(ranks.optimistic[answered] < 1))
    warnings.warn(
        f"{where}: the best answer ties with {ranks.tied:.1%} of the gallery on average; R@1 lies between {low:.4f}"
        f" and {high:.4f} by the order of ties: the model may have collapsed",
        CollapseWarning,
        stacklevel=2,
    )
    return True
