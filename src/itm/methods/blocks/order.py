"""Order terms: an image's captions ranked from generic to specific."""

from __future__ import annotations

import torch
from torch import Tensor

from itm.methods.blocks.list_order import rises
from itm.methods.blocks.lists import own_lists


def ordered_pairs(score: Tensor, owner: Tensor, gap: float) -> tuple[Tensor, Tensor]:
    """Rows (p, q) of captions of one image whose scores differ by more than `gap`, p the more generic; sorted.

    >>> p, q = ordered_pairs(torch.tensor([0.9, 0.1, 0.5]), torch.tensor([0, 0, 1]), 0.05)
    >>> p.tolist(), q.tolist()
    ([1], [0])
    """
    # by image: a matrix of all captions with all would cost more than the loss itself in a large batch
    lists = own_lists(owner, int(owner.max()) + 1)
    image, above, below = rises(lists.of_texts(score), lists.mask, gap).nonzero(as_tuple=True)
    generic, specific = lists.index[image, below], lists.index[image, above]
    order = torch.argsort(generic * len(owner) + specific)  # the order of the batch, whatever the lists' is
    return generic[order], specific[order]


def order_hinge(values: Tensor, score: Tensor, owner: Tensor, margin: float, gap: float) -> Tensor:
    """The mean of [margin * (d_q - d_p) + v_p - v_q]_+ over an image's caption pairs with d_q - d_p > gap.

    With v = similarity to the image this is the cross-modal generic-to-specific term (DITM, inferred; the shape
    follows the ladder loss, Zhou et al. 2020); with v = distance from the empty caption it is its radial form.
    Zero, with a gradient of zero, where no pair is ordered.

    Args:
        values: (texts,) float, what should rise with descriptiveness.
        score: (texts,) float, descriptiveness 0..1.
        owner: (texts,) long, the image of each caption.

    >>> similarities, score, owner = torch.tensor([0.5, 0.4]), torch.tensor([0.0, 1.0]), torch.tensor([0, 0])
    >>> round(order_hinge(similarities, score, owner, 0.1, 0.05).item(), 6)
    0.2
    """
    generic, specific = ordered_pairs(score, owner, gap)
    if generic.numel() == 0:
        return values.sum() * 0
    return (margin * (score[specific] - score[generic]) + values[generic] - values[specific]).clamp(min=0).mean()


def radius(texts: Tensor, root: Tensor) -> Tensor:
    """Euclidean distance (texts,) of unit text vectors from the unit vector of the empty caption, 0..2.

    Computed as sqrt(2 - 2 cos) with a floor inside the root, so that its gradient stays finite at the root itself.
    """
    return (2 - 2 * (texts * root).sum(-1)).clamp(min=1e-8).sqrt()
