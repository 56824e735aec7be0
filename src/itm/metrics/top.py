"""The first K gallery items of each query, ordered under the one rule for ties."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError
from itm.metrics.scorer import Floats, Scorer, as_scorer, in_threads

BLOCK_ROWS = 128
BLOCK_COLUMNS = 32768
_SMALL = 16  # k times this is at most the gallery: float32 decides nearly everything


def top_items(scores: Scorer | ArrayLike, k: int) -> NDArray[np.int64]:
    """[queries, k] gallery positions by falling score; equal scores by rising position.

    Blocks are scored in float32 where k is a small part of the gallery, else in float64; scores that differ
    by less than their rounding bound are computed again, exactly. Memory: a block of 128 x 32,768 and the
    first k so far.

    Args:
        scores: a scorer, or the whole matrix [queries, gallery].
        k: items a query; at most the gallery's size.

    Raises:
        MetricError: k is below 1 or larger than the gallery.

    >>> top_items([[0.1, 0.9, 0.9, 0.3]], k=3)
    array([[1, 2, 3]])
    """
    scorer = as_scorer(scores)
    queries, gallery = scorer.shape
    if not 1 <= k <= gallery:
        raise MetricError(f"the first {k} of a gallery of {gallery} items were asked for", reason="k")

    def lists_of(rows: slice) -> NDArray[np.int64]:
        lists = _block_lists(scorer, rows, k, np.float32) if k * _SMALL <= gallery else None
        if lists is None:  # a long list, or too many scores too close to call in float32
            lists = _block_lists(scorer, rows, k, np.float64)
        assert lists is not None
        return lists

    parts = (slice(top, min(top + BLOCK_ROWS, queries)) for top in range(0, queries, BLOCK_ROWS))
    return np.concatenate([np.empty((0, k), dtype=np.int64), *in_threads(lists_of, parts)])


def largest(values: Floats, count: int) -> NDArray[np.int64]:
    """The places of the `count` largest values, the largest first; of equal ones the first.

    >>> largest(np.array([1, 3, 2, 3, 3], np.float32), 2).tolist()
    [1, 3]
    """
    if count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        chosen = np.flatnonzero(values >= least)
    else:
        chosen = np.arange(len(values))
    return chosen[np.lexsort((chosen, -values[chosen]))[:count]]


def _block_lists(scorer: Scorer, rows: slice, k: int, dtype: type[np.floating]) -> NDArray[np.int64] | None:
    """The lists of some queries; None when float32 leaves too much open."""
    height = rows.stop - rows.start
    items = np.empty((height, 0), dtype=np.int64)
    values = np.empty((height, 0), dtype=dtype)
    for left in range(0, scorer.shape[1], BLOCK_COLUMNS):
        columns = slice(left, min(left + BLOCK_COLUMNS, scorer.shape[1]))
        block = scorer.block(rows, columns, dtype)
        bounds = 2 * scorer.error(block.dtype.type)[0][rows]
        ids = np.broadcast_to(np.arange(columns.start, columns.stop), block.shape)
        if left:
            values, items = np.hstack((values, block)), np.hstack((items, ids))
        else:
            values, items = block, ids
        keep = min(k, values.shape[1])
        best = np.empty((height, keep), dtype=np.int64)
        for row in range(height):
            order = _first(values[row], items[row], keep, bounds[row], scorer, rows.start + row)
            if order is None:
                return None
            best[row] = order
        values, items = np.take_along_axis(values, best, axis=1), np.take_along_axis(items, best, axis=1)
    return items


def _first(
    values: Floats, items: NDArray[np.int64], k: int, bound: float, scorer: Scorer, query: int
) -> NDArray[np.int64] | None:
    """Places of the first k items of one query."""
    coarse = values.dtype == np.float32 and bound > 0
    if k < len(values):
        least = np.partition(values, len(values) - k)[len(values) - k]
        chosen = np.flatnonzero(values >= float(least) - bound)
        if coarse and len(chosen) > _SMALL * k:
            return None
    else:
        chosen = np.arange(len(values))
    score = values[chosen].astype(np.float64)
    order = np.argsort(-score)
    gap = -np.diff(score[order])
    # in float64 equal scores are ties; in float32 even they may differ
    doubtful = np.flatnonzero((gap <= bound) & (coarse | (gap > 0)))
    if len(doubtful):
        again = order[np.union1d(doubtful, doubtful + 1)]
        score[again] = scorer.exact(np.full(len(again), query), items[chosen[again]])
    if len(doubtful) or (gap == 0).any():
        order = np.lexsort((items[chosen], -score))
    return chosen[order[:k]]
