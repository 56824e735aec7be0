"""How often each word occurs in each caption, as one sparse table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

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
