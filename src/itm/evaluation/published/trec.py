"""Retrieval tasks as TREC files: a run and its relevance judgements, ties made explicit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itm.data.files import atomic_path
from itm.metrics import Positives, top_items
from itm.metrics.scorer import Scorer
from itm.vectors import Gallery, Ids

DEPTH = 100
"""Items of a query that a run lists."""


@dataclass(frozen=True, eq=False)
class Retrieval:
    """One task of a benchmark: scores [queries, items], the right items of each query, and the ids of both."""

    benchmark: str
    task: str
    scorer: Scorer
    answers: Positives
    queries: Ids
    items: Ids

    def write(self, folder: Path) -> None:
        """Write BENCHMARK-TASK.run (the first `DEPTH` items a query) and BENCHMARK-TASK.qrels.

        trec_eval orders a query's items by score, equal scores by id, whatever rank a run states. Scores here fall
        strictly, in float32 as trec_eval reads them: the order is the benchmark's own, the lower position first.
        """
        folder.mkdir(parents=True, exist_ok=True)
        name = folder / f"{self.benchmark}-{self.task}"
        lists = top_items(self.scorer, min(DEPTH, self.scorer.shape[1]))
        rows = np.repeat(np.arange(len(lists)), lists.shape[1])
        scores = falling(self.scorer.exact(rows, lists.ravel()).reshape(lists.shape))
        with atomic_path(f"{name}.run") as temporary, temporary.open("w", encoding="utf-8") as run:
            for query, items, values in zip(self.queries, lists, scores, strict=True):
                for rank, (item, value) in enumerate(zip(items, values, strict=True), start=1):
                    run.write(f"{query} Q0 {self.items[item]} {rank} {value:.9g} itm\n")
        with atomic_path(f"{name}.qrels") as temporary, temporary.open("w", encoding="utf-8") as qrels:
            for row, query in enumerate(self.queries):
                qrels.writelines(f"{query} 0 {self.items[item]} 1\n" for item in self.answers.of(row))


def both_ways(
    benchmark: str, scorer: Scorer, answers: tuple[Positives, Positives], gallery: Gallery
) -> tuple[Retrieval, Retrieval]:
    """The tasks i2t and t2i of a gallery, from scores [images, captions]."""
    images, captions = gallery.image_ids, gallery.caption_ids
    return (
        Retrieval(benchmark, "i2t", scorer, answers[0], images, captions),
        Retrieval(benchmark, "t2i", scorer.transposed(), answers[1], captions, images),
    )


def falling(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """The scores as float32, each lowered to the next smaller number where it is not below the one before it.

    >>> bool((np.diff(falling(np.array([[1.0, 1.0, 0.5, 0.5]]))) < 0).all())
    True
    """
    found = scores.astype(np.float32)
    for column in range(1, found.shape[1]):
        below = np.nextafter(found[:, column - 1], np.float32(-np.inf))
        found[:, column] = np.minimum(found[:, column], below)
    return found
