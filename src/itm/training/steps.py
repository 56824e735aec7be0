"""One training step: a batch encoded whole, in chunks or as one of several processes, and its gradient followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from itm.config.model import TrainParameters
from itm.errors import TrainingError, first_few
from itm.methods.method import Context, Embedded, Labels, Losses
from itm.methods.scoring import concatenate
from itm.towers.base import batch_norms
from itm.training.batches import BatchRows, Rows
from itm.training.distributed import Group, synchronise_norms
from itm.training.inputs import Encoder, Inputs, Split
from itm.training.relations import Relations


@dataclass
class Taken:
    """What a step leaves to be told: the losses, their sum, and the gradient's norm before clipping."""

    losses: Losses
    total: Tensor
    gradient_norm: Tensor


class Stepper:
    """Takes training steps on one split.

    Raises:
        TrainingError: the batch cannot be cut as asked (reasons "batch-norm", "uneven-shares").
    """

    def __init__(
        self,
        encoder: Encoder,
        train: Split,
        relations: Relations,
        optimiser: torch.optim.Optimizer,
        modules: dict[str, nn.Module],
        parameters: TrainParameters,
        seed: int,
        group: Group,
    ) -> None:
        self.encoder, self.train, self.relations = encoder, train, relations
        self.optimiser, self.parameters, self.seed, self.group = optimiser, parameters, seed, group
        self.trained = [p for each in optimiser.param_groups for p in each["params"]]
        self.batch: tuple[Embedded, Embedded, Labels] | None = None
        # float16 cannot hold small gradients: the loss is scaled up, and the gradients down again before the step
        self.scaler = torch.amp.GradScaler("cuda", enabled=encoder.type == torch.float16)
        if parameters.chunk_images:
            check_chunks(modules)
        if parameters.batch_images % group.size:
            raise TrainingError(
                f"train.batch_images: {parameters.batch_images} images cannot be shared equally by {group.size} "
                f"processes; use a multiple of {group.size}",
                reason="uneven-shares",
            )
        for module in modules.values():
            synchronise_norms(module, group)

    def take(self, rows: BatchRows, context: Context) -> Taken:
        """Change the weights by one step on a batch."""
        losses, total = self.gradients(rows, context)
        self.scaler.unscale_(self.optimiser)
        if self.parameters.gradient_clip:
            norm = nn.utils.clip_grad_norm_(self.trained, self.parameters.gradient_clip)
        else:
            norm = nn.utils.get_total_norm([p.grad for p in self.trained if p.grad is not None])
        self.scaler.step(self.optimiser)
        self.scaler.update()
        assert self.batch is not None
        self.encoder.method.after_step(*self.batch)
        return Taken(losses, total, norm)

    def gradients(self, rows: BatchRows, context: Context) -> tuple[Losses, Tensor]:
        """The losses of a batch; the parameters' `grad` holds the gradient of their sum (scaled, for float16)."""
        encoder, method, device, group = self.encoder, self.encoder.method, self.encoder.device, self.group
        with group.own_randomness(device, self.seed, context.step):
            images, image_chunks = self._encode(encoder.images, self.train.images, rows.images, 1)
            each = len(rows.captions) // len(rows.images)
            texts, text_chunks = self._encode(encoder.texts, self.train.texts, rows.captions, each)
        images, texts = group.gather(images), group.gather(texts)
        if method.requires.root:
            context.root = encoder.texts(self.train.root.batch(np.zeros(1, np.int64), device))
        labels = self.relations.labels(rows, method.requires, device)
        losses = method.losses(images, texts, labels, context)
        total = losses.total()
        self.optimiser.zero_grad(set_to_none=True)
        share = total if group.size == 1 else total / group.size
        self.scaler.scale(share).backward()  # type: ignore[no-untyped-call]
        for chunk in (*image_chunks, *text_chunks):
            chunk.backward()
        group.sum_gradients(self.trained)
        self.batch = images.detach(), texts.detach(), labels
        return losses, total

    def _encode(
        self, encode: Callable[..., Embedded], inputs: Inputs, rows: Rows, rows_an_image: int
    ) -> tuple[Embedded, list[Chunk]]:
        """This process's share of the rows, and the chunks that wait for its gradients."""
        device, rows = self.encoder.device, self.group.share(rows)
        if not self.parameters.chunk_images:
            return encode(inputs.batch(rows, device)), []

        def encoded(part: Rows) -> Embedded:
            return encode(inputs.batch(part, device))

        chunks = [
            Chunk(partial(encoded, part), device) for part in _cut(rows, self.parameters.chunk_images * rows_an_image)
        ]
        return concatenate([chunk.embedded for chunk in chunks]), chunks


def _cut(rows: Rows, length: int) -> Iterator[Rows]:
    for start in range(0, len(rows), length):
        yield rows[start : start + length]


class Chunk:
    """A chunk encoded without a graph; `embedded` are leaves that collect the gradients of a loss."""

    def __init__(self, encode: Callable[[], Embedded], device: torch.device) -> None:
        self.encode, self.device = encode, device
        self.random = torch.get_rng_state()
        self.random_cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        with torch.no_grad():
            found = encode()
        self.embedded = found
        for leaf in _differentiable(found):
            leaf.requires_grad_()

    def backward(self) -> None:
        """Encode again, with a graph, and send the collected gradients through it."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.set_rng_state(self.random)
            if self.random_cuda is not None:
                torch.cuda.set_rng_state(self.random_cuda, self.device)
            again = self.encode()
        outputs, gradients = [], []
        for output, leaf in zip(_differentiable(again), _differentiable(self.embedded), strict=True):
            if output.requires_grad and leaf.grad is not None:
                outputs.append(output)
                gradients.append(leaf.grad)
        if outputs:
            torch.autograd.backward(outputs, gradients)


def _differentiable(embedded: Embedded) -> list[Tensor]:
    tokens = [] if embedded.tokens is None else [embedded.tokens]
    return [embedded.embedding, *tokens, *embedded.extra.values()]


def check_chunks(modules: dict[str, nn.Module]) -> None:
    """Refuse modules in which the images of a batch meet before the loss.

    Raises:
        TrainingError: there is batch normalisation, whose statistics would be those of a chunk (reason "batch-norm").
    """
    found = [f"{room}.{name}" for room, module in modules.items() for name, _ in batch_norms(module)]
    if found:
        raise TrainingError(
            f"train.chunk_images: {len(found)} layers normalise over the batch ({first_few(found)}), so a chunk's "
            "gradients would not be the batch's; set train.chunk_images: 0, or use pretrained towers or some "
            "without such layers",
            reason="batch-norm",
        )
