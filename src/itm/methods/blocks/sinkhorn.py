"""Soft assignments of a batch to prototypes that use every prototype equally often."""

from __future__ import annotations

import math

import torch
from torch import Tensor


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Codes (rows, prototypes) >= 0 whose rows sum to 1 and whose columns sum to about rows / prototypes; no gradient.

    Q = diag(u) exp(scores / epsilon) diag(v), by turns scaled to equal columns and to unit rows (Cuturi 2013; as SwAV
    uses it, Caron et al. 2020, section 3.1). The last scaling is that of the rows: they sum to 1 exactly, the columns
    only in the limit. Computed on logarithms: exp(1 / 0.05) twice over is more than half precision holds.

    Args:
        scores: (rows, prototypes) float, e.g. inner products with unit prototypes.
        epsilon: softness > 0; towards 0 each row goes to one prototype.
        iterations: 1 or more.

    >>> sinkhorn(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), 1.0, 3).tolist()  # one prototype cannot have both rows
    [[0.5, 0.5], [0.5, 0.5]]
    """
    log = scores / epsilon
    share = math.log(len(scores) / scores.shape[1])
    for _ in range(iterations):
        log = log - torch.logsumexp(log, 0, keepdim=True) + share
        log = log - torch.logsumexp(log, 1, keepdim=True)
    return log.exp()
