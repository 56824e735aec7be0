"""The small problem of small.py with a trained text encoder beside its cached features."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import torch

from itm.config.methods import MethodParameters
from itm.config.model import EmbeddingParameters
from itm.methods.build import build_method
from itm.methods.method import Context, Method, Widths
from itm.towers.word_ids import word_ids
from itm.training.distributed import Group
from itm.training.inputs import Encoder, Split
from itm.training.loop import seed_everything
from itm.training.schedule import optimiser
from itm.training.steps import Stepper

sys.path.insert(0, str(Path(__file__).parent))
from small import OWNER, PARAMETERS, fill_queues, reduced, relations, split, train_parameters
from small import Sampler as Batches

TEXTS = [f"word{i} " * (1 + i % 5) + f"thing{i // 3}" for i in range(len(OWNER))]
EMBEDDING = EmbeddingParameters(dimension=8, layers=1, hidden=8, dropout=0.0)
WIDTHS = Widths(12, 9, 12, 16, description_width=3, prototypes=4)
METHODS = ("aahr", "esl-token", "vse-inf")


def entry(name: str, bert: str, changed: float = 0.0) -> MethodParameters:
    words = {"model": bert, "length": 8, "rate": 0.1, "masked": changed, "replaced": changed / 5, "dropped": changed}
    options = reduced(PARAMETERS.method[name], 0.0).model_dump()
    options["add"]["words"] = words
    return MethodParameters.model_validate(options)


def made(name: str, bert: str, changed: float = 0.0) -> tuple[Method, Split]:
    seed_everything(0, 1)
    options = entry(name, bert, changed)
    method, data = build_method(options, EMBEDDING, WIDTHS), split(None)
    method.words.start({})  # type: ignore[union-attr]
    assert options.add.words is not None
    data.texts.tokens = data.root.tokens = None
    data.texts.words = word_ids(options.add.words, TEXTS, 5 if changed else None)
    data.root.words = word_ids(options.add.words, [""])
    return method, data


def gradients(name: str, bert: str, group: Group | None = None, chunk: int = 0) -> dict[str, torch.Tensor]:
    """The losses and all gradients of one batch, in float64; captions are changed as in training."""
    with patch.object(torch.Tensor, "float", torch.Tensor.double):
        method, data = made(name, bert, changed=0.2)
        parameters = train_parameters(chunk_images=chunk)
        encoder = Encoder(method, None, torch.device("cpu"))
        encoder.train()
        for addition in method.added.values():
            addition.watch(method.words)  # type: ignore[arg-type]
        fill_queues(method)
        method.double()
        for inputs in (data.images, data.texts, data.root):
            assert inputs.features is not None
            inputs.features = inputs.features.double()
            inputs.description_vectors = {key: values.double() for key, values in inputs.description_vectors.items()}
        made_optimiser = optimiser(method, None, parameters)
        stepper = Stepper(
            encoder, data, relations(), made_optimiser, {"method": method}, parameters, 0, group or Group()
        )
        losses, _ = stepper.gradients(next(Batches(OWNER, 8, 2, 0).epoch(0)), Context(epoch=50))
    found = {key: value.grad for key, value in method.named_parameters() if value.grad is not None}
    return {**found, **{f"loss {key}": term.value.detach() for key, term in losses.terms.items()}}
