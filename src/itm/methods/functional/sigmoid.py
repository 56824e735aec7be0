"""The pairwise sigmoid loss: each pair of a batch is a yes-or-no question of its own."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def sigmoid_loss(logits: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of all pairs, summed over a row and averaged over rows (SigLIP, Zhai et al. 2023).

    sum_j y_ij softplus(-l_ij) + W_ij (1 - y_ij) softplus(l_ij). With y of 0 and 1 this is SigLIP's loss for any
    number of positives; its bias must be part of the logits. No softmax, so pairs do not compete with each other.

    Args:
        logits: (rows, columns) float.
        targets: (rows, columns) float 0..1.
        weight: (rows, columns) float 0..1, weight of the "no" part of each pair; None = 1 everywhere.

    >>> import torch
    >>> round(sigmoid_loss(torch.zeros(2, 3), torch.eye(2, 3)).item(), 6)
    2.079442
    """
    no = (1 - targets) * functional.softplus(logits)
    if weight is not None:
        no = no * weight
    return (targets * functional.softplus(-logits) + no).sum(1).mean()
