"""The addition `queue`: many more negatives than a batch holds, from a slow twin of the encoders."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from itm.methods.method import Addition, Context, Embedded, Labels, Losses, Method, Similarity, Term, step_of
from itm.towers.base import FeatureMaker, Features, batch_norms

if TYPE_CHECKING:
    from itm.config.additions import QueueParameters

KEY = "queue_key"


class Queues(Addition):
    """Two queues of what the twin made of the last images and captions, with their rows.

    The twin follows the similarity and, where they are trained, the towers: keys in the queue must be of one kind,
    however old they are. Frozen towers are there once.
    """

    train_only = True
    towers: Twin | None

    def __init__(self, parameters: QueueParameters, similarity: Similarity, dimension: int) -> None:
        super().__init__()
        self.options = parameters
        self.twin = Twin(similarity, parameters.momentum)
        self.images, self.texts = Queue(parameters.size, dimension), Queue(parameters.size, dimension)
        self.towers = None

    def watch(self, trained: FeatureMaker) -> None:
        """From now on the twin has towers (or words) of its own, which follow these."""
        assert isinstance(trained, nn.Module)
        self.towers = Twin(trained, self.options.momentum)
        self._followed = (trained,)  # in a tuple: a module of its own would be trained and saved twice

    def image(self, embedded: Embedded, features: Features) -> Embedded:
        """In training, with the twin's embedding beside."""
        return self._with_key(embedded, features, "image")

    def text(self, embedded: Embedded, features: Features) -> Embedded:
        """In training, with the twin's embedding beside."""
        return self._with_key(embedded, features, "text")

    def _with_key(self, embedded: Embedded, features: Features, kind: str) -> Embedded:
        if not self.training:
            return embedded
        with torch.no_grad():
            if self.towers is not None:
                features = self.towers.module.again(features, kind)  # type: ignore[operator]
            key: Tensor = getattr(self.twin.module, f"encode_{kind}")(features).embedding
        return replace(embedded, extra={**embedded.extra, KEY: functional.normalize(key, dim=-1).detach()})

    def first_step(self, steps: int) -> int:
        """By `start`."""
        return step_of(self.options.start, steps)

    def losses(self, method: Method, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """InfoNCE of both directions against the queues, from the step `start` on; the mean of the two.

        The positive of an image is the twin's embedding of each of its captions, and the other way round. Entries of
        the same image (by content) are no negatives unless `mask_same` is off; what the loss relaxes it relaxes here.
        """
        if not self.training or context.step < self.first_step(context.steps):
            return Losses({})
        image, text = images.unit(self.options.query), texts.unit(self.options.query)
        image_keys, text_keys = images.extra[KEY].detach(), texts.extra[KEY].detach()
        owner = labels.owner
        queued_texts, queued_images = with_queued_texts(labels, self.texts), with_queued_images(labels, self.images)
        forth = self._against(
            (image[owner] * text_keys).sum(1),
            image @ self.texts.vectors.T,
            self._excluded(queued_texts.positives, self.texts),
            method.loss.negative_share(queued_texts, context),
            owner,
        )
        back = self._against(
            (text * image_keys[owner]).sum(1),
            text @ self.images.vectors.T,
            self._excluded(queued_images.positives.T, self.images),
            _turned(method.loss.negative_share(queued_images, context)),
            None,
        )
        return Losses({"queue": Term((forth + back) / 2, self.options.weight)})

    def _excluded(self, same: Tensor, queue: Queue) -> Tensor:
        """(rows, queue) bool: empty places, and entries of the row's own image."""
        empty = (queue.rows < 0).expand_as(same)
        return empty | same if self.options.mask_same else empty

    def _against(
        self, own: Tensor, against: Tensor, excluded: Tensor, share: Tensor | None, rows: Tensor | None
    ) -> Tensor:
        """The loss of one direction. `rows`: which row of the others each of `own` goes with; None = its own."""
        if self.options.margin:
            against = against + (self.options.margin if share is None else self.options.margin * share)
            share = None
        if rows is not None:
            against, excluded, share = against[rows], excluded[rows], None if share is None else share[rows]
        return queue_info_nce(own, against, ~excluded, self.options.temperature, share)

    def after_step(self, method: Method, images: Embedded, texts: Embedded, labels: Labels) -> None:
        """Let the twin follow, and put the batch's keys into the queues."""
        self.twin.follow(method.similarity)
        if self.towers is not None:
            self.towers.follow(self._followed[0])
        if labels.image_rows is None or labels.text_rows is None or labels.image_same is None:
            raise ValueError("the queue needs Labels.image_rows, text_rows and image_same")
        assert labels.text_same is not None
        # of an image that is there with several captions, dn is that of its labels
        self.images.push(images.extra[KEY], labels.image_rows, labels.image_same, labels.image_descriptiveness)
        self.texts.push(texts.extra[KEY], labels.text_rows, labels.text_same, labels.descriptiveness)


def with_queued_texts(labels: Labels, queue: Queue) -> Labels:
    """The labels of the batch's images with queued captions."""
    assert labels.image_same is not None
    return replace(
        labels,
        positives=labels.image_same.unsqueeze(1) == queue.same.unsqueeze(0),
        owner=torch.full_like(queue.rows, -1),
        descriptiveness=queue.score.to(labels.descriptiveness.dtype),
        containment=_containment(labels, labels.image_rows, queue.rows),
        text_rows=queue.rows,
        text_same=queue.same,
    )


def with_queued_images(labels: Labels, queue: Queue) -> Labels:
    """The labels of queued images with the batch's captions."""
    assert labels.text_same is not None
    return replace(
        labels,
        positives=queue.same.unsqueeze(1) == labels.text_same.unsqueeze(0),
        owner=torch.full_like(labels.owner, -1),
        image_descriptiveness=queue.score.to(labels.image_descriptiveness.dtype),
        containment=_containment(labels, queue.rows, labels.text_rows),
        image_rows=queue.rows,
        image_same=queue.same,
    )


def _containment(labels: Labels, image_rows: Tensor | None, text_rows: Tensor | None) -> Tensor | None:
    if labels.containment_of is None:
        return None
    assert image_rows is not None
    assert text_rows is not None
    # empty places have no row; what is found for them is left out with them
    return labels.containment_of(image_rows.clamp(min=0), text_rows.clamp(min=0))


def _turned(share: Tensor | None) -> Tensor | None:
    return None if share is None else share.T


class Twin(nn.Module):
    """A copy of a module whose parameters follow it slowly: t <- m t + (1 - m) w after each step.

    The twin has no gradient and no dropout. Its batch normalisation takes the batch's statistics, as that of what it
    follows does in training (and MoCo's twin does): running ones are those of other weights. Buffers are copied.
    """

    def __init__(self, module: nn.Module, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.module.eval()
        for _, layer in batch_norms(self.module):
            layer.train()

    def train(self, mode: bool = True) -> Twin:
        """Nothing: the twin stays as it is."""
        return self

    @torch.no_grad()
    def follow(self, module: nn.Module) -> None:
        """Take in the weights after a step."""
        for mine, weights in zip(self.module.parameters(), module.parameters(), strict=True):
            mine.data.lerp_(weights, 1 - self.momentum)
        for own, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            own.copy_(buffer)


class Queue(nn.Module):
    """The last `size` vectors that were pushed, with what is known of each, in buffers.

    Attributes:
        vectors: (size, dimension) float.
        rows: (size,) long, names an image or caption; -1 where nothing has been pushed yet.
        same: (size,) long, equal values are copies of one image or captions of copies; -1 likewise.
        score: (size,) float, descriptiveness (checkpoints know the buffer by this name).
        pushed: () long, how many there have been in all.
    """

    vectors: Tensor
    rows: Tensor
    same: Tensor
    score: Tensor
    pushed: Tensor

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("vectors", torch.zeros(size, dimension))
        self.register_buffer("rows", torch.full((size,), -1))
        self.register_buffer("same", torch.full((size,), -1))
        self.register_buffer("score", torch.zeros(size))
        self.register_buffer("pushed", torch.tensor(0))

    @torch.no_grad()
    def push(self, vectors: Tensor, rows: Tensor, same: Tensor, descriptiveness: Tensor) -> None:
        """Put in rows, in place of the oldest; of more rows than the queue holds the last ones stay."""
        first = max(len(vectors) - self.size, 0)
        places = (torch.arange(first, len(vectors), device=vectors.device) + self.pushed) % self.size
        self.vectors[places] = vectors[first:].to(self.vectors.dtype)
        self.rows[places], self.same[places] = rows[first:], same[first:]
        self.score[places] = descriptiveness[first:].to(self.score.dtype)
        self.pushed += len(vectors)

    def full(self) -> bool:
        """Whether every place has been filled."""
        return int(self.pushed) >= self.size


def queue_info_nce(
    own: Tensor, against: Tensor, negatives: Tensor, temperature: float, weight: Tensor | None = None
) -> Tensor:
    """The mean over rows of -log( exp(s/T) / (exp(s/T) + sum of W_n exp(s_n/T) over negatives n) ).

    This is the loss of MoCo (He et al. 2020, eq. 1) with a share W_n of each negative. A row without any negative
    counts 0, with a gradient of zero.

    Args:
        own: (rows,) float, similarity with the positive.
        against: (rows, queue) float, similarities with what is queued.
        negatives: (rows, queue) bool.
        temperature: > 0.
        weight: (rows, queue) float 0..1, share of each negative; None = 1 everywhere.

    >>> value = queue_info_nce(torch.tensor([1.0]), torch.tensor([[1.0, 1.0]]), torch.tensor([[True, False]]), 0.5)
    >>> round(value.item(), 6)
    0.693147
    """
    logits = against / temperature
    if weight is not None:
        negatives = negatives & (weight > 0)
        logits = logits + weight.clamp(min=torch.finfo(weight.dtype).tiny).log()
    total = torch.logsumexp(logits.masked_fill(~negatives, -torch.inf), 1)
    return nn.functional.softplus(total - own / temperature).mean()
