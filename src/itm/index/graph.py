"""An approximate nearest-neighbour graph (HNSW, by usearch) for the largest inner products.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
graphs" (arXiv 1603.09320). The graph holds half-precision copies of the vectors: it proposes candidates, and whoever
asks it computes their exact scores from the vectors themselves. benchmarks/search_index.py measures what the options
cost and find.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

CONNECTIVITY = 16
EXPANSION_BUILD = 128
EXPANSION_SEARCH = 512
"""Recall@10 of 0.97 at a million vectors, 1.5 ms a query; 128 would find 0.88 (docs/results/search.md)."""
DTYPE = "f16"
_UNIT = 1e-3


def build_graph(vectors: Floats, threads: int, progress: Callable[[int, int], None] | None = None) -> Bytes:
    """The serialised graph over the rows of `vectors` (n, D).

    With one thread equal vectors give equal bytes; with more, the order of insertion and so the graph varies.
    """
    from usearch.index import Index

    index = Index(
        ndim=vectors.shape[1] + 1,
        metric="ip",
        dtype=DTYPE,
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_BUILD,
        expansion_search=EXPANSION_SEARCH,
        enable_key_lookups=False,
    )
    norm = np.linalg.norm(vectors, axis=1)
    longest = float(norm.max(initial=0)) or 1.0
    step = 50_000
    for start in range(0, len(vectors), step):
        part = slice(start, min(start + step, len(vectors)))
        index.add(np.arange(part.start, part.stop), lift(vectors[part], norm[part], longest), threads=threads)
        if progress:
            progress(part.stop, len(vectors))
    return np.frombuffer(cast(bytes, index.save()), np.uint8)


def lift(vectors: Floats, norm: Floats, longest: float) -> Floats:
    """Rows [x, sqrt(longest^2 - |x|^2)] / longest: all of unit length, in the order of x.q for queries [q, 0].

    Graphs are made for distances; the added coordinate turns the search for the largest inner product into the
    search for the nearest vector, exactly (Bachrach et al. 2014, "Speeding up the Xbox recommender system").

    >>> lift(np.array([[3.0, 4.0], [3.0, 0.0]], np.float32), np.array([5.0, 3.0], np.float32), 5.0).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929, 0.0], [0.6000000238418579, 0.0, 0.800000011920929]]
    """
    rest = np.sqrt(np.maximum(longest**2 - norm.astype(np.float64) ** 2, 0.0))
    if norm.size and rest.max() < _UNIT * longest:  # unit vectors: what is left is rounding
        rest[:] = 0.0
    lifted: Floats = (np.column_stack((vectors, rest)) / longest).astype(np.float32)
    return lifted


class Graph:
    """A serialised graph over `count` vectors, opened where it lies: nothing of it is copied.

    usearch trusts what it opens: the bytes must be those that `build_graph` gave.

    Raises:
        ValueError: the graph is of another number of vectors, or of another dimension.
    """

    def __init__(self, content: Bytes, count: int, dimension: int) -> None:
        from usearch.index import Index

        try:
            facts = Index.metadata(content.data) or {}
        except Exception as error:  # usearch has no class of its own for them
            raise ValueError(f"no graph: {error}") from None
        found = (facts.get("count_present"), facts.get("dimensions"))
        if found != (count, dimension + 1):
            raise ValueError(f"its graph is of {found[0]} x {found[1]} values, not {count} x {dimension + 1}")
        self._content = content  # the graph reads from it as long as it lives
        self._index = cast(Any, Index(ndim=dimension + 1, metric="ip", dtype=DTYPE, enable_key_lookups=False))
        self._index.view(content.data)
        self._index.expansion_search = EXPANSION_SEARCH

    def candidates(self, query: Floats, count: int, expansion: int = EXPANSION_SEARCH) -> NDArray[np.int64]:
        """Rows that are likely to have the largest inner products with a query (D,), `count` of them or fewer."""
        self._index.expansion_search = max(expansion, count)
        size = float(np.linalg.norm(query)) or 1.0
        found = self._index.search(np.append(query / size, 0).astype(np.float32), count, threads=1)
        rows: NDArray[np.int64] = np.asarray(found.keys).astype(np.int64)
        return rows
