"""Captions of a scene, from one attribute (level 1) to everything (level 5).

| level | says | example |
|---|---|---|
| 1 | one attribute of one object, or a number of objects | a square |
| 2 | two attributes of one object, or one attribute of two objects | two red shapes |
| 3 | three attributes, a place or the background, or two objects | a red square and a star |
| 4 | a relation between two objects; all attributes of the object when it is alone | a red square above a blue star |
| 5 | all objects with all attributes, relations and the background | ... |
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itm.data.scenes.chance import happens, pick, shuffled, weighted
from itm.data.scenes.logic import CLEARLY
from itm.data.scenes.records import Caption, Item, Relation, Requirement, Scene, requirement
from itm.data.scenes.vocabulary import CONVERSE
from itm.data.scenes.wording import word

LEVELS = (1, 2, 3, 4, 5)

#: The levels of a scene's captions, by their number.
SCHEDULES: dict[int, tuple[int, ...]] = {
    4: (1, 2, 3, 5),
    5: (1, 2, 3, 4, 5),
    6: (1, 2, 2, 3, 4, 5),
    7: (1, 1, 2, 3, 3, 4, 5),
    8: (1, 1, 2, 2, 3, 3, 4, 5),
}

_ALL = ("shape", "colour", "size", "texture")
_PLACE = ("row", "column")
_TWO_ATTRIBUTES: dict[Sequence[str], float] = {
    ("colour", "shape"): 0.68,
    ("texture", "shape"): 0.12,
    ("size", "shape"): 0.1,
    ("texture", "colour"): 0.06,
    ("size", "colour"): 0.04,
}
#: Captions of one scene differ in meaning, and fit a text tower that reads 32 tokens; after this many tries the
#: same meaning may come back in other words, and four objects may take more words.
_MOST_WORDS = 28
_TRIES = 10


def describe(scene: Scene, count: int, rng: np.random.Generator) -> tuple[Caption, ...]:
    """`count` captions of the scene (4 to 8), generic to specific, no two with the same text."""
    captions: list[Caption] = []
    told: set[Requirement] = set()
    texts: set[str] = set()
    for level in SCHEDULES[count]:
        tries = 0
        while True:
            tries += 1
            needed = _PLANS[level](scene, rng)
            text = word(needed, rng)
            fresh = needed not in told and len(text.split()) <= _MOST_WORDS
            if text not in texts and (fresh or tries > _TRIES):
                break
        told.add(needed)
        texts.add(text)
        captions.append(Caption(text, level, needed))
    return tuple(captions)


def tell(item: Item, names: Sequence[str]) -> dict[str, str]:
    """These attributes of an object, without those it does not have (a row or column near the middle).

    >>> tell(Item("star", "red", "small", "solid", 100, 500), ["colour", "row", "column"])
    {'colour': 'red', 'column': 'left'}
    """
    return {name: value for name in names if (value := getattr(item, name))}


def relation_of(first: Item, second: Item) -> str:
    """The clearest relation of two objects: the one along the axis on which they are further apart.

    Objects never overlap, so that one axis always separates them by more than CLEARLY.
    """
    across, down = second.x - first.x, second.y - first.y
    name, distance = ("left of", across) if abs(across) >= abs(down) else ("above", down)
    if abs(distance) < CLEARLY:
        raise ValueError(f"no clear relation between {first} and {second}")
    return name if distance > 0 else CONVERSE[name]


def everything(items: Sequence[Item], background: str) -> Requirement:
    """All attributes of all objects, the relation of the first to each other one, and the background.

    An object that is alone has no relations; its place in the image is told instead.
    """
    names = _ALL if len(items) > 1 else (*_ALL, *_PLACE)
    relations: list[Relation] = [(0, relation_of(items[0], other), k) for k, other in enumerate(items[1:], start=1)]
    return requirement([tell(item, names) for item in items], relations, background)


def _level_1(scene: Scene, rng: np.random.Generator) -> Requirement:
    weights: dict[str, float] = {"shape": 0.6, "colour": 0.25, "texture": 0.06, "size": 0.04, "": 0.02}
    if len(scene.items) > 1:
        weights["number"] = 0.06
    name = weighted(rng, weights)
    if name == "number":
        return requirement([{}] * len(scene.items))
    return requirement([tell(pick(rng, scene.items), [name]) if name else {}])


def _level_2(scene: Scene, rng: np.random.Generator) -> Requirement:
    item, *others = shuffled(rng, scene.items)
    for name in shuffled(rng, ("shape", "colour")):
        alike = [other for other in others if getattr(other, name) == getattr(item, name)]
        if alike and happens(rng, 0.4):
            return requirement([tell(item, [name])] * 2)
    if others and happens(rng, 0.1):
        return requirement([{"shape": item.shape}, {"shape": others[0].shape}])
    return requirement([tell(item, weighted(rng, _TWO_ATTRIBUTES))])


def _level_3(scene: Scene, rng: np.random.Generator) -> Requirement:
    item, *others = shuffled(rng, scene.items)
    both = tell(item, ("shape", "colour"))
    kind = weighted(rng, {"attribute": 0.4, "place": 0.15, "background": 0.1, "other": 0.35 if others else 0.0})
    if kind == "other":
        return requirement([both, tell(others[0], [weighted(rng, {"shape": 0.7, "colour": 0.3})])])
    if kind == "background":
        return requirement([both], background=scene.background)
    if kind == "place" and (place := tell(item, _PLACE)):
        return requirement([both | place])
    return requirement([both | tell(item, [pick(rng, ("size", "texture"))])])


def _level_4(scene: Scene, rng: np.random.Generator) -> Requirement:
    item, *others = shuffled(rng, scene.items)
    if not others:
        return requirement([tell(item, _ALL)])
    other = others[0]
    first = weighted(
        rng, {("shape", "colour"): 0.6, ("shape", "colour", "texture"): 0.2, ("shape", "colour", "size"): 0.2}
    )
    second = weighted(rng, {("shape", "colour"): 0.65, ("shape",): 0.35})
    return requirement([tell(item, first), tell(other, second)], [(0, relation_of(item, other), 1)])


def _level_5(scene: Scene, rng: np.random.Generator) -> Requirement:
    background = scene.background if len(scene.items) == 1 or happens(rng, 0.5) else ""
    return everything(shuffled(rng, scene.items), background)


_PLANS = {1: _level_1, 2: _level_2, 3: _level_3, 4: _level_4, 5: _level_5}


CHAIN_LEVELS = (1, 2, 3, 4)


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
    return tuple(Caption(word(needed), level, needed) for level, needed in zip(CHAIN_LEVELS, levels, strict=True))
