"""The exact relation of captions and scenes: which are true, and to what degree.

All degrees are 0 to 5 as in Crisscrossed Captions (Parekh et al. 2021), but computed from the logic. With
overlap(a, b) the most atoms of a that b makes true and |a| the number of atoms of a:

- image and caption: 5 overlap(caption, scene) / |caption|, so 5 exactly when the caption is true;
- two captions or two images: 5 (overlap(a, b) + overlap(b, a)) / (|a| + |b|), so 5 exactly when each entails
  the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from itm.data.scenes.logic import COLUMN, Facts, overlap, overlap_of_pairs, requirement_facts, scene_facts
from itm.data.scenes.records import Requirement, Scene, Slot
from itm.data.tables import TRUE
from itm.errors import DataError

#: Above this many images in a split the multiplicity of its captions is not counted (the work grows with the square).
MOST_COUNTED = 20_000
_PAIRS_PER_BLOCK = 1 << 14
_ROWS_PER_BLOCK = 256


def grade(requirements: Sequence[Requirement], scenes: Sequence[Scene]) -> NDArray[np.float32]:
    """(images, captions) float32 How far each caption is true of each scene: 0..5, and 5 exactly when it is."""
    unique, inverse = _unique(requirements)
    facts = requirement_facts(unique)
    table = TRUE * overlap(facts, scene_facts(scenes)).astype(np.float32) / facts.atoms[:, None].astype(np.float32)
    return np.ascontiguousarray(table.astype(np.float32)[inverse].T)


def similarity(first: Facts, second: Facts) -> NDArray[np.float32]:
    """(first, second) float32 The similarity 0..5 of captions (`requirement_facts`) or of images (`scene_facts`)."""
    shared = overlap(first, second) + overlap(second, first).T
    total = first.atoms[:, None] + second.atoms[None, :]
    return (TRUE * shared.astype(np.float32) / total.astype(np.float32)).astype(np.float32)


def similarity_of_pairs(first: Facts, second: Facts) -> NDArray[np.float32]:
    """(n,) float32 As `similarity`, for row i of `first` with row i of `second` only."""
    shared = overlap_of_pairs(first, second) + overlap_of_pairs(second, first)
    return (TRUE * shared.astype(np.float32) / (first.atoms + second.atoms).astype(np.float32)).astype(np.float32)


def entails(specific: Sequence[Requirement], generic: Sequence[Requirement]) -> NDArray[np.bool_]:
    """(n,) Whether the i-th specific requirement, when met by a scene, makes the i-th generic one true as well."""
    facts = requirement_facts(generic)
    return np.asarray(overlap_of_pairs(facts, requirement_facts(specific)) == facts.atoms)


def holds(requirements: Sequence[Requirement], scenes: Sequence[Scene], rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """(n,) Whether the i-th requirement is true of the scene `rows[i]`.

    Raises:
        DataError: `rows` is not one scene a requirement.
    """
    if len(requirements) != len(rows):
        raise DataError(f"holds: {len(requirements)} requirements but {len(rows)} rows; one scene a requirement")
    return _true(requirement_facts(requirements), scene_facts(scenes), np.arange(len(rows)), rows)


def multiplicity(requirements: Sequence[Requirement], scenes: Sequence[Scene]) -> NDArray[np.int32]:
    """(captions,) int32 The number of scenes of which each caption is true; -1 for all above MOST_COUNTED scenes.

    Scenes that lack an object for one of the slots, taken alone, are ruled out first; only the rest is matched.
    """
    if len(scenes) > MOST_COUNTED:
        return np.full(len(requirements), -1, dtype=np.int32)
    unique, inverse = _unique(requirements)
    asked, given = requirement_facts(unique), scene_facts(scenes)
    slots = {slot for needed in unique for slot in needed.slots}
    having = {slot: _having(slot, given) for slot in slots}
    counts = np.zeros(len(unique), dtype=np.int32)
    for start in range(0, len(unique), _ROWS_PER_BLOCK):
        block = range(start, min(start + _ROWS_PER_BLOCK, len(unique)))
        possible = np.stack([np.logical_and.reduce([having[slot] for slot in unique[row].slots]) for row in block])
        row, column = np.nonzero(possible)
        true = _true(asked, given, row + start, column)
        counts[block.start : block.stop] = np.bincount(row[true], minlength=len(block))
    return counts[inverse]


def _having(slot: Slot, given: Facts) -> NDArray[np.bool_]:
    """(scenes,) Whether a scene has an object as the slot asks for, wherever it may be."""
    columns = [COLUMN[pair] for pair in slot]
    return np.asarray((given.attributes[:, :, columns].all(axis=2) & given.present).any(axis=1))


def _true(asked: Facts, given: Facts, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
    """(n,) Whether row `rows[i]` of `asked` is met by row `columns[i]` of `given`."""
    result = np.empty(len(rows), dtype=bool)
    for start in range(0, len(rows), _PAIRS_PER_BLOCK):
        block = slice(start, start + _PAIRS_PER_BLOCK)
        facts = asked[rows[block]]
        result[block] = overlap_of_pairs(facts, given[columns[block]]) == facts.atoms
    return result


def _unique(requirements: Sequence[Requirement]) -> tuple[list[Requirement], NDArray[np.intp]]:
    """The distinct requirements in order of first appearance, and for each requirement its row among them."""
    row: dict[Requirement, int] = {}
    inverse = np.array([row.setdefault(needed, len(row)) for needed in requirements], dtype=np.intp)
    return list(row), inverse
