"""Embeddings that a pipeline's model made (embeddings.npz of a run), and the identity of that model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.data.files import read_arrow, read_npz, readable, write_npz
from itm.data.layout import CAPTIONS, EMBEDDINGS, MODEL_CARD, MODEL_WEIGHTS
from itm.errors import DataError, first_few
from itm.metrics.scorer import DotProduct, Matrix, Multiply, multiply
from itm.vectors.ids import positions

Floats = NDArray[np.floating]
_ARRAYS = ("image_ids", "image", "text_ids", "text", "protocol")
_SCORES = ("scores", "scored_images", "scored_texts")
_AGAIN = "run `dvc repro encode`"


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A model's embeddings of images and texts. The similarity is their dot product; where a model looks at pairs,
    it is in `scores` [scored_images, scored_texts], and the embeddings only stand in where texts are compared with
    texts, images with images, or distances are asked for. protocol: whose they are, of which split, what a score costs;
    of a shortlist, how many answers it holds."""

    image_ids: NDArray[Any]
    image: Floats
    text_ids: NDArray[np.int64]
    text: Floats
    protocol: dict[str, Any]
    scores: Floats | None = None
    scored_images: NDArray[Any] | None = None
    scored_texts: NDArray[np.int64] | None = None
    grade: Path | None = None
    """The file with the model's calibrator, where it has one."""
    multiply: Multiply = multiply

    def scorer(self, image_ids: NDArray[Any], text_ids: NDArray[Any]) -> DotProduct | Matrix:
        """The similarities of the images and texts named, images as rows."""
        if self.scores is None or self.scored_images is None or self.scored_texts is None:
            return DotProduct(self.images(image_ids), self.texts(text_ids), multiply=self.multiply)
        rows = positions(self.scored_images, image_ids, "images' scores", EMBEDDINGS)
        columns = positions(self.scored_texts, text_ids, "texts' scores", EMBEDDINGS)
        return Matrix(self.scores[np.ix_(rows, columns)])

    def images(self, ids: NDArray[Any]) -> Floats:
        """[ids, D] embeddings of the images named."""
        return self.image[positions(self.image_ids, ids, "images", EMBEDDINGS)]

    def texts(self, ids: NDArray[Any]) -> Floats:
        """[ids, D] embeddings of the texts named."""
        return self.text[positions(self.text_ids, ids, "texts", EMBEDDINGS)]


def write_embeddings(path: Path, found: Embeddings) -> None:
    """Write an .npz file: the arrays, and the protocol as a JSON string."""
    arrays = {name: getattr(found, name) for name in (*_ARRAYS, *_SCORES)}
    arrays["protocol"] = json.dumps(found.protocol, sort_keys=True)
    write_npz(path, {name: values for name, values in arrays.items() if values is not None})


def read_embeddings(folder: Path, name: str = EMBEDDINGS) -> Embeddings:
    """The embeddings of one run: what is evaluated, or another file of the folder.

    Raises:
        DataError: the file is missing or damaged, or as `embeddings_of`.
    """
    path = Path(folder) / name
    return embeddings_of(path, read_npz(path, _AGAIN, [*_ARRAYS, *_SCORES]))


def embeddings_of(path: Path, arrays: dict[str, Any]) -> Embeddings:
    """The embeddings that a file's arrays are.

    Raises:
        DataError: one is missing, or ids and rows differ in number.
    """
    needed = [*_ARRAYS, *(_SCORES if "scores" in arrays else ())]
    if missing := [name for name in needed if name not in arrays]:
        raise DataError(f"{path}: has no {first_few(missing)}; {_AGAIN}", reason="missing-array")
    for ids, rows in (("image_ids", "image"), ("text_ids", "text")):
        if arrays[rows].ndim != 2 or len(arrays[ids]) != len(arrays[rows]):
            raise DataError(
                f"{path}: {len(arrays[ids])} {ids} for `{rows}` of shape {arrays[rows].shape}", reason="shape"
            )
    with readable(path, _AGAIN):
        protocol = dict(json.loads(str(arrays["protocol"])))
    return Embeddings(**{name: arrays[name] for name in needed} | {"protocol": protocol})


def with_caption_ids(path: Path, found: Embeddings) -> dict[str, Any]:
    """The arrays under the names of docs/metrics.md: captions are PHOTO#NUMBER, as the clean table tells."""
    near = [folder / "data" / "clean" / CAPTIONS for folder in (*path.absolute().parents, Path.cwd())]
    clean = next((file for file in near if file.is_file()), None)
    if clean is None:
        raise DataError(
            f"{path}: embeddings of a pipeline, whose captions are known by the table data/clean/{CAPTIONS}; none is "
            "above this file or below this folder",
            reason="missing-file",
        )
    rows = read_arrow(clean, ["image_id", "position"]).to_pylist()
    names = np.array([f"{row['image_id']}#{row['position']}" for row in rows])
    if found.scored_texts is not None:
        return {"image_ids": found.scored_images, "caption_ids": names[found.scored_texts], "scores": found.scores}
    captions = found.text_ids < len(names)  # the first texts are the captions; chains and the root follow
    return {
        "image_ids": found.image_ids,
        "image_embeddings": found.image,
        "caption_ids": names[found.text_ids[captions]],
        "caption_embeddings": found.text[captions],
    }


def model_hash(folder: Path) -> str:
    """SHA-256 over the card and the weights of a saved model; vectors of one hash can be compared."""
    digest = hashlib.sha256()
    for name in (MODEL_CARD, MODEL_WEIGHTS):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
