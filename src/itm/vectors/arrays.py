"""Arrays of one file or model: embeddings or similarities of pairs, each checked when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.errors import DataError, first_few
from itm.metrics import DotProduct
from itm.metrics.scorer import Matrix, Multiply, Scorer, multiply
from itm.vectors.files import read_arrays
from itm.vectors.gallery import Gallery
from itm.vectors.ids import Ids, check_ids
from itm.vectors.parquet import Arrays

Floats = NDArray[np.floating]
SCORES = "scores"


@dataclass(frozen=True, eq=False)
class Vectors:
    """The arrays of one file or model; each is checked when it is asked for.

    assumed: what was not said and had to be assumed, as sentences. multiply: as of `DotProduct`.
    """

    path: Path
    arrays: Arrays
    assumed: list[str] = field(default_factory=list)
    multiply: Multiply = multiply

    def has(self, kind: str) -> bool:
        """Whether there are embeddings of "image" or "caption"."""
        return f"{kind}_embeddings" in self.arrays

    def count(self, kind: str) -> int:
        """How many images or captions there are."""
        name, axis = (SCORES, kind == "caption") if SCORES in self.arrays else (f"{kind}_embeddings", 0)
        shape = self.array(name).shape
        if len(shape) != 2 or 0 in shape:
            raise DataError(
                f"{self.path}: {name} has shape {shape}; expected [rows, dimension], not empty", reason="shape"
            )
        return int(shape[axis])

    def rows(self, kind: str, gallery: Gallery, normalize: bool) -> Floats:
        """[gallery, D] the embeddings of its images or captions, in its order.

        Raises:
            DataError: the arrays are missing or damaged, an id occurs twice, or a wanted id is missing.
        """
        values = self.embeddings(f"{kind}_embeddings", normalize)
        places = self.places(kind, gallery.ids(kind), gallery)
        return values if in_order(places, len(values)) else values[places]

    def places(self, kind: str, wanted: Ids, gallery: Gallery | None = None) -> NDArray[np.int64]:
        """[wanted] the positions of these images or captions among the file's.

        Ids of a benchmark's gallery may be the names of its items; and where the file has positions for ids, or none
        at all, and as many rows as the gallery, it is taken to be in protocol order.

        Raises:
            DataError: an id occurs twice, or a wanted id is missing.
        """
        count = self.count(kind)
        known = gallery is not None and len(gallery.photos) > 0
        if known and f"{kind}_ids" not in self.arrays and count == len(wanted):
            self._assume(f"{kind}_ids are not there: rows taken in protocol order (`itm evaluate --items`)")
            return np.arange(count)
        ids = self.ids(kind)
        if gallery is not None and known and ids.dtype.kind == "U" and wanted.dtype.kind != "U":
            ids = self._numbers(ids, kind, gallery)
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        place = np.minimum(np.searchsorted(ordered, wanted), max(0, len(ids) - 1))
        absent = wanted[ordered[place] != wanted] if len(ids) else wanted
        if known and len(absent) and len(ids) == len(wanted) and in_order(ordered, len(ids)):
            self._assume(f"{kind}_ids are the positions 0 to {len(ids) - 1}: taken as places in protocol order")
            return order
        if len(absent):
            raise DataError(
                f"{self.path}: {len(absent)} of the {len(wanted)} {kind} ids asked for are missing"
                f" ({first_few(absent)}){_guess(ids, wanted)}",
                reason="missing-id",
            )
        found: NDArray[np.int64] = order[place]
        return found

    def ids(self, kind: str) -> Ids:
        """All ids of `kind` in the file, each once."""
        return check_ids(self.array(f"{kind}_ids"), f"{self.path}: {kind}_ids", rows=self.count(kind))

    def embeddings(self, name: str, normalize: bool, dimensions: int = 2) -> Floats:
        """A float32 or float64 array without NaN, infinity or zero vectors; scaled to unit length if asked."""
        values = self.numbers(name, dimensions)
        table = np.atleast_2d(values)
        zero = np.flatnonzero(~table.any(axis=1))
        if len(zero):
            raise DataError(
                f"{self.path}: {name}: {len(zero)} of {len(table)} rows are zero vectors (rows {first_few(zero)}):"
                " were they never encoded?",
                reason="zero-vector",
            )
        if normalize:
            wide = table.astype(np.float64)
            table = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(values.dtype)
        return table.reshape(values.shape)

    def numbers(self, name: str, dimensions: int = 2) -> Floats:
        """A float32 or float64 array without NaN or infinity; half precision becomes float32."""
        values = self.array(name)
        if values.dtype == np.float16:
            self._assume(f"{name} is float16: read as float32; what was rounded can move recall and make ties")
            values = values.astype(np.float32)
        if values.dtype not in (np.float32, np.float64):
            raise DataError(f"{self.path}: {name} is {values.dtype}; expected float32 or float64", reason="dtype")
        if values.ndim != dimensions or 0 in values.shape:
            shape = ("[dimension]", "[rows, dimension]")[dimensions - 1]
            raise DataError(
                f"{self.path}: {name} has shape {values.shape}; expected {shape}, not empty", reason="shape"
            )
        table = np.atleast_2d(values)
        bad = np.flatnonzero(~np.isfinite(table.sum(axis=1, dtype=np.float64)))
        if len(bad):
            raise DataError(
                f"{self.path}: {name}: {len(bad)} of {len(table)} rows hold NaN or infinity (rows {first_few(bad)})",
                reason="not-finite",
            )
        return values

    def array(self, name: str) -> NDArray[Any]:
        """An array as it is stored."""
        if name not in self.arrays:
            raise DataError(
                f"{self.path}: no array `{name}`; the file holds {', '.join(sorted(self.arrays)) or 'nothing'}",
                reason="missing-array",
            )
        return self.arrays[name]

    def _numbers(self, ids: Ids, kind: str, gallery: Gallery) -> Ids:
        """The gallery's ids of texts that name its photos or captions; others, which it lacks, get negative ones."""
        known = dict(zip(gallery.names(kind), gallery.ids(kind).tolist(), strict=False))
        known |= {f"{one}": one for one in gallery.ids(kind).tolist()}
        names = [str(one).removesuffix(".jpg").replace(".jpg#", "#") for one in ids]
        numbers = np.array([known.get(name, -1 - row) for row, name in enumerate(names)], dtype=np.int64)
        return check_ids(numbers, f"{self.path}: {kind}_ids")  # two names of one photo

    def _assume(self, what: str) -> None:
        sentence = f"{self.path}: {what}"
        if sentence not in self.assumed:
            self.assumed.append(sentence)


def _guess(ids: Ids, wanted: Ids) -> str:
    """A hint at what went wrong when ids are missing."""
    if not len(ids):
        return ": the file is empty"
    known = int(np.isin(ids, wanted).sum())
    if known < len(wanted) // 2 and in_order(np.sort(ids), len(ids)):
        return ": the file's ids are the positions 0, 1, 2, ..; give the data set's own ids"
    if known < len(wanted) // 2:
        return f": only {known} of the file's {len(ids)} ids are among them; is it another data set or split?"
    return ""


def read_vectors(path: Path, multiply: Multiply = multiply) -> Vectors:
    """The arrays of a file, or of a folder of .npy files.

    Raises:
        DataError: as `read_arrays`.
    """
    return Vectors(Path(path), read_arrays(Path(path)), multiply=multiply)


Part = slice | NDArray[np.int64]
EVERYTHING = slice(None)


@dataclass(frozen=True, eq=False)
class Similarity:
    """Similarities of the images and captions of a gallery, in its order.

    Embeddings of images, of captions or of both, or `scores` [images, captions] of a method whose similarity is a
    function of the pair (cross attention, for example), which has no text-to-text or image-to-image form.
    """

    image: Floats | None = None
    text: Floats | None = None
    scores: NDArray[Any] | None = None
    multiply: Multiply = multiply

    @property
    def paired(self) -> bool:
        """Whether images can be compared with captions."""
        return self.scores is not None or (self.image is not None and self.text is not None)

    def pairs(self, images: Part = EVERYTHING, captions: Part = EVERYTHING) -> Scorer:
        """Scorer of some images (rows) and captions (columns)."""
        if self.scores is not None:
            return Matrix(self.scores[images][:, captions])
        assert self.image is not None
        assert self.text is not None
        return DotProduct(self.image[images], self.text[captions], multiply=self.multiply)

    def queries(self, task: str, asked: NDArray[np.int64]) -> Scorer:
        """Scorer of some queries (rows) and the whole gallery (columns) of task "i2t" or "t2i"."""
        if task == "i2t":
            return self.pairs(images=asked)
        return self.pairs(captions=asked).transposed()


def read_similarity(vectors: Vectors, gallery: Gallery, normalize: bool) -> Similarity:
    """The similarities of a gallery from the array `scores`, or else from embeddings of images, captions or both.

    Raises:
        DataError: arrays are missing, damaged or of another shape; a wanted id is missing; `normalize` was asked
            for scores, or there are scores and embeddings.
    """
    kinds = [kind for kind in ("image", "caption") if vectors.has(kind)]
    if SCORES not in vectors.arrays:
        image, text = (
            vectors.rows(kind, gallery, normalize) if kind in kinds else None for kind in ("image", "caption")
        )
        if not kinds:
            vectors.count("image")  # says what is missing
        return Similarity(image, text, multiply=vectors.multiply)
    if kinds or normalize:
        what = (
            f"holds {SCORES} and {kinds[0]}_embeddings; which is meant?"
            if kinds
            else f"{SCORES} have no length to normalize"
        )
        raise DataError(f"{vectors.path}: {what}", reason="scores")
    values = vectors.numbers(SCORES)
    for kind, rows in zip(("image", "caption"), values.shape, strict=True):
        given = vectors.arrays.get(f"{kind}_ids")
        if given is not None and len(given) != rows:
            raise DataError(
                f"{vectors.path}: {SCORES} has shape {values.shape} for {len(given)} {kind}_ids", reason="shape"
            )
    images, captions = (vectors.places(kind, gallery.ids(kind), gallery) for kind in ("image", "caption"))
    if not in_order(images, values.shape[0]):
        values = values[images]
    return Similarity(scores=values if in_order(captions, values.shape[1]) else values[:, captions])


def left_out(what: str, similarity: Similarity) -> str:
    """A sentence on what cannot be measured with embeddings of one kind."""
    return f"{what}: left out, since there are no embeddings of {'images' if similarity.image is None else 'captions'}"


def in_order(places: NDArray[Any], count: int) -> bool:
    """Whether the places are 0, 1, 2, .. up to the count: all rows as they stand, so that no copy is needed."""
    return len(places) == count and bool((places == np.arange(count)).all())
