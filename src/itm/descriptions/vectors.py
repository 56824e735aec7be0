"""Description vectors: what stage `describe` hands to methods, with vectors of captions and prototypes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from itm.data.files import atomic_path
from itm.errors import DataError

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass
class DescriptionVectors:
    """Vectors of length 1 of descriptions and captions; a zero vector says "nothing is known".

    descriptions: (descriptions, width) float32. image_rows: (descriptions,) int64, rows of images.parquet, rising;
    an image's descriptions keep their order. captions: (texts, width) float32 in the rows of texts.parquet, or None.
    prototypes: (clusters, width) float32 means of training descriptions, or None. facts: what made them.
    """

    descriptions: Floats
    image_rows: Rows
    captions: Floats | None = None
    prototypes: Floats | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Width of the vectors."""
        return int(self.descriptions.shape[1])

    def counts(self, images: int) -> Rows:
        """How many descriptions each of `images` images has."""
        return np.bincount(self.image_rows, minlength=images).astype(np.int64)

    def of_images(self, images: int, several: str, generator: np.random.Generator | None = None) -> Floats:
        """One vector an image (images, width).

        `several` "mean": the mean of its descriptions, of length 1 again. "sampled": one drawn by `generator`, or
        without one the first. An image without any has the zero vector.
        """
        result = np.zeros((images, self.width), np.float32)
        if several == "mean":
            np.add.at(result, self.image_rows, self.descriptions)
            lengths = np.linalg.norm(result, axis=1, keepdims=True)
            return np.where(lengths > 0, result / np.maximum(lengths, 1e-12), 0).astype(np.float32)
        counts = self.counts(images)
        first = np.cumsum(counts) - counts
        drawn = np.zeros(images, np.int64)
        if generator is not None:
            drawn = np.minimum((generator.random(images) * counts).astype(np.int64), np.maximum(counts - 1, 0))
        there = counts > 0
        result[there] = self.descriptions[(first + drawn)[there]]
        return result


def write_description_vectors(path: Path, vectors: DescriptionVectors | None) -> None:
    """Write the vectors (float16 on disk); `None` says that the method needs none."""
    tensors: dict[str, NDArray[Any]] = {}
    if vectors is not None:
        tensors = {"descriptions": vectors.descriptions.astype(np.float16), "image_rows": vectors.image_rows}
        if vectors.captions is not None:
            tensors["captions"] = vectors.captions.astype(np.float16)
        if vectors.prototypes is not None:
            tensors["prototypes"] = vectors.prototypes
    facts = {} if vectors is None else vectors.facts
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"facts": json.dumps(facts, sort_keys=True)})


def read_description_vectors(path: Path) -> DescriptionVectors:
    """The vectors of a method that adds descriptions.

    Raises:
        DataError: the file is missing, damaged, or was written for a method that needs none.
    """
    try:
        with safe_open(path, "numpy") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); run `dvc repro describe`", reason="bad-description-vectors"
        ) from None
    if not {"descriptions", "image_rows"} <= tensors.keys():
        raise DataError(f"{path}: holds no descriptions; run `dvc repro describe`", reason="no-description-vectors")
    captions = tensors.get("captions")
    return DescriptionVectors(
        tensors["descriptions"].astype(np.float32),
        tensors["image_rows"],
        None if captions is None else captions.astype(np.float32),
        tensors.get("prototypes"),
        facts,
    )
