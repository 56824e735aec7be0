"""Retrieval examples: queries on which the methods differ most, and the worst failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.report.dataset import Dataset

SHOWN = 5
"""Items shown a query and method."""


@dataclass(frozen=True)
class Item:
    """A retrieved row (of an image or a caption) and its kind: labelled, true, false or unlabelled."""

    row: int
    kind: str


@dataclass(frozen=True)
class Example:
    """One query with the first items of each method; `why` says what made it an example."""

    query: int
    why: str
    found: Mapping[str, list[Item]]


def text_to_image(
    data: Dataset, top: Mapping[str, NDArray[np.int64]], featured: str, baseline: str, count: int
) -> list[Example]:
    """Caption queries; `top[method]` is (captions, at least SHOWN) image rows, best first."""
    wrong = {}
    for method, rows in top.items():
        labelled, true = _hits(data, rows[:, :SHOWN], np.arange(len(rows))[:, None])
        wrong[method] = ~(labelled | true)
    chosen = _choose(wrong, _right(data, 0), data.captions.texts, featured, baseline, count)
    return [_example(query, why, top, lambda q, item: data.kind(item, q)) for query, why in chosen]


def image_to_text(
    data: Dataset, top: Mapping[str, NDArray[np.int64]], featured: str, baseline: str, count: int
) -> list[Example]:
    """Image queries; `top[method]` is (images, at least SHOWN) caption rows, best first."""
    wrong = {}
    for method, rows in top.items():
        labelled, true = _hits(data, np.arange(len(rows))[:, None], rows[:, :SHOWN])
        wrong[method] = ~(labelled | true)
    chosen = _choose(wrong, _right(data, 1), data.image_ids, featured, baseline, count)
    return [_example(query, why, top, data.kind) for query, why in chosen]


def shares(data: Dataset, top: Mapping[str, NDArray[np.int64]]) -> dict[str, dict[str, float]]:
    """What the first items of caption queries are, by method: shares of labelled, true, false (or unlabelled)."""
    result = {}
    for method, rows in top.items():
        labelled, true = _hits(data, rows[:, :SHOWN], np.arange(len(rows))[:, None])
        parts = {"labelled": labelled}
        if data.tables.truth is None:
            parts["unlabelled"] = ~labelled
        else:
            parts |= {"true": true & ~labelled, "false": ~true & ~labelled}
        result[method] = {name: float(part.mean()) for name, part in parts.items()}
    return result


def _hits(data: Dataset, images: NDArray[Any], captions: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pairs are labelled and which are known to be true; the two arrays of rows broadcast."""
    labelled = np.asarray(data.captions.owner[captions] == images)
    true = np.zeros_like(labelled) if data.tables.truth is None else data.tables.truth[images, captions]
    return labelled, true


def _right(data: Dataset, axis: int) -> NDArray[np.int64]:
    """How many items are true of each caption (axis 0) or image (axis 1); one where nobody knows."""
    size = len(data.captions.texts) if axis == 0 else len(data.image_ids)
    return np.ones(size, dtype=np.int64) if data.tables.truth is None else data.tables.truth.sum(axis=axis)


def _choose(
    wrong: Mapping[str, NDArray[np.bool_]],
    right: NDArray[np.int64],
    names: Sequence[str],
    featured: str,
    baseline: str,
    count: int,
) -> list[tuple[int, str]]:
    """Queries with the worst failures of `featured` (half of them, first), then its largest gains on `baseline`.

    A wrong item counts more the earlier it stands; of equal failures that with more right answers is the worse.
    """
    weight = np.arange(SHOWN, 0, -1)
    weight = weight[: wrong[featured].shape[1]]
    badness = {method: rows @ weight for method, rows in wrong.items()}
    failures = count if featured == baseline else (count + 1) // 2
    chosen: list[tuple[int, str]] = []
    seen: set[str] = set()
    plans = [(badness[featured], f"Worst failures of {featured}", failures)]
    if featured != baseline:
        gain = badness[baseline] - badness[featured]
        plans.append((gain, f"Largest gains of {featured} on {baseline}", count - failures))
    for size, why, wanted in plans:
        taken = 0
        for query in np.lexsort((-right, -size)).tolist():
            if taken == wanted or size[query] <= 0:
                break
            if names[query] not in seen:
                seen.add(names[query])
                chosen.append((query, why))
                taken += 1
    return chosen


def _example(query: int, why: str, top: Mapping[str, NDArray[np.int64]], kind: Callable[[int, int], str]) -> Example:
    found = {
        method: [Item(item, kind(query, item)) for item in rows[query, :SHOWN].tolist()] for method, rows in top.items()
    }
    return Example(query, why, found)


def by_reason(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """The examples by what made them one, in their order."""
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.why, []).append(example)
    return groups
