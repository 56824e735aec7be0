"""Writing the clean tables: fixed column types, no library's fingerprint, so that equal data gives equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.data.files import PARQUET, atomic_path, write_npz
from itm.data.layout import CAPTIONS, HIERARCHIES, IMAGES, QUARANTINE, RATINGS, TEXTS
from itm.data.tables import as_list
from itm.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: dict[str, dict[str, str]] = {
    CAPTIONS: {
        "caption_id": "int64",
        "image_id": "string",
        "split": "string",
        "position": "int8",
        "text": "string",
        "raw_text": "string",
        "level": "int8",
        "multiplicity": "int32",
    },
    IMAGES: {
        "image_id": "string",
        "split": "string",
        "source": "string",
        "shard": "string",
        "offset": "int64",
        "size": "int64",
        "width": "int32",
        "height": "int32",
        "mode": "string",
        "sha256": "string",
    },
    TEXTS: {"text_id": "int64", "text": "string", "kind": "string"},
    HIERARCHIES: {"image_id": "string", "level": "int8", "text": "string", "text_id": "int64"},
    RATINGS: {
        "kind": "string",
        "caption_id_1": "int64",
        "caption_id_2": "int64",
        "image_id_1": "string",
        "image_id_2": "string",
        "score": "float64",
        "sampling": "string",
        "judge": "int8",
    },
    QUARANTINE: {"source": "string", "row": "int64", "reason": "string", "text": "string", "image_id": "string"},
}
"""Columns of every table and their Arrow types, in order."""

_NULLABLE = ("caption_id_1", "caption_id_2")

TRUTH_ARRAYS = tuple(f"{split}_{name}" for split in ("dev", "test") for name in ("image_ids", "caption_ids", "grade"))


def typed(table: pd.DataFrame, file: str) -> pd.DataFrame:
    """The columns of a table of this file name, in their order and types.

    Raises:
        DataError: a column is missing or cannot have its type.
    """
    missing = [name for name in COLUMNS[file] if name not in table]
    if missing:
        raise DataError(f"{file}: no column {', '.join(missing)}", reason="columns")
    made = {}
    for name, kind in COLUMNS[file].items():
        kind = "str" if kind == "string" else "Int64" if name in _NULLABLE else kind
        try:
            made[name] = table[name].reset_index(drop=True).astype(cast(Any, kind))
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(f"{file}: column {name} cannot be {kind}: {error}", reason="type") from None
    return pd.DataFrame(made)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table of `typed` as parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [_array(table[name], kind) for name, kind in COLUMNS[path.name].items()]
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(arrays, names=list(COLUMNS[path.name])), temporary, **PARQUET)


def _array(column: pd.Series, kind: str) -> pa.Array:
    import pyarrow as pa

    found = pa.Array.from_pandas(column, type=pa.type_for_alias(kind))
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def write_truth(truth: dict[str, NDArray[np.generic]], path: Path) -> None:
    """Write truth.npz; arrays that the data set does not have are empty."""
    empty: dict[str, NDArray[np.generic]] = {
        "image_ids": np.empty(0, "U1"),
        "caption_ids": np.empty(0, np.int64),
        "grade": np.empty((0, 0), np.float32),
    }
    arrays = {name: truth.get(name, empty[name.partition("_")[2]]) for name in TRUTH_ARRAYS}
    arrays = {name: array.astype(str) if array.dtype == object else array for name, array in arrays.items()}
    write_npz(path, arrays)


def build_texts(captions: pd.DataFrame, hierarchies: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """texts.parquet (captions, hierarchy texts, the empty text) and the hierarchies with their `text_id`."""
    first = len(captions)
    texts = [*as_list(captions["text"]), *as_list(hierarchies["text"]), ""]
    kinds = ["caption"] * first + ["hierarchy"] * len(hierarchies) + ["empty"]
    table = pd.DataFrame({"text_id": np.arange(len(texts), dtype=np.int64), "text": texts, "kind": kinds})
    return table, hierarchies.assign(text_id=np.arange(first, first + len(hierarchies), dtype=np.int64))
