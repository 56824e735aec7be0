"""What a file says of image-caption pairs: embeddings whose dot product it is, or the scores themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.errors import DataError
from itm.evaluation.published.vectors import Floats, Vectors
from itm.metrics import DotProduct
from itm.metrics.scorer import Matrix, Scorer

SCORES = "scores"
Part = slice | NDArray[np.int64]
EVERYTHING = slice(None)


@dataclass(frozen=True, eq=False)
class Similarity:
    """Similarities of the images and captions of a gallery, in its order.

    Either `embeddings`, of images and of captions, or `scores` [images, captions] of a method whose similarity is
    a function of the pair (cross attention, for example), which has no text-to-text or image-to-image form.
    """

    embeddings: tuple[Floats, Floats] | None = None
    scores: NDArray[Any] | None = None

    def pairs(self, images: Part = EVERYTHING, captions: Part = EVERYTHING) -> Scorer:
        """Scorer of some images (rows) and captions (columns)."""
        if self.embeddings is not None:
            return DotProduct(self.embeddings[0][images], self.embeddings[1][captions])
        assert self.scores is not None
        return Matrix(self.scores[images][:, captions])

    def queries(self, task: str, asked: NDArray[np.int64]) -> Scorer:
        """Scorer of some queries (rows) and the whole gallery (columns) of task "i2t" or "t2i"."""
        if self.embeddings is not None:
            image, text = self.embeddings
            return DotProduct(image[asked], text) if task == "i2t" else DotProduct(text[asked], image)
        assert self.scores is not None
        return Matrix(self.scores[asked] if task == "i2t" else np.ascontiguousarray(self.scores[:, asked].T))

    def of_pairs(self, images: NDArray[np.int64], captions: NDArray[np.int64]) -> NDArray[np.float64]:
        """[pairs] given scores of single pairs."""
        assert self.scores is not None
        return self.scores[images, captions].astype(np.float64)


def read_similarity(
    vectors: Vectors, image_ids: NDArray[np.int64], caption_ids: NDArray[np.int64], normalize: bool
) -> Similarity:
    """The similarities of a gallery from a file with the array `scores`, or else with embeddings.

    Raises:
        DataError: an array is missing, damaged or of another shape; a wanted id is missing; `normalize` was asked
            for scores, or the file holds scores and embeddings.
    """
    if SCORES not in vectors.arrays:
        return Similarity(
            (vectors.rows("image", image_ids, normalize), vectors.rows("caption", caption_ids, normalize))
        )
    both = [name for name in ("image_embeddings", "caption_embeddings") if name in vectors.arrays]
    if both or normalize:
        what = f"holds {SCORES} and {both[0]}; which is meant?" if both else f"{SCORES} have no length to normalize"
        raise DataError(f"{vectors.path}: {what}", reason="scores")
    images, captions = vectors.places("image", image_ids), vectors.places("caption", caption_ids)
    shape = len(vectors.ids("image")), len(vectors.ids("caption"))
    values = vectors.numbers(SCORES)
    if values.shape != shape:
        raise DataError(
            f"{vectors.path}: {SCORES} has shape {values.shape} for {shape[0]} image_ids and {shape[1]} caption_ids",
            reason="shape",
        )
    if not _in_order(images, shape[0]):
        values = values[images]
    return Similarity(scores=values if _in_order(captions, shape[1]) else values[:, captions])


def _in_order(places: NDArray[np.int64], count: int) -> bool:
    """Whether the places are all rows as they stand, so that no copy is needed."""
    return len(places) == count and bool((places == np.arange(count)).all())
