from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
from scene_examples import BLUE_SQUARE, RED_SQUARE, RED_STAR

from itm.config.data import ScenesParameters
from itm.data.scenes.captions import SCHEDULES, everything, relation_of
from itm.data.scenes.generate import scenes
from itm.data.scenes.records import Item, Requirement, requirement
from itm.data.scenes.truth import entails, grade, holds, multiplicity
from itm.data.scenes.wording import word

WORDINGS = [
    (requirement([{}]), "a shape"),
    (requirement([{"colour": "orange"}]), "an orange shape"),
    (requirement([{"shape": "cross"}] * 2), "two crosses"),
    (requirement([{"colour": "red"}] * 3), "three red shapes"),
    (requirement([{"shape": "star"}, {"shape": "heart"}]), "a star and a heart"),
    (requirement([{"shape": "star"}, {"shape": "heart"}, {}]), "a star, a heart and a shape"),
    (
        requirement([{"texture": "striped", "shape": "star", "size": "small", "colour": "blue"}]),
        "a small striped blue star",
    ),
    (requirement([{"shape": "star", "row": "top"}]), "a star at the top"),
    (requirement([{"shape": "star", "row": "bottom", "column": "left"}]), "a star in the bottom left corner"),
    (requirement([{"shape": "star"}], background="grey"), "a star on a grey background"),
    (requirement([{"shape": "star"}, {"shape": "heart"}], [(0, "below", 1)]), "a star below a heart"),
    (requirement([{"shape": "star"}, {"shape": "heart"}], [(1, "below", 0)]), "a heart below a star"),
    (
        requirement([{"shape": "star"}, {"shape": "heart"}, {"colour": "red"}], [(0, "below", 1), (0, "left of", 2)]),
        "a star below a heart and left of a red shape",
    ),
]


@pytest.mark.parametrize(("needed", "text"), WORDINGS)
def test_canonical_wording(needed: Requirement, text: str) -> None:
    assert word(needed) == text


def test_varied_wordings_of_one_meaning() -> None:
    needed = requirement([{"shape": "square", "texture": "striped"}, {"shape": "heart"}], [(0, "left of", 1)])
    rng = np.random.default_rng(0)
    texts = {word(needed, rng) for _ in range(300)}
    assert {"a striped square left of a heart", "a heart right of a striped square"} <= texts
    assert any("box" in text for text in texts)
    assert any("with stripes" in text for text in texts)
    assert any(text.startswith("there is a ") for text in texts)
    assert len(texts) > 40


def test_many_are_announced_in_the_plural() -> None:
    rng = np.random.default_rng(0)
    texts = {word(requirement([{"colour": "red"}] * 2), rng) for _ in range(200)}
    assert "there are two red shapes" in texts
    assert not any("there is" in text for text in texts)


def test_full_description_of_hand_checked_objects() -> None:
    assert word(everything([RED_SQUARE, RED_STAR, BLUE_SQUARE], "black")) == (
        "a large solid red square left of a small striped red star and above a small dotted blue square"
        " on a black background"
    )
    assert word(everything([RED_SQUARE], "")) == "a large solid red square in the top left corner"


def test_the_relation_is_the_one_along_the_longer_distance() -> None:
    assert relation_of(RED_SQUARE, RED_STAR) == "left of"
    assert relation_of(RED_STAR, RED_SQUARE) == "right of"
    assert relation_of(BLUE_SQUARE, RED_STAR) == "below"
    with pytest.raises(ValueError, match="no clear relation"):
        relation_of(RED_SQUARE, Item("star", "red", "small", "solid", 260, 260))


@pytest.mark.parametrize("count", [4, 5, 6, 7, 8])
@pytest.mark.parametrize("most", [1, 4])
def test_captions_are_true_distinct_and_in_order_of_level(small: ScenesParameters, count: int, most: int) -> None:
    parameters = small.model_copy(update={"captions_per_image": count, "maximum_objects": most})
    for scene in scenes(parameters, "train"):
        assert tuple(caption.level for caption in scene.captions) == SCHEDULES[count]
        assert len({caption.text for caption in scene.captions}) == count
        assert holds([caption.requirement for caption in scene.captions], [scene], np.zeros(count, dtype=int)).all()


def test_the_default_captions_fit_a_short_text_tower(default: ScenesParameters) -> None:
    lengths = [
        len(caption.text.split()) for scene in islice(scenes(default, "train"), 1000) for caption in scene.captions
    ]
    assert max(lengths) <= 28


def test_multiplicity_falls_steeply_with_level(default: ScenesParameters) -> None:
    found = list(islice(scenes(default, "test"), 500))
    captions = [caption for scene in found for caption in scene.captions]
    counts = multiplicity([caption.requirement for caption in captions], found)
    levels = np.array([caption.level for caption in captions])
    share = [counts[levels == level].mean() / len(found) for level in range(1, 6)]
    assert all(specific < 0.5 * generic for generic, specific in pairwise(share))
    assert 0.25 < share[0] < 0.45
    assert share[4] < 0.005
    assert 0.05 < counts.mean() / len(found) < 0.12


def test_chains_of_the_whole_test_split(default: ScenesParameters) -> None:
    found = list(scenes(default, "test"))
    levels = [[scene.chain[level].requirement for scene in found] for level in range(4)]
    own = np.arange(len(found))
    true = []
    for level, needed in enumerate(levels):
        assert all(scene.chain[level].level == level + 1 for scene in found)
        assert holds(needed, found, own).all()
        true.append(grade(needed, found) == 5)
    for (generic, specific), (more, fewer) in zip(pairwise(levels), pairwise(true), strict=True):
        assert entails(specific, generic).all()
        assert all(a.atoms < b.atoms for a, b in zip(generic, specific, strict=True))
        assert (more | ~fewer).all()
        assert fewer.sum() < 0.5 * more.sum()
    assert all(len({caption.text for caption in scene.chain}) == 4 for scene in found)
