"""Similarities of whole galleries: batch by batch, in parts, or of a shortlist: as the method gives them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from itm.methods import scoring
from itm.methods.build import build_method
from itm.methods.method import Embedded, Method
from itm.methods.scoring import all_similarities, concatenate, shortlist_similarities

sys.path.insert(0, str(Path(__file__).parent))
from conftest import IMAGE_WIDTH, METHODS, PARAMETERS, TEXT_WIDTH, WIDTHS, features

Batches = list[Embedded]


@pytest.fixture
def given() -> tuple[Method, Batches, Batches, torch.Tensor]:
    """A pairwise method, batches of 4 and 3 images and of 5 and 2 texts, and their similarities (7, 7)."""
    torch.manual_seed(0)
    method = build_method(METHODS["esl-token"], PARAMETERS.embedding, WIDTHS).eval()
    with torch.no_grad():
        images = [method.encode_image(features(rows, IMAGE_WIDTH, rows)) for rows in (4, 3)]
        texts = [method.encode_text(features(rows, TEXT_WIDTH, rows)) for rows in (5, 2)]
        return method, images, texts, method.score(concatenate(images), concatenate(texts))


@pytest.mark.parametrize("block", [1, scoring.BLOCK_BYTES])
def test_batches_and_parts_are_the_whole(given, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    method, images, texts, expected = given
    monkeypatch.setattr(scoring, "BLOCK_BYTES", block)
    told: list[tuple[int, int]] = []
    found = all_similarities(method, images, texts, lambda *done: told.append(done))
    torch.testing.assert_close(torch.from_numpy(found.values), expected, atol=1e-5, rtol=1e-5)
    assert (found.scored, found.pairs, told) == (None, 49, [(5, 7), (7, 7)])


@pytest.mark.parametrize("candidates", [1, 2, 7])
def test_a_shortlist_keeps_the_similarities_of_its_own_above_all_others(
    given, candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, images, texts, expected = given
    monkeypatch.setattr(
        method, "index_image", lambda batch: 100 * batch.embedding
    )  # of another scale than similarities
    found = shortlist_similarities(method, images, texts, candidates)
    stands = concatenate(images).embedding @ concatenate(texts).embedding.T
    by_image = stands >= stands.sort(1, descending=True).values[:, candidates - 1 : candidates]
    by_text = stands >= stands.sort(0, descending=True).values[candidates - 1 : candidates]
    listed, values = by_image | by_text, torch.from_numpy(found.values)
    assert found.scored.tolist() == listed.tolist()
    assert found.pairs == int(listed.sum())
    torch.testing.assert_close(values[listed], expected[listed], atol=1e-5, rtol=1e-5)
    if candidates < 7:
        assert values[~listed].max() < values[listed].min()
        assert values[~listed].argsort().tolist() == stands[~listed].argsort().tolist()
