"""Word counts of captions as one sparse table, and the number of documents of each word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itm.errors import DataError
from itm.text.tokens import encode


@dataclass(frozen=True)
class WordCounts:
    """Word counts of captions in compressed rows.

    Caption i holds the words ``words[codes[k]]`` with ``counts[k]`` for k in
    ``indptr[i]:indptr[i + 1]``; within a caption codes rise, and `words` is sorted, so that whatever is
    summed over a caption's words is summed in alphabetical order, whichever captions are around it.
    """

    words: pa.Array
    """Distinct words, sorted (strings)."""
    indptr: np.ndarray
    """int64, captions + 1."""
    codes: np.ndarray
    """int32, one an entry: the word's place in `words`."""
    counts: np.ndarray
    """int32, one an entry: occurrences, at least 1."""

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def rows(self) -> np.ndarray:
        """The caption of every entry, int64."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.indptr))

    @property
    def lengths(self) -> np.ndarray:
        """Words in each caption, repeats included, int64."""
        return sum_rows(self.counts, self.indptr)


def count_words(texts: Any, where: str = "captions") -> WordCounts:
    """The word counts of a column of texts; see `itm.text.tokens` for what a word is.

    >>> table = count_words(["a dog and a dog", "a white dog"])
    >>> table.words.to_pylist(), table.codes.tolist(), table.counts.tolist()
    (['a', 'and', 'dog', 'white'], [0, 1, 2, 0, 2, 3], [2, 1, 2, 1, 1, 1])

    Raises:
        DataError: a text is missing or is not a string.
    """
    offsets, codes, vocabulary = encode(texts, where)
    # one number an occurrence, caption above word, in the fewest bytes: sorting it is most of the work
    captions = len(offsets) - 1
    bits = max(len(vocabulary) - 1, 1).bit_length()
    number = np.uint32 if bits + max(captions - 1, 1).bit_length() <= 32 else np.uint64
    caption: Any = np.arange(captions, dtype=number)
    keys = np.repeat(caption << number(bits), np.diff(offsets))
    keys |= codes
    keys.sort()
    first = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    first = np.concatenate([[0], first]) if len(keys) else first
    counts = np.diff(np.append(first, len(keys))).astype(np.int32)
    keys = keys[first]
    indptr = np.searchsorted(keys >> number(bits), np.arange(captions + 1))
    return WordCounts(vocabulary, indptr, (keys & number((1 << bits) - 1)).astype(np.int32), counts)


def select(table: WordCounts, rows: np.ndarray) -> WordCounts:
    """The counts of some captions (row numbers), in that order; `words` stays as it is."""
    lengths = np.diff(table.indptr)[rows]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    entries = np.arange(indptr[-1]) + np.repeat(table.indptr[:-1][rows] - indptr[:-1], lengths)
    return WordCounts(table.words, indptr, table.codes[entries], table.counts[entries])


def sum_rows(values: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """The sum of each row's entries, added one after the other in their order; 0 for an empty row.

    Integers give int64, floats float64. The order is fixed, so that a row's sum has the same bits
    wherever the row stands.
    """
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    if values.dtype.kind in "iub":
        running = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
        return np.asarray(running[indptr[1:]] - running[indptr[:-1]])
    return np.bincount(rows, weights=values, minlength=len(indptr) - 1)


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
