"""VSE-infinity's pooling and encoders, VSD's fusion and prototypes, and the hinge of all of them, as published."""

from __future__ import annotations

import pytest
import torch
from presets import preset
from torch import Tensor

from itm.methods.additions.descriptions import Descriptions
from itm.methods.functional.hinge import symmetric_hinge
from itm.methods.functional.swapped_prototypes import SwappedPrototypes
from itm.methods.method import Similarity, Widths
from itm.methods.similarities.gpo import GeneralisedPooling
from itm.methods.similarities.heads import unit
from itm.towers.base import Features

from .vectors import Reference, fill, renamed, similarity, state

OURS = {"fc": "image_map", "mlp.layers.0": "image_detail.0", "mlp.bns.0": "image_detail.1"}
OURS |= {"mlp.layers.1": "image_detail.3", "linear": "text_map"}


def test_pooling_alone() -> None:
    reference = Reference("gpo_pooling")
    pool = GeneralisedPooling(32, 0.1)
    fill(state(pool), renamed(reference.weights(), {"gru": "recurrent", "linear": "score"}))
    tokens = reference["input.tokens"].clone().requires_grad_()
    found = pool(tokens, reference.mask("input.lengths", 9))
    reference.compare("output.pooled", found, 1e-6)
    reference.compare("output.weights", pool.weights(reference["input.lengths"]), 1e-6)
    (found * reference["probe.pooled"]).sum().backward()
    reference.compare("grad.input.tokens", tokens.grad, 1e-6)
    reference.compare("grad.weight.linear.weight", pool.score.weight.grad, 1e-6)
    reference.compare("grad.weight.gru.bias_hh_l0", pool.recurrent.bias_hh_l0.grad, 1e-6)


def encoder(reference: Reference, side: str) -> Similarity:
    model = similarity("vse-inf", 32, Widths(0, 0, 24, 24), hidden=16, norm="batch_norm", drop=0.0)
    pool = "gpo" if reference.name.startswith("vsd") else "gpool"
    names = OURS | {f"{pool}.gru": f"{side}_pool.recurrent", f"{pool}.linear": f"{side}_pool.score"}
    own = {key: value for key, value in state(model).items() if key.startswith(side)}
    fill(own, renamed(reference.weights(), names))
    return model


def fused(reference: Reference, embedding: Tensor) -> Tensor:
    """With the vector of a description or caption, in VSD's files."""
    if "input.side" not in reference.values:
        return embedding
    options = preset("scenes").method["vsd"].add.descriptions
    found: Tensor = Descriptions(options, 32, 32, 0).images(embedding, reference["input.side"])
    return found


@pytest.mark.parametrize(("name", "limit"), [("vse_inf_image_encoder", 1e-6), ("vsd_image_fusion", 1e-5)])
def test_encoder_of_regions(name: str, limit: float) -> None:
    reference = Reference(name)
    real, every = reference.mask("input.lengths", 9), torch.ones(8, 9, dtype=torch.bool)
    zeroed = reference["input.tokens"] * real.unsqueeze(-1)
    for case, given, mask in (("train_full", reference["input.tokens"], every), ("eval", zeroed, real)):
        model = encoder(reference, "image").train(case != "eval")
        tokens = given.clone().requires_grad_()
        found = fused(reference, model.encode_image(Features(torch.zeros(8), tokens, mask)).embedding)
        reference.compare(f"output.{case}", found, limit)
        (found * reference["probe.embedding"]).sum().backward()
        reference.compare(f"grad.{case}.input.tokens", tokens.grad * (1 if case != "eval" else real[..., None]), limit)
        for theirs, ours in (("fc", model.image_map), ("mlp.layers.1", model.image_detail[3])):
            reference.compare(f"grad.{case}.weight.{theirs}.weight", ours.weight.grad, limit)
        score = "gpo" if name.startswith("vsd") else "gpool"
        reference.compare(f"grad.{case}.weight.{score}.linear.weight", model.image_pool.score.weight.grad, limit)
    # the published statistics are over padding, too: what stands there is a zero row
    model = encoder(reference, "image").train()
    joint = model.image_map(zeroed) + model.image_detail(zeroed, every)
    reference.compare("output.train_padded", fused(reference, unit(model.image_pool(joint, real))), limit)


@pytest.mark.parametrize("name", ["vse_inf_text_encoder", "vsd_text_fusion"])
def test_encoder_of_words(name: str) -> None:
    reference = Reference(name)
    model = encoder(reference, "text").eval()
    tokens, mask = reference["input.tokens"].clone().requires_grad_(), reference.mask("input.lengths", 9)
    found = fused(reference, model.encode_text(Features(torch.zeros(8), tokens, mask)).embedding)
    reference.compare("output.eval", found, 1e-6)
    (found * reference["probe.embedding"]).sum().backward()
    reference.compare("grad.eval.input.tokens", tokens.grad, 1e-6)
    reference.compare("grad.eval.weight.linear.weight", model.text_map.weight.grad, 1e-6)
    score = "gpo" if name.startswith("vsd") else "gpool"
    reference.compare(f"grad.eval.weight.{score}.linear.weight", model.text_pool.score.weight.grad, 1e-6)


@pytest.mark.parametrize(
    ("name", "weight", "epsilon"), [("vsd_prototypes", "centroids", 0.05), ("aahr_prototypes", "prototypes", 0.1)]
)
def test_prototypes(name: str, weight: str, epsilon: float) -> None:
    reference = Reference(name)
    learn = weight == "prototypes"
    swapped = SwappedPrototypes(
        reference[f"weight.{weight}"], learn=learn, epsilon=epsilon, iterations=3, temperature=0.1
    )
    reference.compare(f"output.{weight}_normalised", swapped.prototypes, 1e-6)
    images, texts = (reference[f"input.{side}"].clone().requires_grad_() for side in ("images", "texts"))
    loss = swapped(images, texts, torch.arange(8))
    reference.compare("loss.swapped", loss, 1e-6)
    reference.compare("output.image_codes", swapped.codes(images), 1e-6)
    reference.compare("output.text_codes", swapped.codes(texts), 1e-6)
    loss.backward()
    reference.compare("grad.input.images", images.grad, 1e-6)
    reference.compare("grad.input.texts", texts.grad, 1e-6)
    if learn:
        reference.compare("grad.weight.prototypes_normalised", swapped.prototypes.grad, 1e-6)


def hinge(images: Tensor, texts: Tensor, mining: str, positives: Tensor | None = None) -> Tensor:
    positives = torch.eye(len(images), dtype=torch.bool) if positives is None else positives
    return symmetric_hinge(images @ texts.T, positives, 0.2, mining, reduction="sum")  # type: ignore[arg-type]


@pytest.mark.parametrize(("loss", "mining"), [("max", "hardest"), ("sum", "sum")])
def test_summed_hinge(loss: str, mining: str) -> None:
    reference = Reference("vsepp_hinge")
    images, texts = (reference[f"input.{side}"].clone().requires_grad_() for side in ("images", "texts"))
    found = hinge(images, texts, mining)
    reference.compare(f"loss.{loss}", found, 1e-6)
    found.backward()
    reference.compare(f"grad.{loss}.input.images", images.grad, 1e-6)
    reference.compare(f"grad.{loss}.input.texts", texts.grad, 1e-6)


@pytest.mark.parametrize(("loss", "mining"), [("order_max", "hardest"), ("order_sum", "sum")])
def test_order_measure_is_another_similarity_of_the_same_hinge(loss: str, mining: str) -> None:
    reference = Reference("vsepp_hinge")
    images, texts = (reference[f"input.{side}"].abs().requires_grad_() for side in ("images", "texts"))
    scores = -(texts.unsqueeze(0) - images.unsqueeze(1)).clamp(min=0).square().sum(2).sqrt()
    reference.compare("output.order_scores", scores, 1e-6)
    found = symmetric_hinge(scores, torch.eye(8, dtype=torch.bool), 0.05, mining, reduction="sum")  # type: ignore[arg-type]
    reference.compare(f"loss.{loss}", found, 1e-6)
    if loss == "order_max":
        found.backward()
        reference.compare("grad.order_max.input.images_absolute", images.grad, 1e-6)
        reference.compare("grad.order_max.input.texts_absolute", texts.grad, 1e-6)


def test_two_captions_of_an_image_in_a_batch() -> None:
    reference = Reference("vsepp_hinge")
    ids = reference["input.repeated.image_ids"]
    images, texts = (reference[f"input.repeated.{side}"].clone().requires_grad_() for side in ("images", "texts"))
    # each image once, with all its captions: AAHR and VSD leave the other captions out, and so it is here
    once = torch.tensor([int((ids == each).nonzero()[0]) for each in ids.unique()])
    positives = ids[once].unsqueeze(1) == ids.unsqueeze(0)
    for loss, mining in (("max", "hardest"), ("sum", "sum")):
        found = hinge(images[once], texts, mining, positives)
        if loss == "max":
            reference.compare("loss.repeated.max_vsd", found, 1e-6)
            reference.compare("loss.repeated.max_aahr", found, 1e-6)
            found.backward()
            reference.compare("grad.repeated.max_vsd.input.texts", texts.grad, 1e-6)
        # where they are negatives, a pair is a positive of its own row and column alone
        reference.compare(f"loss.repeated.{loss}_diagonal_only", hinge(images, texts, mining), 1e-6)
