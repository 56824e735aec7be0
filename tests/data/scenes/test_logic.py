from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene_examples import BLUE_SQUARE, RED_SQUARE, RED_STAR, reference, requirements, scene, scenes

from itm.data.scenes.logic import overlap, overlap_of_pairs, requirement_facts, scene_facts
from itm.data.scenes.records import Item, Requirement, requirement

ALL = scene(RED_SQUARE, RED_STAR, BLUE_SQUARE)

#: (requirement, atoms, atoms that hold in the scene of the three objects above)
CASES = [
    (requirement([{}]), 1, 1),
    (requirement([{}] * 3), 3, 3),
    (requirement([{}] * 4), 4, 3),
    (requirement([{"shape": "square"}]), 1, 1),
    (requirement([{"shape": "heart"}]), 1, 0),
    (requirement([{"colour": "red"}] * 2), 2, 2),
    (requirement([{"colour": "red"}] * 3), 3, 2),
    (requirement([{"shape": "star", "colour": "blue"}]), 2, 1),
    (requirement([{"shape": "square", "colour": "red"}, {"shape": "square", "colour": "red"}]), 4, 3),
    (requirement([{"shape": "square"}, {"colour": "red"}]), 2, 2),
    (requirement([{"shape": "star"}, {"texture": "striped"}]), 2, 1),
    (requirement([{"shape": "square", "row": "top", "column": "left"}]), 3, 3),
    (requirement([{"shape": "star", "column": "left"}]), 2, 1),
    (requirement([{"colour": "blue", "column": "left"}]), 2, 1),
    (requirement([{"shape": "square"}], background="black"), 2, 2),
    (requirement([{"shape": "square"}], background="grey"), 2, 1),
    (requirement([{"shape": "square"}, {"shape": "star"}], [(0, "left of", 1)]), 3, 3),
    (requirement([{"shape": "square"}, {"shape": "star"}], [(0, "right of", 1)]), 3, 2),
    (requirement([{"shape": "square"}, {"shape": "star"}], [(0, "below", 1)]), 3, 3),
    (requirement([{"shape": "star"}, {"shape": "square"}], [(0, "above", 1), (0, "right of", 1)]), 4, 4),
    (requirement([{"colour": "red"}, {"shape": "star"}], [(0, "above", 1)]), 3, 2),
    (requirement([{"colour": "red"}, {"colour": "red"}], [(0, "above", 1)]), 3, 2),
]


@pytest.mark.parametrize(("needed", "atoms", "held"), CASES)
def test_hand_checked_scene(needed: Requirement, atoms: int, held: int) -> None:
    facts = requirement_facts([needed])
    assert needed.atoms == atoms
    assert facts.atoms.tolist() == [atoms]
    assert overlap(facts, scene_facts([ALL])).tolist() == [[held]]


@pytest.mark.parametrize(("distance", "clear"), [(149, 0), (150, 1), (151, 1), (-150, 0), (0, 0)])
def test_a_relation_needs_a_clear_distance(distance: int, clear: int) -> None:
    pair = scene(
        Item("star", "red", "small", "solid", 400, 500), Item("heart", "red", "small", "solid", 400 + distance, 500)
    )
    needed = requirement([{"shape": "star"}, {"shape": "heart"}], [(0, "left of", 1)])
    assert overlap(requirement_facts([needed]), scene_facts([pair]))[0, 0] == 2 + clear


@given(st.lists(requirements(), min_size=1, max_size=6), st.lists(scenes, min_size=1, max_size=5))
def test_overlap_is_the_best_of_all_ways_to_choose_objects(asked, seen) -> None:  # type: ignore[no-untyped-def]
    expected = np.array([[reference(needed, one) for one in seen] for needed in asked])
    facts, given_ = requirement_facts(asked), scene_facts(seen)
    np.testing.assert_array_equal(overlap(facts, given_), expected)
    rows, columns = (index.ravel() for index in np.indices(expected.shape))
    np.testing.assert_array_equal(overlap_of_pairs(facts[rows], given_[columns]), expected.ravel())


def test_relations_follow_by_transitivity_and_from_places() -> None:
    row = requirement([{}, {}, {}], [(0, "left of", 1), (2, "right of", 1)])
    corners = requirement([{"column": "left", "row": "top"}, {"column": "right", "row": "bottom"}])
    implied = requirement_facts([row, corners]).implied
    left, above = 0, 1
    assert implied[0, left, 0, 2]
    assert not implied[0, left, 2, 0]
    assert implied[1, left, 0, 1]
    assert implied[1, above, 0, 1]
    assert implied[1].sum() == 2


def test_nothing_to_compare() -> None:
    assert overlap(requirement_facts([]), scene_facts([ALL])).shape == (0, 1)
    assert overlap(requirement_facts([requirement([{}])]), scene_facts([])).shape == (1, 0)
    assert overlap_of_pairs(requirement_facts([]), scene_facts([])).shape == (0,)
