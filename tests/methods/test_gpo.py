"""The generalised pooling operator."""

from __future__ import annotations

import torch

from itm.methods.similarities.gpo import GeneralisedPooling, position_codes


def pooling(seed: int = 0, temperature: float = 0.1) -> GeneralisedPooling:
    torch.manual_seed(seed)
    return GeneralisedPooling(8, temperature)


def test_weights_are_a_function_of_the_count_alone() -> None:
    pool = pooling()
    together = pool.weights(torch.tensor([3, 1, 5, 3]))
    assert together.shape == (4, 5)
    torch.testing.assert_close(together.sum(1), torch.ones(4))
    assert (together[0, 3:] == 0).all()
    torch.testing.assert_close(together[0], together[3])
    torch.testing.assert_close(pool.weights(torch.tensor([3]))[0], together[0, :3])


def test_it_equals_the_sorted_sum_by_hand() -> None:
    pool, tokens = pooling(), torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[True, False, True, True], [True, True, True, True]])
    found = pool(tokens, mask)
    for row in range(2):
        real = tokens[row][mask[row]]
        weights = pool.weights(torch.tensor([len(real)]))[0]
        expected = torch.stack([(real[:, d].sort(descending=True).values * weights).sum() for d in range(3)])
        torch.testing.assert_close(found[row], expected)


def test_equal_weights_are_the_mean_and_a_sharp_first_weight_the_maximum() -> None:
    pool, tokens = pooling(), torch.randn(3, 5, 4)
    mask = torch.ones(3, 5, dtype=torch.bool)
    torch.nn.init.zeros_(pool.score.weight)
    torch.testing.assert_close(pool(tokens, mask), tokens.mean(1))
    pool.weights = lambda counts: torch.eye(5)[:1].expand(len(counts), -1)  # type: ignore[method-assign]
    torch.testing.assert_close(pool(tokens, mask), tokens.amax(1))


def test_order_and_padding_of_the_tokens_change_nothing() -> None:
    pool, tokens = pooling(), torch.randn(2, 4, 3)
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    before = pool(tokens, mask)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(pool(tokens[:, order], mask[:, order]), before)
    noise = torch.full((2, 3, 3), 1e6)
    longer = pool(torch.cat([tokens, noise], 1), torch.cat([mask, torch.zeros(2, 3, dtype=torch.bool)], 1))
    torch.testing.assert_close(longer, before)


def test_a_row_without_tokens_is_zero_and_harmless() -> None:
    pool, tokens = pooling(), torch.randn(2, 3, 4, requires_grad=True)
    found = pool(tokens, torch.tensor([[False] * 3, [True] * 3]))
    assert (found[0] == 0).all()
    found.sum().backward()
    assert tokens.grad is not None
    assert torch.isfinite(tokens.grad).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in pool.parameters())


def test_codes_are_different_for_each_position() -> None:
    codes = position_codes(50, 32, torch.zeros(1))
    assert codes.shape == (50, 32)
    assert torch.cdist(codes, codes).add(torch.eye(50) * 9).min() > 0.1
