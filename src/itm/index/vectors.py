"""An index of named vectors: write, open, search by inner product.

A graph whose bytes were changed makes usearch read memory that is not its own. So the file holds a SHA-256 of all that
it says, and nothing of a file is used before that is compared.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.data.files import atomic_path
from itm.errors import DataError
from itm.index.graph import EXPANSION_SEARCH, Floats, Graph, build_graph
from itm.metrics.top import largest

FORMAT = "graded-itm index 2"
_BLOCK = 65_536
_EXACT_BELOW = 20_000
"""So few vectors are looked through as fast as a graph is."""
_SPARE = 3
"""Candidates of the graph for each wanted result: their exact scores decide."""


@dataclass(frozen=True)
class Facts:
    """What an index holds.

    model: SHA-256 of the model that made the vectors (`itm.vectors.pipeline.model_hash`), name and folder: what it is
    called and where it lay; source: where the images came from.
    """

    model: str
    name: str
    similarity: str
    source: str
    folder: str

    def check_model(self, model: str, where: str) -> None:
        """Refuse vectors of another model.

        Raises:
            DataError: the hashes differ (reason "other-model").
        """
        if self.model != model:
            raise DataError(
                f"{where}: made with another model ({self.name}, {self.model[:12]}; this one is {model[:12]}): their "
                "vectors cannot be compared; write the index again with `itm index`",
                reason="other-model",
            )


@dataclass
class VectorIndex:
    """Names and vectors (n, D) float32, row by row, with a graph where there are many."""

    names: Sequence[str]
    vectors: Floats
    facts: Facts
    graph: Graph | None = None

    def search(
        self, query: Floats, count: int, exact: bool = False, expansion: int = EXPANSION_SEARCH
    ) -> tuple[NDArray[np.int64], Floats]:
        """Rows and scores of the `count` largest inner products with a query (D,), the best first.

        Scores are exact in float32 either way; approximate is only which rows are found. Among equal scores the
        lower row comes first.

        Raises:
            DataError: the query's dimension differs, or a value is not finite.
        """
        query = np.asarray(query, np.float32)
        if query.shape != self.vectors.shape[1:]:
            raise DataError(
                f"the query has shape {query.shape}, the index dimension {self.vectors.shape[1]}", reason="dimension"
            )
        if not np.isfinite(query).all():
            raise DataError("the query's embedding is not finite", reason="not-finite")
        count = max(0, min(count, len(self.vectors)))
        if not count:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if exact or self.graph is None:
            return self._all(query, count)
        rows = np.sort(self.graph.candidates(query, min(_SPARE * count, len(self.vectors)), expansion))
        scores = self.vectors[rows] @ query
        best = largest(scores, count)
        return rows[best], scores[best]

    def _all(self, query: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
        rows, scores = np.zeros(0, np.int64), np.zeros(0, np.float32)
        for start in range(0, len(self.vectors), _BLOCK):
            part = self.vectors[start : start + _BLOCK] @ query
            # of equal scores those before come first, which have the lower rows
            rows, scores = np.append(rows, np.arange(start, start + len(part))), np.append(scores, part)
            best = largest(scores, count)
            rows, scores = rows[best], scores[best]
        return rows, scores

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each name."""
        return {name: row for row, name in enumerate(self.names)}


def write_index(
    path: Path,
    names: Sequence[str],
    vectors: Floats,
    facts: Facts,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write an index with its graph in one step: a reader sees all of it or the former file.

    Raises:
        DataError: there is no vector, names and vectors differ in number, or a value is not finite.
    """
    if not len(vectors) or len(names) != len(vectors):
        raise DataError(f"{path}: {len(names)} names for {len(vectors)} vectors", reason="no-vectors")
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: the vectors are not all finite; was the model trained?", reason="not-finite")
    arrays: dict[str, Any] = {
        "names": np.frombuffer(json.dumps(list(names), ensure_ascii=False).encode("utf-8", "surrogateescape"), "u1"),
        "vectors": np.ascontiguousarray(vectors, np.float32),
    }
    if len(vectors) >= _EXACT_BELOW:
        arrays["graph"] = build_graph(arrays["vectors"], threads, progress)
    write_arrays(path, arrays, {"format": FORMAT, **vars(facts)})


def open_index(path: Path) -> VectorIndex:
    """An index as it lies in its file: vectors and graph are read from the disk when they are needed.

    Raises:
        DataError: the file is missing, damaged, or of another format; or its names, vectors and graph do not belong
            together ("damaged-index").
    """
    arrays, facts = map_arrays(path)
    if facts.pop("format", "") != FORMAT or not {"names", "vectors"} <= arrays.keys():
        raise DataError(f"{path}: not an index of this version; {_AGAIN}", reason="other-format")
    try:
        known = Facts(**facts)
    except TypeError:
        raise DataError(f"{path}: does not say which model made it; {_AGAIN}", reason="other-format") from None
    try:
        names = json.loads(arrays["names"].tobytes().decode("utf-8", "surrogateescape"))
        vectors: Floats = arrays["vectors"]
        if vectors.ndim != 2 or vectors.dtype != np.float32:
            raise ValueError(f"the vectors have shape {vectors.shape} and type {vectors.dtype}")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("the names are no list of texts")
        if len(names) != len(vectors):
            raise ValueError(f"{len(names)} names for {len(vectors)} vectors")
        graph = Graph(arrays["graph"], *vectors.shape) if "graph" in arrays else None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({error}); {_AGAIN}", reason="damaged-index") from None
    return VectorIndex(names, vectors, known, graph)


Array = NDArray[Any]
_NAMES: dict[str, np.dtype[Any]] = {"U8": np.dtype("u1"), "F32": np.dtype("<f4")}
_LONGEST_HEADER = 100_000_000
_AGAIN = "write it again with `itm index`"


def write_arrays(path: Path, arrays: Mapping[str, Array], facts: Mapping[str, str]) -> None:
    """Write uint8 and float32 arrays, float32 first so that each is aligned, facts as strings, and a SHA-256 of all.

    Any safetensors reader reads the file. That package's own writer would hold a second copy of every array.
    """
    codes = {dtype: code for code, dtype in _NAMES.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(facts.items()))}
    contents = [np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data for name in order]
    place = 0
    for name in order:
        array = arrays[name]
        header[name] = {
            "dtype": codes[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [place, place + array.nbytes],
        }
        place += array.nbytes
    header["__metadata__"]["sha256"] = _digest(header, contents)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for content in contents:
            file.write(content)


def map_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays, as read-only views of the mapped file, and the facts. The whole file is read once, to check it.

    Raises:
        DataError: the file is missing ("missing-file"), not of this format, cut or changed ("damaged-index").
    """
    try:
        with path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        start = 8 + int.from_bytes(mapped[:8], "little")
        if start > min(len(mapped), _LONGEST_HEADER):
            raise ValueError("no header")
        header = json.loads(bytes(mapped[8:start]))
        written = header["__metadata__"].pop("sha256", None)
        if written is None:
            raise DataError(f"{path}: not an index of this version; {_AGAIN}", reason="other-format")
        if written != _digest(header, [mapped[start:]]):
            raise ValueError("its bytes are not those that were written")
        facts = header.pop("__metadata__")
        arrays = {name: _view(mapped[start:], **entry) for name, entry in header.items()}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `itm index` writes one", reason="missing-file") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: not an index, or damaged ({error}); {_AGAIN}", reason="damaged-index") from None
    return arrays, facts


def _digest(header: Mapping[str, Any], contents: Sequence[memoryview]) -> str:
    """The SHA-256 of a header without its own SHA-256, and of what follows it."""
    digest = hashlib.sha256(json.dumps(header).encode())
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def _view(content: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> Array:
    first, end = data_offsets
    if end > len(content):
        raise ValueError(f"{end - len(content)} bytes are missing")
    flat: Array = np.frombuffer(content[first:end], np.uint8)
    return flat.view(_NAMES[dtype]).reshape(shape)
