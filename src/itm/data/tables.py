"""The clean tables, read back. Every stage after `clean` takes them from here; columns and orders: data/README.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from itm.data.files import open_parquet, read_npz, readable
from itm.data.layout import CAPTIONS, HIERARCHIES, IMAGES, KEYWORDS, QUARANTINE, RATINGS, TEXTS, TRUTH
from itm.errors import DataError

if TYPE_CHECKING:  # what starts fast imports this module too
    import pandas as pd

Columns = dict[str, NDArray[Any]]
TRUE = 5.0
"""The grade in truth.npz of a caption that is true of the image."""


def read_captions(folder: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """captions.parquet: rows train, dev, test; inside a split by image, then position."""
    return read_table(folder / CAPTIONS, columns)


def read_images(folder: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """images.parquet: rows train, dev, test, then photos of other benchmarks."""
    return read_table(folder / IMAGES, columns)


def read_texts(folder: Path) -> pd.DataFrame:
    """texts.parquet: captions in their order, hierarchy texts in theirs, then the empty text."""
    return read_table(folder / TEXTS)


def read_hierarchies(folder: Path) -> pd.DataFrame:
    """hierarchies.parquet: four rows a chain, level 1 (generic) to 4."""
    return read_table(folder / HIERARCHIES)


def read_ratings(folder: Path, kind: str | None = None) -> pd.DataFrame:
    """ratings.parquet, or only its rows of one kind (sts, sis, sits, expert, crowdflower).

    Caption ids are Int64, since a pair of images has none.
    """
    table = read_table(folder / RATINGS).astype({"caption_id_1": "Int64", "caption_id_2": "Int64"})
    return table if kind is None else table[table["kind"] == kind].reset_index(drop=True)


def read_quarantine(folder: Path) -> pd.DataFrame:
    """quarantine.parquet: every row that cleaning rejected, with its source and the reason."""
    return read_table(folder / QUARANTINE)


def read_truth(folder: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of truth.npz; empty ones where the data set has no exact relation.

    Raises:
        DataError: the file is missing or damaged.
    """
    return read_npz(folder / TRUTH, "run `dvc repro clean`")


_NEEDED = {
    CAPTIONS: ("caption_id", "image_id", "split", "text"),
    IMAGES: ("image_id", "split"),
    TEXTS: ("text",),
    HIERARCHIES: ("image_id", "text"),
}
"""Columns by table that every reader counts on."""


def read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """A clean table as a data frame, whole or some columns of it.

    Raises:
        DataError: the file is missing, is not parquet, or lacks a column.
    """
    needed = _NEEDED.get(path.name, ()) if columns is None else columns
    with open_parquet(path, needed, "run `dvc repro clean`") as file:
        table: pd.DataFrame = file.read(columns, use_threads=False).to_pandas()
    return table


def read_columns(path: Path, names: Sequence[str], split: str | None = None) -> Columns:
    """Columns of a Parquet file; a missing id becomes -1 (numbers) or '' (text).

    Texts are Python's own: in an array of fixed width each would take as much as the longest. With `split` only that
    split's rows are kept while the file is read, and their positions in it are under `row`.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    import pyarrow as pa

    with open_parquet(path, names) as file:
        rows, table = (None, file.read(names)) if split is None else _of_split(file, names, split)
        columns: Columns = {} if rows is None else {"row": rows}
        for name in names:
            column = table[name].combine_chunks()
            if pa.types.is_integer(column.type):
                column = column.fill_null(-1)
            elif not pa.types.is_floating(column.type):
                column = column.fill_null("")
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns


def _of_split(file: Any, names: Sequence[str], split: str) -> tuple[NDArray[np.int64], Any]:
    """Positions and values of the rows of one split."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept, places, seen = [], [np.empty(0, np.int64)], 0
    for batch in file.iter_batches(columns=names):
        mask = pc.equal(batch["split"], split).fill_null(False)
        kept.append(batch.filter(mask))
        places.append(np.flatnonzero(mask.to_numpy(zero_copy_only=False)) + seen)
        seen += len(batch)
    schema = pa.schema([file.schema_arrow.field(name) for name in names])
    return np.concatenate(places), pa.Table.from_batches(kept, schema=schema)


def read_scored(clean: Path, scored: Path, names: Sequence[str]) -> Columns:
    """Columns of the scored captions, in whose order the clean ones are.

    Raises:
        DataError: a table is missing or damaged, or they are not the same captions.
    """
    found, known = (read_columns(folder / CAPTIONS, ("caption_id",))["caption_id"] for folder in (scored, clean))
    if not np.array_equal(found, known):
        raise DataError(
            f"{scored / CAPTIONS}: its {len(found)} captions are not those of {clean / CAPTIONS} ({len(known)}); "
            "run `dvc repro score`",
            reason="stale-scores",
        )
    return read_columns(scored / CAPTIONS, names)


def read_keywords(scored: Path, rows: int) -> Any:
    """keywords.npz of the score stage as a sparse array (captions, words), which has so many rows.

    Raises:
        DataError: the file is missing or damaged, or has another number of rows.
    """
    from scipy import sparse

    path = scored / KEYWORDS
    with readable(path, "run `dvc repro score`"):
        keywords = sparse.csr_array(sparse.load_npz(path))
    if keywords.shape[0] != rows:
        raise DataError(
            f"{path}: {keywords.shape[0]} captions, {CAPTIONS} has {rows}; run `dvc repro score`", reason="stale-scores"
        )
    return keywords


def as_list(column: pd.Series) -> list[str]:
    """The values of a text column."""
    values: list[str] = column.to_numpy(dtype=object).tolist()
    return values
