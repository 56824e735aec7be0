"""Relevance gates: how far a caption is about what an image's own captions say, whatever its descriptiveness."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from itm.methods.interface import Labels

Gate = Literal["containment", "text_cosine", "none"]


def gate_of(kind: Gate, labels: Labels, texts: Tensor | None) -> Tensor:
    """The relevance gate gamma (images, texts), 0..1, without a gradient; 1 everywhere for "none".

    Raises:
        ValueError: the gate needs `Labels.containment` or embedded texts, and there are none.
    """
    if kind == "none":
        return torch.ones(labels.positives.shape, dtype=labels.score.dtype, device=labels.score.device)
    if kind == "text_cosine":
        if texts is None:
            raise ValueError("the text_cosine gate needs embedded texts")
        return text_cosine(texts, labels.owner, len(labels.positives))
    if labels.containment is None:
        raise ValueError("the containment gate needs Labels.containment")
    return labels.containment


@torch.no_grad()
def text_cosine(texts: Tensor, owner: Tensor, images: int) -> Tensor:
    """gamma_ab = the largest cosine, at least 0, of caption b with a caption of image a in the batch.

    Args:
        texts: (texts, dimension) unit vectors.
        owner: (texts,) long, the image of each caption.
        images: number of images; one without a caption has a gate of 0.

    >>> text_cosine(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), torch.tensor([0, 0, 1]), 2)[0].tolist()
    [1.0, 1.0, 0.800000011920929]
    """
    cosines = (texts @ texts.T).clamp(0, 1)
    gate = cosines.new_zeros(images, len(texts))
    return gate.scatter_reduce(0, owner.unsqueeze(1).expand_as(cosines), cosines, "amax")
