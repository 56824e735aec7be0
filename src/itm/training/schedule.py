"""The optimiser's groups and the learning-rate schedule."""

from __future__ import annotations

import math

import torch
from torch import nn

from itm.config.model import TrainParameters
from itm.methods.interface import Method
from itm.towers.base import Towers


def optimiser(method: Method, towers: Towers | None, parameters: TrainParameters) -> torch.optim.AdamW:
    """AdamW over the method's parameters and, unless frozen (None), the towers'.

    Weight decay applies to matrices only (not to biases, norms and the temperature). Pretrained towers train at
    `tower_learning_rate`, new ones at `learning_rate`.
    """
    groups = _groups(method, parameters.learning_rate, parameters.weight_decay)
    if towers is not None:
        rate = parameters.learning_rate if towers.new else parameters.tower_learning_rate
        groups += _groups(towers, rate, parameters.weight_decay)
    return torch.optim.AdamW(groups, fused=True)


def _groups(module: nn.Module, rate: float, decay: float) -> list[dict[str, object]]:
    trained = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2]
    others = [p for p in trained if p.ndim < 2]
    groups: list[dict[str, object]] = []
    for members, weight_decay in ((matrices, decay), (others, 0.0)):
        if members:
            groups.append({"params": members, "lr": rate, "weight_decay": weight_decay, "peak": rate})
    return groups


def rate_factor(step: int, steps: int, warmup_fraction: float) -> float:
    """The share of the peak learning rate at a step: linear warm-up, then a half cosine down to zero.

    >>> [round(rate_factor(s, 10, 0.2), 2) for s in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    warmup = round(steps * warmup_fraction)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))
