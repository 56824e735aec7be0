"""The clean tables, read back. Every stage after `clean` takes them from here; columns and orders: data/README.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.data.files import check_columns, read_npz, readable
from itm.data.layout import CAPTIONS, HIERARCHIES, IMAGES, QUARANTINE, RATINGS, TEXTS, TRUTH


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
    ("clean", CAPTIONS): ("caption_id", "image_id", "split", "text"),
    ("clean", IMAGES): ("image_id", "split"),
    ("clean", TEXTS): ("text",),
    ("clean", HIERARCHIES): ("image_id", "text"),
    ("score", CAPTIONS): ("caption_id",),
}
"""Columns by stage and table that every reader counts on."""


def read_table(path: Path, columns: list[str] | None = None, stage: str = "clean") -> pd.DataFrame:
    """A parquet file of a stage as a data frame, whole or some columns of it.

    Raises:
        DataError: the file is missing, is not parquet, or lacks a column.
    """
    import pyarrow.parquet as pq

    with readable(path, f"run `dvc repro {stage}`"):
        table: pd.DataFrame = pq.read_table(
            path, columns=columns, use_threads=False, partitioning=None, page_checksum_verification=True
        ).to_pandas()
    check_columns(path, table.columns.tolist(), _NEEDED.get((stage, path.name), ()) if columns is None else columns)
    return table


def as_list(column: pd.Series) -> list[str]:
    """The values of a text column."""
    values: list[str] = column.to_numpy(dtype=object).tolist()
    return values
