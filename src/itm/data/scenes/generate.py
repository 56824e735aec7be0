"""The scenes of a split, one at a time, from the seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from itm.config.data import ScenesParameters
from itm.data.layout import SPLITS
from itm.data.scenes.captions import chain, describe
from itm.data.scenes.chance import Use, generator, happens, pick, shuffled, weighted
from itm.data.scenes.records import SCALE, Item, Scene
from itm.data.scenes.vocabulary import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES

#: Radius of the circle around an object, in thousandths of the image side.
RADIUS = {"small": 155, "large": 230}

#: Free space around an object: to the edge of the image, and to the next object.
_EDGE, _GAP = 25, 20

#: Large objects that a scene has room for.
_MOST_LARGE = 2

#: How often an object takes its shape or its colour from the one before ("two red shapes" must occur).
_ECHO = 0.3


def held_out_combinations(seed: int, fraction: float) -> frozenset[tuple[str, str]]:
    """The (shape, colour) combinations that only the test split shows.

    They are spread over the table of shapes and colours, so that every shape and every colour stays in training.

    >>> len(held_out_combinations(0, 0.1)), len(held_out_combinations(0, 0.0))
    (4, 0)
    """
    rng = generator(seed, Use.HELD_OUT)
    shapes, colours = shuffled(rng, SHAPES), shuffled(rng, COLOURS)
    table = [
        (shape, colours[(row + shift) % len(colours)])
        for shift in range(len(colours))
        for row, shape in enumerate(shapes)
    ]
    return frozenset(table[: round(fraction * len(table))])


def scenes(parameters: ScenesParameters, split: str, *, captions: bool = True) -> Iterator[Scene]:
    """The scenes of a split in order; memory does not grow with their number.

    Without captions only what is in the scenes is drawn, which is all that a picture needs.
    """
    count = {"train": parameters.train_images, "dev": parameters.dev_images, "test": parameters.test_images}[split]
    held_out = held_out_combinations(parameters.seed, parameters.held_out_fraction)
    for index in range(count):
        drawn = _arrange(parameters, split, index, held_out)
        yield _describe(drawn, parameters, index) if captions else drawn


def all_scenes(parameters: ScenesParameters, *, captions: bool = True) -> Iterator[Scene]:
    """The scenes of train, dev and test, in this order."""
    for split in SPLITS:
        yield from scenes(parameters, split, captions=captions)


def _arrange(parameters: ScenesParameters, split: str, index: int, held_out: frozenset[tuple[str, str]]) -> Scene:
    """What is in the scene number `index` of a split."""
    rng = generator(parameters.seed, Use.OBJECTS, split, index)
    background = pick(rng, BACKGROUNDS)
    most = parameters.maximum_objects
    count = weighted(rng, {number: most + 1 - number for number in range(1, most + 1)})
    items = _items(rng, count, held_out if split != "test" else frozenset())
    novel = any((item.shape, item.colour) in held_out for item in items)
    return Scene(f"{split}-{index:06d}", split, items, background, held_out=novel)


def _describe(drawn: Scene, parameters: ScenesParameters, index: int) -> Scene:
    """The scene with its captions, and in the test split with its chain."""
    rng = generator(parameters.seed, Use.CAPTIONS, drawn.split, index)
    captions = describe(drawn, parameters.captions_per_image, rng)
    levels = chain(drawn, generator(parameters.seed, Use.CHAIN, drawn.split, index)) if drawn.split == "test" else ()
    return replace(drawn, captions=captions, chain=levels)


def _items(rng: np.random.Generator, count: int, excluded: frozenset[tuple[str, str]]) -> tuple[Item, ...]:
    sizes = [pick(rng, SIZES) for _ in range(count)]
    while sizes.count("large") > _MOST_LARGE:
        sizes[sizes.index("large")] = "small"
    sizes.sort(key=lambda size: -RADIUS[size])
    items: list[Item] = []
    for size, (x, y) in shuffled(rng, list(zip(sizes, _places(rng, [RADIUS[size] for size in sizes]), strict=True))):
        while True:
            shape, colour = pick(rng, SHAPES), pick(rng, COLOURS)
            if items and happens(rng, _ECHO):
                shape, colour = (items[-1].shape, colour) if happens(rng, 0.5) else (shape, items[-1].colour)
            if (shape, colour) not in excluded:
                break
        items.append(Item(shape, colour, size, pick(rng, TEXTURES), x, y))
    return tuple(items)


def _places(rng: np.random.Generator, radii: list[int]) -> list[tuple[int, int]]:
    """Centres such that no two objects touch and none leaves the image; the larger objects come first.

    Centres are drawn until they fit; a layout that has become too full to finish is begun again.
    """
    while True:
        places: list[tuple[int, int]] = []
        for radius in radii:
            low, span = radius + _EDGE, SCALE - 2 * (radius + _EDGE) + 1
            for _ in range(12):
                x, y = low + int(rng.random() * span), low + int(rng.random() * span)
                if all(
                    (x - u) ** 2 + (y - v) ** 2 >= (radius + other + _GAP) ** 2
                    for (u, v), other in zip(places, radii, strict=False)
                ):
                    places.append((x, y))
                    break
            else:
                break
        if len(places) == len(radii):
            return places
