"""Hand-made scenes, random requirements, and what is true by the plainest possible reading."""

from __future__ import annotations

from itertools import permutations

from hypothesis import strategies as st

from itm.data.scenes.records import Item, Requirement, Scene, requirement
from itm.data.scenes.vocabulary import ATTRIBUTES, BACKGROUNDS, CONVERSE

RED_SQUARE = Item("square", "red", "large", "solid", 250, 250)
RED_STAR = Item("star", "red", "small", "striped", 750, 300)
BLUE_SQUARE = Item("square", "blue", "small", "dotted", 500, 800)


def scene(*items: Item, background: str = "black", image_id: str = "test-000000") -> Scene:
    return Scene(image_id, "test", items, background)


def reference(needed: Requirement, seen: Scene) -> int:
    """The most atoms that hold, by trying every way to give the slots distinct objects (or none when too few)."""
    objects = [*seen.items, *[None] * (len(needed.slots) - len(seen.items))]
    best = 0
    for chosen in permutations(range(len(objects)), len(needed.slots)):
        found = [objects[k] for k in chosen]
        count = int(needed.background == seen.background)
        for slot, item in zip(needed.slots, found, strict=True):
            if item is not None:
                count += sum(getattr(item, name) == value for name, value in slot) if slot else 1
        for first, name, second in needed.relations:
            a, b = found[first], found[second]
            if a is not None and b is not None:
                count += {
                    "left of": b.x - a.x >= 150,
                    "right of": a.x - b.x >= 150,
                    "above": b.y - a.y >= 150,
                    "below": a.y - b.y >= 150,
                }[name]
        best = max(best, count)
    return best


places = st.integers(0, 20).map(lambda step: 50 * step)
items = st.builds(
    Item,
    shape=st.sampled_from(ATTRIBUTES["shape"][:3]),
    colour=st.sampled_from(ATTRIBUTES["colour"][:3]),
    size=st.sampled_from(ATTRIBUTES["size"]),
    texture=st.sampled_from(ATTRIBUTES["texture"]),
    x=places,
    y=places,
)
scenes = st.builds(
    lambda found, background: scene(*found, background=background),
    st.lists(items, min_size=1, max_size=4),
    st.sampled_from(BACKGROUNDS),
)
slots = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values[:3]) for name, values in ATTRIBUTES.items()}
).map(lambda slot: dict(list(slot.items())[:3]))


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    told = draw(st.lists(slots, min_size=1, max_size=4))
    pairs = [(a, b) for a in range(len(told)) for b in range(len(told)) if a != b]
    joined = draw(st.lists(st.sampled_from(pairs), max_size=2, unique=True)) if pairs else []
    relations = [(a, draw(st.sampled_from(sorted(CONVERSE))), b) for a, b in joined]
    return requirement(told, relations, draw(st.sampled_from(("", *BACKGROUNDS))))
