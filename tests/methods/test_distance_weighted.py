"""Distance-weighted negatives: weights by the published formula, draws by their chances, fall-backs by row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from itm.methods.functional.distance_weighted import (
    distance_weighted,
    log_weights,
    symmetric_distance_weighted,
)


def batch(seed: int, images: int, each: int) -> tuple[Tensor, Tensor]:
    owner = torch.arange(images).repeat_interleave(each)
    generator = torch.Generator().manual_seed(seed)
    similarities = torch.rand(images, len(owner), generator=generator, dtype=torch.float64) * 2 - 1
    return similarities, owner.unsqueeze(0) == torch.arange(images).unsqueeze(1)


@given(
    seed=st.integers(0, 10_000),
    images=st.integers(1, 4),
    each=st.integers(1, 3),
    dimension=st.integers(2, 600),
    cutoff=st.sampled_from([0.6, 1.2, 1.7]),
)
def test_weights_equal_the_formula(seed: int, images: int, each: int, dimension: int, cutoff: float) -> None:
    similarities, positives = batch(seed, images, each)
    found = log_weights(similarities, positives, dimension, cutoff)
    for i in range(images):
        expected = []
        for j in range(images * each):
            delta = max(math.sqrt(2 - 2 * similarities[i, j].item()), 0.5)
            weight = (2 - dimension) * math.log(delta) - (dimension - 3) / 2 * math.log(1 - delta**2 / 4)
            expected.append(-math.inf if positives[i, j] or delta >= cutoff else weight)
        if np.isinf(expected).all():  # uniform over the negatives
            expected = [-math.inf if positives[i, j] else 0.0 for j in range(images * each)]
        np.testing.assert_allclose(found[i].numpy(), expected, rtol=1e-9, atol=1e-9)


def test_one_row_without_a_near_negative_does_not_silence_the_others() -> None:
    similarities = torch.tensor([[0.9, -1.0, -1.0], [0.2, 0.9, 0.1]])
    positives = torch.tensor([[True, False, False], [False, True, False]])
    found = log_weights(similarities, positives, 8, 1.5)
    assert found[0].tolist() == [-math.inf, 0, 0]
    assert torch.isfinite(found[1]).tolist() == [True, False, True]


def test_vectors_that_are_not_unit_have_a_weight_too() -> None:
    found = log_weights(torch.tensor([[5.0, 0.0, -5.0]]), torch.tensor([[False, False, False]]), 512, 2.0)
    assert torch.isfinite(found).tolist() == [[True, True, False]]


def test_draws_follow_the_weights() -> None:
    similarities = torch.tensor([[0.5, 0.3, 0.1, -0.9]], dtype=torch.float64).repeat(1000, 1)
    positives = torch.tensor([[True, False, False, False]]).repeat(1000, 1)
    # one draw a row: the loss of row i is margin + s_in - s_ip, which tells n
    noise = torch.rand(1000, 4, generator=torch.Generator().manual_seed(0))
    chances = torch.softmax(log_weights(similarities[:1], positives[:1], 6, 1.7), 1)[0]
    counts = torch.zeros(4)
    for i in range(1000):
        value = distance_weighted(
            similarities[i : i + 1],
            positives[i : i + 1],
            2.0,
            noise[i : i + 1],
            dimension=6,
            cutoff=1.7,
            reduction="sum",
        )
        counts[(similarities[0] - (value - 2.0 + 0.5)).abs().argmin()] += 1
    torch.testing.assert_close(counts / 1000, chances.float(), atol=0.03, rtol=0)
    assert counts[0] == counts[3] == 0  # the positive, and what lies beyond the cutoff


@given(seed=st.integers(0, 10_000), images=st.integers(2, 4), each=st.integers(1, 3))
def test_loss_equals_a_literal_loop_over_the_draws(seed: int, images: int, each: int) -> None:
    similarities, positives = batch(seed, images, each)
    noise = torch.rand(images * each, images * each, generator=torch.Generator().manual_seed(seed))
    weights = log_weights(similarities, positives, 16, 1.7)
    expected = 0.0
    for place, (i, p) in enumerate(positives.nonzero().tolist()):
        scores = [
            weights[i, n].item() - math.log(-math.log(noise[place, n].item() + 2**-26)) for n in range(images * each)
        ]
        expected += max(0.0, (0.2 + similarities[i, int(np.argmax(scores))] - similarities[i, p]).item())
    for reduction, divisor in (("sum", 1), ("mean", images * each)):
        found = distance_weighted(
            similarities,
            positives,
            0.2,
            noise,
            dimension=16,
            cutoff=1.7,
            reduction=reduction,  # type: ignore[arg-type]
        )
        assert found.item() == pytest.approx(expected / divisor)


def symmetric(similarities: Tensor, positives: Tensor, step: int, images: Tensor, texts: Tensor) -> Tensor:
    return symmetric_distance_weighted(
        similarities,
        positives,
        0.2,
        step=step,
        image_rows=images,
        text_rows=texts,
        dimension=32,
        cutoff=1.9,
        reduction="sum",
    )


def test_draws_go_with_the_pairs_and_change_with_the_step() -> None:
    similarities, positives = batch(5, 6, 2)
    images, texts = torch.arange(6) * 7, torch.arange(12) * 3
    order, text_order = torch.randperm(6), torch.randperm(12)
    before = symmetric(similarities, positives, 4, images, texts)
    shuffled = symmetric(
        similarities[order][:, text_order], positives[order][:, text_order], 4, images[order], texts[text_order]
    )
    torch.testing.assert_close(before, shuffled)
    assert symmetric(similarities, positives, 5, images, texts) != before


def test_a_batch_without_negatives_has_a_loss_of_zero_with_a_gradient() -> None:
    similarities = torch.rand(2, 4, requires_grad=True)
    value = symmetric(similarities, torch.ones(2, 4, dtype=torch.bool), 0, torch.arange(2), torch.arange(4))
    value.backward()
    assert value.item() == 0
    assert similarities.grad is not None
    assert not similarities.grad.any()


def test_gradients_agree_with_finite_differences() -> None:
    similarities, positives = batch(11, 3, 2)
    # few draws change under a difference of 1e-6; none does here
    assert torch.autograd.gradcheck(
        lambda s: symmetric(s, positives, 3, torch.arange(3), torch.arange(6)), (similarities.requires_grad_(),)
    )
