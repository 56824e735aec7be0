"""Sinkhorn codes and swapped prototypes against worked examples, loops and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from itm.methods.functional.swapped_prototypes import SwappedPrototypes, sinkhorn


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def block(prototypes: Tensor, learn: bool = False) -> SwappedPrototypes:
    return SwappedPrototypes(prototypes, learn=learn, epsilon=0.1, iterations=3, temperature=0.2)


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 9), prototypes=st.integers(1, 6), rounds=st.integers(1, 4))
def test_codes_equal_alternate_scaling(seed: int, rows: int, prototypes: int, rounds: int) -> None:
    scores = random(seed, rows, prototypes).numpy()
    expected = np.exp(scores / 0.5)
    for _ in range(rounds):
        for k in range(prototypes):
            expected[:, k] *= rows / prototypes / expected[:, k].sum()
        for i in range(rows):
            expected[i] /= expected[i].sum()
    np.testing.assert_allclose(sinkhorn(torch.from_numpy(scores), 0.5, rounds).numpy(), expected, rtol=1e-9)


def test_rows_sum_to_one_and_columns_tend_to_an_equal_share() -> None:
    scores = random(1, 40, 8)
    few, many = sinkhorn(scores, 0.5, 3), sinkhorn(scores, 0.5, 200)
    for codes in (few, many):
        torch.testing.assert_close(codes.sum(1), torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(few.sum(0), torch.full((8,), 5.0, dtype=torch.float64), atol=1, rtol=0)
    torch.testing.assert_close(many.sum(0), torch.full((8,), 5.0, dtype=torch.float64))


def test_codes_hold_where_the_exponential_does_not() -> None:
    codes = sinkhorn(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), 0.001, 3)  # exp(1000)
    torch.testing.assert_close(codes, torch.eye(2))


def test_swapped_prediction_by_hand() -> None:
    """Two images that equal the prototypes, captions crossed over: each code is one-hot to four digits."""
    unit = torch.eye(2, dtype=torch.float64)
    swapped = SwappedPrototypes(unit, learn=False, epsilon=0.1, iterations=3, temperature=0.5)
    right = math.log(1 + math.exp(-2))  # CE of softmax([2, 0]) with [1, 0]
    code = 1 / (1 + math.exp(-10))  # softmax([10, 0])
    expected = 2 * (code * right + (1 - code) * (right + 2))
    assert swapped(unit, unit, torch.arange(2)).item() == pytest.approx(expected, rel=1e-6)
    crossed = swapped(unit, unit.flip(0), torch.arange(2)).item()
    assert crossed == pytest.approx(2 * (code * (right + 2) + (1 - code) * right), rel=1e-6)


@given(seed=st.integers(0, 10_000), images=st.integers(1, 4), each=st.integers(1, 3))
def test_swapped_prediction_equals_a_literal_loop(seed: int, images: int, each: int) -> None:
    owner = torch.arange(images).repeat_interleave(each)
    image, text = (functional.normalize(random(seed + i, n, 3), dim=1) for i, n in enumerate((images, len(owner))))
    swapped = block(random(seed + 9, 4, 3))
    image_codes, text_codes = swapped.codes(image), swapped.codes(text)
    values = []
    for j, i in enumerate(owner.tolist()):
        from_image = torch.softmax(swapped.prototypes @ image[i] / 0.2, 0).log()
        from_text = torch.softmax(swapped.prototypes @ text[j] / 0.2, 0).log()
        values.append(-sum((text_codes[j, k] * from_image[k] + image_codes[i, k] * from_text[k]) for k in range(4)))
    assert swapped(image, text, owner).item() == pytest.approx(float(np.mean(values)))


def test_gradients_agree_with_finite_differences_where_the_codes_are_held() -> None:
    """The codes have no gradient: they are computed once, as the block would compute them, and then held."""
    owner = torch.tensor([0, 0, 1, 2])
    image, text = random(3, 3, 4).requires_grad_(), random(4, 4, 4).requires_grad_()
    swapped = block(random(5, 5, 4), learn=True)
    codes = iter([swapped.codes(image), swapped.codes(text)] * 1000)
    swapped._codes = lambda scores: next(codes)  # type: ignore[method-assign]

    def value(image: Tensor, text: Tensor, prototypes: Tensor) -> Tensor:
        parameter = swapped.prototypes
        del swapped.prototypes
        swapped.prototypes = prototypes
        found = swapped(image, text, owner)
        del swapped.prototypes
        swapped.prototypes = parameter
        return found

    assert torch.autograd.gradcheck(value, (image, text, swapped.prototypes.detach().clone().requires_grad_()))


def test_no_gradient_reaches_the_side_that_gives_the_codes() -> None:
    text = random(4, 3, 4).requires_grad_()
    assert not block(random(5, 5, 4), learn=True).codes(text).requires_grad


@pytest.mark.parametrize("learn", [True, False])
def test_prototypes_are_unit_vectors_in_the_state(learn: bool) -> None:
    swapped = block(3 * random(5, 5, 4), learn)
    assert set(swapped.state_dict()) == {"prototypes"}
    assert isinstance(swapped.prototypes, torch.nn.Parameter) == learn
    with torch.no_grad():
        swapped.prototypes.mul_(7)
    swapped.normalise()
    torch.testing.assert_close(swapped.prototypes.norm(dim=1), torch.ones(5, dtype=torch.float64))
