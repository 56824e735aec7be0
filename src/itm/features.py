"""Features of frozen towers: computed once, kept as files, read by rows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from itm.data.files import atomic_path, writing
from itm.errors import DataError

Floats = np.ndarray[Any, np.dtype[np.float32]]
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass
class TokenRows:
    """Tokens of all rows, one after the other: `values` (positions, width) float16, of which row i has
    first[i]..first[i + 1]."""

    values: np.ndarray[Any, np.dtype[np.float16]]
    first: Rows

    def __len__(self) -> int:
        return len(self.first) - 1

    def padded(self, rows: Rows) -> tuple[np.ndarray[Any, np.dtype[np.float16]], np.ndarray[Any, np.dtype[np.bool_]]]:
        """The tokens of some rows (rows, longest, width), 0 where a row has fewer, and a mask of the real ones.

        >>> TokenRows(np.array([[1], [2], [3]], np.float16), np.array([0, 1, 3])).padded(np.array([1, 0]))[0].tolist()
        [[[2.0], [3.0]], [[1.0], [0.0]]]
        """
        lengths = self.first[rows + 1] - self.first[rows]
        mask = np.arange(max(int(lengths.max(initial=0)), 1)) < lengths[:, None]
        place = self.first[rows][:, None] + np.arange(mask.shape[1])
        found = self.values[np.where(mask, place, self.first[rows][:, None])]
        found[~mask] = 0
        return found, mask

    @classmethod
    def join(cls, parts: Iterable[np.ndarray[Any, Any]], width: int, folder: Path | None = None) -> TokenRows:
        """Rows from one array (positions, width) each, looked at one by one; the tokens then lie in a `Spool`."""
        with Spool(folder) as spool:
            first = [0, *(spool.add(part) for part in parts)]
            return cls(spool.values(width), np.array(first, np.int64))


class Spool:
    """Tokens in a nameless file of `folder` (by default that for temporary files), one array after the other.

    What is put there leaves memory, and is mapped when it is looked at again. The file is gone with the last look.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder, self._rows = folder or Path(tempfile.gettempdir()), 0
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed at the end of this one's block

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self._folder):
            self._file.close()

    def add(self, tokens: np.ndarray[Any, Any]) -> int:
        """Put tokens (positions, width) behind the others; how many positions there are then."""
        with writing(self._folder):
            self._file.write(np.ascontiguousarray(tokens, np.float16).data)
        self._rows += len(tokens)
        return self._rows

    def values(self, width: int) -> np.ndarray[Any, np.dtype[np.float16]]:
        """All that was put there (positions, width), mapped."""
        with writing(self._folder):
            self._file.flush()
        return _mapped(self._file, (self._rows, width))


@dataclass
class FeatureRows:
    """Features of all images or texts by frozen towers. pooled: (rows, width) float32. tokens: if they were asked for.
    towers: what the towers say of themselves."""

    pooled: Floats
    tokens: TokenRows | None
    towers: dict[str, Any]


def write_features(path: Path, found: FeatureRows | None) -> None:
    """Write a features file; `None` says that towers are trained and nothing is cached.

    The metadata names the towers, so that features are never read for other towers than those that made them.
    """
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    if found is not None:
        tensors["pooled"] = np.ascontiguousarray(found.pooled, np.float32)
        if found.tokens is not None:
            tensors |= {"tokens": found.tokens.values, "first": found.tokens.first}
    towers = json.dumps(None if found is None else found.towers, sort_keys=True)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"towers": towers})


def read_features(path: Path, tokens: bool = False) -> FeatureRows | None:
    """The features in a file, without their tokens unless asked for; None where towers are trained.

    Tokens are mapped, not read: processes that train side by side share one copy of what they look at.

    Raises:
        DataError: the file is missing or damaged, or tokens are asked for and not there (reason "no-tokens").
    """
    try:
        with safe_open(path, "numpy") as file:
            names = set(file.keys())
            towers = json.loads((file.metadata() or {}).get("towers", "null"))
            if towers is None:
                return None
            pooled = file.get_tensor("pooled")
            rows = None
            if tokens and {"tokens", "first"} <= names:
                rows = TokenRows(_tensor(path, "tokens"), file.get_tensor("first"))
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run `dvc repro features`", reason="bad-features") from None
    if tokens and rows is None:
        raise DataError(f"{path}: holds no tokens; set towers.tokens: true and run `dvc repro`", reason="no-tokens")
    return FeatureRows(pooled, rows, towers)


def _tensor(path: Path, name: str) -> np.ndarray[Any, np.dtype[np.float16]]:
    """A float16 tensor of a safetensors file, whose values stay in the file until they are looked at."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
        if entry["dtype"] != "F16":
            raise ValueError(f"{name} are {entry['dtype']}, not F16")
        return _mapped(file, tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])


def _mapped(file: IO[bytes], shape: tuple[int, ...], offset: int = 0) -> np.ndarray[Any, np.dtype[np.float16]]:
    if not all(shape):  # nothing can be mapped
        return np.zeros(shape, np.float16)
    return np.memmap(file, np.float16, "r", offset=offset, shape=shape)


def text_batches(lengths: Sequence[int], batch_size: int) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    """Rows of texts in batches of similar length, so that little time goes into padding."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
