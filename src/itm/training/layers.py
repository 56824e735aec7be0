"""How deep in a tower a parameter lies, for learning rates that fall from the top layer to the input."""

from __future__ import annotations

import re
from bisect import bisect_right

from torch import nn

from itm.errors import TrainingError

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
