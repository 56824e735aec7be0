from __future__ import annotations

import tracemalloc
from collections import Counter, deque
from itertools import combinations, islice

import pytest

from itm.config.data import ScenesParameters
from itm.data.scenes.captions import relation_of
from itm.data.scenes.generate import RADIUS, all_scenes, held_out_combinations, scenes
from itm.data.scenes.records import SCALE
from itm.data.scenes.vocabulary import COLOURS, SHAPES


def test_splits_come_in_order_with_their_sizes(small: ScenesParameters) -> None:
    found = list(all_scenes(small))
    assert [scene.split for scene in found] == ["train"] * 60 + ["dev"] * 20 + ["test"] * 40
    assert len({scene.image_id for scene in found}) == 120
    assert all((len(scene.chain) == 4) == (scene.split == "test") for scene in found)


def test_a_scene_does_not_depend_on_the_others(small: ScenesParameters) -> None:
    more = small.model_copy(update={"train_images": 100, "test_images": 300})
    assert list(scenes(small, "test")) == list(islice(scenes(more, "test"), 40))
    without = list(scenes(small, "test", captions=False))
    assert [scene.items for scene in without] == [scene.items for scene in scenes(small, "test")]
    assert all(scene.captions == () for scene in without)


def test_the_seed_and_the_split_change_the_scenes(small: ScenesParameters) -> None:
    other = small.model_copy(update={"seed": 1})
    first = [scene.items for scene in scenes(small, "dev", captions=False)]
    assert first != [scene.items for scene in scenes(other, "dev", captions=False)]
    assert first != [scene.items for scene in islice(scenes(small, "train", captions=False), 20)]


def test_held_out_combinations_are_in_the_test_split_only(default: ScenesParameters) -> None:
    held_out = held_out_combinations(default.seed, default.held_out_fraction)
    assert len(held_out) == 4
    seen: dict[str, Counter[tuple[str, str]]] = {"train": Counter(), "dev": Counter(), "test": Counter()}
    for scene in all_scenes(default, captions=False):
        shown = [(item.shape, item.colour) for item in scene.items]
        seen[scene.split].update(shown)
        assert scene.held_out == bool(held_out & set(shown))
    assert not held_out & (seen["train"].keys() | seen["dev"].keys())
    assert held_out <= seen["test"].keys()
    assert len(seen["train"]) == len(SHAPES) * len(COLOURS) - 4


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_every_shape_and_colour_stays_in_training(fraction: float) -> None:
    for seed in range(20):
        held_out = held_out_combinations(seed, fraction)
        assert len(held_out) == round(fraction * 42)
        kept = {(shape, colour) for shape in SHAPES for colour in COLOURS} - held_out
        assert {shape for shape, _ in kept} == set(SHAPES)
        assert {colour for _, colour in kept} == set(COLOURS)


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_objects_stay_apart_inside_the_image_and_clearly_related(small: ScenesParameters, most: int) -> None:
    counts = set()
    for scene in scenes(
        small.model_copy(update={"maximum_objects": most, "train_images": 300}), "train", captions=False
    ):
        counts.add(len(scene.items))
        for item in scene.items:
            assert RADIUS[item.size] <= min(item.x, item.y)
            assert max(item.x, item.y) <= SCALE - RADIUS[item.size]
        for a, b in combinations(scene.items, 2):
            assert (a.x - b.x) ** 2 + (a.y - b.y) ** 2 > (RADIUS[a.size] + RADIUS[b.size]) ** 2
            relation_of(a, b)
    assert counts == set(range(1, most + 1))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_scenes(default: ScenesParameters) -> None:
    stream = scenes(default, "train")
    deque(islice(stream, 600), maxlen=0)  # what is imported and cached at the first use
    tracemalloc.start()
    deque(islice(stream, 600), maxlen=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000  # one scene and its photo; 600 of them would be millions
