"""Crisscrossed Captions: graded ratings as retrieval answers and as correlations.

Definitions: docs/metrics.md. The same code serves the COCO ratings and those of the built-in data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.config.parameters import EvaluateParameters
from itm.data.tables import Columns
from itm.errors import DataError
from itm.evaluation.result import Metrics, Result
from itm.evaluation.tables import Tables
from itm.metrics import (
    DotProduct,
    HitRanks,
    Positives,
    bootstrap_spearman,
    hit_rates,
    rank_all,
    spearman,
    warn_if_collapsed,
)
from itm.metrics.scorer import Scorer
from itm.vectors.ids import among, positions
from itm.vectors.pipeline import Embeddings

THRESHOLDS = {"sits": 3.0, "sts": 3.0, "sis": 2.5}
KINDS = ("sts", "sis", "sits")
QUERIES = {"sts": "both captions", "sis": "both images", "sits": "image"}


@dataclass(frozen=True, eq=False)
class Ratings:
    """The ratings of one kind whose two items are in the gallery; positions, not ids.

    sts: caption, caption. sis: image, image. sits: caption, image.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    score: NDArray[np.float64]
    outside: int

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True, eq=False)
class CxcAnswers:
    """Right answers by rating. Captions that no image answers stay, as misses (see `hit_rates`)."""

    i2t: Positives
    t2i: Positives
    t2t: Positives
    i2i: Positives


def evaluate(tables: Tables, embeddings: Embeddings, parameters: EvaluateParameters) -> Result:
    """CxC retrieval where ratings give answers, and the STS, SIS and SITS correlations."""
    images, captions = tables.images["image_id"], tables.captions
    ratings = {kind: select_ratings(tables.ratings, kind, captions["caption_id"], images) for kind in KINDS}
    if not any(len(found) for found in ratings.values()):
        raise DataError(
            f"{tables.clean}: no rating of kind {', '.join(KINDS)} is about the split '{tables.split}'",
            reason="no-ratings",
        )
    image, text = embeddings.images(images), embeddings.texts(captions["row"])
    answers = rated_answers(ratings, tables.owners, len(images))
    pairs = embeddings.scorer(images, captions["row"])
    alone = [DotProduct(each, multiply=embeddings.multiply) for each in (image, text)]
    ranks = rank_tasks(pairs, alone[0], alone[1], answers)
    metrics: Metrics = {}
    per_query: dict[str, NDArray[Any]] = {"image_ids": images, "owners": tables.owners}
    denominators = {}
    for task, found in ranks.items():
        if found.answerable.any():
            warn_if_collapsed(found, f"cxc {task}")
            metrics[task] = task_rates(task, found, parameters.recall_at)
            per_query[f"{task}_rank"], per_query[f"{task}_answerable"] = found.rank, found.answerable
            per_query[f"{task}_answers"] = getattr(answers, task).counts
            denominators[task] = len(found.rank) if task in ("i2t", "t2i") else int(found.answerable.sum())
    for kind, found_ratings in ratings.items():
        if len(found_ratings):
            scores = pair_scores(kind, found_ratings, image, text, pairs)
            correlations, trials = correlate(kind, found_ratings, scores, parameters.bootstrap_samples, parameters.seed)
            metrics[kind] = correlations
            per_query[f"{kind}_trials"] = trials
            per_query[f"{kind}_model"], per_query[f"{kind}_rating"] = scores, found_ratings.score
            per_query[f"{kind}_image"] = pair_images(kind, found_ratings, tables.owners)
    protocol = {
        "images": len(images),
        "captions": len(captions["row"]),
        "recall_at": list(parameters.recall_at),
        "thresholds": THRESHOLDS,
        "denominators": denominators,
        "rated_pairs": {kind: len(found) for kind, found in ratings.items()},
        "rated_pairs_outside": {kind: found.outside for kind, found in ratings.items()},
        "queries": QUERIES,
        "bootstrap": {"trials": parameters.bootstrap_samples, "seed": parameters.seed, "sample": "half of the queries"},
    }
    return Result(metrics, per_query, protocol)


def select_ratings(table: Columns, kind: str, caption_ids: NDArray[Any], image_ids: NDArray[Any]) -> Ratings:
    """The ratings of a kind between items of the gallery, and how many others there are."""
    row = np.flatnonzero(table["kind"] == kind)
    known = {"caption": caption_ids, "image": image_ids}
    names = {"sts": ("caption_id_1", "caption_id_2"), "sis": ("image_id_1", "image_id_2")}.get(
        kind, ("caption_id_1", "image_id_1")
    )
    inside = np.ones(len(row), dtype=bool)
    for name in names:
        inside &= among(table[name][row], known[name.split("_")[0]])
    kept = row[inside]
    first, second = (
        positions(known[name.split("_")[0]], table[name][kept], f"{kind} items", "ratings.parquet") for name in names
    )
    return Ratings(first, second, table["score"][kept].astype(np.float64), int((~inside).sum()))


def rated_answers(ratings: dict[str, Ratings], owners: NDArray[np.int64], images: int) -> CxcAnswers:
    """Answers of the four retrieval tasks.

    i2t, t2i: SITS >= 3, whether or not the pair is an original one. t2t: the other captions of the same
    image whatever their score, and captions with STS >= 3 in either column order. i2i: SIS >= 2.5 in either
    column order. An item is never an answer to itself.
    """
    captions = len(owners)
    sits, sts, sis = (
        _above(ratings[kind], THRESHOLDS[kind]) if kind in ratings else (np.zeros(0, np.int64),) * 2
        for kind in ("sits", "sts", "sis")
    )
    own = _same_owner(owners)
    # siblings alone are no ratings: without any STS rating there is no t2t task
    first, second = (np.concatenate(pair) for pair in zip(own, sts, strict=True)) if len(sts[0]) else sts
    return CxcAnswers(
        Positives.from_pairs(sits[1], sits[0], (images, captions)),
        Positives.from_pairs(sits[0], sits[1], (captions, images)),
        _both_ways(first, second, captions),
        _both_ways(*sis, images),
    )


def rank_tasks(pairs: Scorer, images: DotProduct, texts: DotProduct, answers: CxcAnswers) -> dict[str, HitRanks]:
    """Hit ranks of the four tasks; an item is not in its own gallery."""
    (i2t,), (t2i,) = rank_all(pairs, rows=[answers.i2t], columns=[answers.t2i])
    return {"i2t": i2t, "t2i": t2i, **rank_items({"t2t": (texts, answers.t2t), "i2i": (images, answers.i2i)})}


def rank_items(tasks: dict[str, tuple[DotProduct, Positives]]) -> dict[str, HitRanks]:
    """Hit ranks among items of one kind, for tasks that have an answer at all; an item is not in its own gallery."""
    found = {}
    for task, (scorer, positives) in tasks.items():
        if len(positives.items):
            every = np.arange(len(positives))
            itself = Positives.from_pairs(every, every, (len(every), len(every)))
            found[task] = rank_all(scorer, rows=[positives], exclude=itself)[0][0]
    return found


def task_rates(task: str, ranks: HitRanks, recall_at: list[int]) -> Metrics:
    """Hit rates of one task, with the denominators in use.

    i2t and t2i count queries without an answer as misses (VSE-infinity's evaluator); `answerable` leaves
    them out (eccv_caption). t2t and i2i ask only queries with an answer.
    """
    if task in ("t2t", "i2i"):
        return hit_rates(ranks, recall_at, answerable_only=True)
    rates: Metrics = dict(hit_rates(ranks, recall_at))
    if not ranks.answerable.all():
        only = hit_rates(ranks, recall_at, answerable_only=True)
        rates["answerable"] = {name: value for name, value in only.items() if name.startswith("r")}
    return rates


def pair_scores(
    kind: str, ratings: Ratings, image: NDArray[np.floating], text: NDArray[np.floating], pairs: Scorer
) -> NDArray[np.float64]:
    """[pairs] the model's similarity of each rated pair."""
    if kind == "sits":
        return pairs.exact(ratings.second, ratings.first)
    return DotProduct(image if kind == "sis" else text).exact(ratings.first, ratings.second)


def pair_images(kind: str, ratings: Ratings, owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """[pairs] the image that a rated pair is resampled with: the query image, or that of the first caption."""
    return {"sts": owners[ratings.first], "sis": ratings.first}.get(kind, ratings.second)


def correlate(
    kind: str, ratings: Ratings, scores: NDArray[np.float64], trials: int, seed: int
) -> tuple[Metrics, NDArray[np.float64]]:
    """The bootstrap correlation of one kind, its deviation, and the all-pairs Spearman beside it.

    The query of a pair: STS both captions, SIS both images, SITS the image (docs/metrics.md tells why).
    """
    if kind == "sits":
        queries, repeat = ratings.second, 1
    else:
        queries, repeat = np.concatenate((ratings.first, ratings.second)), 2
    bootstrap = bootstrap_spearman(
        queries, np.tile(ratings.score, repeat), np.tile(scores, repeat), trials=trials, seed=seed
    )
    metrics = {"spearman": bootstrap.mean, "std": bootstrap.std, "spearman_all_pairs": spearman(ratings.score, scores)}
    return metrics, bootstrap.trials


def _above(ratings: Ratings, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    keep = ratings.score >= threshold
    return ratings.first[keep], ratings.second[keep]


def _both_ways(first: NDArray[np.int64], second: NDArray[np.int64], items: int) -> Positives:
    other = first != second
    left, right = first[other], second[other]
    return Positives.from_pairs(np.concatenate((left, right)), np.concatenate((right, left)), (items, items))


def _same_owner(owners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs (a < b) of captions of one image."""
    order = np.argsort(owners, kind="stable")
    size = np.bincount(owners)
    place = np.arange(len(owners)) - np.repeat(np.cumsum(size) - size, size)
    first, second = [], []
    for step in range(1, int(size.max(initial=0))):
        at = np.flatnonzero(place + step < np.repeat(size, size))
        first.append(order[at])
        second.append(order[at + step])
    if not first:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate(first), np.concatenate(second)
