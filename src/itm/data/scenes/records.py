"""A scene, its captions and what a caption requires, as frozen records and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from itm.data.layout import SPLITS
from itm.data.scenes.vocabulary import ATTRIBUTES, BACKGROUNDS, CAPACITY, CONVERSE
from itm.errors import DataError, first_few, nearest

#: Positions are whole thousandths of the image side, so that every comparison is exact on every machine.
SCALE = 1000
#: Up to here (and from SCALE minus here) an object counts as left or top (right or bottom).
SIDE = 400


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a scene; (x, y) is its centre in thousandths of the side, y grows downwards."""

    shape: str
    colour: str
    size: str
    texture: str
    x: int
    y: int

    @property
    def row(self) -> str:
        """``"top"``, ``"bottom"``, or ``""`` near the middle."""
        return "top" if self.y <= SIDE else "bottom" if self.y >= SCALE - SIDE else ""

    @property
    def column(self) -> str:
        """``"left"``, ``"right"``, or ``""`` near the middle."""
        return "left" if self.x <= SIDE else "right" if self.x >= SCALE - SIDE else ""


#: What is required of one object: (attribute, value) pairs in the order of ATTRIBUTES; () = any object.
Slot = tuple[tuple[str, str], ...]
#: (slot, relation, slot): the first slot's object stands in this relation to the second's.
Relation = tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class Requirement:
    """What must hold for a caption to be true: distinct objects for its slots, relations, a background."""

    slots: tuple[Slot, ...]
    relations: tuple[Relation, ...] = ()
    background: str = ""

    @property
    def atoms(self) -> int:
        """The number of single conditions: attributes, bare slots ("a shape"), relations, background."""
        return sum(max(1, len(slot)) for slot in self.slots) + len(self.relations) + (self.background != "")


@dataclass(frozen=True, slots=True)
class Caption:
    """A text, its true descriptive level (1 = most generic) and what it requires."""

    text: str
    level: int
    requirement: Requirement


@dataclass(frozen=True, slots=True)
class Scene:
    """One image: what is in it, what is said of it, and (in the test split) its generic-to-specific chain."""

    image_id: str
    split: str
    items: tuple[Item, ...]
    background: str
    captions: tuple[Caption, ...] = ()
    chain: tuple[Caption, ...] = ()
    held_out: bool = False


def requirement(
    slots: Iterable[Mapping[str, str]], relations: Iterable[Relation] = (), background: str = ""
) -> Requirement:
    """A checked requirement, with the attributes of each slot in their fixed order, and every relation once.

    >>> requirement([{"shape": "square", "colour": "red"}, {}]).slots
    ((('shape', 'square'), ('colour', 'red')), ())

    Raises:
        DataError: no slot or more than CAPACITY, an unknown attribute, value, relation or background, a relation
            that names a missing slot or joins a slot with itself.
    """
    ordered = []
    for slot in slots:
        for name, value in slot.items():
            if name not in ATTRIBUTES:
                raise DataError(f"requirement: unknown attribute {name!r}; {nearest(str(name), ATTRIBUTES)}")
            _known(f"requirement: {name}", value, ATTRIBUTES[name])
        ordered.append(tuple((name, slot[name]) for name in ATTRIBUTES if name in slot))
    if not 1 <= len(ordered) <= CAPACITY:
        raise DataError(f"requirement: {len(ordered)} slots; a requirement has 1 to {CAPACITY}")
    joined: list[Relation] = []
    for first, name, second in relations:
        _known("requirement: relation", name, CONVERSE)
        if first == second or not (0 <= first < len(ordered) and 0 <= second < len(ordered)):
            raise DataError(
                f"requirement: relation ({first}, {name!r}, {second}) must join two of slots 0 to {len(ordered) - 1}"
            )
        if not {(first, name, second), (second, CONVERSE[name], first)} & set(joined):
            joined.append((first, name, second))
    if background:
        _known("requirement: background", background, BACKGROUNDS)
    return Requirement(tuple(ordered), tuple(joined), background)


def to_json(scene: Scene) -> dict[str, Any]:
    """The scene as plain JSON values, one line of scenes.jsonl."""
    return {
        "image_id": scene.image_id,
        "split": scene.split,
        "held_out": scene.held_out,
        "background": scene.background,
        "objects": [asdict(item) for item in scene.items],
        "captions": [_caption_to_json(caption) for caption in scene.captions],
        "chain": [_caption_to_json(caption) for caption in scene.chain],
    }


def from_json(values: Mapping[str, Any]) -> Scene:
    """The scene that `to_json` wrote.

    Raises:
        DataError: a key is missing, a value is of the wrong type or not in the vocabulary.
    """
    try:
        scene = Scene(
            values["image_id"],
            values["split"],
            tuple(_item(item) for item in values["objects"]),
            values["background"],
            tuple(_caption(caption) for caption in values["captions"]),
            tuple(_caption(caption) for caption in values["chain"]),
            values["held_out"],
        )
    except KeyError as error:
        raise DataError(f"missing key {error}", reason="missing-key") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"a value of the wrong type: {error}", reason="type") from None
    if not isinstance(scene.image_id, str) or not scene.image_id:
        raise DataError(f"image_id {scene.image_id!r}; a name is needed", reason="type")
    _known("split", scene.split, SPLITS)
    _known("background", scene.background, BACKGROUNDS)
    if not 1 <= len(scene.items) <= CAPACITY:
        raise DataError(f"{len(scene.items)} objects; a scene has 1 to {CAPACITY}")
    if not scene.captions:
        raise DataError("no caption; a scene has at least one")
    return scene


def _item(values: Mapping[str, Any]) -> Item:
    item = Item(**values)
    for name in ("shape", "colour", "size", "texture"):
        _known(name, getattr(item, name), ATTRIBUTES[name])
    for name, place in (("x", item.x), ("y", item.y)):
        if not isinstance(place, int) or not 0 <= place <= SCALE:
            raise DataError(f"{name} = {place!r}; a position is a whole number from 0 to {SCALE}")
    return item


def _caption_to_json(caption: Caption) -> dict[str, Any]:
    needed = caption.requirement
    return {
        "text": caption.text,
        "level": caption.level,
        "requirement": {
            "objects": [dict(slot) for slot in needed.slots],
            "relations": [list(relation) for relation in needed.relations],
            "background": needed.background,
        },
    }


def _caption(values: Mapping[str, Any]) -> Caption:
    needed = values["requirement"]
    relations = [(first, name, second) for first, name, second in needed["relations"]]
    return Caption(
        str(values["text"]), int(values["level"]), requirement(needed["objects"], relations, needed["background"])
    )


def _known(what: str, value: object, known: Iterable[str]) -> None:
    known = tuple(known)
    if value not in known:
        hint = nearest(value, known) if isinstance(value, str) else "known: " + first_few(known, limit=len(known))
        raise DataError(f"{what} {value!r} is not known; {hint}", reason="vocabulary")
