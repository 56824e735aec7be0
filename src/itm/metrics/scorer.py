"""Scores of every query-item pair, given out in blocks, with a bound on their rounding error."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import MetricError, first_few

Floats = NDArray[np.floating]
_PAIRS = 4096  # pairs scored at once in float64: 32 MB of rows at dimension 512
_TINY = 2.0**-126  # smallest normal float32: products below it may be flushed to zero


Multiply = Callable[[Floats, Floats, slice, slice], Floats]
"""[rows, columns] products of some rows of two float32 arrays, within the bound of `DotProduct.error`."""


def multiply(left: Floats, right: Floats, rows: slice, columns: slice) -> Floats:
    """[rows, columns] products by numpy."""
    product: Floats = left[rows] @ right[columns].T
    return product


class Scorer(Protocol):
    """What ranking needs to know about a similarity. `shape` is (rows, columns).

    Two grades of truth: `block` is fast and wrong by at most `error`; `exact` is a function of the two
    items alone, so that items with equal content tie exactly, wherever they stand in a block. In a
    float64 block, columns with equal content hold equal scores too.
    """

    shape: tuple[int, int]

    def block(self, rows: slice, columns: slice, dtype: type[np.floating] = np.float32) -> Floats:
        """[rows, columns] scores of a block; it may come in more precision than asked for."""
        ...

    def exact(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """[pairs] scores of single pairs, in float64."""
        ...

    def error(self, dtype: type[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bounds on |block - exact| in each row [rows] and in each column [columns]."""
        ...

    def transposed(self) -> Scorer:
        """The same scores with the columns as rows."""
        ...


class Matrix:
    """A given score matrix [rows, columns]; its values are exact as they stand.

    Raises:
        MetricError: not two-dimensional, or a value is not finite.
    """

    def __init__(self, scores: ArrayLike) -> None:
        values = np.asarray(scores)
        if values.ndim != 2:
            raise MetricError(f"scores have shape {values.shape}; expected [queries, gallery]", reason="shape")
        if not np.issubdtype(values.dtype, np.floating):
            values = values.astype(np.float64)
        finite = np.isfinite(values)
        if not finite.all():
            bad = [f"[{row}, {column}]" for row, column in np.argwhere(~finite)[:3]]
            raise MetricError(
                f"scores: {values.size - int(finite.sum())} of {values.size} are not finite"
                f" ({first_few(bad, values.size - int(finite.sum()))})",
                reason="not-finite",
            )
        self.values = values
        self.shape = (values.shape[0], values.shape[1])

    def block(self, rows: slice, columns: slice, dtype: type[np.floating] = np.float32) -> Floats:
        """[rows, columns] the values themselves, never in less precision than they came in."""
        return self.values[rows, columns].astype(np.promote_types(dtype, self.values.dtype), copy=False)

    def exact(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """[pairs] values at (row, column)."""
        return self.values[rows, columns].astype(np.float64)

    def error(self, dtype: type[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Zero: blocks hold the values themselves."""
        return np.zeros(self.shape[0]), np.zeros(self.shape[1])

    def transposed(self) -> Matrix:
        """The same values with the columns as rows."""
        return Matrix(self.values.T)


class DotProduct:
    """Dot products of row and column embeddings, computed block by block, never stored whole.

    Args:
        rows: [rows, D] float; used as given (scale to unit length first for cosine similarity).
        columns: [columns, D] float; left out, the rows are compared with each other.
        multiply: who computes the products in float32, which decide nothing that is close.

    Raises:
        MetricError: not two-dimensional, dimensions differ, or a value is not finite.

    >>> DotProduct(np.eye(2), np.array([[3.0, 4.0]])).block(slice(0, 2), slice(0, 1)).tolist()
    [[3.0], [4.0]]
    """

    def __init__(self, rows: ArrayLike, columns: ArrayLike | None = None, *, multiply: Multiply = multiply) -> None:
        left = check_embeddings(rows, "row embeddings")
        right = left if columns is None else check_embeddings(columns, "column embeddings")
        if left.shape[1] != right.shape[1]:
            raise MetricError(
                f"embeddings differ in dimension: {left.shape[1]} for rows, {right.shape[1]} for columns",
                reason="dimension",
            )
        self.symmetric = columns is None
        self.shape = (len(left), len(right))
        with np.errstate(over="ignore"):  # such embeddings are scored in float64
            self._float32 = (left.astype(np.float32, copy=False), right.astype(np.float32, copy=False))
        self._given, self._multiply = (left, right), multiply
        self._norms = (_norms(left), _norms(right))
        self._beyond_float32 = max(float(norms.max(initial=0)) for norms in self._norms) > 1e15

    def block(self, rows: slice, columns: slice, dtype: type[np.floating] = np.float32) -> Floats:
        """[rows, columns] products, by the fast matrix product in the precision asked for."""
        if self._beyond_float32:
            dtype = np.float64
        if dtype is np.float32:
            return self._multiply(*self._float32, rows, columns)
        left, right = self._given
        product: Floats = left[rows].astype(dtype, copy=False) @ right[columns].astype(dtype, copy=False).T
        # the matrix product may round equal columns differently by their place
        first = self._classes[1][columns]
        repeated = np.flatnonzero(first != np.arange(*columns.indices(self.shape[1])))
        _, leader, back = np.unique(first, return_index=True, return_inverse=True)
        product[:, repeated] = product[:, leader[back[repeated]]]
        return product

    def exact(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """[pairs] products in float64, summed in an order that depends on nothing but D."""
        if len(rows) > 2 * _PAIRS:
            sample = slice(0, None, len(rows) // 64)
            if len(np.unique(self.exact(rows[sample], columns[sample]))) <= 32:  # a collapsed model: few distinct pairs
                left, right = self._classes
                keys, back = np.unique(left[rows] * self.shape[1] + right[columns], return_inverse=True)
                if len(keys) < len(rows) // 2:
                    return self.exact(keys // self.shape[1], keys % self.shape[1])[back]
        left_rows, right_rows = self._given
        scores = np.empty(len(rows), dtype=np.float64)
        for start in range(0, len(rows), _PAIRS):
            part = slice(start, start + _PAIRS)
            left_part = left_rows[rows[part]].astype(np.float64)
            np.multiply(left_part, right_rows[columns[part]], out=left_part)
            left_part.sum(axis=1, out=scores[part])
        return scores

    def error(self, dtype: type[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """|fl(x.y) - x.y| <= g(D+2) |x| |y| with g(n) = n u / (1 - n u), for any order of summation.

        Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1; two more roundings
        for float64 embeddings that are cast to float32. The bound of `exact` itself is far smaller.
        """
        terms = self._given[0].shape[1] + 2
        unit = float(np.finfo(dtype).eps) / 2
        relative = terms * unit / (1 - terms * unit) * (1 + 1e-6)
        left, right = self._norms
        floor = terms * _TINY if dtype is np.float32 else 0.0
        return relative * left * right.max(initial=0) + floor, relative * right * left.max(initial=0) + floor

    def transposed(self) -> DotProduct:
        """The same products with the columns as rows."""
        return DotProduct(self._given[1], self._given[0], multiply=self._multiply)

    @cached_property
    def _classes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each row and each column the first one with equal content."""
        left = first_equal(self._given[0])
        return left, left if self.symmetric else first_equal(self._given[1])


def check_embeddings(values: ArrayLike, name: str) -> Floats:
    """The embeddings as a two-dimensional float array, or a MetricError that says what is wrong."""
    array = np.asarray(values)
    if array.ndim != 2:
        raise MetricError(f"{name} have shape {array.shape}; expected [items, dimension]", reason="shape")
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(array.sum(axis=1, dtype=np.float64)))
    if len(bad):
        raise MetricError(
            f"{name}: {len(bad)} of {len(array)} rows hold NaN or infinity (rows {first_few(bad)})", reason="not-finite"
        )
    return np.ascontiguousarray(array)


def as_scorer(scores: Scorer | ArrayLike) -> Scorer:
    """The scores as a scorer: an array is taken as the whole matrix."""
    return scores if hasattr(scores, "block") else Matrix(scores)  # type: ignore[return-value]


def _norms(values: Floats) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64, casting="unsafe"))
    return norms


def first_equal(values: Floats) -> NDArray[np.int64]:
    """[rows] the position of the first row with the same content, found by hashing and checked.

    >>> first_equal(np.array([[1.0, 2.0], [0.0, 1.0], [1.0, 2.0]]))
    array([0, 1, 0])
    """
    bits = (values + 0.0).view(np.uint32)  # adding zero makes -0.0 and 0.0 the same bits
    weights = np.random.default_rng(0).integers(0, 2**63, bits.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = np.zeros(len(bits), dtype=np.uint64)
    for start in range(0, len(bits), _PAIRS):
        part = slice(start, start + _PAIRS)
        keys[part] = (bits[part] * weights).sum(axis=1, dtype=np.uint64)
    _, first, back = np.unique(keys, return_index=True, return_inverse=True)
    found = first[back]
    repeats = np.flatnonzero(found != np.arange(len(values)))
    different = repeats[(values[repeats] != values[found[repeats]]).any(axis=1)]
    found[different] = different  # a collision of hashes
    positions: NDArray[np.int64] = found
    return positions


Task = TypeVar("Task")
Outcome = TypeVar("Outcome")
_MOST = 8


def threads() -> int:
    """How many threads block-wise work uses: the process's cores, at most 8, at most OMP_NUM_THREADS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, _MOST, int(asked) if asked.isdecimal() and int(asked) else cores))


def in_threads(work: Callable[[Task], Outcome], tasks: Iterable[Task]) -> Iterator[Outcome]:
    """The outcomes in the order of the tasks, with no more than two tasks a thread begun and not yet taken.

    >>> list(in_threads(lambda n: n * n, range(5)))
    [0, 1, 4, 9, 16]
    """
    workers = threads()
    if workers == 1:
        yield from map(work, tasks)
        return
    with _single_threaded_products(), ThreadPoolExecutor(workers) as pool:
        begun: deque[Future[Outcome]] = deque()
        for task in tasks:
            begun.append(pool.submit(work, task))
            if len(begun) >= 2 * workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def _single_threaded_products() -> AbstractContextManager[object]:
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits
