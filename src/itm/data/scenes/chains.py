"""Four texts of an image from generic to specific, each entailed by the next, as in HierarCaps."""

from __future__ import annotations

import numpy as np

from itm.data.scenes.captions import everything
from itm.data.scenes.chance import happens, pick, shuffled, weighted
from itm.data.scenes.records import Caption, Requirement, Scene, requirement
from itm.data.scenes.wording import word

LEVELS = (1, 2, 3, 4)


def chain(scene: Scene, rng: np.random.Generator) -> tuple[Caption, ...]:
    """The chain of a scene: an attribute, an object, the object with more, the whole scene.

    The full description comes first; each more generic level leaves atoms of the level below out. The wording is
    canonical, because a benchmark that compares texts must not have two texts of one meaning.
    """
    items = shuffled(rng, scene.items)
    full = everything(items, scene.background if len(items) == 1 or happens(rng, 0.5) else "")
    focus = dict(full.slots[0])
    object_ = weighted(rng, {("shape", "colour"): 0.8, ("shape", "texture"): 0.12, ("shape", "size"): 0.08})
    attribute = object_[0] if happens(rng, 0.65) else object_[1]
    if len(items) > 1:
        known = dict(full.slots[1])
        more = requirement(
            [{name: focus[name] for name in object_}, {name: known[name] for name in ("shape", "colour")}],
            full.relations[:1],
        )
    else:
        third = pick(rng, [name for name in ("colour", "size", "texture") if name not in object_])
        more = requirement([{name: focus[name] for name in (*object_, third)}])
    levels: tuple[Requirement, ...] = (
        requirement([{attribute: focus[attribute]}]),
        requirement([{name: focus[name] for name in object_}]),
        more,
        full,
    )
    return tuple(Caption(word(needed), level, needed) for level, needed in zip(LEVELS, levels, strict=True))
