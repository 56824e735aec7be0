"""Captions of parquet files, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itm.data.files import check_columns, open_parquet, readable
from itm.errors import DataError, first_few
from itm.text.counts import DocumentFrequencies, WordCounts, count_words, document_frequencies, select

CHUNK = 32_768
"""Captions a chunk; the scores do not depend on it."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive captions of a file."""

    texts: pa.Array
    training: np.ndarray | None
    """bool, the captions that document frequencies are counted on; None: all."""
    images: np.ndarray | None
    """Image codes, where a document is an image's caption set; whole images only."""
    where: str


def read_chunks(paths: Iterable[Path], by_image: bool = False, size: int = CHUNK) -> Iterator[Chunk]:
    """The captions of parquet files in order, chunk by chunk; a chunk never spans two files.

    Column `text` is needed. Where there is a column `split`, document frequencies come from its train rows. With
    `by_image` and a column `image_id` a chunk ends where an image ends; a caption of a file without stands for itself.

    Raises:
        DataError: a file is missing, is not parquet, or lacks a column.
    """
    for path in paths:
        with open_parquet(path, remedy="give a Parquet file") as file:
            held = file.schema_arrow.names
            whole_images = by_image and "image_id" in held
            columns = ["text"] + ["image_id"] * whole_images + ["split"] * ("split" in held)
            check_columns(path, held, columns)
            rest: pa.Table | None = None
            for batch in file.iter_batches(size, columns=columns):
                table = pa.Table.from_batches([batch])
                if nulls := [f"{name} ({table[name].null_count})" for name in columns[1:] if table[name].null_count]:
                    raise DataError(f"{path}: missing values in {first_few(nulls)}; fill them", reason="missing-value")
                if whole_images:
                    table = pa.concat_tables([rest, table]).combine_chunks() if rest is not None else table
                    cut = _last_image(table["image_id"])
                    table, rest = table.slice(0, cut), table.slice(cut)
                if len(table):
                    yield _chunk(table, str(path))
            if rest is not None and len(rest):
                yield _chunk(rest, str(path))


def count_chunk(chunk: Chunk) -> tuple[WordCounts, DocumentFrequencies]:
    """A chunk's word counts, and the document frequencies of its training captions."""
    counts = count_words(chunk.texts, f"{chunk.where}, column text")
    images, training = chunk.images, counts
    if chunk.training is not None and not chunk.training.all():
        rows = np.flatnonzero(chunk.training)
        training = select(counts, rows)
        images = images[rows] if images is not None else None
    return counts, document_frequencies(training, images)


def _chunk(table: pa.Table, where: str) -> Chunk:
    training = images = None
    if "split" in table.column_names:
        with readable(where, "its column split must hold texts"):
            training = np.asarray(pc.equal(table["split"].cast(pa.string()), "train").to_numpy())
    if "image_id" in table.column_names:
        encoded = table["image_id"].combine_chunks().dictionary_encode()
        images = encoded.indices.to_numpy(zero_copy_only=False)
    return Chunk(table["text"].combine_chunks(), training, images, where)


def _last_image(images: pa.ChunkedArray) -> int:
    """The row at which the last image of a column begins."""
    codes = images.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    changes = np.flatnonzero(codes[1:] != codes[:-1])
    return int(changes[-1]) + 1 if len(changes) else 0
