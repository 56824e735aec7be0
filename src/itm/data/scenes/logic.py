"""Scenes and requirements as arrays of facts, and how many atoms of one set the other makes true.

A scene is the most specific requirement that it meets, so that one pair of functions serves all: `overlap` of
captions with scenes is the grade of image and text, of captions with captions their similarity, and of scenes
with scenes the similarity of two images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from itm.data.scenes.records import Requirement, Scene
from itm.data.scenes.vocabulary import ATTRIBUTES, BACKGROUNDS, CAPACITY, CONVERSE

Bools = NDArray[np.bool_]

#: One object is left of (above) another when its centre is at least this many thousandths further left (up).
CLEARLY = 150

#: "right of" and "below" are stored as their converse with the two slots swapped.
STORED = ("left of", "above")
COLUMN = {
    (name, value): column
    for column, (name, value) in enumerate((name, value) for name, values in ATTRIBUTES.items() for value in values)
}
_ROWS_PER_BLOCK = 1024


@dataclass(frozen=True)
class Facts:
    """What is known of n scenes or asked by n requirements, padded to CAPACITY slots.

    `attributes` (n, slots, values), `present` (n, slots), `relations` (n, 2, slots, slots) with the kinds of
    STORED, `background` (n, 2); all bool. `implied` holds the relations that follow from the others.
    """

    attributes: Bools
    present: Bools
    relations: Bools
    implied: Bools
    background: Bools

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, rows: NDArray[np.intp] | Bools | slice) -> Facts:
        return Facts(
            self.attributes[rows], self.present[rows], self.relations[rows], self.implied[rows], self.background[rows]
        )

    @property
    def slots(self) -> NDArray[np.intp]:
        """(n,) The number of slots in use."""
        return np.asarray(self.present.sum(axis=1, dtype=np.intp))

    @property
    def atoms(self) -> NDArray[np.int32]:
        """(n,) The number of atoms: attributes, bare slots, relations, background."""
        parts = (self.attributes, self._bare(), self.relations, self.background)
        return np.asarray(_columns(parts).sum(axis=1, dtype=np.int32))

    def _bare(self) -> Bools:
        return self.present & ~self.attributes.any(axis=2)

    def asked(self, slots: int) -> NDArray[np.float32]:
        """(n, atoms) The atoms that the first `slots` slots ask for."""
        parts = (
            self.attributes[:, :slots],
            self._bare()[:, :slots],
            self.relations[:, :, :slots, :slots],
            self.background,
        )
        return _columns(parts).astype(np.float32)

    def given(self, order: Sequence[int]) -> NDArray[np.float32]:
        """(n, atoms) The atoms that hold when slot k asks about the object `order[k]`; columns as in `asked`."""
        chosen = list(order)
        parts = (
            self.attributes[:, chosen],
            self.present[:, chosen],
            self.implied[:, :, chosen][:, :, :, chosen],
            self.background,
        )
        return _columns(parts).astype(np.float32)


def scene_facts(scenes: Sequence[Scene]) -> Facts:
    """The facts of scenes: every attribute of every object, every clear relation, the background."""
    attributes, present, relations, background = _empty(len(scenes))
    for row, scene in enumerate(scenes):
        for slot, item in enumerate(scene.items):
            present[row, slot] = True
            for name in ATTRIBUTES:
                if value := getattr(item, name):
                    attributes[row, slot, COLUMN[name, value]] = True
            for other, second in enumerate(scene.items):
                relations[row, 0, slot, other] = second.x - item.x >= CLEARLY
                relations[row, 1, slot, other] = second.y - item.y >= CLEARLY
        background[row, BACKGROUNDS.index(scene.background)] = True
    return Facts(attributes, present, relations, relations, background)


def requirement_facts(requirements: Sequence[Requirement]) -> Facts:
    """The facts that requirements state, with the relations that follow from them.

    A relation follows by transitivity, and from places: what is on the left is left of what is on the right.
    """
    attributes, present, relations, background = _empty(len(requirements))
    for row, needed in enumerate(requirements):
        for index, slot in enumerate(needed.slots):
            present[row, index] = True
            for pair in slot:
                attributes[row, index, COLUMN[pair]] = True
        for first, name, second in needed.relations:
            if name not in STORED:
                first, name, second = second, CONVERSE[name], first
            relations[row, STORED.index(name), first, second] = True
        if needed.background:
            background[row, BACKGROUNDS.index(needed.background)] = True
    implied = relations.copy()
    for kind, (near, far) in enumerate(
        ((("column", "left"), ("column", "right")), (("row", "top"), ("row", "bottom")))
    ):
        implied[:, kind] |= attributes[:, :, COLUMN[near], None] & attributes[:, None, :, COLUMN[far]]
    for middle in range(CAPACITY):
        implied |= implied[:, :, :, middle, None] & implied[:, :, None, middle, :]
    return Facts(attributes, present, relations, implied, background)


def overlap(asked: Facts, given: Facts) -> NDArray[np.int16]:
    """(asked, given) The most atoms of `asked` that `given` makes true, over all ways to give slots distinct objects.

    For one way to choose objects the number of true atoms is a product of two 0/1 matrices (small whole numbers,
    hence exact in float32 in any order of summation); the result is the maximum over the ways.
    """
    result = np.zeros((len(asked), len(given)), dtype=np.int16)
    for rows, slots in _by_slots(asked):
        left = asked[rows].asked(slots)
        best = np.zeros((len(rows), len(given)), dtype=np.float32)
        for order in _orders(slots, given):
            np.maximum(best, left @ given.given(order).T, out=best)
        result[rows] = best
    return result


def overlap_of_pairs(asked: Facts, given: Facts) -> NDArray[np.int16]:
    """(n,) As `overlap`, for row i of `asked` with row i of `given` only."""
    result = np.zeros(len(asked), dtype=np.int16)
    for rows, slots in _by_slots(asked):
        left, right = asked[rows].asked(slots), given[rows]
        best = np.zeros(len(rows), dtype=np.float32)
        for order in _orders(slots, right):
            np.maximum(best, np.einsum("ij,ij->i", left, right.given(order)), out=best)
        result[rows] = best
    return result


def _columns(parts: Sequence[Bools]) -> Bools:
    return np.hstack([part.reshape(len(part), math.prod(part.shape[1:])) for part in parts])


def _empty(count: int) -> tuple[Bools, Bools, Bools, Bools]:
    return (
        np.zeros((count, CAPACITY, len(COLUMN)), dtype=bool),
        np.zeros((count, CAPACITY), dtype=bool),
        np.zeros((count, len(STORED), CAPACITY, CAPACITY), dtype=bool),
        np.zeros((count, len(BACKGROUNDS)), dtype=bool),
    )


def _by_slots(facts: Facts) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Blocks of rows with the same number of slots: fewer slots have fewer ways to choose objects."""
    used = facts.slots
    for slots in np.unique(used):
        rows = np.flatnonzero(used == slots)
        for start in range(0, len(rows), _ROWS_PER_BLOCK):
            yield rows[start : start + _ROWS_PER_BLOCK], int(slots)


def _orders(slots: int, given: Facts) -> Iterator[tuple[int, ...]]:
    """All ways to give `slots` slots distinct objects; an absent object makes nothing true."""
    width = max(slots, int(given.slots.max(initial=1)))
    return permutations(range(width), slots)
