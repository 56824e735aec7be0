"""The optimiser's groups and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from itm.config.model import TrainParameters
from itm.methods.method import Method
from itm.towers.base import Towers
from itm.training.layers import heights


def optimiser(method: Method, towers: Towers | None, parameters: TrainParameters) -> torch.optim.AdamW:
    """AdamW over the method's parameters and, unless frozen (None), the towers'.

    Weight decay applies to matrices only (not to biases, norms and the temperature). Pretrained towers train at
    `tower_learning_rate`, new ones at `learning_rate`; with a layer decay d, a layer of height h (see `heights`) at
    that rate times d^h. The first group is one of the heads.
    """
    groups = _groups(method.parameters(), parameters.learning_rate, parameters.weight_decay)
    if towers is not None:
        rate = parameters.learning_rate if towers.new else parameters.tower_learning_rate
        if parameters.layer_decay == 1:
            groups += _groups(towers.parameters(), rate, parameters.weight_decay)
            return torch.optim.AdamW(groups, fused=True)
        floors: dict[int, list[nn.Parameter]] = {}
        height = heights(towers)
        for name, parameter in towers.named_parameters():
            floors.setdefault(height[name], []).append(parameter)
        for floor in sorted(floors):
            groups += _groups(floors[floor], rate * parameters.layer_decay**floor, parameters.weight_decay)
    return torch.optim.AdamW(groups, fused=True)


def _groups(parameters: Iterable[nn.Parameter], rate: float, decay: float) -> list[dict[str, object]]:
    trained = [p for p in parameters if p.requires_grad]
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
