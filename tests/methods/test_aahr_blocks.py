"""The parts of AAHR against worked examples, literal loops and finite differences."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from itm.methods.additions.graph import (
    Correlations,
    InstanceGraph,
    adjacency,
    connection_mask,
    intra_relation,
    relation_divergence,
)
from itm.methods.additions.queue import Queue, Twin, queue_info_nce
from itm.methods.similarities.aahr.encoder import FusedEncoder, Gate, GuidedPooling, Sizes, kept_tokens, top_mean
from itm.methods.similarities.aahr.fragments import FragmentRelation, fragment_scores, mean_score

SIZES = Sizes(
    dimension=8,
    heads=2,
    feedforward=16,
    layer_dropout=0.0,
    guided_heads=3,
    guided_width=0,
    guided_temperature=0.5,
    guided_share=0.2,
    top=2,
    norm="layer_norm",
)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(seed: int, *shape: int) -> Tensor:
    return functional.normalize(random(seed, *shape), dim=-1)


def mask_of(lengths: list[int], width: int) -> Tensor:
    return torch.arange(width) < torch.tensor(lengths).unsqueeze(1)


# pooling


@given(seed=st.integers(0, 10_000), lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4), top=st.integers(1, 4))
def test_top_mean_equals_a_literal_loop(seed: int, lengths: list[int], top: int) -> None:
    tokens = random(seed, len(lengths), 5, 3).round()  # rounded: ties are frequent
    found = top_mean(tokens, mask_of(lengths, 5), top)
    for row, length in enumerate(lengths):
        for column in range(3):
            values = sorted(tokens[row, :length, column].tolist(), reverse=True)[:top]
            assert found[row, column].item() == pytest.approx(np.mean(values) if values else 0.0)


def test_a_short_row_does_not_shorten_the_others() -> None:
    tokens = torch.tensor([[[1.0], [5.0], [3.0]], [[2.0], [9.0], [9.0]]])
    found = top_mean(tokens, mask_of([3, 1], 3), 2)
    assert found.flatten().tolist() == [4.0, 2.0]


def test_guided_weights_by_hand() -> None:
    pool = GuidedPooling(2, heads=1, width=0, temperature=0.5)
    with torch.no_grad():
        for layer in (pool.query, pool.key, pool.value):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    tokens = torch.tensor([[[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]]])
    whole, mask = torch.tensor([[7.0, 0.0]]), torch.tensor([[True, True, False]])
    first = 1 / (1 + math.exp(-2))  # cosines 1 and 0 over a temperature of 0.5
    torch.testing.assert_close(pool.weights(whole, tokens, mask)[0, :, 0], torch.tensor([first, 1 - first, 0.0]))
    torch.testing.assert_close(pool(whole, tokens, mask), torch.tensor([[3 * first, 2 * (1 - first)]]))


@given(seed=st.integers(0, 10_000), length=st.integers(1, 4), width=st.sampled_from([0, 2]))
def test_guided_pooling_equals_heads_with_values_of_their_own(seed: int, length: int, width: int) -> None:
    torch.manual_seed(seed)
    pool = GuidedPooling(4, heads=3, width=width, temperature=0.3).double()
    whole, tokens = random(seed, 1, 4), random(seed + 1, 1, 4, 4)
    wide = width or 4
    expected = torch.zeros(4, dtype=torch.float64)
    for head in range(3):
        rows = slice(head * wide, (head + 1) * wide)
        query = functional.normalize(pool.query.weight[rows] @ whole[0] + pool.query.bias[rows], dim=0)
        logits = torch.stack(
            [
                query @ functional.normalize(pool.key.weight[rows] @ token + pool.key.bias[rows], dim=0) / 0.3
                for token in tokens[0, :length]
            ]
        )
        share = torch.softmax(logits, 0)
        values = [pool.value.weight[:, head * 4 : (head + 1) * 4] @ token for token in tokens[0, :length]]
        expected = expected + sum(s * v for s, v in zip(share, values, strict=True))
    found = pool(whole, tokens, mask_of([length], 4))
    torch.testing.assert_close(found[0], expected + pool.value.bias)


def test_the_gate_at_one_half_is_the_mean_of_unit_vectors() -> None:
    gate = Gate(2)
    nn.init.zeros_(gate.choose.weight)
    nn.init.zeros_(gate.choose.bias)
    found = gate(torch.tensor([[5.0, 0.0]]), torch.tensor([[0.0, 0.1]]))
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5]]))


def encoder(**options: float) -> FusedEncoder:
    torch.manual_seed(0)
    given = {"hidden": 6, "dropout": 0.0, "token_drop": 0.0, **options}
    return FusedEncoder(5, 7, SIZES, **given).double()  # type: ignore[arg-type]


def test_padding_changes_nothing() -> None:
    network, pooled, tokens = encoder().eval(), random(1, 3, 7), random(2, 3, 4, 5)
    mask = mask_of([4, 2, 1], 4)
    padded = torch.cat([tokens, 100 * random(3, 3, 2, 5)], 1)
    before, after = network(pooled, tokens, mask), network(pooled, padded, mask_of([4, 2, 1], 6))
    torch.testing.assert_close(before.fused, after.fused)
    torch.testing.assert_close(before.local, after.local)
    alone = network(pooled[1:2], tokens[1:2, :2], mask_of([2], 2))
    torch.testing.assert_close(alone.fused, before.fused[1:2])


def test_a_row_without_tokens_is_finite_and_trains() -> None:
    network = encoder()
    found = network(random(1, 2, 7), random(2, 2, 3, 5), mask_of([3, 0], 3))
    assert torch.isfinite(found.fused).all()
    (found.fused.square().sum() + found.local.sum()).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())


def test_tokens_are_dropped_in_training_only_and_never_all() -> None:
    torch.manual_seed(0)
    mask = mask_of([200, 1, 0], 200)
    kept = kept_tokens(mask, 0.3)
    assert not (kept & ~mask).any()
    assert kept[0].float().mean().item() == pytest.approx(0.7, abs=0.1)
    assert kept.sum(1)[1:].tolist() == [1, 0]
    network = encoder(token_drop=0.9)
    pooled, tokens, whole = random(1, 2, 7), random(2, 2, 4, 5), mask_of([4, 4], 4)
    assert network.eval()(pooled, tokens, whole).mask.all()
    assert not network.train()(pooled, tokens, whole).mask.all()


@pytest.mark.parametrize("part", ["fused", "local"])
def test_the_encoder_agrees_with_finite_differences(part: str) -> None:
    network, mask = encoder(), mask_of([3, 2], 3)
    inputs = random(1, 2, 7).requires_grad_(), random(2, 2, 3, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda pooled, tokens: getattr(network(pooled, tokens, mask), part), inputs)


# fragments


@given(
    seed=st.integers(0, 10_000),
    texts=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    images=st.lists(st.integers(0, 3), min_size=1, max_size=3),
)
def test_fragment_scores_equal_a_literal_loop(seed: int, texts: list[int], images: list[int]) -> None:
    words, regions = random(seed, len(texts), 4, 5), random(seed + 1, len(images), 3, 5)
    word_mask, region_mask = mask_of(texts, 4), mask_of(images, 3)
    of_words, of_regions = fragment_scores(words, word_mask, regions, region_mask)
    for t, length in enumerate(texts):
        for i, places in enumerate(images):
            table = functional.cosine_similarity(words[t, :length, None], regions[i, None, :places], dim=-1)
            table = torch.where(table > 0, table, 0.1 * table)
            expected_words, expected_regions = torch.zeros(4).double(), torch.zeros(3).double()
            if length and places:
                expected_words[:length] = (table / table.norm(dim=0, keepdim=True)).amax(1)
                expected_regions[:places] = (table / table.norm(dim=1, keepdim=True)).amax(0)
            torch.testing.assert_close(of_words[t, i], expected_words)
            torch.testing.assert_close(of_regions[i, t], expected_regions)


def test_fragment_scores_in_blocks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    given = (random(1, 7, 4, 5), mask_of([4, 1, 2, 3, 4, 1, 2], 4), random(2, 3, 6, 5), mask_of([6, 2, 5], 6))
    whole = fragment_scores(*given)
    monkeypatch.setattr("itm.methods.similarities.aahr.fragments._BLOCK", 150)
    for found, expected in zip(fragment_scores(*given), whole, strict=True):
        torch.testing.assert_close(found, expected)


def test_mean_score_by_hand() -> None:
    scores = torch.tensor([[[0.2, 0.6, 9.0]], [[9.0, 9.0, 9.0]]])
    assert mean_score(scores, mask_of([2, 0], 3)).flatten().tolist() == pytest.approx([0.4, 0.0])


def test_a_new_relation_map_is_the_mean_and_learns() -> None:
    torch.manual_seed(0)
    relation, plain = FragmentRelation(4).double(), FragmentRelation(0)
    scores, mask = random(1, 3, 2, 6), mask_of([6, 3, 1], 6)
    torch.testing.assert_close(relation(scores, mask), plain(scores, mask))
    assert not list(plain.parameters())
    relation_divergence(relation(scores, mask), random(2, 3, 2)).backward()
    assert relation.map is not None
    assert relation.map[2].weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_the_relation_map_does_not_see_padding() -> None:
    torch.manual_seed(0)
    relation = FragmentRelation(4).double()
    assert relation.map is not None
    nn.init.normal_(relation.map[2].weight)  # type: ignore[arg-type]
    scores = random(1, 2, 3, 3)
    padded = torch.cat([scores, 50 + random(2, 2, 3, 4)], 2)
    torch.testing.assert_close(relation(scores, mask_of([3, 2], 3)), relation(padded, mask_of([3, 2], 7)))


# graph


@given(
    seed=st.integers(0, 10_000), rows=st.integers(1, 4), columns=st.integers(1, 7), share=st.sampled_from([0.1, 0.5, 1])
)
def test_the_mask_keeps_exactly_the_rounded_up_share(seed: int, rows: int, columns: int, share: float) -> None:
    values = random(seed, rows, columns).round()  # rounded: ties are frequent
    found = connection_mask(values, share)
    assert found.sum(1).tolist() == [math.ceil(share * columns)] * rows
    for row in range(rows):
        if found[row].any() and not found[row].all():
            assert values[row][found[row]].min() >= values[row][~found[row]].max()


def test_every_block_row_keeps_half_where_all_relations_are_equal() -> None:
    nodes = torch.ones(3, 4) / 2
    found = Correlations(nodes, nodes[:2], torch.zeros(3, 2), torch.zeros(2, 3), 0.5).connected
    assert found.shape == (5, 5)
    assert found[:, :3].sum(1).tolist() == [2] * 5
    assert found[:, 3:].sum(1).tolist() == [1] * 5


def test_relations_by_hand() -> None:
    nodes = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    expected = [1.0, math.exp(-math.sqrt(2))]
    assert intra_relation(nodes)[0].tolist() == pytest.approx(expected, abs=2e-4)
    found = Correlations(nodes, nodes[:1], torch.tensor([[0.5], [0.1]]), torch.tensor([[0.3, 0.2]]), 0.5)
    assert found.whole[0].tolist() == pytest.approx([*expected, 0.5], abs=2e-4)
    assert found.whole[2].tolist() == pytest.approx([0.3, 0.2, 1.0], abs=2e-4)
    assert found.connected[0].tolist() == [True, False, True]
    assert found.connected[2].tolist() == [True, False, True]


def graph(normalise: bool = True, dropout: float = 0.0) -> InstanceGraph:
    torch.manual_seed(0)
    return InstanceGraph(
        8, heads=2, feedforward=12, dropout=dropout, node_dropout=dropout, bias_weight=1.5, normalise=normalise
    ).double()


def correlations(images: Tensor, texts: Tensor, seed: int = 5) -> Correlations:
    i, t = len(images), len(texts)
    return Correlations(images, texts, random(seed, i, t).abs(), random(seed + 1, t, i).abs(), 0.5)


def test_the_convolution_equals_its_formula() -> None:
    network = graph(normalise=False)
    images, texts = unit(1, 3, 8), unit(2, 4, 8)
    relation = random(3, 3, 3)
    expected = functional.leaky_relu(relation @ images @ network.of_images.weight.T + network.of_images.bias, 0.2)
    torch.testing.assert_close(network._convolved(relation, images, network.of_images), expected)
    network.normalise = True
    scaled = relation / relation.abs().sum(1, keepdim=True)
    torch.testing.assert_close(
        network._convolved(relation, images, network.of_images),
        functional.leaky_relu(scaled @ images @ network.of_images.weight.T + network.of_images.bias, 0.2),
    )
    found = network(images, texts, correlations(images, texts))
    assert [len(part) for part in found] == [3, 4]
    for part in found:
        torch.testing.assert_close(part.norm(dim=1), torch.ones(len(part)).double())


def test_normalised_activations_do_not_grow_with_the_batch() -> None:
    small, large = unit(1, 4, 8).repeat(2, 1), unit(1, 4, 8).repeat(40, 1)
    network = graph()
    few = network._convolved(intra_relation(small), small, network.of_images)
    many = network._convolved(intra_relation(large), large, network.of_images)
    torch.testing.assert_close(few[:4], many[:4])
    assert adjacency(torch.zeros(2, 2)).tolist() == [[0, 0], [0, 0]]


def test_attention_is_between_connected_nodes_only() -> None:
    """Image 0 is connected with image 0 and text 0 alone: what text 1 is does not reach it through the attention."""
    network, images, texts = graph(), unit(1, 2, 8), unit(2, 2, 8)
    nn.init.zeros_(network.of_all.weight)  # no convolution: attention alone is left
    given = correlations(images, texts)
    given.connected = torch.eye(4, dtype=torch.bool)
    given.connected[0, 2] = True
    before, _ = network(images, texts, given)
    other, _ = network(images, torch.stack([texts[0], -texts[1]]), given)
    torch.testing.assert_close(before[0], other[0])
    changed, _ = network(images, torch.stack([-texts[0], texts[1]]), given)
    assert not torch.allclose(before[0], changed[0])


def test_the_graph_goes_with_the_order_of_the_nodes() -> None:
    network, images, texts = graph(), unit(1, 4, 8), unit(2, 5, 8)
    first, second = random(5, 4, 5).abs(), random(6, 5, 4).abs()
    order, text_order = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 1, 0, 3, 2])
    whole = network(images, texts, Correlations(images, texts, first, second, 0.5))
    moved = Correlations(
        images[order], texts[text_order], first[order][:, text_order], second[text_order][:, order], 0.5
    )
    found = network(images[order], texts[text_order], moved)
    torch.testing.assert_close(found[0], whole[0][order])
    torch.testing.assert_close(found[1], whole[1][text_order])


def test_the_graph_agrees_with_finite_differences() -> None:
    network, first, second = graph(), random(5, 3, 3).abs(), random(6, 3, 3).abs()

    def value(images: Tensor, texts: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        images, texts = functional.normalize(images, dim=1), functional.normalize(texts, dim=1)
        found: tuple[Tensor, Tensor] = network(images, texts, Correlations(images, texts, first, second, 0.5))
        return found

    given = (random(1, 3, 8), random(2, 3, 8), first, second)
    assert torch.autograd.gradcheck(value, tuple(each.requires_grad_() for each in given))


def test_divergence_by_hand_and_by_finite_differences() -> None:
    relation, guide = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[0.0, 0.0]])
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert relation_divergence(relation, guide).item() == pytest.approx(expected)
    guide = random(2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda r: relation_divergence(r, guide), (random(1, 3, 4).requires_grad_(),))
    relation_divergence(random(1, 3, 4).requires_grad_(), guide).backward()
    assert guide.grad is None


# momentum


def test_the_twin_equals_its_closed_form_after_n_steps() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.BatchNorm1d(3)).double()
    twin = Twin(module, 0.9)
    start = copy.deepcopy(list(module.parameters()))
    history = []
    for step in range(5):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(random(step, *parameter.shape))
        history.append(copy.deepcopy(list(module.parameters())))
        module(random(step, 4, 3))  # running statistics move
        twin.follow(module)
    for place, found in enumerate(twin.parameters()):
        expected = 0.9**5 * start[place] + sum(0.1 * 0.9 ** (4 - k) * history[k][place] for k in range(5))
        torch.testing.assert_close(found.data, expected.data)
        assert not found.requires_grad
    for found, expected in zip(twin.buffers(), module.buffers(), strict=True):
        assert torch.equal(found, expected)
    nn.Sequential(twin).train()
    assert [part.training for part in twin.module] == [False, False, True]  # batch norms use the batch
    values = random(9, 4, 3)
    plain = twin.module[0](values)
    expected = (plain - plain.mean(0)) / (plain.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(twin.module(values), expected * twin.module[2].weight + twin.module[2].bias)


@given(size=st.integers(1, 7), pushes=st.lists(st.integers(0, 9), max_size=6))
def test_the_queue_is_a_ring_of_the_last_rows(size: int, pushes: list[int]) -> None:
    queue, expected, count = Queue(size, 2), [], 0
    for length in pushes:
        rows = torch.arange(count, count + length)
        queue.push(rows.unsqueeze(1).expand(-1, 2).float(), rows, rows // 2, rows / 100)
        expected += rows.tolist()
        count += length
    kept = expected[-size:] if expected else []
    assert sorted(row for row in queue.rows.tolist() if row >= 0) == kept
    for place, row in enumerate(queue.rows.tolist()):
        if row >= 0:
            assert place == row % size
            assert queue.vectors[place].tolist() == [row, row]
            assert queue.same[place] == row // 2
    assert queue.full() == (count >= size)
    again = Queue(size, 2)
    again.load_state_dict(queue.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(queue.buffers(), again.buffers(), strict=True))


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 4), size=st.integers(1, 5), weighted=st.booleans())
def test_the_queue_loss_equals_a_literal_loop(seed: int, rows: int, size: int, weighted: bool) -> None:
    own, against = random(seed, rows), random(seed + 1, rows, size)
    negatives = random(seed + 2, rows, size) > 0
    weight = random(seed + 3, rows, size).clamp(0, 1) if weighted else None
    expected = []
    for i in range(rows):
        total = sum(
            math.exp(against[i, n] / 0.3) * (1 if weight is None else weight[i, n].item())
            for n in range(size)
            if negatives[i, n]
        )
        expected.append(-math.log(math.exp(own[i] / 0.3) / (math.exp(own[i] / 0.3) + total)))
    assert queue_info_nce(own, against, negatives, 0.3, weight).item() == pytest.approx(np.mean(expected), abs=1e-9)


def test_masked_and_weightless_entries_have_no_gradient() -> None:
    own, against = random(1, 3).requires_grad_(), random(2, 3, 4).requires_grad_()
    negatives = torch.tensor([[True, True, False, False], [False] * 4, [True] * 4])
    weight = torch.ones(3, 4, dtype=torch.float64)
    weight[2] = 0
    queue_info_nce(own, against, negatives, 0.1, weight).backward()
    assert own.grad is not None
    assert against.grad is not None
    assert (against.grad != 0).tolist() == [[True, True, False, False], [False] * 4, [False] * 4]
    assert (own.grad != 0).tolist() == [True, False, False]
    assert torch.isfinite(own.grad).all()


def test_the_queue_loss_agrees_with_finite_differences() -> None:
    negatives, weight = random(3, 3, 4) > 0, random(4, 3, 4).abs().clamp(0.1, 1)
    assert torch.autograd.gradcheck(
        lambda own, against: queue_info_nce(own, against, negatives, 0.2, weight),
        (random(1, 3).requires_grad_(), random(2, 3, 4).requires_grad_()),
    )
