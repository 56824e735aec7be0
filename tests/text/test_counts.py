"""Word counts and document frequencies against the obvious loops."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm.errors import DataError
from itm.text.counts import DocumentFrequencies, WordCounts, count_words, document_frequencies, merge, select, sum_rows
from itm.text.tokens import tokens

TEXTS = st.lists(st.text(st.sampled_from("ab c."), max_size=12), max_size=12)


def rows(table: WordCounts) -> list[dict[str, int]]:
    words = table.words.to_pylist()
    return [
        {words[table.codes[k]]: int(table.counts[k]) for k in range(start, stop)}
        for start, stop in zip(table.indptr[:-1], table.indptr[1:], strict=True)
    ]


def as_dict(found: DocumentFrequencies) -> dict[str, int]:
    return dict(zip(found.words.to_pylist(), found.counts.tolist(), strict=True))


@given(TEXTS)
def test_counts_are_those_of_a_counter(texts: list[str]) -> None:
    table = count_words(texts)
    assert rows(table) == [dict(Counter(tokens(text))) for text in texts]
    assert table.words.to_pylist() == sorted(set(table.words.to_pylist()))
    assert all((np.diff(table.codes[a:b]) > 0).all() for a, b in zip(table.indptr[:-1], table.indptr[1:], strict=True))
    assert table.lengths.tolist() == [len(tokens(text)) for text in texts]


@given(TEXTS, st.data())
def test_selected_rows(texts: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1))) if texts else []
    table = count_words(texts)
    assert rows(select(table, np.array(chosen, dtype=int))) == [rows(table)[row] for row in chosen]


@given(TEXTS, st.data())
def test_document_frequencies_by_caption_and_by_image(texts: list[str], data: st.DataObject) -> None:
    images = np.sort(np.array([data.draw(st.integers(0, 3)) for _ in texts], dtype=int))
    by_caption = document_frequencies(count_words(texts))
    assert as_dict(by_caption) == dict(Counter(word for text in texts for word in set(tokens(text))))
    assert by_caption.documents == len(texts)
    sets: dict[int, set[str]] = {}
    for text, image in zip(texts, images.tolist(), strict=True):
        sets.setdefault(image, set()).update(tokens(text))
    by_image = document_frequencies(count_words(texts), images)
    assert as_dict(by_image) == dict(Counter(word for words in sets.values() for word in words))
    assert by_image.documents == len(sets)


@given(TEXTS, st.lists(st.integers(0, 12), max_size=3))
def test_parts_add_up_to_the_whole(texts: list[str], cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]
    parts = [document_frequencies(count_words(texts[a:b])) for a, b in itertools.pairwise(edges)]
    whole = document_frequencies(count_words(texts))
    merged = merge(reversed(parts))
    assert as_dict(merged) == as_dict(whole)
    assert merged.words.to_pylist() == whole.words.to_pylist()
    assert merged.documents == whole.documents


def test_nothing_merges_to_nothing() -> None:
    assert merge([]).documents == 0
    assert merge([]).words.type == pa.string()


@pytest.mark.parametrize(
    ("images", "message"),
    [([0, 1], "2 values for 3 captions"), ([0, 1, 0], "captions of one document are not side by side")],
)
def test_images_that_do_not_fit(images: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        document_frequencies(count_words(["a", "b", "c"]), np.array(images))


def test_sums_of_rows_are_in_order() -> None:
    values = np.array([1e16, 1.0, -1e16, 3.0])
    assert sum_rows(values, np.array([0, 3, 3, 4])).tolist() == [(1e16 + 1.0) - 1e16, 0.0, 3.0]
