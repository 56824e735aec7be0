"""AAHR as published: encoders, triplets, relations and graph, queue; and the relations of HREM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from presets import preset
from torch import Tensor

from itm.methods.additions.graph import Graph, relation_divergence
from itm.methods.additions.queue import KEY, Queues, Twin
from itm.methods.functional import distance_weighted as module
from itm.methods.functional.distance_weighted import log_weights, symmetric_distance_weighted
from itm.methods.functional.swapped_prototypes import SwappedPrototypes
from itm.methods.functional.token_norm import TokenNetwork
from itm.methods.method import Context, Embedded, Labels, Similarity, Widths
from itm.methods.similarities.aahr.fragments import FragmentRelation, fragment_scores, mean_score

from .vectors import Reference, fill, renamed, similarity, state

FAITHFUL = preset("scenes").method["aahr-faithful"]


def stacked(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their one map a head as our one map for all heads, and their two maps of the whole as one."""
    found = {}
    for part in ("query", "key"):
        for kind in ("weight", "bias"):
            found[f"guided.{part}.{kind}"] = torch.cat([weights[f"mha_pool.{part}.{head}.{kind}"] for head in (0, 1)])
    values = [weights[f"mha_pool.value.{head}.weight"] for head in (0, 1)]
    found["guided.value.weight"] = torch.cat(values, 1) / 2
    found["guided.value.bias"] = (weights["mha_pool.value.0.bias"] + weights["mha_pool.value.1.bias"]) / 2
    for kind in ("weight", "bias"):
        found[f"whole.{kind}"] = weights[f"fc_clip.fc.{kind}"] + weights[f"fc_clip.mlp.layers.0.{kind}"]
    return found


def encoder(reference: Reference, side: str) -> Any:
    options = {"heads": 4, "feedforward": 32, "layer_dropout": 0.0, "guided_heads": 2, "token_drop": 0.0}
    options |= {"image_hidden": 16, "text_hidden": 0, "norm": "batch_norm", "normalise": False}
    model: Similarity = similarity("aahr-faithful", 32, Widths(16, 16, 12, 12), **options)
    part = getattr(model, side)
    names = {"aggr.layers.0": "layer", "gated_fusion.fc_gate": "gate.choose"}
    if side == "image":
        names |= {
            "fc.fc": "project",
            "fc.mlp.layers.0": "deep.0",
            "fc.mlp.bns.0": "deep.1",
            "fc.mlp.layers.1": "deep.3",
        }
    else:
        names |= {"fc": "project"}
    fill(state(part), renamed(reference.weights(), names) | stacked(reference.weights()))
    return part


@pytest.mark.parametrize(("side", "fused", "local"), [("image", 0.013, 0.077), ("text", 0.011, 0.069)])
def test_encoders(side: str, fused: float, local: float) -> None:
    reference = Reference(f"aahr_{side}_encoder")
    real, every = reference.mask("input.lengths", 9), torch.ones(8, 9, dtype=torch.bool)
    for case, mask in (("full", every), ("alone", real)):
        part = encoder(reference, side).train(case == "full")
        pooled, tokens = (reference[f"input.{name}"].clone().requires_grad_() for name in ("pooled", "tokens"))
        found = part(pooled, tokens, mask)
        reference.compare(f"output.{case}.fused", found.fused, 1e-6)
        reference.compare(f"output.{case}.local", found.local, 1e-6)
        (found.fused * reference["probe.fused"] + found.local * reference["probe.local"]).sum().backward()
        reference.compare(f"grad.{case}.input.pooled", pooled.grad, 1e-6)
        reference.compare(f"grad.{case}.input.tokens", tokens.grad, 1e-6)
        reference.compare(f"grad.{case}.weight.fc_clip.fc.bias", part.whole.bias.grad, 1e-6)
        if case == "full":
            reference.compare("output.full.tokens_first2", found.tokens[:2], 1e-6)
            reference.compare("grad.full.weight.gated_fusion.fc_gate.weight", part.gate.choose.weight.grad, 1e-6)
            reference.compare("grad.full.weight.mha_pool.query.0.weight", part.guided.query.weight.grad[:32], 1e-6)
    # documented: there, padding takes part in the guided pooling (and in batch statistics)
    part = encoder(reference, side).train()
    zeroed = reference["input.tokens"] * real.unsqueeze(-1)
    deep = part.deep
    if deep is not None:
        deep.forward = lambda tokens, mask: TokenNetwork.forward(deep, tokens, every)
    found = part(reference["input.pooled"], zeroed, real)
    for name, value, limit in (("fused", found.fused, fused), ("local", found.local, local)):
        difference = (value - reference[f"output.padded.{name}"]).abs().max()
        assert 1e-3 < difference <= limit * 1.05, (name, difference)


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[Tensor]], None]:
    """Have the given columns drawn, one tensor a direction of a triplet loss."""

    def force(columns: Iterator[Tensor]) -> None:
        def noise(step: int, pairs: Tensor, others: Tensor) -> Tensor:
            found = torch.zeros(len(pairs), len(others))
            # the number whose Gumbel value is infinite
            return found.scatter(1, next(columns).unsqueeze(1), 1 - 2**-26)

        monkeypatch.setattr(module, "pair_noise", noise)

    return force


def both(reference: Reference, key: str) -> list[Tensor]:
    return [reference[f"draw.{key}.{way}"] for way in ("image_to_text", "text_to_image")]


@pytest.mark.parametrize("case", ["pairs", "several", "beyond_cutoff"])
@pytest.mark.parametrize(("data", "cutoff"), [("f30k", 1.7), ("coco", 1.9)])
def test_triplets(case: str, data: str, cutoff: float, forced: Callable[..., None]) -> None:
    reference = Reference("aahr_triplet")
    images, texts = (reference[f"input.{case}.{side}"].clone().requires_grad_() for side in ("images", "texts"))
    similarities = images @ texts.T
    reference.compare(f"output.{case}.similarities", similarities, 1e-6)
    of_texts = reference[f"input.{case}.text_image_ids"]
    # in a batch of pairs an image may be there twice, and so may its id
    of_images = torch.arange(len(images)) if case == "several" else of_texts
    positives = of_images.unsqueeze(1) == of_texts.unsqueeze(0)
    for way, given, own in (
        ("image_to_text", similarities, positives),
        ("text_to_image", similarities.T, positives.T),
    ):
        chances = log_weights(given, own, 512, cutoff).softmax(1)
        expected = reference[f"output.{case}.{data}.chance_{way}"]
        differing = ((chances - expected).abs().amax(1) > 1e-6).sum()
        # documented: a negative far beyond the cutoff takes the chances of a row of theirs
        assert differing <= (2 if (case, data) == ("beyond_cutoff", "f30k") else 0), way
    forced(iter(both(reference, f"{case}.{data}")))
    ids = torch.arange(len(images)), torch.arange(len(texts))
    loss = symmetric_distance_weighted(
        similarities, positives, 0.2, step=0, image_rows=ids[0], text_rows=ids[1], dimension=512, cutoff=cutoff,
        reduction="sum",
    )  # fmt: skip
    reference.compare(f"loss.{case}.{data}", loss, 1e-6)
    loss.backward()
    reference.compare(f"grad.{case}.{data}.input.images", images.grad, 1e-6)
    reference.compare(f"grad.{case}.{data}.input.texts", texts.grad, 1e-6)


def test_graph_and_whole_loss(forced: Callable[..., None]) -> None:
    reference = Reference("aahr_graph")
    options = {"heads": 4, "feedforward": 32, "dropout": 0.0, "node_dropout": 0.0, "bias_weight": 1.5, "start": 0}
    graph = Graph(FAITHFUL.add.graph.model_copy(update=options), 32).train()  # type: ignore[union-attr]
    names = {"gcn.gc1": "of_all", "gcn_img.gc1": "of_images", "gcn_text.gc1": "of_texts", "gnn.layers.0": "attention"}
    weights = renamed(reference.weights(), names)
    fill(state(graph.network), {key: value.t() if key.startswith("of_") else value for key, value in weights.items()})
    names = {f"input.{kind}_{side}": None for kind in ("fused", "local") for side in ("images", "texts")}
    leaves = {name: reference[name].clone().requires_grad_() for name in names}
    word_mask, every = reference.mask("input.word_lengths", 9), torch.ones(8, 9, dtype=torch.bool)
    images = Embedded(leaves["input.fused_images"], reference["input.regions"], every)
    texts = Embedded(leaves["input.fused_texts"], reference["input.words"], word_mask)
    images.extra, texts.extra = {"local": leaves["input.local_images"]}, {"local": leaves["input.local_texts"]}
    image, text = images.unit("local"), texts.unit("local")
    correlations, regulariser = graph.correlate(images, texts, image, text)
    reference.compare("output.relations", correlations.whole, 1e-4 * 2)
    assert torch.equal(correlations.connected, reference["output.connected"])
    other = graph.network(image, text, correlations)
    reference.compare("output.graph_images", other[0], 1e-4)
    reference.compare("output.graph_texts", other[1], 1e-4)
    reference.compare("loss.regulariser", regulariser, 1e-6)
    draws = [each for case in ("base", "graph1", "graph2", "graph3") for each in both(reference, case)]
    labels = Labels(
        torch.eye(8, dtype=torch.bool), torch.arange(8), torch.zeros(8), torch.zeros(8),
        image_rows=torch.arange(8), text_rows=torch.arange(8),
    )  # fmt: skip
    forced(iter(draws))
    base = module.triplets(FAITHFUL.loss, images.embedding @ texts.embedding.T, labels, 0)  # type: ignore[arg-type]
    reference.compare("loss.base", base, 1e-6)
    terms = graph.losses(None, images, texts, labels, Context()).terms  # type: ignore[arg-type]
    reference.compare("loss.graph", terms["graph"].value, 1e-4)
    probes = [
        (each * reference[f"probe.graph_{side}"]).sum() for each, side in zip(other, ("images", "texts"), strict=True)
    ]
    sum(probes).backward(retain_graph=True)  # type: ignore[union-attr]
    for side in ("images", "texts"):
        reference.compare(f"grad.graph.input.local_{side}", leaves[f"input.local_{side}"].grad, 1e-4)
    reference.compare("grad.graph.weight.gcn.gc1.weight", graph.network.of_all.weight.grad.T, 1e-4)
    attention = graph.network.attention.self_attn.in_proj_weight.grad
    reference.compare("grad.graph.weight.gnn.layers.0.self_attn.in_proj_weight", attention, 1e-4)
    for leaf in leaves.values():
        leaf.grad = None
    swapped = SwappedPrototypes(
        reference["weight.swav_loss.prototypes"], learn=True, epsilon=0.1, iterations=3, temperature=0.1
    )
    prototypes = swapped(images.embedding, texts.embedding, torch.arange(8))
    reference.compare("loss.prototypes", prototypes, 1e-6)
    total = base + sum(term.value * term.weight for term in terms.values()) + 0.2 * prototypes
    reference.compare("loss.total", total, 1e-4)
    total.backward()
    for name, leaf in leaves.items():
        reference.compare(f"grad.total.{name}", leaf.grad, 1e-4)


def test_relations_of_short_captions_and_padded_regions() -> None:
    reference = Reference("aahr_graph")
    words, regions = reference["input.words"], reference["input.regions"]
    word_mask, every = reference.mask("input.word_lengths", 9), torch.ones(8, 9, dtype=torch.bool)
    of_words, of_regions = fragment_scores(words, word_mask, regions, every)
    reference.compare("output.short_captions.i2t", mean_score(of_regions, every), 1e-6)
    t2i = (mean_score(of_words, word_mask) - reference["output.short_captions.t2i"]).abs().max()
    real = reference.mask("input.padded_regions.lengths", 9)
    given = torch.where(real.unsqueeze(-1), regions, reference["input.padded_regions.padding"])
    of_words, of_regions = fragment_scores(words, word_mask, given, real)
    padded = [
        (mean_score(each, mask) - reference[f"output.padded_regions.{way}"]).abs().max()
        for way, each, mask in (("i2t", of_regions, real), ("t2i", of_words, word_mask))
    ]
    # documented: padding counts there
    assert 0.1 < t2i < 0.23, t2i
    assert all(0.1 < each < 0.25 for each in padded), padded


def test_relations_of_hrem() -> None:
    reference = Reference("hrem_relations")
    relations = {name: FragmentRelation(5) for name in ("image_to_text", "text_to_image")}
    for name, short in (("image_to_text", "i2t"), ("text_to_image", "t2i")):
        place = f"adj_model.adj_learning.mlp_{short}"
        fill(state(relations[name]), renamed(reference.weights(), {f"{place}.0": "map.0", f"{place}.3": "map.2"}))
    word_mask, every = reference.mask("input.word_lengths", 9), torch.ones(6, 9, dtype=torch.bool)
    of_words, of_regions = fragment_scores(reference["input.words"], word_mask, reference["input.regions"], every)
    given = {"image_to_text": (of_regions, every), "text_to_image": (of_words, word_mask)}
    found = {name: relation(*given[name]) for name, relation in relations.items()}
    for name, value in found.items():
        reference.compare(f"output.{name}", value, 1e-6)
        reference.compare(f"output.{name}_mean", mean_score(*given[name]), 1e-6)
    sum((found[name] * reference[f"probe.{name}"]).sum() for name in found).backward()  # type: ignore[union-attr]
    prefix = "grad.weight.adj_model.adj_learning"
    reference.compare(f"{prefix}.mlp_i2t.3.weight", relations["image_to_text"].map[2].weight.grad, 1e-6)
    reference.compare(f"{prefix}.mlp_t2i.0.weight", relations["text_to_image"].map[0].weight.grad, 1e-6)
    relations["text_to_image"].zero_grad()
    images, texts = (torch.nn.functional.normalize(reference[f"input.{side}"], dim=1) for side in ("images", "texts"))
    guide = torch.exp(-(2 - 2 * images @ texts.T).clamp(min=0).sqrt())
    found = {name: relation(*given[name]) for name, relation in relations.items()}
    loss = relation_divergence(found["image_to_text"], guide) + relation_divergence(found["text_to_image"], guide.T)
    reference.compare("loss.regulariser", loss, 1e-6)
    loss.backward()
    reference.compare(
        "grad.regulariser.weight.adj_model.adj_learning.mlp_t2i.0.weight",
        relations["text_to_image"].map[0].weight.grad,
        1e-6,
    )


def test_queue_and_twin() -> None:
    reference = Reference("aahr_queue")
    options = FAITHFUL.add.queue.model_copy(update={"size": 32, "start": 0})  # type: ignore[union-attr]
    queues = Queues(options, torch.nn.Linear(2, 2), 32).train()  # type: ignore[arg-type]
    for queue, name in ((queues.images, "v_queue"), (queues.texts, "t_queue")):
        queue.vectors.copy_(torch.nn.functional.normalize(reference[f"input.{name}"], dim=0).T)
        queue.rows.copy_(torch.arange(100, 132))
        queue.same.copy_(torch.arange(100, 132))
        queue.pushed.fill_(int(reference["input.queue_ptr"]))
    leaves = [reference[f"input.{side}_queries"].clone().requires_grad_() for side in ("image", "text")]
    keys = [torch.nn.functional.normalize(reference[f"input.{side}_keys"], dim=1) for side in ("image", "text")]
    images, texts = (Embedded(q, extra={"local": q, KEY: k}) for q, k in zip(leaves, keys, strict=True))
    eight = torch.arange(8)
    labels = Labels(
        torch.eye(8, dtype=torch.bool), eight, torch.zeros(8), torch.zeros(8),
        image_rows=eight, text_rows=eight, image_same=eight, text_same=eight,
    )  # fmt: skip
    method = SimpleNamespace(loss=SimpleNamespace(negative_share=lambda labels, context: None), similarity=queues.twin)
    term = queues.losses(method, images, texts, labels, Context()).terms["queue"]  # type: ignore[arg-type]
    # theirs is the sum of both directions
    reference.compare("loss.info_nce", 2 * term.value, 1e-6)
    (2 * term.value).backward()
    for side, leaf in zip(("image", "text"), leaves, strict=True):
        reference.compare(f"grad.input.{side}_queries", leaf.grad, 1e-6)
    for queue, name, key in ((queues.images, "v_queue", keys[0]), (queues.texts, "t_queue", keys[1])):
        queue.push(key, eight, eight, torch.zeros(8))
        after = torch.nn.functional.normalize(reference[f"output.{name}_after"], dim=0).T
        torch.testing.assert_close(queue.vectors.double(), after, rtol=0, atol=1e-6)
        assert int(queue.pushed) % 32 == int(reference["output.queue_ptr_after"])
    online = torch.nn.Linear(6, 4, bias=False)
    twin = Twin(online, 0.999)
    fill(state(twin.module), {"weight": reference["input.twin_parameter"]})
    fill(state(online), {"weight": reference["input.online_parameter"]})
    twin.follow(online)
    reference.compare("output.twin_parameter_after", twin.module.weight, 1e-6)
