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
from itm.errors import DataError, first_few
from itm.metrics.scorer import DotProduct, Matrix, Multiply, multiply

Columns = dict[str, NDArray[Any]]
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


def read_embeddings(folder: Path, name: str = EMBEDDINGS) -> Embeddings:
    """The embeddings of one run: what is evaluated, or another file of the folder.

    Raises:
        DataError: the file is missing or damaged, lacks an array, or ids and rows differ in number.
    """
    path = Path(folder) / name
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("image_ids", "image", "text_ids", "text", "protocol")}
            if "scores" in stored:
                arrays |= {name: stored[name] for name in ("scores", "scored_images", "scored_texts")}
        protocol = dict(json.loads(str(arrays.pop("protocol"))))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro encode`", reason="missing-file") from None
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}", reason="missing-array") from None
    except Exception as error:  # a truncated zip raises one of several types
        raise DataError(f"{path}: not a readable .npz file: {error}", reason="damaged") from None
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


def read_columns(path: Path, names: tuple[str, ...], split: str | None = None) -> Columns:
    """Columns of a Parquet file; a missing id becomes -1 (numbers) or '' (text).

    Texts are Python's own: in an array of fixed width each would take as much as the longest. With `split` only that
    split's rows are kept while the file is read, and their positions in it are under `row`.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with readable(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        absent = [name for name in names if name not in file.schema_arrow.names]
        present = [name for name in names if name not in absent]
        rows, table = _of_split(file, present, split) if split is not None else (None, file.read(columns=present))
    if absent:
        raise DataError(f"{path}: {len(absent)} columns are missing ({first_few(absent)})", reason="missing-column")
    columns: Columns = {} if rows is None else {"row": rows}
    with readable(path):
        for name in names:
            column = table[name].combine_chunks()
            if pa.types.is_integer(column.type):
                column = column.fill_null(-1)
            elif not pa.types.is_floating(column.type):
                column = column.fill_null("")
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns


def _of_split(file: Any, names: list[str], split: str) -> tuple[NDArray[np.int64], Any]:
    """Positions and values of the rows of one split."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept, positions_, seen = [], [np.empty(0, np.int64)], 0
    for batch in file.iter_batches(columns=names):
        mask = pc.equal(batch["split"], split).fill_null(False)
        kept.append(batch.filter(mask))
        positions_.append(np.flatnonzero(mask.to_numpy(zero_copy_only=False)) + seen)
        seen += len(batch)
    schema = pa.schema([file.schema_arrow.field(name) for name in names])
    return np.concatenate(positions_), pa.Table.from_batches(kept, schema=schema)
