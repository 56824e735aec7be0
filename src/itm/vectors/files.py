"""Arrays of a file of embeddings: safetensors, .npz, Parquet, a folder of .npy files, or the pipeline's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itm.data.files import read_npy, readable
from itm.errors import DataError
from itm.vectors.parquet import Arrays, check_growth, read_parquet
from itm.vectors.pipeline import embeddings_of, with_caption_ids

NAMES = (
    *(f"{kind}_{what}" for kind in ("image", "caption") for what in ("embeddings", "ids")),
    *("caption_image_ids", "text_embeddings", "root_embedding", "scores"),
)
_STARTS = {
    b"\x80": "a pickle, which is never opened, for it may run anything: save its arrays with safetensors",
    b"PK": "a zip archive: an .npz needs that suffix, tensors of torch.save are to be saved with safetensors",
    b"\x93N": "a .npy file: give it that suffix and the name of the array that it holds",
    b"PA": "Parquet: give it the suffix .parquet",
    b"\x89H": "HDF5: save its arrays with numpy.savez",
}
"""How files begin that may be given without the suffix of their form."""


def read_arrays(path: Path) -> Arrays:
    """The arrays that are stored at a path, under the names of docs/metrics.md.

    Raises:
        DataError: missing, empty, truncated, or of another format; a pickle is never opened.
    """
    if path.is_dir():
        files = [path / f"{name}.npy" for name in NAMES if (path / f"{name}.npy").is_file()]
        if not files:
            raise DataError(f"{path}: no file {', '.join(NAMES[:3])} .. .npy in this folder", reason="missing-array")
        return {file.stem: array for file in files for array in _read(file).values()}
    arrays = _read(path)
    if path.suffix == ".npy" and path.stem not in NAMES:
        raise DataError(
            f"{path}: a .npy file is named after what it holds: {', '.join(NAMES)}; give the folder of several",
            reason="missing-array",
        )
    if {"image", "text", "text_ids", "protocol"} <= set(arrays):
        return with_caption_ids(path, embeddings_of(path, arrays))
    return arrays


def _read(path: Path) -> Arrays:
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", reason="missing-file") from None
    if not start:
        raise DataError(f"{path}: the file is empty", reason="empty-file")
    form = path.suffix if path.suffix in (".npz", ".npy", ".parquet") else "safetensors"
    try:
        if form == ".npy":
            return {path.stem: np.array(read_npy(path))}
        if form == ".npz":
            with readable(path, "it may be truncated"), np.load(path, allow_pickle=False) as stored:
                check_growth(path, sum(entry.file_size for entry in stored.zip.infolist()))
                return {name: stored[name] for name in stored.files}
        if form == ".parquet":
            return read_parquet(path)
        from safetensors import safe_open

        with safe_open(path, framework="np") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except DataError:
        raise
    except TypeError as error:
        raise DataError(f"{path}: holds a type that numpy lacks ({error}); save float32", reason="dtype") from None
    except Exception as error:
        seems = next((what for magic, what in _STARTS.items() if start.startswith(magic)), "")
        hint = f"; it looks like {seems}" if seems and form == "safetensors" else "; it may be truncated"
        raise DataError(
            f"{path}: not a readable {form.lstrip('.')} file: {str(error)[:300]}{hint}", reason="damaged"
        ) from None
