"""Labels of a batch: positives by content, descriptiveness of images, containment against a literal loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from itm.methods.method import Requirements
from itm.text.controls import caption_descriptiveness
from itm.training.batches import BatchRows
from itm.training.relations import Relations

OWNER = np.array([0, 0, 1, 1, 2, 2])
DESCRIPTIVENESS = np.array([0.1, 0.9, 0.3, 0.4, 0.5, 0.6])
IDF = np.array([1.0, 2.0, 3.0, 4.0])
HOLDS = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]])
ROWS = BatchRows(np.array([2, 0]), np.array([5, 4, 0, 1]), np.array([0, 0, 1, 1]))


def relations(image_score: str = "paired", same: np.ndarray | None = None) -> Relations:
    same = np.arange(3) if same is None else same
    return Relations(OWNER, same, DESCRIPTIVENESS, image_score, sparse.csr_array(HOLDS * IDF))  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "expected"), [("paired", [0.6, 0.1]), ("maximum", [0.6, 0.9]), ("mean", [0.55, 0.5])])
def test_an_image_takes_its_descriptiveness_from_its_captions(kind: str, expected: list[float]) -> None:
    labels = relations(kind).labels(ROWS, Requirements(), torch.device("cpu"))
    assert labels.image_descriptiveness.tolist() == pytest.approx(expected)
    assert labels.containment is None


def test_copies_of_an_image_share_their_captions() -> None:
    labels = relations(same=np.array([7, 1, 7])).labels(ROWS, Requirements(), torch.device("cpu"))
    assert labels.positives.all()
    apart = relations().labels(ROWS, Requirements(), torch.device("cpu"))
    assert apart.positives.tolist() == [[True, True, False, False], [False, False, True, True]]


def test_containment_equals_a_literal_loop() -> None:
    found = relations().containment(ROWS.images, ROWS.captions)
    for i, image in enumerate(ROWS.images):
        held = HOLDS[image == OWNER].any(0)
        for j, caption in enumerate(ROWS.captions):
            words = HOLDS[caption].astype(bool)
            expected = IDF[words & held].sum() / IDF[words].sum() if words.any() else 0.0
            assert found[i, j] == pytest.approx(expected)


def test_controls_keep_what_they_should() -> None:
    generator = np.random.default_rng(0)
    normalised, words = generator.random(500), generator.integers(3, 20, 500).astype(float)
    shuffled = caption_descriptiveness("shuffled", normalised, words, 1)
    assert sorted(shuffled) == sorted(normalised)
    assert not np.array_equal(shuffled, normalised)
    assert np.array_equal(caption_descriptiveness("tfidf", normalised, words, 1), normalised)
    counted = caption_descriptiveness("word_count", normalised, words, 1)
    assert counted.min() == 0
    assert counted.max() == 1
    assert (
        np.argsort(counted, kind="stable")
        == np.argsort(np.clip(words, *np.quantile(words, [0.01, 0.99])), kind="stable")
    ).all()
    assert np.array_equal(
        caption_descriptiveness("random", normalised, words, 4), caption_descriptiveness("random", normalised, words, 4)
    )
