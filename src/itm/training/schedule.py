"""The optimiser's groups, the learning-rate schedule, and the heights of layers that it falls with."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from itm.config.model import TrainParameters
from itm.errors import TrainingError
from itm.methods.method import Method
from itm.towers.base import Towers


def optimiser(method: Method, towers: Towers | None, parameters: TrainParameters) -> torch.optim.AdamW:
    """AdamW over the method's parameters and, unless frozen (None), the towers'.

    Weight decay applies to matrices (not to biases, norms and the temperature), or to all. Pretrained towers train at
    `tower_learning_rate`, new ones at `learning_rate`; with a layer decay d, a layer of height h (see `heights`) at
    that rate times d^h. The first group is one of the heads. A method's own text encoder has a rate of its own.
    """
    decay = parameters.weight_decay, parameters.weight_decay if parameters.weight_decay_on == "all" else 0.0
    words = [] if method.words is None else list(method.words.parameters())
    slow = {id(each) for each in words}
    others = [each for each in method.parameters() if id(each) not in slow]
    groups = _groups(others, parameters.learning_rate, decay)
    if method.words is not None:
        groups += _groups(words, parameters.learning_rate * method.words.options.rate, decay)
    if towers is not None:
        rate = parameters.learning_rate if towers.new else parameters.tower_learning_rate
        if parameters.layer_decay == 1:
            groups += _groups(towers.parameters(), rate, decay)
            return torch.optim.AdamW(groups, fused=True)
        floors: dict[int, list[nn.Parameter]] = {}
        height = heights(towers)
        for name, parameter in towers.named_parameters():
            floors.setdefault(height[name], []).append(parameter)
        for floor in sorted(floors):
            groups += _groups(floors[floor], rate * parameters.layer_decay**floor, decay)
    return torch.optim.AdamW(groups, fused=True)


def _groups(parameters: Iterable[nn.Parameter], rate: float, decay: tuple[float, float]) -> list[dict[str, object]]:
    """Groups of matrices and of all else, with the weight decay of each."""
    trained = [p for p in parameters if p.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2]
    others = [p for p in trained if p.ndim < 2]
    groups: list[dict[str, object]] = []
    for members, weight_decay in zip((matrices, others), decay, strict=True):
        if members:
            groups.append({"params": members, "lr": rate, "weight_decay": weight_decay, "peak": rate})
    return groups


def rate_factor(step: int, steps: int, warmup_fraction: float, drops: Sequence[int] = ()) -> float:
    """The share of the peak learning rate at a step: linear warm-up, then a half cosine down to zero.

    With `drops` there is no cosine: at each of these steps the rate falls to a tenth.

    >>> [round(rate_factor(s, 10, 0.2), 2) for s in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    >>> [round(rate_factor(s, 10, 0.2, (4, 8)), 3) for s in (0, 3, 4, 7, 8)]
    [0.5, 1.0, 0.1, 0.1, 0.01]
    """
    warmup = round(steps * warmup_fraction)
    if step < warmup:
        return (step + 1) / warmup
    if drops:
        return float(0.1 ** sum(step >= drop for drop in drops))
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


_LAYER = re.compile(r"(?:resblocks|blocks|layers|layer|stages)\.(\d+)\.")
_BELOW = re.compile(r"embed")
_ABOVE = re.compile(
    r"(?:^|\.)(?:proj|text_projection|ln_post|ln_final|norm|fc_norm|attn_pool|head|conv_head|bn2|pooler)(?:\.|$)"
)
_IMAGE = re.compile(r"^(?:image_tower|model\.visual)\.")


def heights(towers: nn.Module) -> dict[str, int]:
    """For each parameter's name, how many layers lie between it and the top of its tower.

    A tower is a stem (embeddings, positions, first convolution), a stack of layers, and what lies above it (last
    norm, projection: height 0). The last layer has height 1, the stem the largest. Layers are known by their names
    in open_clip, timm, transformers and the project's own towers.

    Raises:
        TrainingError: a tower has no stack of layers that is known (reason "no-layers").
    """
    names = [name for name, _ in towers.named_parameters()]
    # a layer starts at a matrix: a norm that stands beside it in the stack, not in it, is part of it
    starts: dict[str, set[int]] = {"image": set(), "text": set()}
    for name, parameter in towers.named_parameters():
        index = _index(name)
        if index is not None and parameter.ndim >= 2:
            starts[_tower(name)].add(index)
    for tower, found in starts.items():
        if not found:
            raise TrainingError(
                f"train.layer_decay: the {tower} tower ({type(towers).__name__}) has no stack of layers that is known; "
                "set train.layer_decay: 1",
                reason="no-layers",
            )
    return {name: _height(name, sorted(starts[_tower(name)])) for name in names}


def _height(name: str, starts: list[int]) -> int:
    index = _index(name)
    if index is not None:
        return len(starts) + 1 - max(bisect_right(starts, index), 1)
    return 0 if _ABOVE.search(name) and not _BELOW.search(name) else len(starts) + 1


def _index(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def _tower(name: str) -> str:
    return "image" if _IMAGE.match(name) else "text"
