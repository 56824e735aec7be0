"""What is added to a method: when terms start, what queues leave out and relax, what a trained model keeps."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from itm.config.methods import MethodParameters
from itm.methods.additions.graph import Graph, InstanceGraph
from itm.methods.additions.queue import KEY, Queues, with_queued_images, with_queued_texts
from itm.methods.build import build_method
from itm.methods.losses.ditm.relaxation import evidence, refine
from itm.methods.method import Context, Embedded, Labels, Method, Requirements
from itm.training.batches import BatchRows
from itm.training.relations import Relations

sys.path.insert(0, str(Path(__file__).parent))
from conftest import CAPTIONS_EACH, IMAGE_WIDTH, IMAGES, METHODS, PARAMETERS, TEXT_WIDTH, WIDTHS, features, labels

CPU = torch.device("cpu")


def parameters(name: str = "aahr", **options: dict[str, Any]) -> MethodParameters:
    """An entry with every aid on from the first step and no dropout; `options` change single aids."""
    entry = METHODS[name]
    without = {"prototypes": {}, "graph": {"dropout": 0.0, "node_dropout": 0.0}, "queue": {"size": 16}}
    add = {
        aid: given.model_copy(update={"start": 0, **without[aid], **options.get(aid, {})})
        for aid in without
        if (given := getattr(entry.add, aid)) is not None
    }
    similarity = entry.similarity.model_copy(update={"layer_dropout": 0.0, "token_drop": 0.0})
    return entry.model_copy(update={"similarity": similarity, "add": entry.add.model_copy(update=add)})


def build(given: MethodParameters) -> Method:
    torch.manual_seed(0)
    return build_method(given, PARAMETERS.embedding, WIDTHS).train()


def encode(method: Method) -> tuple[Embedded, Embedded]:
    images = method.encode_image(features(IMAGES, IMAGE_WIDTH, 1))
    return images, method.encode_text(features(IMAGES * CAPTIONS_EACH, TEXT_WIDTH, 2))


def queues(method: Method) -> Queues:
    found = method.additions["queue"]
    assert isinstance(found, Queues)
    return found


def graph(method: Method) -> Graph:
    found = method.additions["graph"]
    assert isinstance(found, Graph)
    return found


def unit(seed: int, rows: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(rows, PARAMETERS.embedding.dimension, generator=generator), dim=1)


def test_terms_start_at_their_steps() -> None:
    starts = {"prototypes": {"start": 2}, "graph": {"start": 5}, "queue": {"start": 3}}
    method = build(parameters(**starts))
    expected = {1: set(), 2: {"prototypes"}, 3: {"prototypes", "queue"}}
    expected[5] = expected[3] | {"graph", "graph_relation"}
    for step, names in expected.items():
        images, texts = encode(method)
        found = method.losses(images, texts, labels(), Context(step=step)).terms
        assert set(found) == {"distance_weighted", *names}


def test_the_graph_is_never_called_outside_training(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(parameters())

    def refuse(*given: object) -> None:
        raise AssertionError("the graph was called")

    monkeypatch.setattr(InstanceGraph, "forward", refuse)
    monkeypatch.setattr("itm.methods.additions.graph.fragment_scores", refuse)
    with pytest.raises(AssertionError, match="the graph was called"):
        method.losses(*encode(method), labels(), Context())
    method.eval()
    images, texts = encode(method)
    method.score(images, texts)
    assert set(method.losses(images, texts, labels(), Context()).terms) == {"distance_weighted"}
    assert images.tokens is None
    assert not images.extra


def test_training_aids_change_no_score_and_are_no_part_of_a_model() -> None:
    whole, base = build(parameters()).eval(), build(parameters("aahr-base")).eval()
    base.load_state_dict(whole.exported())
    assert not any(name.startswith("additions") for name in whole.exported())
    assert {name.split(".")[1] for name in whole.state_dict() if name.startswith("additions")} == {
        "prototypes",
        "graph",
        "queue",
    }
    torch.testing.assert_close(whole.score(*encode(whole)), base.score(*encode(base)))


@pytest.mark.parametrize("mask_same", [True, False])
def test_the_queue_term_equals_a_literal_loop(mask_same: bool) -> None:
    method = build(parameters(queue={"mask_same": mask_same, "temperature": 0.2}))
    own = queues(method)
    truth = labels()
    assert truth.image_same is not None
    # eleven of sixteen places in use; the images 0 and 1 of the batch are queued too
    same = torch.cat([truth.image_same[:2], 1000 + torch.arange(9)])
    own.images.push(unit(1, 11), torch.arange(11), same, torch.zeros(11))
    own.texts.push(unit(2, 11), torch.arange(11), same, torch.zeros(11))
    images, texts = encode(method)
    found = own.losses(method, images, texts, truth, Context()).terms["queue"].value
    image, text = images.embedding, texts.embedding
    values = []
    for j, i in enumerate(truth.owner.tolist()):
        for query, key, queue in (
            (image[i], texts.extra[KEY][j], own.texts),
            (text[j], images.extra[KEY][i], own.images),
        ):
            negatives = sum(
                math.exp((query @ queue.vectors[n]).item() / 0.2)
                for n in range(11)
                if not (mask_same and queue.same[n] == truth.image_same[i])
            )
            positive = math.exp((query @ key).item() / 0.2)
            values.append(-math.log(positive / (positive + negatives)))
    assert found.item() == pytest.approx(np.mean(values), rel=1e-4)


def test_keys_are_those_of_the_twin_and_go_into_the_queues() -> None:
    method = build(parameters(queue={"momentum": 0.5}))
    own, truth = queues(method), labels()
    images, texts = encode(method)
    torch.testing.assert_close(images.extra[KEY], images.embedding.detach())  # a new twin is the same, without dropout
    assert not images.extra[KEY].requires_grad
    before = [parameter.clone() for parameter in own.twin.parameters()]
    with torch.no_grad():
        for parameter in method.similarity.parameters():
            parameter.add_(1)
    method.after_step(images, texts, truth)
    for old, new, live in zip(before, own.twin.parameters(), method.similarity.parameters(), strict=True):
        torch.testing.assert_close(new.data, (old + live.data) / 2)
    assert own.texts.rows[: IMAGES * CAPTIONS_EACH].tolist() == [3 * j for j in range(IMAGES * CAPTIONS_EACH)]
    assert own.images.rows[:IMAGES].tolist() == [7 * i for i in range(IMAGES)]
    torch.testing.assert_close(own.images.vectors[:IMAGES], images.extra[KEY])
    assert not any(parameter.requires_grad for parameter in own.twin.parameters())


def test_a_local_query_is_the_pooled_tokens() -> None:
    for query in ("fused", "local"):
        method = build(parameters(queue={"query": query}))
        own = queues(method)
        own.texts.push(unit(2, 4), torch.arange(4), torch.arange(4) + 1000, torch.zeros(4))
        images, texts = encode(method)
        for tensor in (images.embedding, images.extra["local"]):
            tensor.retain_grad()
        own.losses(method, images, texts, labels(), Context()).total().backward()
        # the pooled tokens are part of the embedding, not the other way round
        assert (images.embedding.grad is not None) == (query == "fused")
        assert images.extra["local"].grad is not None


def relations() -> Relations:
    generator = np.random.default_rng(2)
    owner = np.repeat(np.arange(10), 2)
    keywords = sparse.csr_array(generator.integers(0, 2, (20, 8)).astype(float))
    return Relations(owner, np.arange(10), generator.random(20), "paired", keywords)


def batch(known: Relations, images: np.ndarray) -> Labels:
    rows = BatchRows(images, (images[:, None] * 2 + np.arange(2)).ravel(), np.repeat(np.arange(len(images)), 2))
    return known.labels(rows, Requirements(containment=True), CPU)


@pytest.mark.parametrize(
    "name", ["ditm-aahr", "ditm:hinge-relative_margin", "ditm:info_nce-masked", "ditm:hinge-negative_sampling"]
)
def test_ditm_relaxes_a_pair_in_the_queue_as_it_does_in_a_batch(name: str) -> None:
    """Images 0..4 meet captions of images 5..9 in a batch of all ten, and in a queue: the shares are equal."""
    known = relations()
    whole, first, second = (batch(known, rows) for rows in (np.arange(10), np.arange(5), np.arange(5, 10)))
    entry = METHODS[name].model_copy(update={"add": METHODS["ditm-aahr"].add, "similarity": METHODS["aahr"].similarity})
    method = build(entry)
    own, context = queues(method), Context(epoch=50, step=3)
    assert second.image_rows is not None
    assert second.text_rows is not None
    assert second.image_same is not None
    assert second.text_same is not None
    own.images.push(unit(1, 5), second.image_rows, second.image_same, second.image_descriptiveness)
    own.texts.push(unit(2, 10), second.text_rows, second.text_same, second.descriptiveness)

    expected = method.loss.negative_share(whole, context)
    assert expected is not None
    texts = method.loss.negative_share(with_queued_texts(first, own.texts), context)
    images = method.loss.negative_share(with_queued_images(first, own.images), context)
    assert texts is not None
    assert images is not None
    torch.testing.assert_close(texts[:, :10], expected[:5, 10:])
    torch.testing.assert_close(images[:5], expected[5:, :10])
    assert 0 < (expected < 1).float().mean() < 1
    assert method.loss.negative_share(whole, Context(epoch=-1)) is None  # the warm-up


def test_shares_are_what_the_refinement_leaves() -> None:
    known = relations()
    truth = batch(known, np.arange(10))
    for name, whole in (("ditm", 1.0), ("ditm:hinge-relative_margin", None)):
        loss = build(METHODS[name]).loss
        options = METHODS[name].loss
        found = loss.negative_share(truth, Context(epoch=50))
        refinement = refine(options, truth, evidence(options, truth, None), 0)  # type: ignore[arg-type]
        left = refinement.margin / options.margin if whole is None else whole - refinement.relevance  # type: ignore[operator, union-attr]
        torch.testing.assert_close(found, left)


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_a_relaxed_caption_in_the_queue_weighs_less(margin: float, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build(parameters(queue={"margin": margin}))
    own, truth = queues(method), labels()
    own.texts.push(unit(2, 4), torch.arange(4), torch.arange(4) + 1000, torch.zeros(4))
    share = torch.ones(IMAGES, 16)
    values = []
    for left in (1.0, 0.5, 0.0):
        share[:, 1] = left
        monkeypatch.setattr(
            method.loss, "negative_share", lambda given, context: share if len(given.positives) == IMAGES else None
        )
        own.texts.vectors.requires_grad_()
        found = own.losses(method, *encode(method), truth, Context()).total()
        (gradient,) = torch.autograd.grad(found, own.texts.vectors)
        values.append((found.item(), gradient[1].abs().max().item(), gradient[0].abs().max().item()))
        own.texts.vectors.requires_grad_(False)
    assert values[0][0] > values[1][0] > values[2][0]
    assert values[0][1] > values[1][1] > values[2][1]
    assert (values[2][1] == 0) == (margin == 0)  # a share of a margin is less margin; a share of a weight, less weight
    assert values[2][2] > 0


@pytest.mark.parametrize(("scores", "learns"), [(10, True), (0, False)])
def test_the_regulariser_trains_the_relation_map_or_nothing(scores: int, learns: bool) -> None:
    method = build(parameters(graph={"relation_scores": scores}))
    images, texts = encode(method)
    term = method.losses(images, texts, labels(), Context()).terms["graph_relation"]
    assert term.value.item() > 0
    assert term.value.requires_grad == learns
    if learns:
        term.value.backward()
        trained = {name for name, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        maps = {f"additions.graph.relations.{each}.map.2.weight" for each in ("image_to_text", "text_to_image")}
        assert maps <= trained
        # a bias of the last layer shifts a whole row, which the softmax takes out again up to rounding
        assert trained <= maps | {name.replace("weight", "bias") for name in maps}


@pytest.mark.parametrize("triplet", ["hinge", "distance_weighted"])
def test_the_graph_term_agrees_with_finite_differences(triplet: str) -> None:
    method = build(parameters(graph={"triplet": triplet, "nodes": "fused"})).double()
    images, texts = (each.detach() for each in encode(method.float()))
    method.double()
    images, texts = (replace(each, tokens=each.tokens.double()) for each in (images, texts))  # type: ignore[union-attr]
    truth = labels()

    def value(image: Tensor, text: Tensor) -> Tensor:
        given = replace(images, embedding=image), replace(texts, embedding=text)
        return graph(method).losses(method, *given, truth, Context()).terms["graph"].value

    inputs = (images.embedding.double()[:, :], texts.embedding.double())
    assert torch.autograd.gradcheck(value, tuple(each.requires_grad_() for each in inputs), fast_mode=True)


def test_the_queue_term_agrees_with_finite_differences() -> None:
    method = build(parameters(queue={"temperature": 0.3})).double()
    own = queues(method)
    own.texts.push(unit(2, 9), torch.arange(9), torch.arange(9) * 5, torch.zeros(9))
    own.images.push(unit(3, 9), torch.arange(9), torch.arange(9) * 5, torch.zeros(9))
    images, texts = (each.detach() for each in encode(method.float()))
    method.double()
    for each in (images, texts):
        each.extra[KEY] = each.extra[KEY].double()

    def value(image: Tensor, text: Tensor) -> Tensor:
        given = replace(images, embedding=image), replace(texts, embedding=text)
        return own.losses(method, *given, labels(), Context()).terms["queue"].value

    inputs = (images.embedding.double(), texts.embedding.double())
    assert torch.autograd.gradcheck(value, tuple(each.requires_grad_() for each in inputs), fast_mode=True)


def test_prototypes_stay_unit_vectors() -> None:
    method = build(parameters())
    prototypes = method.additions["prototypes"].swapped.prototypes  # type: ignore[union-attr]
    with torch.no_grad():
        prototypes.mul_(3)  # type: ignore[operator]
    images, texts = encode(method)
    method.after_step(images, texts, labels())
    torch.testing.assert_close(prototypes.norm(dim=1), torch.ones(len(prototypes)))  # type: ignore[operator, arg-type]


def test_copies_of_an_image_are_no_negatives_in_the_queue() -> None:
    """All that is queued belongs to the images of the batch, and the batch is copies of one image: nothing is left."""
    method = build(parameters())
    own, truth = queues(method), labels()
    truth = replace(
        truth,
        positives=torch.ones_like(truth.positives),
        image_same=torch.zeros(IMAGES, dtype=torch.long),
        text_same=torch.zeros(IMAGES * CAPTIONS_EACH, dtype=torch.long),
    )
    images, texts = encode(method)
    method.after_step(images, texts, truth)
    found = own.losses(method, *encode(method), truth, Context()).terms["queue"].value
    assert found.item() == 0
