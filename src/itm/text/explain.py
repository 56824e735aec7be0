"""Why a text has the score it has: each word's share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from itm.text.counts import count_words
from itm.text.descriptiveness import descriptiveness, word_weights
from itm.text.idf import IdfTable


class Share(NamedTuple):
    """One word of one text."""

    text: int
    """Row of the text in what was asked."""
    word: str
    occurrences: int
    document_frequency: int
    """Training documents that hold the word; 0 = unseen."""
    idf: float
    keyword: bool
    """False: a stop word, which adds nothing."""
    capped: bool
    """Rarer than the smallest document frequency: counted as if it had that one."""
    points: float
    """What the word adds to d."""


def explain(texts: Sequence[str], table: IdfTable) -> list[Share]:
    """The words of each text, those that add most first; a text's points add up to its d.

    Raises:
        DataError: a text is missing or is not a string.
    """
    counts = count_words(texts, "texts")
    idf, keyword = table.look_up(counts.words)
    frequency = table.frequency(counts.words)
    points = word_weights(counts, table)
    floor = min(table.parameters.minimum_document_frequency, table.documents)
    words = counts.words.to_pylist()
    shares = [
        Share(
            row,
            words[code],
            count,
            int(frequency[code]),
            float(idf[code]),
            bool(keyword[code]),
            bool(frequency[code] < floor),
            point,
        )
        for row, code, count, point in zip(
            counts.rows.tolist(), counts.codes.tolist(), counts.counts.tolist(), points.tolist(), strict=True
        )
    ]
    return sorted(shares, key=lambda share: (share.text, -share.points, share.word))


def total(texts: Sequence[str], table: IdfTable) -> np.ndarray:
    """d of each text, float64."""
    return descriptiveness(count_words(texts, "texts"), table).descriptiveness
