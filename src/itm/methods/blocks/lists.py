"""The captions that are ranked for each image: its own, and mined ones of other images in the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Lists:
    """One list an image, padded. index: (images, width) long, rows of texts. mask: (images, width) bool, in use."""

    index: Tensor
    mask: Tensor

    def of_texts(self, values: Tensor) -> Tensor:
        """The values (images, width) of the listed captions, from one value a caption (texts,)."""
        return values[self.index]

    def of_pairs(self, values: Tensor) -> Tensor:
        """The values (images, width) of the listed captions, from one value a pair (images, texts)."""
        return values.gather(1, self.index)


def own_lists(owner: Tensor, images: int) -> Lists:
    """The captions that were drawn for each image.

    >>> lists = own_lists(torch.tensor([1, 0, 1]), 2)
    >>> lists.index.tolist(), lists.mask.tolist()
    ([[1, 0], [0, 2]], [[True, False], [True, True]])
    """
    counts = torch.bincount(owner, minlength=images)
    order = torch.argsort(owner, stable=True)
    place = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner[order]]
    index = owner.new_zeros(images, int(counts.max()))
    index[owner[order], place] = order
    return Lists(index, torch.arange(index.shape[1], device=owner.device) < counts.unsqueeze(1))


def with_mined(own: Lists, candidates: Tensor, similarities: Tensor, limit: int) -> Lists:
    """Own captions, and after them the `limit` candidates that score highest for each image (fewer where there
    are fewer). candidates: (images, texts) bool, must hold none of the own. similarities: (images, texts).

    >>> own = own_lists(torch.tensor([0, 1, 1]), 2)
    >>> mined = with_mined(own, torch.tensor([[False, True, True], [False] * 3]), torch.tensor([[0, 1, 2.0]] * 2), 1)
    >>> mined.index[0][mined.mask[0]].tolist(), mined.index[1][mined.mask[1]].tolist()
    ([0, 2], [1, 2])
    """
    scored = similarities.detach().masked_fill(~candidates, -torch.inf)
    best = scored.topk(min(limit, scored.shape[1]), dim=1)
    return Lists(torch.cat([own.index, best.indices], 1), torch.cat([own.mask, best.values > -torch.inf], 1))
