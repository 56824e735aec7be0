"""The clean tables of the evaluated split, and a model's embeddings, aligned by id."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.data.files import read_npz, readable
from itm.data.layout import CAPTIONS, EMBEDDINGS, HIERARCHIES, IMAGES, RATINGS, TEXTS, TRUTH
from itm.data.tables import Columns, read_columns
from itm.errors import DataError, first_few
from itm.metrics.scorer import DotProduct, Matrix, Multiply, multiply

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Tables:
    """The tables of one split as columns of numpy arrays; each file is read when it is first asked for."""

    clean: Path
    scored: Path
    split: str

    @cached_property
    def captions(self) -> Columns:
        """The split's captions, with their position in the whole table under `row` (which is their text_id)."""
        table = read_columns(self.clean / CAPTIONS, ("caption_id", "image_id", "split", "level"), self.split)
        if not len(table["row"]):
            raise DataError(f"{self.clean / CAPTIONS}: no caption of the split '{self.split}'", reason="empty-split")
        return table

    @cached_property
    def images(self) -> Columns:
        """The split's images."""
        return read_columns(self.clean / IMAGES, ("image_id", "split"), self.split)

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """[captions] position of each caption's image in `images`."""
        return positions(self.images["image_id"], self.captions["image_id"], "captions' images", "images.parquet")

    @cached_property
    def hierarchies(self) -> Columns:
        """All chains, four rows each."""
        return read_columns(self.clean / HIERARCHIES, ("image_id", "level", "text", "text_id"))

    @cached_property
    def root(self) -> int:
        """The text_id of the empty caption."""
        table = read_columns(self.clean / TEXTS, ("text_id", "kind"))
        empty = table["text_id"][table["kind"] == "empty"]
        if len(empty) != 1:
            raise DataError(f"{self.clean / TEXTS}: {len(empty)} texts of kind 'empty'; expected one", reason="root")
        return int(empty[0])

    @cached_property
    def ratings(self) -> Columns:
        """All human (or exact) ratings. An id that a kind does not have is -1 or ''."""
        names = ("kind", "caption_id_1", "caption_id_2", "image_id_1", "image_id_2", "score", "sampling", "judge")
        return read_columns(self.clean / RATINGS, names)

    @cached_property
    def descriptiveness(self) -> NDArray[np.float64]:
        """[captions] the score d of each caption of the split."""
        table = read_columns(self.scored / CAPTIONS, ("caption_id", "descriptiveness"))
        row = self.captions["row"]
        if len(table["caption_id"]) <= row.max() or (table["caption_id"][row] != self.captions["caption_id"]).any():
            raise DataError(
                f"{self.scored / CAPTIONS}: rows differ from {self.clean / CAPTIONS}; run `dvc repro score`"
            )
        scores: NDArray[np.float64] = table["descriptiveness"][row]
        return scores

    @cached_property
    def texts(self) -> list[str]:
        """[captions] the text of each caption of the split."""
        found: list[str] = read_columns(self.clean / CAPTIONS, ("text", "split"), self.split)["text"].tolist()
        return found

    @cached_property
    def has_truth(self) -> bool:
        """Whether the exact relation of the split is known: it is where images are generated."""
        path = self.clean / TRUTH
        if not path.exists():
            return False
        name = f"{self.split}_image_ids"
        return bool(len(read_npz(path, "run `dvc repro clean`", [name]).get(name, ())))

    @cached_property
    def grades(self) -> NDArray[np.float32]:
        """[images, captions] the exact relation of the split, 0..5, 5 where the caption is true of the image."""
        path = self.clean / TRUTH
        if not path.exists():
            raise DataError(f"{path}: no such file; run `dvc repro clean`", reason="missing-file")
        names = [f"{self.split}_{name}" for name in ("image_ids", "caption_ids", "grade")]
        stored = read_npz(path, "run `dvc repro clean`", names)
        if missing := [name for name in names if name not in stored]:
            raise DataError(f"{path}: has no {first_few(missing)}; run `dvc repro clean`", reason="missing-array")
        image_ids, caption_ids, grade = (stored[name] for name in names)
        row = positions(image_ids, self.images["image_id"], "images", str(path))
        column = positions(caption_ids, self.captions["caption_id"], "captions", str(path))
        ordered: NDArray[np.float32] = grade[np.ix_(row, column)]
        return ordered


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A model's embeddings of images and texts. The similarity is their dot product; where a model looks at pairs,
    it is in `scores` [scored_images, scored_texts], and the embeddings only stand in where texts are compared with
    texts, images with images, or distances are asked for."""

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


_ARRAYS = ("image_ids", "image", "text_ids", "text", "protocol")
_SCORES = ("scores", "scored_images", "scored_texts")


def read_embeddings(folder: Path, name: str = EMBEDDINGS) -> Embeddings:
    """The embeddings of one run: what is evaluated, or another file of the folder.

    Raises:
        DataError: the file is missing or damaged, lacks an array, or ids and rows differ in number.
    """
    path = Path(folder) / name
    arrays = read_npz(path, "run `dvc repro encode`", [*_ARRAYS, *_SCORES])
    needed = [*_ARRAYS, *(_SCORES if "scores" in arrays else ())]
    if missing := [name for name in needed if name not in arrays]:
        raise DataError(f"{path}: has no {first_few(missing)}; run `dvc repro encode`", reason="missing-array")
    with readable(path, "run `dvc repro encode`"):
        protocol = dict(json.loads(str(arrays.pop("protocol"))))
    for ids, rows in (("image_ids", "image"), ("text_ids", "text")):
        if arrays[rows].ndim != 2 or len(arrays[ids]) != len(arrays[rows]):
            raise DataError(
                f"{path}: {len(arrays[ids])} {ids} for `{rows}` of shape {arrays[rows].shape}", reason="shape"
            )
    return Embeddings(**arrays, protocol=protocol)


def positions(known: NDArray[Any], wanted: NDArray[Any], what: str, where: str) -> NDArray[np.int64]:
    """[wanted] the position of each id among the known ones.

    Raises:
        DataError: a known id occurs twice, or a wanted id is not known.

    >>> positions(np.array(["a", "b"]), np.array(["b", "b"]), "images", "x.npz")
    array([1, 1])
    """
    known, wanted = np.asarray(known), np.asarray(wanted)
    order = np.argsort(known, kind="stable")
    ordered = known[order]
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if len(repeated):
        raise DataError(f"{where}: {len(repeated)} ids occur twice ({first_few(repeated)})", reason="repeated-id")
    place = np.minimum(np.searchsorted(ordered, wanted), max(0, len(known) - 1))
    missing = np.unique(wanted[ordered[place] != wanted]) if len(known) else np.unique(wanted)
    if len(missing):
        raise DataError(
            f"{where}: {len(missing)} {what} are missing ({first_few(missing)}); were they written from the same"
            " data and split?",
            reason="missing-id",
        )
    found: NDArray[np.int64] = order[place]
    return found


def among(values: NDArray[Any], known: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each value is a known one: `numpy.isin`, which compares all pairs of texts, for both kinds of ids.

    >>> among(np.array(["a", "b"], object), np.array(["b", "c"], object)).tolist()
    [False, True]
    """
    found = set(known.tolist())
    return np.fromiter((value in found for value in values.tolist()), bool, len(values))
