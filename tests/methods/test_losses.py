"""The losses against hand-computed values, literal loops and finite differences."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from itm.config.model import EmbeddingParameters
from itm.errors import ModelError
from itm.methods.functional.hinge import hinge, symmetric_hinge
from itm.methods.functional.info_nce import (
    added_targets,
    graded_targets,
    info_nce,
    soft_cross_entropy,
    symmetric_info_nce,
)
from itm.methods.losses.ditm.order import own_lists, pairwise, radius
from itm.methods.similarities.heads import head
from itm.text.relaxation import strength

sys.path.insert(0, str(Path(__file__).parent))
from conftest import variant


def batch(seed: int, images: int, each: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    owner = torch.arange(images).repeat_interleave(each)
    similarities = torch.rand(images, len(owner), generator=generator, dtype=torch.float64) * 2 - 1
    return similarities, owner.unsqueeze(0) == torch.arange(images).unsqueeze(1), owner


def order_hinge(values: Tensor, score: Tensor, owner: Tensor, margin: float, gap: float) -> Tensor:
    """The pairwise order of each image's own captions."""
    lists = own_lists(owner, int(owner.max()) + 1)
    return pairwise(lists.of_texts(values), lists.of_texts(score), lists, margin, gap)


def test_info_nce_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    positives = torch.tensor([[True, False, True], [False, True, False]])
    first = (math.log(1 + math.exp(0 - 2)) + math.log(1 + math.exp(0 - 1))) / 2
    second = math.log(1 + (math.exp(0) + math.exp(1)) / math.exp(3))
    assert info_nce(logits, positives).item() == pytest.approx((first + second) / 2)


def test_info_nce_with_one_caption_an_image_is_cross_entropy_on_the_diagonal() -> None:
    logits, positives, _ = batch(0, 5, 1)
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(5))
    assert info_nce(logits, positives).item() == pytest.approx(expected.item())


@given(seed=st.integers(0, 10_000), images=st.integers(1, 5), each=st.integers(1, 3))
def test_info_nce_equals_a_literal_loop(seed: int, images: int, each: int) -> None:
    logits, positives, _ = batch(seed, images, each)
    rows = []
    for i in range(images):
        negatives = [math.exp(logits[i, j]) for j in range(images * each) if not positives[i, j]]
        own = [logits[i, j].item() for j in range(images * each) if positives[i, j]]
        rows.append(np.mean([-math.log(math.exp(s) / (math.exp(s) + sum(negatives))) for s in own]))
    assert info_nce(logits, positives).item() == pytest.approx(np.mean(rows), abs=1e-9)


@given(
    seed=st.integers(0, 10_000),
    images=st.integers(2, 5),
    each=st.integers(1, 3),
    mining=st.sampled_from(["hardest", "sum", "mean"]),
)
def test_hinge_equals_a_literal_loop(seed: int, images: int, each: int, mining: str) -> None:
    similarities, positives, _ = batch(seed, images, each)
    margin = torch.rand(similarities.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    combine = {"hardest": max, "sum": sum, "mean": np.mean}[mining]
    losses = []
    for i in range(images):
        for p in range(images * each):
            if positives[i, p]:
                values = [
                    max(0.0, (margin[i, n] + similarities[i, n] - similarities[i, p]).item())
                    for n in range(images * each)
                    if not positives[i, n]
                ]
                losses.append(combine(values))
    assert hinge(similarities, positives, margin, mining).item() == pytest.approx(np.mean(losses))  # type: ignore[arg-type]


def test_the_hardest_negative_is_mined_on_the_hinge_value() -> None:
    """The most similar negative has a relaxed margin: the other one is then the hardest."""
    similarities = torch.tensor([[0.5, 0.6, 0.55], [0.0, 1.0, 0.0]])
    positives = torch.tensor([[True, False, False], [False, True, True]])
    margin = torch.tensor([[0.2, 0.0, 0.2], [0.0, 0.0, 0.0]])
    rows = [0.2 + 0.55 - 0.5, 0.0, 0.0]  # second image: 0 + 0 - 1 and 0 + 0 - 0, both not above zero
    assert hinge(similarities, positives, margin, "hardest").item() == pytest.approx(np.mean(rows))


def test_a_batch_without_negatives_has_no_hinge() -> None:
    similarities, positives = torch.rand(2, 4), torch.ones(2, 4, dtype=torch.bool)
    for mining in ("hardest", "sum", "mean"):
        assert symmetric_hinge(similarities, positives, 0.2, mining).item() == 0  # type: ignore[arg-type]
    assert symmetric_info_nce(similarities, positives).item() == 0


@given(seed=st.integers(0, 10_000), each=st.integers(1, 4), gap=st.sampled_from([0.0, 0.05, 0.5]))
def test_order_hinge_equals_a_literal_loop(seed: int, each: int, gap: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    owner = torch.arange(3).repeat_interleave(each)
    values, score = torch.rand(2, len(owner), generator=generator, dtype=torch.float64)
    expected = [
        max(0.0, (0.1 * (score[q] - score[p]) + values[p] - values[q]).item())
        for p in range(len(owner))
        for q in range(len(owner))
        if owner[p] == owner[q] and score[q] - score[p] > gap
    ]
    found = order_hinge(values, score, owner, 0.1, gap).item()
    assert found == pytest.approx(np.mean(expected) if expected else 0.0)


def test_the_six_pairs_of_the_teaser_figure() -> None:
    """Three dogs v1..v3 with captions of growing detail t1..t3: the figure marks v2-t1, v3-t1 and v3-t2 as false
    negatives, and v1-t2, v1-t3 and v2-t3 as true ones."""
    score = torch.tensor([0.1, 0.5, 0.9])
    gate = torch.ones(3, 3)
    off_diagonal = [(a, b) for a in range(3) for b in range(3) if a != b]
    margin = strength(variant(base="hinge", refinement="relative_margin"), gate, score, score)
    relaxed = {(a + 1, b + 1) for a, b in off_diagonal if margin[a, b] > 0}
    assert relaxed == {(2, 1), (3, 1), (3, 2)}
    assert margin[2, 0] > margin[2, 1] > margin[0, 1]
    target = strength(variant(), gate, score, score)
    assert {(a + 1, b + 1) for a, b in off_diagonal if target[a, b] == 1} == relaxed


def test_added_targets_follow_the_evidence() -> None:
    positives = torch.tensor([[True, True, False, False], [True, False, False, False]])
    relevance = torch.tensor([[0.0, 0.0, 1.0, 0.5], [1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    # first row: 1, 1, 0.4, 0.2 of 2.6; second row: nothing is relevant, the label keeps all
    expected = torch.tensor([[1 / 2.6, 1 / 2.6, 0.4 / 2.6, 0.2 / 2.6], [1, 0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(added_targets(positives, relevance, 0.4), expected)


def test_graded_targets_are_distributions() -> None:
    _, positives, _ = batch(1, 4, 2)
    targets = graded_targets(positives, torch.rand(4, 8, dtype=torch.float64), 0.4)
    torch.testing.assert_close(targets.sum(1), torch.ones(4, dtype=torch.float64))
    assert (targets[positives] >= 0.6 / 2).all()


@pytest.mark.parametrize("name", ["info_nce", "soft", "hinge-hardest", "hinge-mean", "order", "radius"])
def test_gradients_agree_with_finite_differences(name: str) -> None:
    similarities, positives, owner = batch(11, 3, 2)
    generator = torch.Generator().manual_seed(5)
    score = torch.rand(6, generator=generator, dtype=torch.float64)
    margin = torch.rand(3, 6, generator=generator, dtype=torch.float64)
    targets = graded_targets(positives, torch.rand(3, 6, generator=generator, dtype=torch.float64), 0.5)
    losses = {
        "info_nce": lambda s: symmetric_info_nce(s, positives),
        "soft": lambda s: soft_cross_entropy(s, targets),
        "hinge-hardest": lambda s: symmetric_hinge(s, positives, margin, "hardest"),
        "hinge-mean": lambda s: symmetric_hinge(s, positives, margin, "mean"),
        "order": lambda s: order_hinge(s[owner, range(6)], score, owner, 0.1, 0.0),
        "radius": lambda s: order_hinge(radius(s.T, s[:, 0]), score, owner, 0.3, 0.0),
    }
    assert torch.autograd.gradcheck(losses[name], (similarities.requires_grad_(),))


def test_summed_hinges_by_hand() -> None:
    # two pairs; forth 0.3 and 0.4, back 0.5 and 0.2
    scores, pairs = torch.tensor([[0.5, 0.6], [0.8, 0.6]]), torch.eye(2, dtype=torch.bool)
    for mining in ("hardest", "sum", "mean"):  # one negative each: all the same
        summed = symmetric_hinge(scores, pairs, 0.2, mining, reduction="sum")
        assert summed.item() == pytest.approx(0.3 + 0.4 + 0.5 + 0.2)
        assert symmetric_hinge(scores, pairs, 0.2, mining).item() == pytest.approx(summed.item() / 2)


def test_a_head_without_layers_passes_features_on_or_says_why_not() -> None:
    embedding = EmbeddingParameters(dimension=4, layers=0, hidden=2, dropout=0.0)
    vectors = torch.randn(2, 4)
    assert torch.equal(head(4, embedding)(vectors), vectors)
    with pytest.raises(ModelError, match=r"features are 5 wide and embedding.dimension is 4; set layers to 1"):
        head(5, embedding)
