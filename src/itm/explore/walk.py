"""From the most generic text to an image: the walk of the HierarCaps evaluation, for one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from itm.evaluation.benchmarks.hierarcaps import unit
from itm.metrics.hierarchy import STEPS, radii, radius_levels

Floats = NDArray[np.float32]


class Step(NamedTuple):
    """One level of a walk: a text, its radius and its cosine with the image."""

    text: str
    radius: float
    score: float


class Walker:
    """Walks through the texts of one model.

    At each of 50 levels, from the radius of the most generic text to that of the most specific one, the text most
    similar to the image is met among those within the radius: the distance from the embedding of the empty caption,
    all at unit length (`itm.metrics.hierarchy.radius_levels`).
    """

    def __init__(self, texts: Sequence[str], vectors: Floats, root: Floats) -> None:
        self._texts = texts
        self._vectors, self._root = unit(vectors), unit(root[None])[0]
        self._radii = radii(self._vectors, self._root)

    def to(self, image: Floats) -> list[Step]:
        """The walk to an image vector (D,), generic end first."""
        target = unit(image[None])
        path = radius_levels(target, self._vectors, self._root, STEPS)[0]
        return [
            Step(self._texts[row], float(self._radii[row]), float(self._vectors[row] @ target[0]))
            for row in path.tolist()
        ]
