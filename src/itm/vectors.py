"""A file of embeddings or of scores with ids, checked before anything is computed from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.data.layout import MODEL_CARD, MODEL_WEIGHTS
from itm.errors import DataError, first_few
from itm.metrics import DotProduct
from itm.metrics.scorer import Matrix, Scorer

Floats = NDArray[np.floating]
_STARTS = {b"\x80": "a pickle", b"PK": "a zip archive (torch.save or .npz?)", b"\x93N": "a .npy file"}


@dataclass(frozen=True, eq=False)
class Vectors:
    """The arrays of one file; each is checked when it is asked for."""

    path: Path
    arrays: dict[str, NDArray[Any]]

    def rows(self, kind: str, wanted: NDArray[np.int64], normalize: bool) -> Floats:
        """[wanted, D] the embeddings of `kind` ("image" or "caption") with these ids, in this order.

        Raises:
            DataError: the arrays are missing or damaged, an id occurs twice, or a wanted id is missing.
        """
        values = self.embeddings(f"{kind}_embeddings", normalize)
        count = len(self.ids(kind))
        if count != len(values):
            raise DataError(f"{self.path}: {count} {kind}_ids for {len(values)} {kind}_embeddings", reason="shape")
        return values[self.places(kind, wanted)]

    def places(self, kind: str, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """[wanted] the positions of these ids among the file's.

        Raises:
            DataError: an id occurs twice, or a wanted id is missing.
        """
        ids = self.ids(kind)
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        place = np.minimum(np.searchsorted(ordered, wanted), max(0, len(ids) - 1))
        absent = wanted[ordered[place] != wanted] if len(ids) else wanted
        if len(absent):
            raise DataError(
                f"{self.path}: {len(absent)} of the {len(wanted)} {kind} ids asked for are missing"
                f" ({first_few(absent)}){self._guess(ids, wanted)}",
                reason="missing-id",
            )
        found: NDArray[np.int64] = order[place]
        return found

    def ids(self, kind: str) -> NDArray[np.int64]:
        """All ids of `kind` in the file, each once."""
        ids = self._array(f"{kind}_ids")
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise DataError(
                f"{self.path}: {kind}_ids is {ids.dtype} of shape {ids.shape}; expected int64 [rows]", reason="ids"
            )
        found, times = np.unique(ids, return_counts=True)
        repeated = found[times > 1]
        if len(repeated):
            raise DataError(
                f"{self.path}: {len(repeated)} {kind} ids occur more than once ({first_few(repeated)})",
                reason="repeated-id",
            )
        return ids.astype(np.int64)

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
        """A float32 or float64 array without NaN or infinity."""
        values = self._array(name)
        if values.dtype not in (np.float32, np.float64):
            hint = "; half precision moves recall, encode again in float32" if values.dtype == np.float16 else ""
            raise DataError(f"{self.path}: {name} is {values.dtype}; expected float32 or float64{hint}", reason="dtype")
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

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self.arrays:
            raise DataError(
                f"{self.path}: no array `{name}`; the file holds {', '.join(sorted(self.arrays)) or 'nothing'}",
                reason="missing-array",
            )
        return self.arrays[name]

    def _guess(self, ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> str:
        """A hint at what went wrong when ids are missing."""
        if not len(ids):
            return ": the file is empty"
        known = int(np.isin(ids, wanted).sum())
        if ids.min() == 0 and ids.max() == len(ids) - 1 and known < len(wanted) // 2:
            return ": the file's ids are the positions 0, 1, 2, ..; give the data set's own ids"
        if known < len(wanted) // 2:
            return f": only {known} of the file's {len(ids)} ids are among them; is it another data set or split?"
        return ""


def read_vectors(path: Path) -> Vectors:
    """The arrays of a .safetensors (or .npz) file.

    Raises:
        DataError: missing, empty, truncated, or of another format; a pickle is never opened.
    """
    path = Path(path)
    try:
        start = path.open("rb").read(2)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", reason="missing-file") from None
    if not start:
        raise DataError(f"{path}: the file is empty", reason="empty-file")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                return Vectors(path, {name: stored[name] for name in stored.files})
        from safetensors import safe_open

        with safe_open(path, framework="np") as stored:
            return Vectors(path, {name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118
    except TypeError as error:
        raise DataError(f"{path}: holds a type that numpy lacks ({error}); save float32", reason="dtype") from None
    except Exception as error:
        seems = next((what for magic, what in _STARTS.items() if start.startswith(magic)), "")
        hint = f"; it looks like {seems}" if seems and path.suffix != ".npz" else "; it may be truncated"
        raise DataError(f"{path}: not a readable safetensors file: {error}{hint}", reason="damaged") from None


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


def model_hash(folder: Path) -> str:
    """SHA-256 over the card and the weights of a saved model; vectors of one hash can be compared."""
    digest = hashlib.sha256()
    for name in (MODEL_CARD, MODEL_WEIGHTS):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
