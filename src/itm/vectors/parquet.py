"""Parquet files of embeddings: a row a vector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.data.archives import LARGEST_RATIO
from itm.data.files import PARQUET, atomic_path, open_parquet
from itm.errors import DataError, first_few

Arrays = dict[str, NDArray[Any]]
IDS = {"image": {"id": "image_ids"}, "caption": {"id": "caption_ids", "image_id": "caption_image_ids"}}
"""The columns of ids that a kind may have, and their arrays."""
EMBEDDINGS_OF = {kind: f"{kind}_embeddings" for kind in ("image", "caption", "text")} | {"root": "root_embedding"}


LARGEST = 1 << 30
"""Bytes that arrays may have in memory, however small their file is: equal vectors pack a thousand to one."""
_ROWS = 1000


def check_growth(path: Path, size: int) -> None:
    """Refuse a file whose arrays take far more memory than itself.

    Raises:
        DataError: more than `LARGEST` and than the ratio that archives may have (reason "unsafe-archive").
    """
    limit = max(LARGEST, int(LARGEST_RATIO * path.stat().st_size))
    if size > limit:
        raise DataError(
            f"{path}: its arrays take more than {limit} bytes, of a file that is packed more than {LARGEST_RATIO:.0f} "
            "to 1; if they are what they should be, save them with safetensors",
            reason="unsafe-archive",
        )


def read_parquet(path: Path) -> Arrays:
    """The arrays of a file with the columns `kind` ("image", "caption", "text", "root") and `embedding` (lists of
    floats); `id` and `image_id`, the photo of each caption, may be missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    batches, size = [], 0
    with open_parquet(path, remedy="it may be truncated") as file:
        for batch in file.iter_batches(_ROWS):
            size += batch.nbytes
            check_growth(path, size)
            batches.append(batch)
        table = pa.Table.from_batches(batches, file.schema_arrow)
    if not {"kind", "embedding"} <= set(table.column_names):
        raise DataError(
            f"{path}: columns are {', '.join(table.column_names[:9])}; expected kind, id, embedding",
            reason="missing-column",
        )
    arrays: Arrays = {}
    for kind in pc.unique(table["kind"]).to_pylist():
        part = table.filter(pc.equal(table["kind"], pa.scalar(kind))).combine_chunks()
        widths = pc.unique(pc.list_value_length(part["embedding"])).to_pylist()
        values = pc.list_flatten(part["embedding"])
        if len(widths) != 1 or widths[0] is None or values.null_count:
            raise DataError(
                f"{path}: embeddings of kind {kind} have lengths {first_few(widths)}, and {values.null_count} values "
                "are missing; expected one length",
                reason="shape",
            )
        vectors = values.to_numpy().reshape(len(part), widths[0])
        if kind == "root":
            arrays["root_embedding"] = vectors.reshape(-1)
            continue
        arrays[f"{kind}_embeddings"] = vectors
        for column, name in IDS.get(kind, {}).items():
            if column in table.column_names:
                if missing := part[column].null_count:
                    raise DataError(f"{path}: {missing} {column}s of kind {kind} are missing", reason="ids")
                arrays[name] = part[column].to_numpy()
    return arrays


def write_parquet(path: Path, arrays: Arrays) -> dict[str, int]:
    """Write embeddings so that `read_parquet` gives them back, as lists of one fixed length; how many of each kind.

    Raises:
        DataError: they differ in width ("shape"), or of images and captions only one kind has ids ("ids").
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = {kind: np.atleast_2d(arrays[name]) for kind, name in EMBEDDINGS_OF.items() if name in arrays}
    if len(widths := {values.shape[1] for values in found.values()}) > 1:
        raise DataError(f"embeddings of widths {first_few(sorted(widths))} cannot be one column", reason="shape")
    if len({f"{kind}_ids" in arrays for kind in found if kind in IDS}) > 1:
        raise DataError("images have ids and captions none, or the reverse; give both theirs", reason="ids")
    floats = np.result_type(*found.values())
    given = {name: arrays[name] for columns in IDS.values() for name in columns.values() if name in arrays}
    words = any(values.dtype.kind in "OU" for values in given.values())
    parts = []
    for kind, values in found.items():
        flat = pa.array(np.ascontiguousarray(values, floats).reshape(-1))
        part = {"kind": pa.array([kind] * len(values)), "embedding": pa.FixedSizeListArray.from_arrays(flat, *widths)}
        for column, name in IDS.get(kind, {}).items():
            if name in given:
                part[column] = pa.array(given[name].astype(str) if words else given[name])
        parts.append(pa.table(part))
    with atomic_path(path) as temporary:
        pq.write_table(pa.concat_tables(parts, promote_options="default"), temporary, **PARQUET)
    return {kind: len(values) for kind, values in found.items()}
