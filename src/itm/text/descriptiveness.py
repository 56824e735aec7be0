"""Descriptiveness d(caption): the TF-IDF of a caption's keywords, summed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itm.text.counts import WordCounts, sum_rows
from itm.text.idf import IdfTable


@dataclass(frozen=True)
class Descriptiveness:
    """The descriptiveness of each caption and what it was counted from; row i is caption i."""

    descriptiveness: np.ndarray
    """d, float64, at least 0."""
    words: np.ndarray
    """Words, repeats included, int32."""
    keywords: np.ndarray
    """Distinct keywords, int32."""


def descriptiveness(table: WordCounts, idf: IdfTable) -> Descriptiveness:
    """The descriptiveness of counted captions: d = sum over keywords w of tf(w) * idf(w).

    Jang et al., "Descriptive Image-Text Matching with Graded Contextual Similarity" (arXiv 2505.09997), use
    a cumulative TF-IDF; its details are this project's reading. tf by option: count; binary = 1;
    log = 1 + ln count; length_normalised = count / (keywords of the caption, repeats included), which
    turns the order of generic and specific captions round and is there as an ablation only.
    With `kind: keyword_count` d is the number of distinct keywords; for `expected_fit` see
    `itm.text.expected_fit`, the sum here is then only its upper bound. A caption without keywords has d = 0.
    Equal captions have equal bits, in any order of words and with any other captions around them.
    """
    weights, keyword = _weigh(table, idf)
    return Descriptiveness(
        sum_rows(weights, table.indptr),
        table.lengths.astype(np.int32),
        sum_rows(keyword[table.codes], table.indptr).astype(np.int32),
    )


def word_weights(table: WordCounts, idf: IdfTable) -> np.ndarray:
    """What each entry of the table adds to its caption's d: tf * idf, or 0 for a stop word; float64."""
    return _weigh(table, idf)[0]


def keyword_matrix(table: WordCounts, idf: IdfTable, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Captions x words as compressed rows `(data, indices, indptr)`: the idf of each keyword that is present.

    Args:
        table: counted captions.
        idf: the training table.
        columns: the column of every word of ``table.words``, int64.
    """
    word_idf, keyword = idf.look_up(table.words)
    kept = keyword[table.codes]
    indptr = np.concatenate([[0], np.cumsum(kept)])[table.indptr].astype(np.int64)
    indices = columns[table.codes[kept]]
    rows = np.repeat(np.arange(len(table), dtype=np.int64), np.diff(indptr))
    order = np.lexsort((indices, rows))
    return word_idf[table.codes[kept]][order], indices[order].astype(np.int32), indptr


def _weigh(table: WordCounts, idf: IdfTable) -> tuple[np.ndarray, np.ndarray]:
    word_idf, keyword = idf.look_up(table.words)
    if idf.parameters.kind == "keyword_count":
        return keyword[table.codes].astype(np.float64), keyword
    weights = _term_frequency(table, keyword, idf.parameters.term_frequency)
    weights *= np.where(keyword, word_idf, 0.0)[table.codes]
    return weights, keyword


def _term_frequency(table: WordCounts, keyword: np.ndarray, option: str) -> np.ndarray:
    if option == "binary":
        return np.ones(len(table.counts))
    if option == "log":
        return np.asarray(1 + np.log(table.counts))
    weights = table.counts.astype(np.float64)
    if option == "length_normalised":
        lengths = sum_rows(np.where(keyword[table.codes], table.counts, 0), table.indptr)
        weights /= np.maximum(lengths, 1)[table.rows]
    return weights
