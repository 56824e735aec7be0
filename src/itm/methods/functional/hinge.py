"""Hinge losses with a scalar or a pairwise margin, over the hardest, semi-hard, all, or the mean of the negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from itm.config.losses import Mining, Reduction

    Negatives = Mining | Literal["mean"]


def hinge(
    similarities: Tensor,
    positives: Tensor,
    margin: Tensor | float,
    mining: Negatives,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The mean or sum over positive pairs of the hinge against the negatives of their row.

    For a positive (i, p) and a negative n of i: W_in [M_in + s_in - s_ip]_+ (VSE++, Faghri et al. 2018, eq. 6, with
    a margin and a weight for each pair). "hardest" takes the largest value, with its margin and weight inside:
    picking the largest similarity instead would let a relaxed margin change the loss but never which negative is
    mined. "semi_hard" takes the largest value among negatives with s_in < s_ip (Schroff et al. 2015, section 3.2)
    and 0 where there is none: what scores above a positive is likely a false negative. "sum" adds all, "mean"
    averages them (the warm-up). Zero, with a gradient of zero, where there is no positive or no negative.

    Args:
        similarities: (rows, columns) float.
        positives: (rows, columns) bool; positives are never negatives of their row.
        margin: a number, or (rows, columns) float.
        weight: (rows, columns) float 0..1, 0 for a pair that is no negative either; None = 1 everywhere.

    >>> row, positives = torch.tensor([[0.5, 0.6, 0.4]]), torch.tensor([[True, False, False]])
    >>> [round(hinge(row, positives, 0.2, mining).item(), 6) for mining in ("hardest", "semi_hard", "sum", "mean")]
    [0.3, 0.1, 0.4, 0.2]
    """
    rows, columns = positives.nonzero(as_tuple=True)
    if rows.numel() == 0:
        return similarities.sum() * 0
    if isinstance(margin, float | int):
        margin = torch.full_like(similarities, float(margin))
    against = (margin + similarities).masked_fill(positives, -torch.inf)
    if mining == "hardest" and weight is None:
        return reduced((against.amax(1)[rows] - similarities[rows, columns]).clamp(min=0), reduction)
    own = similarities[rows, columns].unsqueeze(1)
    values = (against[rows] - own).clamp(min=0)
    if weight is not None:
        values = values * weight[rows]
    if mining == "semi_hard":
        values = values.masked_fill(similarities[rows] >= own, 0)
    if mining in ("hardest", "semi_hard"):
        return reduced(values.amax(1), reduction)
    total = values.sum(1)
    if mining == "mean":
        total = total / (~positives).sum(1).clamp(min=1)[rows]
    return reduced(total, reduction)


def reduced(values: Tensor, reduction: Reduction) -> Tensor:
    """The sum or the mean of the values."""
    return values.sum() if reduction == "sum" else values.mean()


def symmetric_hinge(
    similarities: Tensor,
    positives: Tensor,
    margin: Tensor | float,
    mining: Negatives,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The sum of the image-to-text and the text-to-image hinge; one margin and weight matrix serves both directions."""
    turned = margin.T if isinstance(margin, Tensor) else margin
    weight_turned = None if weight is None else weight.T
    forth = hinge(similarities, positives, margin, mining, weight, reduction)
    return forth + hinge(similarities.T, positives.T, turned, mining, weight_turned, reduction)
