"""A small problem that every part of the engine is tested on: random images, captions and relations."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from presets import preset
from scipy import sparse
from torch import Tensor, nn

from itm.config.methods import MethodParameters
from itm.config.model import EmbeddingParameters, TrainParameters
from itm.features import TokenRows
from itm.methods.additions.descriptions import Descriptions
from itm.methods.additions.queue import Queues
from itm.methods.build import build_method
from itm.methods.losses.clip import ClipLoss
from itm.methods.method import Context, Embedded, Labels, Losses, Method, Term, Widths
from itm.methods.similarities.heads import HeadsSimilarity
from itm.towers.base import Features, Towers, masked_mean
from itm.towers.scratch import ScratchTowers
from itm.training.batches import Sampler
from itm.training.dataset import tower_widths
from itm.training.distributed import Group
from itm.training.figures import dev_figures
from itm.training.inputs import Encoder, Inputs, Split
from itm.training.loop import Trainer, seed_everything
from itm.training.relations import Relations
from itm.training.schedule import optimiser
from itm.training.steps import Stepper

PARAMETERS = preset("scenes")
METHODS = (*sorted(set(PARAMETERS.method) - {"vsd-only"}), "tokens")  # that one learns nothing
NORMED = {name for name, entry in PARAMETERS.method.items() if getattr(entry.similarity, "norm", "") == "batch_norm"}
CUT = tuple(name for name in METHODS if name not in NORMED)
"""Methods whose batches may be cut: none of their layers normalises over a batch."""
_PARTS = {
    (entry.loss.type, entry.similarity.type, *(part is None for part in entry.add.model_dump().values())): name
    for name, entry in reversed(PARAMETERS.method.items())
    if name in CUT
}
EACH_CUT = (*sorted(_PARTS.values()), "tokens")
"""Of these one for each loss, similarity and additions: enough where the towers, not the loss, are in question."""
IMAGES, EACH, DESCRIPTION_WIDTH = 24, 3, 3
OWNER = np.repeat(np.arange(IMAGES), EACH)
SIZES = {
    "image_size": 16, "context_length": 8, "image_width": 8, "text_width": 16, "text_layers": 2, "text_heads": 2
}  # fmt: skip


class Stop(Exception):
    """Stands for a kill."""


class TokenHeads(HeadsSimilarity):
    """Hands the words on, as pairwise similarities do, and something more."""

    def encode_text(self, features: Features) -> Embedded:
        found = super().encode_text(features)
        if features.tokens is None:
            return found
        extra = {"double": 2 * found.embedding, "fixed": found.embedding.detach()}
        return Embedded(found.embedding, features.tokens.float(), features.mask, extra)


class TokenLoss(ClipLoss):
    """Looks at single words, and at what is handed on beside them."""

    def losses(
        self, similarities: Tensor, images: Embedded, texts: Embedded, labels: Labels, context: Context
    ) -> Losses:
        found = super().losses(similarities, images, texts, labels, context)
        if texts.tokens is not None:
            words = masked_mean(texts.tokens.square(), texts.mask).mean(1)
            found.terms["info_nce"].value += (words[None, :] * labels.positives).sum(1).mean()
            found.terms["extra"] = Term((texts.extra["double"] * texts.extra["fixed"][:, :1]).square().mean())
        return found


def train_parameters(**changes: Any) -> TrainParameters:
    given = {"epochs": 2, "batch_images": 8, "captions_per_image": 2, "learning_rate": 0.01, **changes}
    return TrainParameters.model_validate({**PARAMETERS.train.model_dump(), **given})


def build(name: str, towers: Towers | None, dropout: float) -> Method:
    embedding = EmbeddingParameters(dimension=8, layers=2, hidden=16, dropout=dropout)
    widths = replace(
        tower_widths(towers) if towers else Widths(12, 9, 12, 9), description_width=DESCRIPTION_WIDTH, prototypes=4
    )
    if name == "tokens":
        plain = PARAMETERS.method["clip"]
        return Method(TokenHeads(plain.similarity, embedding, widths), TokenLoss(plain.loss), {})  # type: ignore[arg-type]
    return started(build_method(reduced(PARAMETERS.method[name], dropout), embedding, widths))


def started(method: Method) -> Method:
    """The method with what training gives it before the first step."""
    for addition in method.added.values():
        if isinstance(addition, Descriptions):
            addition.start(
                {"prototypes": torch.randn(4, DESCRIPTION_WIDTH, generator=torch.Generator().manual_seed(6))}
            )
    return method


def reduced(parameters: MethodParameters, dropout: float) -> MethodParameters:
    """The same parts at the size of the fixtures, on from the first step, with one dropout for all."""
    similarity, add = parameters.similarity, {}
    if similarity.type == "aahr":
        sizes = {"heads": 2, "feedforward": 16, "layer_dropout": dropout, "token_drop": dropout}
        similarity = similarity.model_copy(update=sizes)
    elif similarity.type == "gpo":
        similarity = similarity.model_copy(update={"drop": dropout})
    elif similarity.type == "esl_token":
        similarity = similarity.model_copy(update={"drop_regions": dropout, "drop_words": dropout})
    changes: dict[str, dict[str, Any]] = {
        "prototypes": {"start": 0, "count": 8},
        "graph": {"start": 0, "heads": 2, "feedforward": 16, "dropout": dropout, "node_dropout": dropout},
        "queue": {"start": 0, "size": 20, "momentum": 0.9},
    }
    for name, update in changes.items():
        if (options := getattr(parameters.add, name)) is not None:
            add[name] = options.model_copy(update=update)
    return parameters.model_copy(update={"similarity": similarity, "add": parameters.add.model_copy(update=add)})


def fill_queues(method: Method) -> None:
    """Put rows of the training split into the queues, so that a first step has something to compare with."""
    if "queue" in method.additions:
        queues = method.additions["queue"]
        assert isinstance(queues, Queues)
        generator = torch.Generator().manual_seed(8)
        for queue, rows, same in (
            (queues.images, torch.arange(IMAGES - 14, IMAGES), torch.arange(IMAGES - 14, IMAGES)),
            (queues.texts, torch.arange(len(OWNER) - 18, len(OWNER)), torch.from_numpy(OWNER[-18:])),
        ):  # fewer than there are places, more than a batch leaves out
            vectors = nn.functional.normalize(torch.randn(len(rows), 8, generator=generator), dim=1)
            queue.push(vectors, rows, same, torch.rand(len(rows), generator=generator))


def small_towers(kind: str, dropout: float) -> Towers | None:
    """None for features; "norms": the project's own; "kept": as if pretrained; "plain": without batch normalisation."""
    if kind == "features":
        return None
    towers = ScratchTowers(list("abcdefgh"), **SIZES)
    towers.new = kind != "kept"
    if kind == "plain":
        stages = towers.image_tower.stages
        for index, layer in enumerate(stages):
            if isinstance(layer, nn.BatchNorm2d):
                stages[index] = nn.GroupNorm(1, layer.num_features)
    for layer in towers.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = dropout
    return towers


def split(towers: Towers | None) -> Split:
    """The training data, with vectors of descriptions and captions beside it."""
    return beside(_split(towers))


def beside(found: Split) -> Split:
    """A split with vectors of descriptions and captions."""
    for each, name in ((found.images, "description"), (found.texts, "caption"), (found.root, "caption")):
        vectors = torch.randn(len(each), DESCRIPTION_WIDTH, generator=torch.Generator().manual_seed(7))
        each.description_vectors = {name: nn.functional.normalize(vectors, dim=1)}
    return found


def _split(towers: Towers | None) -> Split:
    generator = np.random.default_rng(1)
    if towers is None:
        concept = generator.normal(size=(IMAGES, 6))
        image = concept @ generator.normal(size=(6, 12))
        text = concept[OWNER] @ generator.normal(size=(6, 9)) + 0.1 * generator.normal(size=(len(OWNER), 9))
        image, text = (torch.from_numpy(values.astype(np.float32)) for values in (image, text))

        def inputs(pooled: Tensor, means: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> Inputs:
            """Pooled features, and tokens that are these with noise."""
            parts = [row + generator.normal(size=(n, len(row))) for row, n in zip(means, lengths, strict=True)]
            return Inputs(pooled, tokens=TokenRows.join(parts, means.shape[1]), token_rows=np.arange(len(means)))

        return Split(
            inputs(image, image.numpy(), np.full(IMAGES, 4)),
            inputs(text, text.numpy(), generator.integers(1, 6, len(OWNER))),
            OWNER,
            inputs(torch.zeros(1, 9), np.zeros((1, 9)), np.array([1])),
        )
    pixels = generator.integers(0, 256, (IMAGES, 16, 16, 3)).astype(np.uint8)
    # texts grow longer, so that the chunks of a batch differ in width
    ids = np.array([[2, *generator.integers(3, 11, 7)] for _ in OWNER])
    ids[np.arange(8) > generator.integers(1, 8, len(ids))[:, None]] = 0
    return Split(Inputs(raw=pixels), Inputs(raw=ids), OWNER, Inputs(raw=np.array([[2] + [0] * 7])))


def relations() -> Relations:
    generator = np.random.default_rng(2)
    keywords = sparse.csr_array(generator.integers(0, 2, (len(OWNER), 10)).astype(float))
    return Relations(OWNER, np.arange(IMAGES), generator.random(len(OWNER)), "paired", keywords)


def trainer(name: str, kind: str = "features", dropout: float = 0.0, **options: Any) -> Trainer:
    """A trainer; `options` are its keywords (checkpoint, progress, ...), `device`, and parameters of `train`."""
    device = torch.device(options.pop("device", "cpu"))
    own = {key: options.pop(key) for key in ("checkpoint", "progress", "group", "told") if key in options}
    seed_everything(0, 1)
    towers = small_towers(kind, dropout)
    parameters, method = train_parameters(**options), build(name, towers, dropout).to(device)
    encoder = Encoder(method, towers.to(device) if towers else None, device, parameters.precision)
    data = split(towers)
    return Trainer(encoder, data, data, relations(), parameters, 0, dev_figures(OWNER), 16, **own)


def gradients(
    name: str, kind: str = "features", dropout: float = 0.0, epoch: int = 50, group: Group | None = None, **changes: Any
) -> dict[str, torch.Tensor]:
    """The loss, all gradients, and the buffers after one batch, in float64."""
    with patch.object(torch.Tensor, "float", torch.Tensor.double):
        return _gradients(name, kind, dropout, epoch, group, **changes)


@functools.cache
def of_whole_batch(name: str, kind: str = "features") -> dict[str, torch.Tensor]:
    """The gradients of one process and one pass, which others must equal. Read only."""
    return gradients(name, kind)


def _gradients(
    name: str, kind: str, dropout: float, epoch: int, group: Group | None, **changes: Any
) -> dict[str, torch.Tensor]:
    seed_everything(0, 1)
    towers = small_towers(kind, dropout)
    encoder = Encoder(build(name, towers, dropout), towers, torch.device("cpu"))
    for addition in encoder.method.added.values() if towers else ():
        addition.watch(towers)
    encoder.train()
    fill_queues(encoder.method)
    modules: dict[str, nn.Module] = {"method": encoder.method} | ({"towers": towers} if towers else {})
    for module in modules.values():
        module.double()
    data = split(towers)
    for inputs in (data.images, data.texts, data.root):
        inputs.description_vectors = {name: values.double() for name, values in inputs.description_vectors.items()}
        if inputs.features is not None:
            inputs.features = inputs.features.double()
    parameters = train_parameters(**changes)
    stepper = Stepper(
        encoder,
        data,
        relations(),
        optimiser(encoder.method, towers, parameters),
        modules,
        parameters,
        0,
        group or Group(),
    )
    sampler = Sampler(OWNER, parameters.batch_images, parameters.captions_per_image, 0)
    torch.manual_seed(5)
    _, total = stepper.gradients(next(sampler.epoch(0)), Context(epoch=epoch))
    found = {"loss": total.detach(), "random": torch.get_rng_state()}
    for room, module in modules.items():
        for parameter, value in module.named_parameters():
            if value.grad is not None:
                found[f"{room}.{parameter}"] = value.grad
        found |= {f"{room}.{buffer}": value for buffer, value in module.named_buffers()}
    return found


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Equal up to the rounding of float64: no value differs by more than 1e-9 of its tensor's largest one."""
    assert found.keys() == expected.keys()
    assert len(found) > 4
    for name, value in expected.items():
        if name != "random":
            difference = (found[name] - value).abs().max().item()
            assert difference <= 1e-9 * value.abs().max().item() + 1e-12, f"{name}: {difference}"
