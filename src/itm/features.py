"""Features of frozen towers: computed once, kept as files, read by rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from itm.data.files import atomic_path
from itm.errors import DataError

Floats = np.ndarray[Any, np.dtype[np.float32]]


def write_features(path: Path, pooled: Floats | None, towers: dict[str, Any] | None) -> None:
    """Write a features file; `None` for both says that towers are trained and nothing is cached.

    The metadata names the towers, so that features are never read for other towers than those that made them.
    """
    tensors = {} if pooled is None else {"pooled": np.ascontiguousarray(pooled, np.float32)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"towers": json.dumps(towers, sort_keys=True)})


def read_features(path: Path) -> tuple[Floats | None, dict[str, Any] | None]:
    """The pooled features (rows, width) float32 and the description of the towers that made them.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "numpy") as file:
            towers = json.loads((file.metadata() or {}).get("towers", "null"))
            pooled = file.get_tensor("pooled") if "pooled" in file.keys() else None  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run `dvc repro features`", reason="bad-features") from None
    return pooled, towers


def text_batches(lengths: Sequence[int], batch_size: int) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    """Rows of texts in batches of similar length, so that little time goes into padding."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def fill_rows(
    rows: int,
    batches: Iterator[Any],
    compute: Callable[[Any], Floats],
    progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """An array whose rows are computed batch by batch, in whatever order the batches come.

    `progress` is told how many of the rows are done.
    """
    result: Floats | None = None
    done = 0
    for batch in batches:
        part = compute(batch)
        if result is None:
            result = np.zeros((rows, part.shape[1]), np.float32)
        result[batch] = part
        done += len(batch)
        if progress:
            progress(done, rows)
    return np.zeros((0, 0), np.float32) if result is None else result
