"""Descriptiveness beside TF-IDF: how few images a caption is expected to fit, by what training captions say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc

from itm.text.counts import WordCounts, sum_rows
from itm.text.idf import IdfTable

IMAGES = 10_000
"""Training images that are compared, at most: evenly spaced ones where there are more."""

_BLOCK = 512


def expected_fit(
    table: WordCounts, idf: IdfTable, training: WordCounts, images: np.ndarray, own: np.ndarray | None = None
) -> np.ndarray:
    """d(t) = -ln of the mean over training images a of exp(-sum of idf over keywords of t that a's captions lack).

    An image whose captions hold every keyword of t fits for sure; each keyword that they lack divides the
    chance that it fits anyway by e**idf, about the keyword's rarity. Were no keyword shared with any image, d would
    be the sum of idf (`term_frequency: binary`); words that go together ("surfer", "wave") count less than their
    sum. So d estimates the logarithm of the true multiplicity, and is in [0, sum of idf].

    Args:
        table: counted captions to score.
        idf: the training table.
        training: counted training captions.
        images: code of the image of each training caption, 0..; any order.
        own: image code of each caption to score, or -1; its own image is left out of the mean, so that training
            captions and new ones are scored alike. None: all -1.

    Returns:
        d (captions,), float64. Cost: captions times images that share a keyword.
    """
    import scipy.sparse

    pool, image_of = _pool(training, idf, images)
    asked, totals = _weights(table, idf, training)
    if own is None:
        own = np.full(len(table), -1)
    place = {code: row for row, code in enumerate(image_of.tolist())}
    excluded = np.array([place.get(code, -1) for code in own.tolist()], dtype=np.int64)
    result = np.zeros(len(table))
    for start in range(0, len(table), _BLOCK):
        rows = slice(start, start + _BLOCK)
        overlap = scipy.sparse.csr_array(asked[rows] @ pool.T)
        result[rows] = _surprise(overlap, totals[rows], excluded[rows], len(image_of))
    return result


def _surprise(overlap: Any, totals: np.ndarray, excluded: np.ndarray, images: int) -> np.ndarray:
    """-ln mean exp(-missing) by row, where missing = total - overlap, over all images but the excluded one."""
    rows = np.repeat(np.arange(len(totals)), np.diff(overlap.indptr))
    kept = overlap.indices != excluded[rows]
    rows, missing = rows[kept], np.maximum(totals[rows[kept]] - overlap.data[kept], 0.0)
    least = totals.copy()
    np.minimum.at(least, rows, missing)  # taken out of the sum, so that nothing underflows
    images_left = np.maximum(images - (excluded >= 0), 1)
    apart = images_left - np.bincount(rows, minlength=len(totals))  # images that share no keyword
    fits = np.bincount(rows, np.exp(least[rows] - missing), minlength=len(totals)) + apart * np.exp(least - totals)
    return np.asarray(np.maximum(least - np.log(fits / images_left), 0.0))


def _pool(training: WordCounts, idf: IdfTable, images: np.ndarray) -> tuple[Any, np.ndarray]:
    """Keywords of the compared images (images, words of training) as ones, and the code of each row."""
    import scipy.sparse

    codes = np.unique(images)
    if len(codes) > IMAGES:
        codes = codes[np.linspace(0, len(codes) - 1, IMAGES).astype(np.int64)]
    _, keyword = idf.look_up(training.words)
    chosen = np.isin(images, codes)[training.rows] & keyword[training.codes]
    row = np.searchsorted(codes, images[training.rows[chosen]])
    held = scipy.sparse.csr_array(
        (np.ones(len(row)), (row, training.codes[chosen])), shape=(len(codes), len(training.words))
    )
    held.data[:] = 1.0  # a word that several captions of the image hold was added up
    return held, codes


def _weights(table: WordCounts, idf: IdfTable, training: WordCounts) -> tuple[Any, np.ndarray]:
    """The idf of each caption's keywords (captions, words of training), and their sum with unseen words too."""
    import scipy.sparse

    word_idf, keyword = idf.look_up(table.words)
    weights = np.where(keyword, word_idf, 0.0)[table.codes]
    column = pc.fill_null(pc.index_in(table.words, value_set=training.words), -1).to_numpy(zero_copy_only=False)
    seen = (weights > 0) & (column[table.codes] >= 0)
    indptr = np.concatenate([[0], np.cumsum(seen)])[table.indptr]
    shape = (len(table), len(training.words))
    asked = scipy.sparse.csr_array((weights[seen], column[table.codes[seen]], indptr), shape=shape)
    return asked, sum_rows(weights, table.indptr)
