from __future__ import annotations

import numpy as np
import pytest
from scene_examples import scene

from itm.config.data import ScenesParameters
from itm.data.scenes.generate import scenes
from itm.data.scenes.records import Item, Scene
from itm.data.scenes.render import PAINT, render
from itm.data.scenes.vocabulary import BACKGROUNDS, COLOURS, SHAPES


def pixels(seen: Scene, size: int = 64, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    return render(seen, size, noise, seed).astype(int)


def alone(shape: str, colour: str, size: str = "large", texture: str = "solid", background: str = "black") -> Scene:
    return scene(Item(shape, colour, size, texture, 500, 500), background=background)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_centre_of_a_solid_object_has_its_colour(shape: str, colour: str, background: str) -> None:
    image = pixels(alone(shape, colour, background=background))
    centre = image[30:35, 30:35].mean(axis=(0, 1))
    names = list(PAINT)
    hues = np.array([PAINT[name] for name in names], dtype=float)
    # Light changes brightness: compare directions, after white is told by its lack of colour.
    if centre.min() / centre.max() > 0.8:
        nearest = "white"
    else:
        directions = hues / np.linalg.norm(hues, axis=1, keepdims=True)
        nearest = names[int(np.argmax(directions @ centre / np.linalg.norm(centre)))]
    assert nearest == colour


def test_objects_stand_out_from_both_backgrounds() -> None:
    for colour in COLOURS:
        for background in BACKGROUNDS:
            image = pixels(alone("square", colour, background=background))
            inside, outside = image[30:35, 30:35].mean(axis=(0, 1)), image[:6].mean(axis=(0, 1))
            assert np.abs(inside - outside).max() > 50, (colour, background)


def covered(seen: Scene) -> int:
    image = pixels(seen)
    ground = image[:8].mean(axis=(0, 1))
    return int((np.abs(image - ground).max(axis=2) > 40).sum())


@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_differ_clearly(shape: str) -> None:
    assert covered(alone(shape, "white", "large")) > 1.8 * covered(alone(shape, "white", "small"))


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("shape", SHAPES)
def test_textures_differ_clearly(shape: str, size: str) -> None:
    images = [pixels(alone(shape, "yellow", size, texture)) for texture in ("solid", "striped", "dotted")]
    for a in range(3):
        for b in range(a):
            strong = np.abs(images[a] - images[b]).max(axis=2) > 60
            assert strong.sum() >= (20 if size == "large" else 8), (shape, size, a, b)


def test_objects_are_where_the_scene_says() -> None:
    image = pixels(scene(Item("circle", "white", "small", "solid", 200, 800)))
    rows, columns = np.nonzero(image.min(axis=2) > 150)
    assert columns.mean() == pytest.approx(0.2 * 64, abs=1)
    assert rows.mean() == pytest.approx(0.8 * 64, abs=1)


def test_equal_scenes_and_seeds_give_equal_pixels() -> None:
    seen = alone("star", "blue", texture="striped")
    first = pixels(seen, noise=0.04)
    np.testing.assert_array_equal(first, pixels(seen, noise=0.04))
    assert (first != pixels(seen, noise=0.04, seed=1)).any()


def test_noise_has_the_stated_strength() -> None:
    seen = alone("star", "blue", background="grey")
    difference = pixels(seen, 128, noise=0.05) - pixels(seen, 128)
    assert difference[:16].std() == pytest.approx(0.05 * 255, rel=0.05)
    assert abs(difference[:16].mean()) < 0.5


@pytest.mark.parametrize("size", [16, 33, 64, 224])
def test_any_size(default: ScenesParameters, size: int) -> None:
    seen = next(scenes(default, "test", captions=False))
    image = render(seen, size, 0.04, 0)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
