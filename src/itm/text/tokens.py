"""One tokeniser for everything: its rule for words, and fast word lists for millions of captions.

A word is a run of letters and digits, in lower case. To be exact, a text is

1. NFKC-normalised (full-width letters become plain ones, accents are composed), then lower-cased;
2. stripped of invisible characters (Unicode Cf, and variation selectors);
3. cut at every other character that is not a letter, a digit or a combining mark (L*, N*, Mn, Mc).
   So hyphens, apostrophes, underscores and emoji separate words: ``man's t-shirt`` is man, s, t, shirt.

For ASCII text this is the pattern ``[a-z0-9]+`` on the lower-cased text. Scripts without spaces give
one word per run of letters. `tokens` is the definition; `tokenise` is the same by whole columns.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itm.errors import DataError, first_few

_ASCII = bytes(ord(chr(c).lower()) if c < 128 and chr(c).isalnum() else (32 if c < 128 else c) for c in range(256))
"""ASCII letters and digits to lower case, other ASCII bytes to a space, UTF-8 bytes of the rest as they are."""


class _Characters(dict[int, int | None]):
    """Translation table of `str.translate`, filled as characters turn up."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        kept: int | None = 32
        if category[0] in "LN" or category in ("Mn", "Mc"):
            kept = code
        if category == "Cf" or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
            kept = None
        self[code] = kept
        return kept


_CHARACTERS = _Characters()


def tokens(text: str) -> list[str]:
    """The words of a text, in order.

    >>> tokens("A white DOG's t-shirt, two times.")
    ['a', 'white', 'dog', 's', 't', 'shirt', 'two', 'times']
    >>> tokens("Cafe\\u0301, Ｄｏｇ \\U0001f415!")
    ['café', 'dog']
    """
    lowered = unicodedata.normalize("NFKC", text).lower()
    # lower() can leave a decomposed character (the dotted capital I does): compose again
    lowered = unicodedata.normalize("NFC", lowered).translate(_CHARACTERS)
    return [word for word in lowered.split() if any(character.isalnum() for character in word)]


def text_column(texts: Any, where: str = "captions") -> pa.Array:
    """A column of texts as an Arrow string array without missing values.

    Args:
        texts: an Arrow string array or chunked array, or any sequence of `str`.
        where: what the error messages call the column.

    Raises:
        DataError: a value is missing (None, NaN), is not a string, or is not valid Unicode;
            the message counts them and names the first rows.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if isinstance(texts, pa.Array):
        if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
            raise DataError(f"{where}: the column holds {texts.type}, expected strings", reason="not-text")
        if texts.null_count:
            rows = np.flatnonzero(texts.is_null().to_numpy(zero_copy_only=False))
            raise _missing(rows, where)
        return texts
    if isinstance(texts, str | bytes):
        raise DataError(f"{where}: one {type(texts).__name__}, expected a sequence of strings", reason="not-text")
    values = list(texts)
    wrong = [row for row, value in enumerate(values) if not isinstance(value, str)]
    if wrong:
        missing = [row for row in wrong if values[row] is None or values[row] != values[row]]
        if missing:
            raise _missing(missing, where)
        shown = first_few((f"row {row}: {values[row]!r}" for row in wrong), len(wrong))
        raise DataError(
            f"{where}: {len(wrong)} values are not strings ({shown}); convert or drop them", reason="not-text"
        )
    try:
        return pa.array(values, pa.large_string())
    except (UnicodeEncodeError, pa.ArrowInvalid):
        broken = [row for row, value in enumerate(values) if not _encodable(value)]
        raise DataError(
            f"{where}: {len(broken)} texts are not valid Unicode (rows {first_few(broken)}); decode the file as UTF-8",
            reason="not-unicode",
        ) from None


def tokenise(texts: Any, where: str = "captions") -> tuple[np.ndarray, pa.Array]:
    """The words of every text: `(offsets, words)`, words of text i are ``words[offsets[i]:offsets[i + 1]]``.

    Equal to `tokens` text by text. Offsets are int64 of length texts + 1; words is an Arrow string array.

    >>> offsets, words = tokenise(["A dog.", "", "a white dog"])
    >>> offsets.tolist(), words.to_pylist()
    ([0, 2, 2, 5], ['a', 'dog', 'a', 'white', 'dog'])

    Raises:
        DataError: see `text_column`.
    """
    offsets, codes, vocabulary = encode(texts, where)
    return offsets, vocabulary.take(pa.array(codes))


def encode(texts: Any, where: str = "captions") -> tuple[np.ndarray, np.ndarray, pa.Array]:
    """The words of every text as numbers: `(offsets, codes, vocabulary)`.

    Word k is ``vocabulary[codes[k]]``; offsets as for `tokenise`; codes are uint32; the vocabulary is sorted.

    >>> offsets, codes, vocabulary = encode(["A dog.", "a white dog"])
    >>> offsets.tolist(), codes.tolist(), vocabulary.to_pylist()
    ([0, 2, 5], [0, 1, 0, 2, 1], ['a', 'dog', 'white'])

    Raises:
        DataError: see `text_column`.
    """
    column = text_column(texts, where)
    ascii_only = pc.string_is_ascii(column)
    if not pc.all(ascii_only).as_py():
        foreign = pc.invert(ascii_only)
        spaced = [" ".join(tokens(text)) for text in column.filter(foreign).to_pylist()]
        column = pc.replace_with_mask(column, foreign, pa.array(spaced, column.type))
    begins, data = _lower_and_space(column)
    inside = np.frombuffer(data, dtype=np.uint8) != 32
    starting = inside.copy()
    starting[1:] &= ~inside[:-1]
    heads = begins[:-1][begins[:-1] < begins[1:]]
    starting[heads] = inside[heads]
    starts = np.flatnonzero(starting)
    # A piece is a word with the spaces after it. They are cut off in the few distinct pieces, not in all.
    bounds = np.append(starts, len(data)).astype(np.int64 if pa.types.is_large_string(column.type) else np.int32)
    pieces = pa.Array.from_buffers(
        column.type, len(starts), [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    ).dictionary_encode()
    words = pc.ascii_rtrim_whitespace(pieces.dictionary).cast(pa.string()).dictionary_encode()
    order = pc.array_sort_indices(words.dictionary)
    place = np.empty(len(order), dtype=np.uint32)
    place[order.to_numpy()] = np.arange(len(order), dtype=np.uint32)
    codes = place[words.indices.to_numpy()][pieces.indices.to_numpy()]
    return np.searchsorted(starts, begins), codes, words.dictionary.take(order)


def _lower_and_space(column: pa.Array) -> tuple[np.ndarray, bytes]:
    """Where each text begins, and all their bytes: ASCII letters in lower case, other ASCII as spaces."""
    if len(column) == 0:
        return np.zeros(1, dtype=np.int64), b""
    wide = pa.types.is_large_string(column.type)
    _, offsets, values = column.buffers()
    begins = np.frombuffer(offsets, dtype=np.int64 if wide else np.int32)[column.offset :][: len(column) + 1]
    low, high = int(begins[0]), int(begins[-1])
    data = values.slice(low, high - low).to_pybytes().translate(_ASCII) if high > low else b""
    return begins - low, data


def _missing(rows: Sequence[int] | np.ndarray, where: str) -> DataError:
    return DataError(
        f"{where}: {len(rows)} values are missing (rows {first_few(rows, len(rows))}); drop them or write ''",
        reason="missing-text",
    )


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
