"""The first K gallery items of each query, ordered under the one rule for ties."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError
from itm.metrics.scorer import Scorer, as_scorer

BLOCK_ROWS = 128
BLOCK_COLUMNS = 32768


def top_items(scores: Scorer | ArrayLike, k: int) -> NDArray[np.int64]:
    """[queries, k] gallery positions by falling score; equal scores by rising position.

    Blocks are scored in float64; scores that differ by less than their rounding bound are computed again,
    exactly. Memory: a block of 128 x 32,768 and the first k so far.

    Args:
        scores: a scorer, or the whole matrix [queries, gallery].
        k: items a query; at most the gallery's size.

    Raises:
        MetricError: k is below 1 or larger than the gallery.

    >>> top_items([[0.1, 0.9, 0.9, 0.3]], k=3)
    array([[1, 2, 3]])
    """
    scorer = as_scorer(scores)
    rows, gallery = scorer.shape
    if not 1 <= k <= gallery:
        raise MetricError(f"the first {k} of a gallery of {gallery} items were asked for", reason="k")
    bounds = 2 * scorer.error(np.float64)[0]
    found = np.empty((rows, k), dtype=np.int64)
    for top in range(0, rows, BLOCK_ROWS):
        part = slice(top, min(top + BLOCK_ROWS, rows))
        items = np.empty((part.stop - top, 0), dtype=np.int64)
        values = np.empty((part.stop - top, 0))
        for left in range(0, gallery, BLOCK_COLUMNS):
            columns = slice(left, min(left + BLOCK_COLUMNS, gallery))
            block = scorer.block(part, columns, np.float64).astype(np.float64, copy=False)
            ids = np.broadcast_to(np.arange(columns.start, columns.stop), block.shape)
            values, items = np.hstack((values, block)), np.hstack((items, ids))
            keep = min(k, values.shape[1])
            order = np.empty((len(values), keep), dtype=np.int64)
            for row in range(len(values)):
                order[row] = _first(values[row], items[row], keep, bounds[top + row], scorer, top + row)
            values = np.take_along_axis(values, order, axis=1)
            items = np.take_along_axis(items, order, axis=1)
        found[part] = items
    return found


def _first(
    values: NDArray[np.float64], items: NDArray[np.int64], k: int, bound: float, scorer: Scorer, query: int
) -> NDArray[np.int64]:
    """Places of the first k of one query; `items` rise, so that places order ties."""
    if k < len(values):
        least = np.partition(values, len(values) - k)[len(values) - k]
        chosen = np.flatnonzero(values >= least - bound)
    else:
        chosen = np.arange(len(values))
    score = values[chosen]
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    close = np.flatnonzero(ranked[:-1] - ranked[1:] <= bound)
    if len(close) and bound > 0:
        doubtful = order[np.union1d(close, close + 1)]
        same = items[chosen[doubtful]]
        score[doubtful] = scorer.exact(np.full(len(same), query), same)
    if len(close):
        order = np.lexsort((items[chosen], -score))
    return chosen[order[:k]]
