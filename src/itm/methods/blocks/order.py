"""Order terms: an image's captions ranked from generic to specific."""

from __future__ import annotations

import torch
from torch import Tensor


def ordered_pairs(score: Tensor, owner: Tensor, gap: float) -> tuple[Tensor, Tensor]:
    """Rows (p, q) of captions of one image whose scores differ by more than `gap`, p the more generic, in order.

    >>> p, q = ordered_pairs(torch.tensor([0.9, 0.1, 0.5]), torch.tensor([0, 0, 1]), 0.05)
    >>> p.tolist(), q.tolist()
    ([1], [0])
    """
    # captions of an image stand side by side in this order: their pairs are found without comparing all with all
    order = torch.argsort(owner, stable=True)
    largest = int(torch.bincount(owner).max()) if len(owner) else 0
    ahead = [torch.stack([order[:-shift], order[shift:]]) for shift in range(1, largest)]
    if not ahead:
        return order[:0], order[:0]
    pairs = torch.cat([*ahead, *(both.flip(0) for both in ahead)], 1)
    generic, specific = pairs[:, (owner[pairs[0]] == owner[pairs[1]]) & (score[pairs[1]] - score[pairs[0]] > gap)]
    rows = torch.argsort(generic * len(owner) + specific)
    return generic[rows], specific[rows]


def order_hinge(values: Tensor, score: Tensor, owner: Tensor, margin: float, gap: float) -> Tensor:
    """The mean of [margin * (d_q - d_p) + v_p - v_q]_+ over an image's caption pairs with d_q - d_p > gap.

    With v = similarity to the image this is the cross-modal generic-to-specific term (DITM, inferred; the shape
    follows the ladder loss, Zhou et al. 2020); with v = distance from the empty caption it is its radial form.
    Zero, with a gradient of zero, where no pair is ordered.

    Args:
        values: (texts,) float, what should rise with descriptiveness.
        score: (texts,) float, descriptiveness 0..1.
        owner: (texts,) long, the image of each caption.

    >>> import torch
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
