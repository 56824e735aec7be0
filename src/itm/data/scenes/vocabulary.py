"""The words of the built-in data set: attribute values, relations, and the ways to say them.

The first wording of a value is the canonical one; the others are synonyms that captions (never chains)
use now and then, so that equal meaning does not imply equal text.
"""

from __future__ import annotations

SHAPES = ("circle", "square", "triangle", "star", "cross", "heart")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white")
SIZES = ("small", "large")
TEXTURES = ("solid", "striped", "dotted")
ROWS = ("top", "bottom")
COLUMNS = ("left", "right")
BACKGROUNDS = ("black", "grey")

#: What a caption may say of one object, in the order of the atoms; an object near the middle has no row or column.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": COLOURS,
    "size": SIZES,
    "texture": TEXTURES,
    "row": ROWS,
    "column": COLUMNS,
}

#: Each relation and the one that says the same with the two objects swapped.
CONVERSE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}

#: Most objects that a scene, and most slots that a requirement, can have.
CAPACITY = 4

#: (singular, plural) of every shape; "shape" itself is the word for an object whose shape is not told.
NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "circle": (("circle", "circles"), ("disc", "discs")),
    "square": (("square", "squares"), ("box", "boxes")),
    "triangle": (("triangle", "triangles"),),
    "star": (("star", "stars"),),
    "cross": (("cross", "crosses"), ("plus sign", "plus signs")),
    "heart": (("heart", "hearts"),),
    "": (("shape", "shapes"), ("object", "objects"), ("figure", "figures")),
}

ADJECTIVES: dict[str, tuple[str, ...]] = {
    "red": ("red",),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green",),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "white": ("white",),
    "small": ("small", "little", "tiny"),
    "large": ("large", "big"),
    "solid": ("solid", "plain"),
    "striped": ("striped", "banded"),
    "dotted": ("dotted", "spotted"),
}

#: Textures that may also follow the noun: "a red square with stripes".
TRAILING = {"striped": "with stripes", "dotted": "with dots"}

RELATION_PHRASES: dict[str, tuple[str, ...]] = {
    "left of": ("left of", "to the left of", "on the left side of"),
    "right of": ("right of", "to the right of", "on the right side of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "beneath"),
}

#: Phrases for a place in the image, by (row, column); an empty string stands for "not told".
PLACE_PHRASES: dict[tuple[str, str], tuple[str, ...]] = {
    ("top", ""): ("at the top", "in the upper part"),
    ("bottom", ""): ("at the bottom", "in the lower part"),
    ("", "left"): ("on the left", "at the left side"),
    ("", "right"): ("on the right", "at the right side"),
    ("top", "left"): ("in the top left corner", "in the upper left"),
    ("top", "right"): ("in the top right corner", "in the upper right"),
    ("bottom", "left"): ("in the bottom left corner", "in the lower left"),
    ("bottom", "right"): ("in the bottom right corner", "in the lower right"),
}

BACKGROUND_PHRASES = ("on a {} background", "against a {} background", "in front of a {} background")

NUMBERS: dict[int, tuple[str, ...]] = {2: ("two", "a pair of"), 3: ("three",), 4: ("four",)}

#: Openings of a caption: (before a single thing, before several).
FRAMES = (
    ("there is {}", "there are {}"),
    ("here is {}", "here are {}"),
    ("this is {}", "these are {}"),
    ("an image of {}", "an image of {}"),
    ("a picture with {}", "a picture with {}"),
)
