"""Methods whose similarity is a function of a pair, not a product of two vectors: blocked scoring, or a shortlist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError
from itm.metrics.positives import Positives
from itm.metrics.ranks import HitRanks, hit_ranks
from itm.metrics.scorer import Matrix, Scorer, as_scorer
from itm.metrics.top import top_items

ScoreBlock = Callable[[slice, slice], ArrayLike]
ScorePairs = Callable[[NDArray[np.int64], NDArray[np.int64]], ArrayLike]


def score_blocks(score: ScoreBlock, shape: tuple[int, int], *, rows: int = 256, columns: int = 4096) -> Matrix:
    """The scores of all pairs, computed block by block into one float32 matrix, as a scorer.

    Every pair is scored once, so that all tasks in both directions rank the same numbers.

    Args:
        score: the scores [rows, columns] of a block of row and column positions.
        shape: rows, columns of the whole; 4 bytes a pair are kept (500 MB for COCO 5K).

    Raises:
        MetricError: a block has the wrong shape, or holds a value that is not finite.

    >>> score_blocks(lambda r, c: np.ones((r.stop - r.start, c.stop - c.start)), (2, 3)).shape
    (2, 3)
    """
    whole = np.empty(shape, dtype=np.float32)
    for top in range(0, shape[0], rows):
        for left in range(0, shape[1], columns):
            block = slice(top, min(top + rows, shape[0])), slice(left, min(left + columns, shape[1]))
            values = np.asarray(score(*block))
            expected = block[0].stop - block[0].start, block[1].stop - block[1].start
            if values.shape != expected:
                raise MetricError(f"the scorer gave {values.shape} for a block of {expected}", reason="shape")
            whole[block] = values
    return Matrix(whole)


@dataclass(frozen=True, eq=False)
class Shortlisted:
    """Ranks after a shortlist was ranked again, and `recall`: the share of queries with an answer on it.

    No re-ranking can reach a higher R@K than `recall` for K up to the shortlist's length.
    """

    ranks: HitRanks
    recall: float


def rank_shortlist(
    scores: Scorer | ArrayLike, positives: Positives, score_pairs: ScorePairs, length: int
) -> Shortlisted:
    """Hit ranks when the first `length` items of a cheap scorer are ranked again by a costly one.

    All items of the shortlist rank before all others, which keep the cheap scorer's order. Ties go to the
    lower gallery position.

    Args:
        scores: the cheap scorer; queries are its rows.
        positives: the right answers.
        score_pairs: the costly scores [pairs] of query positions [pairs] and item positions [pairs].
        length: items a query that are ranked again.

    Raises:
        MetricError: `length` does not fit the gallery, or the costly scores have the wrong shape or are not finite.

    >>> cheap, answers = [[0.9, 0.8, 0.1]], Positives.from_pairs([0], [1], (1, 3))
    >>> rank_shortlist(cheap, answers, lambda query, item: item * 1.0, length=2).ranks.rank
    array([0])
    """
    scorer = as_scorer(scores)
    base = hit_ranks(scorer, positives)
    lists = np.sort(top_items(scorer, length), axis=1)  # by position: places then order ties
    query = np.repeat(np.arange(len(lists)), length)
    again = np.asarray(score_pairs(query, lists.reshape(-1)))
    if again.shape != query.shape:
        raise MetricError(f"the scorer gave {again.shape} scores for {query.shape} pairs", reason="shape")
    answer = positives.contains(np.arange(len(lists))[:, None], lists)
    within = hit_ranks(Matrix(again.reshape(lists.shape)), Positives.from_mask(answer))
    listed = within.answerable
    merged = HitRanks(
        np.where(listed, within.rank, base.rank),
        np.where(listed, within.optimistic, base.optimistic),
        np.where(listed, within.pessimistic, base.pessimistic),
        base.answerable,
        base.gallery,
    )
    return Shortlisted(merged, float(listed.mean()))
