"""Hinge losses with a scalar or a pairwise margin, over the hardest, all, or the mean of the negatives."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Mining = Literal["hardest", "sum", "mean"]


def hinge(similarities: Tensor, positives: Tensor, margin: Tensor | float, mining: Mining) -> Tensor:
    """The mean over positive pairs of the hinge against the negatives of their row.

    For a positive (i, p) and a negative n of i: [M_in + s_in - s_ip]_+ (VSE++, Faghri et al. 2018, eq. 6, with a
    margin for each pair). "hardest" takes the largest hinge value, with its margin inside: picking the largest
    similarity instead would let a relaxed margin change the loss but never which negative is mined. "sum" adds
    all, "mean" averages them (the warm-up).

    Args:
        similarities: (rows, columns) float.
        positives: (rows, columns) bool; positives are never negatives of their row.
        margin: a number, or (rows, columns) float.
    """
    rows, columns = positives.nonzero(as_tuple=True)
    if isinstance(margin, float | int):
        margin = torch.full_like(similarities, float(margin))
    against = (margin + similarities).masked_fill(positives, -torch.inf)
    if mining == "hardest":
        return (against.amax(1)[rows] - similarities[rows, columns]).clamp(min=0).mean()
    values = (against[rows] - similarities[rows, columns].unsqueeze(1)).clamp(min=0)
    total = values.sum(1)
    if mining == "mean":
        total = total / (~positives).sum(1).clamp(min=1)[rows]
    return total.mean()


def symmetric_hinge(similarities: Tensor, positives: Tensor, margin: Tensor | float, mining: Mining) -> Tensor:
    """The sum of the image-to-text and the text-to-image hinge; one margin matrix serves both directions."""
    transposed = margin.T if isinstance(margin, Tensor) else margin
    return hinge(similarities, positives, margin, mining) + hinge(similarities.T, positives.T, transposed, mining)
