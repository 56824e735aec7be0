"""Captions of anybody's table: their idf table, its hash, and what it says of them."""

from pathlib import Path

import numpy as np
import pytest

from itm.config import load
from itm.errors import ConfigError
from itm.grading.texts import Captions, describe, fit_idf, idf_hash

TEXTS = ["a dog", "a white dog", "a cat", "a dog runs"]


@pytest.fixture(scope="module")
def options():
    score = load(Path(__file__).parents[2] / "params.yaml").score
    return score.model_copy(update={"minimum_document_frequency": 1, "idf": "plain", "document": "caption"})


def table(options, texts=TEXTS, images=(7, 3, 3, 7), **changed):
    rows = Captions(np.arange(len(texts)), np.array(images), list(texts))
    return fit_idf(rows, options.model_copy(update=changed))


def test_descriptiveness_is_that_of_the_captions_own_words(options):
    found = describe(["the dog", "a white cat", ""], table(options))
    assert found == pytest.approx([np.log(4 / 3), np.log(4) * 2, 0])


def test_an_images_captions_are_one_document_wherever_they_stand(options):
    found = describe(["dog", "cat", "white cat"], table(options, document="image"))
    assert found == pytest.approx([0.0, np.log(2), 2 * np.log(2)])


def test_equal_tables_have_equal_hashes_and_others_have_not(options):
    known = idf_hash(table(options))
    assert idf_hash(table(options, texts=TEXTS[::-1])) == known
    others = [
        table(options, idf="smooth"),
        table(options, keywords="all"),
        table(options, document="image"),
        table(options, texts=["a dog", "a white dog", "a cat", "a dog ran"]),
        table(options, texts=["a dog", "a white dog", "a cat", "a cat runs"]),
        table(options, texts=[*TEXTS, ""], images=(7, 3, 3, 7, 7)),
    ]
    assert len({known, *map(idf_hash, others)}) == 1 + len(others)


def test_a_kind_that_needs_the_training_captions_is_refused(options):
    with pytest.raises(ConfigError, match=r"expected_fit needs the training captions .* use tfidf or keyword_count"):
        describe(["a dog"], table(options, kind="expected_fit"))
