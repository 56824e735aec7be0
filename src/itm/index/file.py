"""Arrays and facts in one file that is written whole and read without loading it (the safetensors format)."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.data.files import atomic_path
from itm.errors import DataError

Array = NDArray[Any]
_NAMES: dict[str, np.dtype[Any]] = {"U8": np.dtype("u1"), "F32": np.dtype("<f4")}
_LONGEST_HEADER = 100_000_000


def write_arrays(path: Path, arrays: Mapping[str, Array], facts: Mapping[str, str]) -> None:
    """Write uint8 and float32 arrays, float32 first so that each is aligned, and facts as strings.

    Any safetensors reader reads the file. That package's own writer would hold a second copy of every array.
    """
    codes = {dtype: code for code, dtype in _NAMES.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(facts.items()))}
    place = 0
    for name in order:
        array = arrays[name]
        header[name] = {
            "dtype": codes[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [place, place + array.nbytes],
        }
        place += array.nbytes
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 64)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(np.ascontiguousarray(arrays[name]).view(np.uint8).data)


def map_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays, as read-only views of the mapped file, and the facts.

    Raises:
        DataError: the file is missing ("missing-file"), or not of this format or cut ("damaged-index").
    """
    try:
        with path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        start = 8 + int.from_bytes(mapped[:8], "little")
        if start > min(len(mapped), _LONGEST_HEADER):
            raise ValueError("no header")
        header = json.loads(bytes(mapped[8:start]))
        facts = header.pop("__metadata__")
        arrays = {name: _view(mapped[start:], **entry) for name, entry in header.items()}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `itm index` writes one", reason="missing-file") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not an index, or cut ({error}); write it again with `itm index`", reason="damaged-index"
        ) from None
    return arrays, facts


def _view(content: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> Array:
    first, end = data_offsets
    if end > len(content):
        raise ValueError(f"{end - len(content)} bytes are missing")
    flat: Array = np.frombuffer(content[first:end], np.uint8)
    return flat.view(_NAMES[dtype]).reshape(shape)
