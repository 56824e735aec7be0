"""How deep in a tower a parameter lies, for learning rates that fall from the top layer to the input."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from itm.errors import TrainingError

_LAYER = re.compile(r"(?:resblocks|blocks|layers|layer|stages)\.(\d+)\.")
_ABOVE = re.compile(r"(?:^|\.)(?:proj|text_projection|ln_post|ln_final|norm|fc_norm|attn_pool|head|pooler)(?:\.|$)")
_IMAGE = re.compile(r"^(?:image_tower|model\.visual)\.")


@dataclass(frozen=True)
class _Place:
    tower: str
    layer: int | None
    above: bool


def heights(towers: nn.Module) -> dict[str, int]:
    """For each parameter's name, how many layers lie between it and the top of its tower.

    A tower is a stem (embeddings, positions, first convolution), a stack of layers, and what lies above it (last
    norm, projection: height 0). The last layer has height 1, the stem the largest. Layers are known by their names
    in open_clip, timm, transformers and the project's own towers.

    Raises:
        TrainingError: a tower has no stack of layers that is known (reason "no-layers").
    """
    places = {name: _place(name) for name, _ in towers.named_parameters()}
    top: dict[str, int] = {}
    for tower in ("image", "text"):
        layers = [place.layer for place in places.values() if place.tower == tower and place.layer is not None]
        if not layers:
            raise TrainingError(
                f"train.layer_decay: the {tower} tower ({type(towers).__name__}) has no stack of layers that is known; "
                "set train.layer_decay: 1",
                reason="no-layers",
            )
        top[tower] = max(layers)
    return {name: _height(place, top[place.tower]) for name, place in places.items()}


def _place(name: str) -> _Place:
    tower = "image" if _IMAGE.match(name) else "text"
    found = _LAYER.search(name)
    return _Place(tower, int(found[1]) if found else None, found is None and _ABOVE.search(name) is not None)


def _height(place: _Place, top: int) -> int:
    if place.above:
        return 0
    return top + 2 if place.layer is None else top + 1 - place.layer
