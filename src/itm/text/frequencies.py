"""Document frequencies: integers, so that parts of a corpus add up to the whole exactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itm.errors import DataError
from itm.text.counts import WordCounts


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many documents each word occurs."""

    words: pa.Array
    """Distinct words, sorted (strings)."""
    counts: np.ndarray
    """int64, documents that hold the word."""
    documents: int
    """N: documents in all, empty ones included."""


def document_frequencies(table: WordCounts, groups: np.ndarray | None = None) -> DocumentFrequencies:
    """The document frequencies of counted captions.

    Args:
        table: counts of the (training) captions.
        groups: one value a caption, e.g. its image; captions with the same value are one document.
            None: every caption is a document. Equal values must stand side by side.

    >>> from itm.text.counts import count_words
    >>> table = document_frequencies(count_words(["a dog", "a dog and a dog", "a cat"]))
    >>> dict(zip(table.words.to_pylist(), table.counts.tolist())), table.documents
    ({'a': 3, 'and': 1, 'cat': 1, 'dog': 2}, 3)

    Raises:
        DataError: `groups` does not have one value a caption, or a group's captions are apart.
    """
    if groups is None:
        counts = np.bincount(table.codes, minlength=len(table.words))
        return _present(table.words, counts.astype(np.int64), len(table))
    document = _runs(groups, len(table))
    documents = int(document[-1]) + 1 if len(document) else 0
    width = max(len(table.words), 1)
    keys = np.unique(document[table.rows] * width + table.codes)
    return _present(table.words, np.bincount(keys % width, minlength=len(table.words)).astype(np.int64), documents)


def merge(parts: Iterable[DocumentFrequencies]) -> DocumentFrequencies:
    """The document frequencies of several parts of a corpus taken together; the order does not matter.

    >>> a = DocumentFrequencies(pa.array(["dog"]), np.array([2]), 3)
    >>> b = DocumentFrequencies(pa.array(["cat", "dog"]), np.array([1, 1]), 2)
    >>> whole = merge([a, b])
    >>> whole.words.to_pylist(), whole.counts.tolist(), whole.documents
    (['cat', 'dog'], [1, 3], 5)
    """
    listed = list(parts)
    words = pa.chunked_array([part.words for part in listed], pa.string()).combine_chunks().dictionary_encode()
    place = words.indices.to_numpy(zero_copy_only=False)
    total = np.zeros(len(words.dictionary), dtype=np.int64)
    np.add.at(total, place, np.concatenate([np.zeros(0, dtype=np.int64), *(part.counts for part in listed)]))
    order = pc.array_sort_indices(words.dictionary)
    return DocumentFrequencies(
        words.dictionary.take(order), total[order.to_numpy()], sum(part.documents for part in listed)
    )


def _present(words: pa.Array, counts: np.ndarray, documents: int) -> DocumentFrequencies:
    kept = counts > 0
    return DocumentFrequencies(words.filter(pa.array(kept)), counts[kept], documents)


def _runs(groups: np.ndarray, captions: int) -> np.ndarray:
    """0, 1, 2, ... for each run of equal values."""
    groups = np.asarray(groups)
    if len(groups) != captions:
        raise DataError(f"groups: {len(groups)} values for {captions} captions", reason="shape")
    if captions == 0:
        return np.zeros(0, dtype=np.int64)
    starts = np.concatenate([[True], groups[1:] != groups[:-1]])
    heads = groups[starts]
    if len(np.unique(heads)) != len(heads):
        raise DataError("groups: captions of one document are not side by side; sort by image first", reason="unsorted")
    return np.cumsum(starts) - 1
