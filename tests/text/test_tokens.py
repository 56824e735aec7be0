"""What a word is: one definition, the same by text and by column; and what odd input gives."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from itm.errors import DataError
from itm.text.tokens import encode, tokenise, tokens

TEXTS = st.lists(
    st.one_of(st.text(max_size=30), st.text(st.sampled_from("aB1 .'_-\t\0é\u0301İ犬🐕\u200d"), max_size=20))
)


def by_column(texts: object) -> list[list[str]]:
    offsets, words = tokenise(texts)
    assert offsets[0] == 0
    listed = words.to_pylist()
    return [listed[a:b] for a, b in itertools.pairwise(offsets)]


@given(TEXTS)
def test_a_column_has_the_words_of_its_texts(texts: list[str]) -> None:
    texts = [text for text in texts if not any("\ud800" <= c <= "\udfff" for c in text)]
    assert by_column(texts) == [tokens(text) for text in texts]


@given(st.lists(st.text(st.characters(max_codepoint=127))))
def test_ascii_words_are_runs_of_letters_and_digits(texts: list[str]) -> None:
    assert by_column(texts) == [re.findall("[a-z0-9]+", text.lower()) for text in texts]


@given(
    TEXTS.filter(lambda texts: not any("\ud800" <= c <= "\udfff" for text in texts for c in text)),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
@example(["a dog", "two", "three cats"], (1, 3))
def test_slices_and_both_string_types_agree(texts: list[str], cuts: tuple[int, int]) -> None:
    start, stop = sorted(min(cut, len(texts)) for cut in cuts)
    expected = [tokens(text) for text in texts[start:stop]]
    for kind in (pa.string(), pa.large_string()):
        assert by_column(pa.array(texts, kind).slice(start, stop - start)) == expected


@given(TEXTS.filter(lambda texts: not any("\ud800" <= c <= "\udfff" for text in texts for c in text)))
def test_the_vocabulary_is_sorted_and_complete(texts: list[str]) -> None:
    _, codes, vocabulary = encode(texts)
    words = vocabulary.to_pylist()
    assert words == sorted(set(words))
    assert set(codes.tolist()) == set(range(len(words)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("   \t\n ", []),
        ("...!?", []),
        ("🐕🏽‍🦺 🎉", []),
        ("1️⃣ dog", ["1", "dog"]),
        ("A", ["a"]),
        ("the-dog's t_shirt", ["the", "dog", "s", "t", "shirt"]),
        ("Ｄｏｇ ２", ["dog", "2"]),
        ("cafe\u0301 café", ["café", "café"]),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zerowidth"]),
        ("STRASSE Straße ΣΊΣΥΦΟΣ İ", ["strasse", "straße", "σίσυφος", "i̇"]),
        ("白い犬 走る", ["白い犬", "走る"]),
        ("सफ़ेद कुत्ता", ["सफ़ेद", "कुत्ता"]),
        ("белая собака", ["белая", "собака"]),
        ("كلب أبيض", ["كلب", "أبيض"]),
        ("a\0b", ["a", "b"]),
    ],
)
def test_odd_texts(text: str, expected: list[str]) -> None:
    import unicodedata

    expected = [unicodedata.normalize("NFC", unicodedata.normalize("NFKC", word)) for word in expected]
    assert tokens(text) == expected
    assert by_column([text, "dog", text]) == [expected, ["dog"], expected]


def test_a_text_of_10_000_words() -> None:
    assert by_column(["dog " * 10_000, "cat"]) == [["dog"] * 10_000, ["cat"]]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", None, None], "2 values are missing (rows 1, 2); drop them or write ''"),
        (["a", float("nan")], "1 values are missing (rows 1)"),
        ([1, "a", b"b"], "2 values are not strings (row 0: 1, row 2: b'b'); convert or drop them"),
        ([None, None, None, None, 3], "4 values are missing (rows 0, 1, 2 and 1 more)"),
        ("a dog", "one str, expected a sequence of strings"),
        (["a", "\ud800"], "1 texts are not valid Unicode (rows 1)"),
        (pa.array(["a", None]), "1 values are missing (rows 1)"),
        (pa.array([1, 2]), "the column holds int64, expected strings"),
        (np.array(["a", np.nan], dtype=object), "1 values are missing (rows 1)"),
    ],
)
def test_what_is_not_text_is_refused(texts: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        tokenise(texts, "here")
    assert str(caught.value).startswith("here: ")
    assert message in str(caught.value)


def test_no_texts_at_all() -> None:
    assert by_column([]) == []
    assert by_column(pa.chunked_array([], pa.string())) == []
    assert by_column(["", ""]) == [[], []]
