"""Three optimiser steps of each faithful entry of `flickr30k-butd` beside a literal transcription of its recipe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from presets import preset
from scipy import sparse
from tiny_bert import tiny_bert
from torch import Tensor

from itm.config.methods import MethodParameters
from itm.config.model import TrainParameters
from itm.data.regions import read_regions
from itm.features import TokenRows
from itm.methods.build import build_method
from itm.methods.functional import distance_weighted
from itm.methods.method import Context, Method, Widths
from itm.towers.word_ids import word_ids
from itm.training.batches import Sampler
from itm.training.distributed import Group
from itm.training.inputs import Encoder, Inputs, Split
from itm.training.relations import Relations
from itm.training.schedule import optimiser
from itm.training.steps import Stepper

from . import literal

IMAGES, EACH, BATCH, REGIONS, WIDTH, DIMENSION, BERT, WHOLE = 64, 5, 8, 36, 12, 32, 16, 10
OWNER = np.repeat(np.arange(IMAGES), EACH)
TEXTS = [f"thing{i // EACH} " * (1 + i % EACH) + f"word{i}" for i in range(len(OWNER))]
HEADS, GUIDED = 4, 2
ENTRIES = ("vse", "vse-inf", "esl-token", "esl-token-adaptive", "vsd-faithful", "aahr-faithful")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT and regions in SCAN's layout."""
    folder = tmp_path_factory.mktemp("butd")
    tiny_bert(folder / "bert", TEXTS, BERT)
    generator = np.random.default_rng(4)
    concepts = generator.normal(size=(IMAGES, 1, WIDTH))
    np.save(folder / "train_ims.npy", (concepts + generator.normal(size=(IMAGES, REGIONS, WIDTH))).astype(np.float32))
    (folder / "train_ids.txt").write_text("".join(f"{row}\n" for row in range(IMAGES)))
    return folder


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    with patch.object(torch.Tensor, "float", torch.Tensor.double):
        yield
    torch.set_default_dtype(torch.float32)


def entry(name: str, folder: Path) -> tuple[MethodParameters, TrainParameters, Any]:
    """The entry of the preset in small, without what is left out or changed at random, and with early starts."""
    whole = preset("flickr30k-butd").of(name)
    options = whole.method[name].model_dump()
    options["add"]["words"] |= {"model": str(folder / "bert"), "masked": 0.0, "replaced": 0.0, "dropped": 0.0}
    similarity = options["similarity"]
    for key, value in {
        "drop": 0.0, "drop_regions": 0.0, "token_drop": 0.0, "layer_dropout": 0.0, "hidden": 16, "image_hidden": 16,
        "heads": HEADS, "guided_heads": GUIDED, "feedforward": 24, "position_width": 8,
    }.items():  # fmt: skip
        if key in similarity:
            similarity[key] = value
    if name == "aahr-faithful":
        options["add"]["graph"] |= {"start": 1, "heads": HEADS, "feedforward": 24, "dropout": 0.0, "node_dropout": 0.0}
        options["add"]["prototypes"] |= {"start": 1, "count": 6}
        options["add"]["queue"] |= {"start": 2, "size": 2 * BATCH}
    train = whole.train.model_copy(update={"batch_images": BATCH})
    embedding = whole.embedding.model_copy(update={"dimension": DIMENSION})
    return MethodParameters.model_validate(options), train, embedding


def ours(name: str, folder: Path, noises: list[Tensor]) -> tuple[Method, Any, list[Any], list[float]]:
    """The method before its first step, the data, the batches, and the losses of three steps by the project."""
    options, train, embedding = entry(name, folder)
    torch.manual_seed(3)
    method = build_method(
        options, embedding, Widths(WHOLE, WHOLE, WIDTH, BERT, description_width=DIMENSION, prototypes=6)
    )
    generator = torch.Generator().manual_seed(5)
    centres = torch.randn(6, DIMENSION, generator=generator)
    for addition in method.added.values():
        addition.start({"prototypes": centres})
    method.double()
    if name == "aahr-faithful":  # what the authors' queues start with counts for nobody once they are full
        assert method.additions["queue"].first_step(45_280) == 2
    regions = TokenRows.join(read_regions(folder, [str(row) for row in range(IMAGES)]), WIDTH)
    whole = torch.randn(IMAGES, WHOLE, generator=generator), torch.randn(len(TEXTS), WHOLE, generator=generator)
    vectors = (
        torch.randn(IMAGES, DIMENSION, generator=generator),
        torch.randn(len(TEXTS), DIMENSION, generator=generator),
    )
    vectors = tuple(literal.unit(each) for each in vectors)
    images = Inputs(whole[0], tokens=regions, token_rows=np.arange(IMAGES))
    texts = Inputs(whole[1], words=word_ids(options.add.words, TEXTS))
    if name == "vsd-faithful":
        images.description_vectors, texts.description_vectors = {"description": vectors[0]}, {"caption": vectors[1]}
    data = Split(images, texts, OWNER, Inputs(torch.zeros(1, WHOLE)))
    before = {key: value.clone() for key, value in method.state_dict().items()}
    encoder = Encoder(method, None, torch.device("cpu"))
    encoder.train()
    for addition in method.added.values():
        addition.watch(method.words)
    keywords = sparse.csr_array(np.zeros((len(OWNER), 1)))
    relations = Relations(OWNER, np.arange(IMAGES), np.zeros(len(OWNER)), "paired", keywords)
    stepper = Stepper(encoder, data, relations, optimiser(method, None, train), {"method": method}, train, 0, Group())
    sampler = Sampler(OWNER, BATCH, train.captions_per_image, 0, train.epoch)
    assert sampler.steps() == IMAGES * EACH // BATCH
    batches = [rows for _, rows in zip(range(3), sampler.epoch(0), strict=False)]

    def noise(step: int, pairs: Tensor, others: Tensor) -> Tensor:
        noises.append(torch.rand(len(pairs), len(others), generator=generator))
        return noises[-1]

    with patch.object(distance_weighted, "pair_noise", noise):
        totals = [
            stepper.take(rows, Context(epoch=epoch, step=step, steps=45_280)).total.item()
            for step, (rows, epoch) in enumerate(zip(batches, (0, 0, 1), strict=True))
        ]
    return before, (regions, whole, vectors, texts.words, centres), batches, totals  # type: ignore[return-value]


def states(weights: literal.Weights, prefix: str, folder: Path, ids: np.ndarray[Any, Any]) -> list[Tensor]:
    """Last hidden states of each text's own tokens, by transformers with these weights."""
    from transformers import BertModel

    bert = BertModel.from_pretrained(folder / "bert", add_pooling_layer=False).double().train()
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    found = []
    for row in ids:
        given = torch.from_numpy(row[row != 0]).unsqueeze(0)
        found.append(torch.func.functional_call(bert, own, (given,)).last_hidden_state[0])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_the_same_losses(name: str, folder: Path) -> None:
    noises: list[Tensor] = []
    before, (regions, whole, vectors, ids, centres), batches, totals = ours(name, folder, noises)
    noise = iter(noises)
    encoder, twin = "additions.words.encoder.model.", "additions.queue."
    weights = {
        key: value.clone().requires_grad_()
        for key, value in before.items()
        if value.is_floating_point() and "running_" not in key and not key.startswith(twin)
        and key not in ("additions.descriptions.prototypes",)
    }  # fmt: skip
    rate = 0.05 if name == "vsd-faithful" else 0.1
    adam = literal.AdamW(weights, lambda key: 5e-4 * (rate if key.startswith(encoder) else 1))
    slow = {key: value.detach().clone() for key, value in weights.items()}
    queues = torch.zeros(2, 0, DIMENSION)
    for step, (rows, epoch, expected) in enumerate(zip(batches, (0, 0, 1), totals, strict=True)):
        tokens, _ = regions.padded(rows.images)
        batch = {"regions": torch.from_numpy(tokens).double(), "whole_images": whole[0][rows.images]}
        batch |= {"whole_texts": whole[1][rows.captions]}
        batch["words"] = states(weights, encoder, folder, ids.ids[rows.captions])
        if name in ("vse", "vse-inf"):
            images, texts = (literal.mean_pooled if name == "vse" else literal.vse_inf)(weights, batch)
            loss = literal.hinge(images @ texts.T, epoch)
        elif name.startswith("esl"):
            loss = literal.hinge(literal.esl(weights, batch, name.endswith("adaptive")), epoch)
        elif name == "vsd-faithful":
            images, texts = literal.vse_inf(weights, batch)
            images = literal.unit(images + vectors[0][rows.images])
            texts = literal.unit(texts + vectors[1][rows.captions])
            loss = literal.triplets(images @ texts.T, noise) + literal.swapped(
                images, texts, literal.unit(centres), 0.05
            )
        else:
            found = literal.aahr_encoders(weights, "similarity.", batch, HEADS, GUIDED)
            loss = literal.triplets(found["z"][0] @ found["z"][1].T, noise)
            if step >= 1:
                loss = loss + 0.2 * literal.swapped(
                    *found["z"], weights["additions.prototypes.swapped.prototypes"], 0.1
                )
                value, held = literal.graph_terms(weights, found, HEADS, noise)
                loss = loss + value + 10 * held
            with torch.no_grad():
                batch["words"] = states(slow, encoder, folder, ids.ids[rows.captions])
                keys = literal.aahr_encoders(slow, "similarity.", batch, HEADS, GUIDED)["z"]
                keys = torch.stack([literal.unit(each) for each in keys])
            if step >= 2:
                assert queues.shape[1] == 2 * BATCH
                loss = loss + literal.queue_term(found["l"], keys, queues)
            queues = torch.cat([queues, keys], 1)[:, -2 * BATCH :]
        assert loss.item() == pytest.approx(expected, rel=1e-9), (step, loss.item(), expected)
        adam.step(loss)
        with torch.no_grad():
            for key, value in weights.items():
                slow[key] += 0.001 * (value - slow[key])
            if name == "aahr-faithful":
                prototypes = weights["additions.prototypes.swapped.prototypes"]
                prototypes.copy_(literal.unit(prototypes))
    assert next(noise, None) is None
