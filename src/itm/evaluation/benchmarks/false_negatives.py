"""False negatives of the pair labels: true but unlabelled pairs, found or not, where the truth is exactly known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.config.parameters import EvaluateParameters
from itm.data.tables import TRUE
from itm.evaluation.result import Metrics, Result
from itm.evaluation.tables import Tables
from itm.metrics import Positives, precision_at_r_of_lists, spearman, threshold_curve, top_items
from itm.metrics.scorer import Scorer
from itm.vectors.pipeline import Embeddings

RECALLS = np.linspace(0.01, 1.0, 100)
"""Where the precision of one threshold over all pairs is kept, under `threshold_precision`."""


def evaluate(tables: Tables, embeddings: Embeddings, parameters: EvaluateParameters) -> Result:
    """mAP@R, R-Precision and hit rates over all true pairs, the recall of unlabelled ones, calibration, and order.

    A pair is true when its grade is 5, labelled when the caption is the image's own. `unlabelled_recall` is the
    share of a query's true but unlabelled answers among its first R, R = all its true answers.
    """
    images, captions = tables.images["image_id"], tables.captions
    scorer = embeddings.scorer(images, captions["row"])
    grades = tables.grades
    scores = scorer.block(slice(None), slice(None), np.float64).astype(np.float64)
    labelled = np.zeros(grades.shape, dtype=bool)
    labelled[tables.owners, np.arange(len(tables.owners))] = True
    metrics: Metrics = {}
    per_query: dict[str, NDArray[Any]] = {
        "image_ids": images,
        "caption_ids": captions["caption_id"],
        "owners": tables.owners,
    }
    for name, given, grade, label in (
        ("i2t", scorer, grades, labelled),
        ("t2i", scorer.transposed(), grades.T, labelled.T),
    ):
        metrics[name], by_query = _direction(given, grade, label, parameters.recall_at)
        per_query |= {f"{name}_{key}": value for key, value in by_query.items()}
    true = grades == TRUE
    curve = threshold_curve(scores, true)
    metrics["threshold"] = {
        "average_precision": curve.average_precision,
        "best_f1": curve.best_f1,
        "base_rate": float(true.mean()),
    }
    reached = np.minimum(np.searchsorted(curve.recall, RECALLS - 1e-12), len(curve.recall) - 1)
    per_query["threshold_precision"] = curve.precision[reached]
    for name, values, grade in (("i2t", scores, grades), ("t2i", scores.T, grades.T)):
        rho = np.array([_spearman(*pair) for pair in zip(values, grade, strict=True)])
        metrics[name]["spearman"] = float(np.nanmean(rho)) if np.isfinite(rho).any() else float("nan")
        per_query[f"{name}_spearman"] = rho
    own = scores[tables.owners, np.arange(len(tables.owners))]
    metrics["order"] = {}
    known = captions["level"] > 0
    for name, value, keep in (
        ("level", captions["level"].astype(np.float64), known),
        ("descriptiveness", tables.descriptiveness, np.ones(len(known), dtype=bool)),
    ):
        tau = order_within(tables.owners[keep], own[keep], value[keep], len(images))
        per_query[f"order_{name}"] = tau
        metrics["order"][name] = float(np.nanmean(tau)) if np.isfinite(tau).any() else float("nan")
    protocol = {
        "images": len(images),
        "captions": len(captions["row"]),
        "true_pairs": int(true.sum()),
        "labelled_pairs": int(labelled.sum()),
        "unlabelled_pairs": int((true & ~labelled).sum()),
        "labelled_but_false": int((labelled & ~true).sum()),
    }
    return Result(metrics, per_query, protocol)


def _direction(
    scorer: Scorer, grade: NDArray[np.float32], labelled: NDArray[np.bool_], recall_at: list[int]
) -> tuple[Metrics, dict[str, NDArray[np.float64]]]:
    true = grade == TRUE
    positives = Positives.from_mask(true)
    longest = max(int(positives.counts.max()), max(recall_at))
    lists = top_items(scorer, min(longest, positives.gallery))
    found = precision_at_r_of_lists(lists, positives)
    right = np.take_along_axis(true, lists, axis=1)
    missed_label = true & ~labelled
    unlabelled = missed_label.sum(axis=1)
    within = np.arange(lists.shape[1]) < positives.counts[:, None]
    hits = (np.take_along_axis(missed_label, lists, axis=1) & within).sum(axis=1)
    recall = np.where(unlabelled > 0, hits / np.maximum(unlabelled, 1), np.nan)
    asked = positives.counts > 0
    metrics: Metrics = {
        "map_at_r": float(np.nanmean(found.map_at_r)),
        "r_precision": float(np.nanmean(found.r_precision)),
        **{f"r{k}": float(right[asked, :k].any(axis=1).mean()) for k in recall_at},
        "unlabelled_recall": float(np.nanmean(recall)) if (unlabelled > 0).any() else float("nan"),
    }
    return metrics, {
        "map_at_r": found.map_at_r,
        "r_precision": found.r_precision,
        "unlabelled_recall": recall,
        "true": positives.counts,
    }


def _spearman(score: NDArray[np.float64], grade: NDArray[np.float32]) -> float:
    """Spearman of one query, NaN without a warning where its grades or its scores are all equal."""
    if score.min() == score.max() or grade.min() == grade.max():
        return float("nan")
    return spearman(score, grade)


def order_within(
    owners: NDArray[np.int64], score: NDArray[np.float64], value: NDArray[np.float64], images: int
) -> NDArray[np.float64]:
    """[images] agreement of score and value among an image's captions: (concordant - discordant) / ordered pairs.

    Pairs of equal value are not ordered; equal scores count as neither. NaN where no pair is ordered.

    >>> order_within(np.array([0, 0, 0]), np.array([0.1, 0.3, 0.2]), np.array([1.0, 2.0, 3.0]), 1).round(3).tolist()
    [0.333]
    """
    agreement, pairs = np.zeros(images), np.zeros(images)
    order = np.argsort(owners, kind="stable")
    owner, score, value = owners[order], score[order], value[order]
    for step in range(1, int(np.bincount(owners, minlength=1).max())):
        same = owner[step:] == owner[:-step]
        change = np.sign(value[step:] - value[:-step])[same]
        rise = np.sign(score[step:] - score[:-step])[same]
        agreement += np.bincount(owner[step:][same], weights=change * rise, minlength=images)
        pairs += np.bincount(owner[step:][same], weights=np.abs(change), minlength=images)
    return np.where(pairs > 0, agreement / np.maximum(pairs, 1), np.nan)
