"""The score: hand examples, the formula written out, scikit-learn, and every option."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer

from itm.config.data import ScoreParameters
from itm.errors import DataError
from itm.text.counts import count_words, document_frequencies
from itm.text.descriptiveness import descriptiveness, keyword_matrix
from itm.text.idf import STOP_WORDS, IdfTable, idf_table
from itm.text.tokens import tokens

Options = Callable[..., ScoreParameters]
TEXTS = st.lists(st.text(st.sampled_from("abc dg."), max_size=14), min_size=1, max_size=10)
TEASER = ["a dog", "a white dog", "a white dog with dark spots"]


def fit(texts: list[str], parameters: ScoreParameters) -> IdfTable:
    return idf_table(document_frequencies(count_words(texts)), parameters)


def scored(texts: list[str], table: IdfTable) -> list[float]:
    return descriptiveness(count_words(texts), table).descriptiveness.tolist()


def literal(text: str, training: list[str], parameters: ScoreParameters) -> float:
    """The formula, word by word."""
    words = Counter(word for word in tokens(text) if parameters.keywords == "all" or word not in STOP_WORDS)
    total = 0.0
    for word, count in words.items():
        df = sum(word in tokens(caption) for caption in training)
        df = max(df, min(parameters.minimum_document_frequency, len(training)))
        n = len(training)
        idf = math.log((1 + n) / (1 + df)) + 1 if parameters.idf == "smooth" else math.log(n / df)
        tf = {
            "count": count,
            "binary": 1,
            "log": 1 + math.log(count),
            "length_normalised": count / sum(words.values()),
        }[parameters.term_frequency]
        total += tf * idf
    return total


def test_by_hand(options: Options) -> None:
    table = fit(["a dog", "a dog runs", "a cat"], options())
    dog, once = math.log(4 / 3) + 1, math.log(4 / 2) + 1
    assert scored(["a dog", "the dog and the dog", "a cat runs", "a", ""], table) == pytest.approx(
        [dog, 2 * dog, 2 * once, 0, 0]
    )


def test_more_detail_scores_higher(options: Options) -> None:
    d = scored(TEASER, fit([*TEASER, "a man runs", "a dog on a white beach"], options()))
    assert d[0] < d[1] < d[2]


@given(
    TEXTS,
    TEXTS,
    st.sampled_from(["count", "binary", "log", "length_normalised"]),
    st.sampled_from(["smooth", "plain"]),
    st.sampled_from(["content", "all"]),
    st.integers(1, 4),
)
def test_every_option_is_the_formula_written_out(
    training: list[str], texts: list[str], tf: str, idf: str, keywords: str, minimum: int
) -> None:
    parameters = ScoreParameters.model_validate(
        {
            "kind": "tfidf",
            "term_frequency": tf,
            "idf": idf,
            "document": "caption",
            "keywords": keywords,
            "normalisation": "clip",
        }
        | {"quantiles": {"low": 0.01, "high": 0.99}, "minimum_document_frequency": minimum}
    )
    table = fit(training, parameters)
    expected = [literal(text, training, parameters) for text in texts]
    assert scored(texts, table) == pytest.approx(expected, abs=1e-9)
    assert scored(texts, table.above_cap()) == scored(texts, table)


@given(TEXTS)
def test_scikit_learn_gives_the_same_numbers(texts: list[str]) -> None:
    texts = [*texts, "dog"]
    for tf, options in (("count", {}), ("binary", {"binary": True}), ("log", {"sublinear_tf": True})):
        parameters = ScoreParameters.model_validate(
            {
                "kind": "tfidf",
                "term_frequency": tf,
                "idf": "smooth",
                "document": "caption",
                "keywords": "all",
                "normalisation": "none",
            }
            | {"quantiles": {"low": 0.0, "high": 1.0}, "minimum_document_frequency": 1}
        )
        reference = TfidfVectorizer(norm=None, analyzer=tokens, **options).fit_transform(texts)
        assert scored(texts, fit(texts, parameters)) == pytest.approx(
            np.asarray(reference.sum(axis=1)).ravel(), abs=1e-9
        )


def test_plain_idf_is_scikit_learns_less_one(options: Options) -> None:
    texts = [*TEASER, "a man runs"]
    counts = TfidfVectorizer(norm=None, analyzer=tokens, use_idf=False)
    matrix = counts.fit_transform(texts)
    reference = TfidfTransformer(smooth_idf=False, norm=None).fit(matrix).idf_ - 1
    table = fit(texts, options(idf="plain", keywords="all"))
    assert table.words.to_pylist() == counts.get_feature_names_out().tolist()
    assert table.idf == pytest.approx(reference, abs=1e-12)


def test_typos_and_unseen_words_are_no_rarer_than_the_cap(options: Options) -> None:
    training = ["dog"] * 5 + ["dgo", "cat"] + ["man"] * 3
    table = fit(training, options(minimum_document_frequency=3))
    idf, _ = table.look_up(count_words(["dgo dog man never"]).words)
    assert idf[0] == idf[2] == idf[3] > idf[1]
    loose, _ = fit(training, options()).look_up(count_words(["dgo dog man never"]).words)
    assert loose[3] == loose[0] > loose[2]


def test_length_normalised_counts_turn_the_order_round(options: Options) -> None:
    training = ["a zebra"] + ["a dog"] * 9
    by_length = fit(training, options(term_frequency="length_normalised"))
    assert scored(["a zebra"], by_length) > scored(["a zebra with a dog"], by_length)
    by_count = fit(training, options())
    assert scored(["a zebra"], by_count) < scored(["a zebra with a dog"], by_count)


@given(st.permutations(["dog", "cat", "man", "red", "bike", "dog"]))
def test_the_order_of_words_changes_no_bit(words: list[str]) -> None:
    parameters = ScoreParameters.model_validate(
        {"kind": "tfidf", "term_frequency": "count", "idf": "smooth", "document": "caption", "keywords": "content"}
        | {"normalisation": "none", "quantiles": {"low": 0.0, "high": 1.0}, "minimum_document_frequency": 1}
    )
    table = fit(["dog cat", "dog man", "red dog", "bike", "man man"], parameters)
    assert scored([" ".join(words)], table) == scored(["bike cat dog dog man red"], table)
    assert scored(["x", " ".join(words)], table)[1:] == scored(["bike cat dog dog man red"], table)


def test_counts_beside_the_score(options: Options) -> None:
    found = descriptiveness(count_words(["a dog and a dog", "", "the a"]), fit(["dog"], options()))
    assert found.words.tolist() == [5, 0, 2]
    assert found.keywords.tolist() == [1, 0, 0]


def test_keyword_matrix(options: Options) -> None:
    counts = count_words(["a dog dog", "the cat", "a"])
    table = fit(["a dog", "a dog", "a cat"], options())
    data, indices, indptr = keyword_matrix(counts, table, np.array([3, 0, 1, 2]))
    assert counts.words.to_pylist() == ["a", "cat", "dog", "the"]
    assert (indices.tolist(), indptr.tolist()) == ([1, 0], [0, 1, 2, 2])
    assert data.tolist() == table.look_up(count_words(["dog cat"]).words)[0][::-1].tolist()


def test_no_training_captions(options: Options) -> None:
    with pytest.raises(DataError, match="no training captions"):
        fit([], options())


def test_number_of_keywords_as_the_score(options: Options) -> None:
    table = fit(["a dog", "a cat"], options(kind="keyword_count"))
    assert scored(["a dog and a dog", "the cat and a new dog", ""], table) == [1, 3, 0]
