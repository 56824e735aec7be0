from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene_examples import BLUE_SQUARE, RED_SQUARE, RED_STAR, reference, requirements, scene, scenes

from itm.config.data import ScenesParameters
from itm.data.scenes import generate, truth
from itm.data.scenes.logic import requirement_facts, scene_facts
from itm.data.scenes.records import Requirement, Scene, requirement
from itm.data.scenes.truth import entails, grade, holds, multiplicity, similarity, similarity_of_pairs
from itm.data.scenes.vocabulary import ATTRIBUTES
from itm.errors import DataError

RED = requirement([{"colour": "red"}])
SQUARE = requirement([{"shape": "square"}])
RED_SQUARES = requirement([{"shape": "square", "colour": "red"}] * 2)
NEAR = requirement([{"shape": "square"}, {"shape": "star"}], [(0, "left of", 1)], background="black")


def test_grades_of_a_hand_checked_table() -> None:
    seen = [scene(RED_SQUARE, RED_STAR), scene(BLUE_SQUARE, background="grey"), scene(RED_STAR)]
    table = grade([RED, SQUARE, RED_SQUARES, NEAR], seen)
    np.testing.assert_allclose(table, [[5, 5, 3.75, 5], [0, 5, 1.25, 1.25], [5, 0, 1.25, 2.5]], rtol=1e-6)
    assert table.dtype == np.float32
    assert table.flags.c_contiguous


@given(st.lists(requirements(), min_size=1, max_size=6), st.lists(scenes, min_size=1, max_size=5))
def test_grade_is_five_exactly_for_true_captions(asked, seen) -> None:  # type: ignore[no-untyped-def]
    table = grade(asked, seen)
    true = np.array([[reference(needed, one) == needed.atoms for needed in asked] for one in seen])
    np.testing.assert_array_equal(table == 5.0, true)
    assert table.min() >= 0
    assert table[~true].max(initial=0) < 5
    np.testing.assert_array_equal(multiplicity(asked, seen), true.sum(axis=0))
    rows, columns = (index.ravel() for index in np.indices(true.shape))
    np.testing.assert_array_equal(holds([asked[k] for k in columns], seen, rows), true.ravel())


def assert_sound(asked: list[Requirement], seen: list[Scene]) -> int:
    """Whenever one entails another, every scene of which it is true is one of which the other is true."""
    true = grade(asked, seen) == 5
    found = 0
    for column, needed in enumerate(asked):
        followed = entails([needed] * len(asked), asked)
        found += int(followed.sum())
        assert (true[:, followed] | ~true[:, [column]]).all()
    return found


@given(st.lists(requirements(), min_size=2, max_size=6), st.lists(scenes, min_size=1, max_size=6))
def test_entailment_of_random_requirements_is_sound(asked, seen) -> None:  # type: ignore[no-untyped-def]
    assert assert_sound(asked, seen) >= len(asked)


@pytest.mark.parametrize("middle", range(4))
def test_relations_that_follow_are_entailed(middle: int) -> None:
    shapes = [{"shape": name} for name in ATTRIBUTES["shape"][:4]]
    first, last, _ = (slot for slot in range(4) if slot != middle)
    row = requirement(shapes, [(first, "left of", middle), (middle, "left of", last)])
    assert entails([row], [requirement(shapes, [(first, "left of", last)])])[0]
    assert not entails([row], [requirement(shapes, [(last, "left of", first)])])[0]


def test_entailment_of_captions_is_sound(default: ScenesParameters) -> None:
    found = list(islice(generate.scenes(default, "test"), 200))
    asked = [caption.requirement for scene in found[:40] for caption in scene.captions]
    assert assert_sound(asked, found) > 3 * len(asked)


@given(st.lists(requirements(), min_size=2, max_size=6))
def test_similarity_of_captions_is_symmetric_and_five_for_one_meaning(asked) -> None:  # type: ignore[no-untyped-def]
    facts = requirement_facts(asked)
    table = similarity(facts, facts)
    np.testing.assert_array_equal(table, table.T)
    assert (np.diagonal(table) == 5).all()
    assert table.min() >= 0
    for a, first in enumerate(asked):
        for b, second in enumerate(asked):
            both = entails([first], [second])[0] and entails([second], [first])[0]
            assert (table[a, b] == 5) == both
    np.testing.assert_array_equal(
        similarity_of_pairs(facts, facts[::-1]), [table[k, -1 - k] for k in range(len(asked))]
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (RED, RED, 5.0),
        (RED, SQUARE, 0.0),
        (RED, requirement([{"shape": "square", "colour": "red"}]), 5 * 2 / 3),
        (requirement([{}]), SQUARE, 5 * 1 / 2),
        (requirement([{"colour": "red"}] * 2), RED, 5 * 2 / 3),
    ],
)
def test_similarity_of_hand_checked_captions(first, second, expected) -> None:  # type: ignore[no-untyped-def]
    assert similarity(requirement_facts([first]), requirement_facts([second]))[0, 0] == pytest.approx(expected)


def test_similarity_of_hand_checked_images() -> None:
    # One object: 4 attributes, a row and a column, the background: 7 atoms. The star shares red, top and black.
    facts = scene_facts([scene(RED_SQUARE), scene(RED_STAR), scene(RED_SQUARE, background="grey")])
    table = similarity(facts, facts)
    np.testing.assert_allclose(table[0], [5, 5 * 3 / 7, 5 * 6 / 7], rtol=1e-6)


def test_multiplicity_is_unknown_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth, "MOST_COUNTED", 1)
    assert multiplicity([RED, SQUARE], [scene(RED_SQUARE), scene(RED_STAR)]).tolist() == [-1, -1]


def test_holds_needs_one_scene_a_requirement() -> None:
    with pytest.raises(DataError, match="2 requirements but 1 rows"):
        holds([RED, SQUARE], [scene(RED_SQUARE)], np.array([0]))
