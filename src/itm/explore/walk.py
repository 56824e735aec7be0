"""The walk of the HierarCaps evaluation, from the most generic text to one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from itm.errors import DataError
from itm.evaluation.benchmarks.hierarcaps import unit
from itm.metrics.hierarchy import STEPS, radii, radius_levels
from itm.text.explain import total, word_shares
from itm.text.tables import read_idf

Floats = NDArray[np.float32]


class Step(NamedTuple):
    """One level of a walk: a text, its radius and its cosine with the image."""

    text: str
    radius: float
    similarity: float


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


MISSING = "no table of word frequencies here, so no descriptiveness is shown: run `dvc repro score`"


class Words:
    """Descriptiveness by the idf table of the score stage; without the table it says why there is none."""

    def __init__(self, idf: Path) -> None:
        try:
            self._table = read_idf(idf)
            self.note = ""
            if self._table.parameters.kind == "expected_fit":
                self.note = "d here is the sum of TF-IDF: score.kind expected_fit needs the training captions"
        except DataError as error:
            if error.reason != "missing-file":
                raise
            self._table = None  # type: ignore[assignment]
            self.note = MISSING

    def descriptiveness(self, texts: Sequence[str]) -> list[float | None]:
        """d of each text, or None where there is no table."""
        if self._table is None or not texts:
            return [None] * len(texts)
        return [round(float(value), 4) for value in total(texts, self._table)]

    def shares(self, text: str) -> list[dict[str, Any]]:
        """The words of a text with what each adds to d, those that add most first."""
        if self._table is None:
            return []
        documents = self._table.documents
        return [
            {
                "word": share.word,
                "points": round(share.points, 4),
                "why": "stop word"
                if not share.keyword
                else "not in training"
                if not share.document_frequency
                else f"in {share.document_frequency:,} of {documents:,}",
                "times": share.occurrences,
            }
            for share in word_shares([text], self._table)
        ]
