"""PMRP: R-Precision over plausible matches, those between images with nearly the same object categories.

Three different numbers share the name; all are built from `pmrp`:

- `PCME`: the mean over zeta = 0, 1, 2, no cap (Chun et al. 2021 and their evaluation code).
- `ECCV_PAPER`: zeta = 0, at most 50 matches a query (ECCV Caption, Table 4).
- `ECCV_LISTS`: zeta <= 2, original pairs left out (the ready-made lists published beside that paper).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError
from itm.metrics.scorer import Scorer, as_scorer

_ROWS = 128


@dataclass(frozen=True)
class PmrpDefinition:
    """Which pairs match: Hamming distances averaged over, cap on R, and whether original pairs count."""

    zetas: tuple[int, ...]
    cap: int | None = None
    original: bool = True


PCME = PmrpDefinition((0, 1, 2))
ECCV_PAPER = PmrpDefinition((0,), cap=50)
ECCV_LISTS = PmrpDefinition((2,), original=False)


def pmrp(
    scores: Scorer | ArrayLike,
    row_codes: ArrayLike,
    column_codes: ArrayLike,
    definition: PmrpDefinition = PCME,
    *,
    original: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """[queries] R-Precision of each query (a row of `scores`) over plausible matches; NaN without a match.

    A pair matches at zeta when the category codes of its two images differ in at most zeta places; R is the
    number of matches, capped where the definition says so; the value is the share of matches among the first
    R items. A caption has the code of its image. Leave images without any annotated object out of both sides.

    Args:
        scores: a scorer, or the matrix [queries, gallery].
        row_codes: [queries, categories] bool.
        column_codes: [gallery, categories] bool.
        definition: `PCME`, `ECCV_PAPER`, `ECCV_LISTS`, or your own.
        original: [queries, gallery] bool, the labelled pairs; needed where the definition leaves them out. They
            are then neither matches nor part of the gallery.

    Raises:
        MetricError: shapes differ, a code is empty, or `original` is needed and missing.

    >>> codes = [[1, 0], [1, 0], [0, 1]]
    >>> pmrp([[0.9, 0.1, 0.5]], [[1, 0]], codes, PmrpDefinition((0,))).tolist()
    [0.5]
    """
    scorer = as_scorer(scores)
    rows, columns = np.asarray(row_codes, dtype=np.float32), np.asarray(column_codes, dtype=np.float32)
    if rows.ndim != 2 or columns.ndim != 2 or (len(rows), len(columns)) != scorer.shape:
        raise MetricError(f"codes {rows.shape} and {columns.shape} do not fit scores {scorer.shape}", reason="shape")
    empty = int((rows.sum(axis=1) == 0).sum()), int((columns.sum(axis=1) == 0).sum())
    if any(empty):
        raise MetricError(
            f"{empty[0]} queries and {empty[1]} gallery items have no category at all; leave them out",
            reason="empty-code",
        )
    if not definition.original and original is None:
        raise MetricError("this definition leaves original pairs out: give `original`", reason="original")
    left_out = None if definition.original else np.asarray(original, dtype=bool)
    found = np.empty(len(rows))
    for top in range(0, len(rows), _ROWS):
        part = slice(top, min(top + _ROWS, len(rows)))
        distance = rows[part].sum(axis=1)[:, None] + columns.sum(axis=1) - 2 * rows[part] @ columns.T
        block = scorer.block(part, slice(0, scorer.shape[1]), np.float64).astype(np.float64)
        match_distance = np.rint(distance).astype(np.int64)
        for row in range(len(block)):
            kept = slice(None) if left_out is None else ~left_out[top + row]
            order = np.argsort(-block[row][kept], kind="stable")
            ranked = match_distance[row][kept][order]
            found[top + row] = np.mean([_r_precision(ranked <= zeta, definition.cap) for zeta in definition.zetas])
    return found


def _r_precision(matches: NDArray[np.bool_], cap: int | None) -> float:
    r = int(matches.sum())
    r = r if cap is None else min(r, cap)
    return float(matches[:r].mean()) if r else float("nan")
