"""The blocks of ESL against hand-made examples, plain loops and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from itm.methods.functional.token_norm import MaskedBatchNorm
from itm.methods.similarities.esl.attention import attend, two_way
from itm.methods.similarities.esl.correspondence import Contribution, Correspondence
from itm.methods.similarities.esl.projection import TokenProjection, drop_tokens, proxy
from itm.methods.similarities.esl.pyramid import Pyramid, SharedFilter, TopTwo, level_sizes, unit

START = 0.1
SPARSE = {"sparse": True, "threshold": "raw", "sigma": 0.0, "log_tau": 3.0}


def correspondence(sizes: list[int], start: str = "identity", **changes: object) -> Correspondence:
    return Correspondence(sizes, start, Contribution([START] * len(sizes), **(SPARSE | changes)))  # type: ignore[arg-type]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- pyramids


@pytest.mark.parametrize(
    ("dimension", "levels", "expected"),
    [(512, 8, 1022), (512, 3, 960), (128, 8, 254), (4, 8, 6), (3, 8, 3), (2, 8, 2), (300, 2, 525), (512, 0, 512)],
)
def test_widths(dimension: int, levels: int, expected: int) -> None:
    sizes = level_sizes(dimension, levels)
    assert sum(sizes) == expected
    assert len(sizes) <= levels + 1
    torch.manual_seed(0)
    vectors = unit(draw(5, dimension))
    for mask in ("heuristic", "adaptive"):
        found = Pyramid(sizes, mask, tanh=False).double()(vectors)
        assert [level.shape for level in found] == [(5, size) for size in sizes]
        for level in found:
            torch.testing.assert_close(level.norm(dim=1), torch.ones(5, dtype=torch.float64), atol=1e-5, rtol=0)


def test_the_shared_filter_is_the_sum_of_a_convolutions_channels() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv1d(1, 4, 2, stride=2, bias=False)
    ours = SharedFilter()
    ours.taps.data = convolution.weight.data.sum(0)[0]
    for width in (8, 9):
        vectors = torch.randn(5, width)
        torch.testing.assert_close(ours(vectors), convolution(vectors.unsqueeze(1)).sum(1))
    draws = torch.stack([SharedFilter().taps for _ in range(4000)]).detach()
    assert draws.abs().max() <= 4 / math.sqrt(2)
    assert draws.std().item() == pytest.approx(nn.Conv1d(1, 4000, 2).weight.std().item() * 2, rel=0.05)


def test_adaptive_rows_keep_exactly_two_entries() -> None:
    step = TopTwo(16, 32)
    kept = step.matrix() != 0
    assert (kept.sum(1) == 2).all()
    step.weight.data.fill_(1)  # ties too
    assert ((step.matrix() != 0).sum(1) == 2).all()
    step.weight.data = -torch.arange(1.0, 33).repeat(16, 1)  # the largest with sign, not the largest in size
    assert step.matrix()[:, :2].lt(0).all()
    assert step.matrix()[:, 2:].eq(0).all()


def test_what_is_dropped_has_a_gradient_through_its_rows_length_only() -> None:
    step = TopTwo(1, 4).double()
    step.weight.data = torch.tensor([[3.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    step(torch.ones(1, 4, dtype=torch.float64)).sum().backward()
    # u = (w0 + w1) / n, n^2 = 14: the slope of w2 is -(w0 + w1) w2 / n^3
    expected = torch.tensor([1 / 14**0.5 - 15 / 14**1.5, 1 / 14**0.5 - 10 / 14**1.5, -5 / 14**1.5, 0.0])
    assert step.weight.grad is not None
    torch.testing.assert_close(step.weight.grad[0].float(), expected)


def test_feeding_on_the_unnormalised_level_is_the_same_without_tanh() -> None:
    """Published text branches do; with tanh it would matter."""
    torch.manual_seed(0)
    vectors, sizes = unit(draw(6, 16)), level_sizes(16, 8)
    for mask in ("heuristic", "adaptive"):
        pyramid = Pyramid(sizes, mask, tanh=False).double()
        mixed, found = vectors, [vectors]
        for step in pyramid.steps:
            mixed = step(mixed)
            found.append(unit(mixed))
        for ours, theirs in zip(pyramid(vectors), found, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)  # 1e-8 in the length
        pyramid.tanh = True
        assert (pyramid(vectors)[1] - found[1]).abs().max() > 1e-3


def test_units_survive_zeros_and_half_precision() -> None:
    vectors = torch.zeros(2, 4, requires_grad=True)
    unit(vectors).sum().backward()
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()
    for kind in (torch.float16, torch.bfloat16):
        assert torch.equal(unit(torch.zeros(3, dtype=kind)), torch.zeros(3))


# ---- correspondence


def test_four_dimensions_by_hand() -> None:
    """x = (3, 4, 0, 0)/5, y = (0, 5, 0, 12)/13; filters (1, 1); level weights 0.1 and 0.2 x a known sharpening."""
    sizes = level_sizes(4, 8)
    image, text = (Pyramid(sizes, "heuristic", tanh=False).double() for _ in range(2))
    for pyramid in (image, text):
        pyramid.steps[0].taps.data = torch.tensor([1.0, 1.0], dtype=torch.float64)
    x = torch.tensor([[0.6, 0.8, 0.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([[0.0, 5 / 13, 0.0, 12 / 13]], dtype=torch.float64)
    form = correspondence(sizes).double()
    form.contribution.degrees.data = torch.tensor([0.1, -0.2], dtype=torch.float64)
    form.matrices[1].weight.data = torch.tensor([[0.0, 2.0], [1.0, 0.0]], dtype=torch.float64)
    # sigma 0: t = 0.1; weights 0.1 and -0.2 exp(0.1 e^3). Level 1: x = (1, 0), y = (5, 12)/13, x'Wy = 24/13.
    second = -0.2 * math.exp(0.1 * math.exp(3))
    expected = 0.1 * (0.8 * 5 / 13) + second * 24 / 13
    score = form.query(image(x)) @ form.key(text(y)).T
    assert score.item() == pytest.approx(expected, rel=1e-6)
    # the squashed threshold: t = 0.1 + 0.1 / (1 + e)
    squashed = Contribution([START] * 2, **(SPARSE | {"threshold": "sigmoid", "sigma": -1.0})).double()  # type: ignore[arg-type]
    squashed.degrees.data = torch.tensor([0.1, -0.2], dtype=torch.float64)
    threshold = 0.1 + 0.1 / (1 + math.e)
    sharp = [math.exp(math.exp(3) * (size - threshold)) * p for size, p in ((0.1, 0.1), (0.2, -0.2))]
    assert squashed().tolist() == pytest.approx(sharp)


def test_at_the_start_all_levels_count_the_same_and_identity_compares_like_with_like() -> None:
    sizes = level_sizes(8, 8)
    form = correspondence(sizes).double()
    assert form.contribution().tolist() == pytest.approx([0.1] * 3)
    pyramid = Pyramid(sizes, "adaptive", tanh=False).double()
    levels = pyramid(unit(draw(4, 8)))
    score = form.query(levels) @ form.key(levels).T
    torch.testing.assert_close(score.diagonal(), torch.full((4,), 0.3, dtype=torch.float64), atol=1e-6, rtol=0)


def test_a_normed_matrix_has_mean_zero_and_variance_one() -> None:
    form = correspondence([16, 8], "layer_norm")
    for matrix in form.matrices:
        assert matrix().mean().item() == pytest.approx(0, abs=1e-5)
        assert matrix().var(correction=0).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("sparse", [True, False])
def test_gradients_reach_the_contribution(sparse: bool) -> None:
    form = correspondence([4, 2], sparse=sparse, sigma=0.3)
    form.contribution.degrees.data = torch.tensor([0.1, -0.3])
    levels = [torch.ones(1, 4), torch.ones(1, 2)]
    (form.query(levels) @ form.key(levels).T).sum().backward()
    names = {name for name, value in form.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}
    always = {"matrices.0.weight", "matrices.1.weight", "contribution.degrees"}
    assert names == always | ({"contribution.sigma", "contribution.log_tau"} if sparse else set())
    if not sparse:
        assert form.contribution().tolist() == pytest.approx([0.1, -0.3])
        assert form.contribution.sigma is None


@given(
    dimension=st.integers(2, 17),
    most=st.integers(0, 4),
    mask=st.sampled_from(["heuristic", "adaptive"]),
    start=st.sampled_from(["identity", "layer_norm"]),
    tanh=st.booleans(),
    seed=st.integers(0, 99),
)
def test_one_matmul_is_the_sum_over_levels(
    dimension: int, most: int, mask: str, start: str, tanh: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    sizes = level_sizes(dimension, most)
    image, text = (Pyramid(sizes, mask, tanh).double() for _ in range(2))  # type: ignore[arg-type]
    form = correspondence(sizes, start, sigma=0.3, log_tau=1.0).double()
    form.contribution.degrees.data = draw(len(sizes), seed=seed)
    x, y = unit(draw(3, dimension, seed=seed + 1)), unit(draw(4, dimension, seed=seed + 2))
    degrees = form.contribution.degrees.tolist()
    sizes_of = [abs(p) for p in degrees]
    threshold = min(sizes_of) + 0.3 * (max(sizes_of) - min(sizes_of))
    expected = torch.zeros(3, 4, dtype=torch.float64)
    for i in range(3):
        for j in range(4):
            for level, p in enumerate(degrees):
                weight = math.exp(math.e * (abs(p) - threshold)) * p
                left, right = image(x[i : i + 1])[level][0], text(y[j : j + 1])[level][0]
                expected[i, j] += weight * (left @ form.matrices[level]() @ right)
    torch.testing.assert_close(form.query(image(x)) @ form.key(text(y)).T, expected)


# ---- attention


def plain(scores: Tensor, scale: float) -> float:
    """Both directions for one pair without padding, number by number."""
    total = 0.0
    for table in (scores, scores.T):
        asking, asked = table.shape
        signal = [[math.tanh(v) if v > 0 else 0.1 * math.tanh(v) for v in row] for row in table.tolist()]
        lengths = [math.sqrt(sum(signal[a][b] ** 2 for a in range(asking))) + 1e-8 for b in range(asked)]
        for a in range(asking):
            logits = [scale * signal[a][b] / lengths[b] for b in range(asked)]
            whole = sum(math.exp(v) for v in logits)
            total += sum(math.exp(v) / whole * table[a, b].item() for b, v in enumerate(logits)) / asking
    return total


def test_attention_by_hand() -> None:
    """One word, two regions. Each region's column has one word and unit length: G = 1 and -1 (the sign stays), the
    softmax is that of (s, -s). Back, each region asks one word only, and gets its score."""
    scores = torch.tensor([[0.5, -0.2]], dtype=torch.float64)
    real = torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)
    found = attend(scores[None, :, None], *real, torch.tensor(2.0, dtype=torch.float64)).item()
    first = math.exp(2) / (math.exp(2) + math.exp(-2))
    assert found == pytest.approx((0.5 * first - 0.2 * (1 - first)) + (0.5 - 0.2) / 2, abs=1e-6)


@given(
    words=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    regions=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    cells=st.sampled_from([1, 20, 10_000]),
    training=st.booleans(),
    seed=st.integers(0, 99),
)
def test_blocks_of_captions_are_pair_by_pair(
    words: list[int], regions: list[int], cells: int, training: bool, seed: int
) -> None:
    """Real tokens anywhere in the padded row, captions and images without any, small and large blocks."""
    generator = torch.Generator().manual_seed(seed)
    query, key = draw(len(words), 5, 6, seed=seed), draw(len(regions), 4, 6, seed=seed + 1)
    word_mask, region_mask = (torch.zeros(len(n), size, dtype=torch.bool) for n, size in ((words, 5), (regions, 4)))
    for mask, counts in ((word_mask, words), (region_mask, regions)):
        for row, count in enumerate(counts):
            mask[row, torch.randperm(mask.shape[1], generator=generator)[:count]] = True
    query[~word_mask], key[~region_mask] = 99, -99  # what padding holds must not matter
    key.requires_grad_(training)
    found = two_way(query, key, word_mask, region_mask, torch.tensor(3.0, dtype=torch.float64), cells)
    assert found.shape == (len(regions), len(words))
    assert found.requires_grad == training
    for i in range(len(regions)):
        for j in range(len(words)):
            pair = query[j][word_mask[j]] @ key[i][region_mask[i]].T
            expected = plain(pair, 3.0) if pair.numel() else 0.0
            assert found[i, j].item() == pytest.approx(expected, abs=1e-9)


def test_no_captions_and_no_positions() -> None:
    scale, key, regions = torch.tensor(3.0), torch.randn(2, 4, 6), torch.ones(2, 4, dtype=torch.bool)
    assert two_way(torch.zeros(0, 5, 6), key, torch.zeros(0, 5, dtype=torch.bool), regions, scale).shape == (2, 0)
    none = two_way(torch.zeros(3, 0, 6), key, torch.zeros(3, 0, dtype=torch.bool), regions, scale)
    assert torch.equal(none, torch.zeros(2, 3))


@pytest.mark.parametrize("again", [False, True])
def test_gradients_of_the_scores_are_finite_differences(again: bool) -> None:
    """With and without computing again in the backward pass; padded tokens get exactly none."""
    words, regions = torch.tensor([[1, 1, 0], [1, 1, 1]]).bool(), torch.tensor([[1, 1], [1, 0]]).bool()
    inputs = [draw(2, 3, 4, seed=1), draw(2, 2, 4, seed=2), torch.tensor(1.5, dtype=torch.float64)]
    for value in inputs:
        value.requires_grad_(True)

    def scores(query: Tensor, key: Tensor, scale: Tensor) -> Tensor:
        return two_way(query, key, words, regions, scale, cells=4, kept=0 if again else 10_000)

    assert torch.autograd.gradcheck(scores, inputs, fast_mode=True)
    scores(*inputs).square().sum().backward()
    query_gradient, key_gradient = inputs[0].grad, inputs[1].grad
    assert query_gradient is not None
    assert key_gradient is not None
    assert query_gradient[0, 2].eq(0).all()
    assert key_gradient[1, 1].eq(0).all()


@pytest.mark.parametrize("mask", ["heuristic", "adaptive"])
@pytest.mark.parametrize("tanh", [False, True])
@pytest.mark.parametrize("start", ["identity", "layer_norm"])
@pytest.mark.parametrize("threshold", ["raw", "sigmoid"])
def test_gradients_of_pyramid_and_forms_are_finite_differences(
    mask: str, tanh: bool, start: str, threshold: str
) -> None:
    torch.manual_seed(4)
    sizes = level_sizes(8, 8)
    image, text = (Pyramid(sizes, mask, tanh).double() for _ in range(2))  # type: ignore[arg-type]
    form = correspondence(sizes, start, threshold=threshold, sigma=0.3, log_tau=1.0).double()
    form.contribution.degrees.data = torch.tensor([0.3, -0.5, 0.4], dtype=torch.float64)
    modules = nn.ModuleList([image, text, form])
    x, y = draw(2, 8, seed=1).requires_grad_(), draw(2, 8, seed=2).requires_grad_()

    def score(x: Tensor, y: Tensor, *_: Tensor) -> Tensor:
        return form.query(image(unit(x))) @ form.key(text(unit(y))).T

    assert torch.autograd.gradcheck(score, (x, y, *modules.parameters()), fast_mode=True)


# ---- projection


@pytest.mark.parametrize("hidden", [0, 4])
@pytest.mark.parametrize("norm", ["layer_norm", "batch_norm"])
def test_padding_changes_no_token(hidden: int, norm: str) -> None:
    torch.manual_seed(0)
    layer = TokenProjection(6, 8, hidden, norm)  # type: ignore[arg-type]
    tokens, mask = torch.randn(3, 4, 6), torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]]).bool()
    before = layer(tokens, mask)
    wider = torch.full((3, 7, 6), math.nan)
    wider[:, :4][mask] = tokens[mask]
    padded = torch.nn.functional.pad(mask, (0, 3))
    torch.testing.assert_close(layer(wider, padded)[:, :4], before)  # also in training: no padding in the statistics
    assert before[~mask].eq(0).all()
    torch.testing.assert_close(before[mask].norm(dim=-1), torch.ones(int(mask.sum())))
    torch.testing.assert_close(proxy(layer(wider, padded)), proxy(before))


def test_masked_batch_norm_is_batch_norm_of_the_real_tokens() -> None:
    ours, theirs = MaskedBatchNorm(3), nn.BatchNorm1d(3)
    tokens, mask = torch.randn(4, 5, 3) * 3 + 1, torch.rand(4, 5) < 0.6
    found = ours(tokens, mask)
    torch.testing.assert_close(found[mask], theirs(tokens[mask]))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    assert found[~mask].eq(0).all()
    lone = torch.zeros(4, 5, dtype=torch.bool)
    lone[0, 0] = True
    assert torch.isfinite(ours(tokens, lone)).all()


def test_dropped_tokens() -> None:
    torch.manual_seed(0)
    mask = torch.ones(2000, 10, dtype=torch.bool)
    mask[:, 8:] = False
    kept = drop_tokens(mask, 0.2)
    assert not kept[:, 8:].any()
    assert kept[:, :8].float().mean().item() == pytest.approx(0.8, abs=0.01)
    one = torch.zeros(500, 10, dtype=torch.bool)
    one[:, 3] = True
    assert torch.equal(drop_tokens(one, 0.9), one)
