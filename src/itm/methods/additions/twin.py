"""A slow twin of the encoders, queues of what it gave, and the loss against them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


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
        for part in self.module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.train()

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
        score: (size,) float, descriptiveness.
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
    def push(self, vectors: Tensor, rows: Tensor, same: Tensor, score: Tensor) -> None:
        """Put in rows, in place of the oldest; of more rows than the queue holds the last ones stay."""
        first = max(len(vectors) - self.size, 0)
        places = (torch.arange(first, len(vectors), device=vectors.device) + self.pushed) % self.size
        self.vectors[places] = vectors[first:].to(self.vectors.dtype)
        self.rows[places], self.same[places] = rows[first:], same[first:]
        self.score[places] = score[first:].to(self.score.dtype)
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
