"""The grade: its probabilities beside what is true, and the price of truth and order of an image's captions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.config.parameters import EvaluateParameters
from itm.data.layout import IDF
from itm.errors import ModelError
from itm.evaluation.benchmarks.cxc import select_ratings
from itm.evaluation.benchmarks.false_negatives import order_within
from itm.evaluation.benchmarks.hierarcaps import distinct_chains
from itm.evaluation.half_truths import half_truths
from itm.evaluation.result import Metrics, Result, id_hash
from itm.evaluation.tables import Tables
from itm.grading.calibrator import Calibrator
from itm.grading.scorer import Graded
from itm.grading.texts import describe, idf_hash
from itm.metrics import (
    Positives,
    calibration_by,
    calibration_of,
    frontier_area,
    half_truth,
    hit_ranks,
    hit_rates,
    monotonicity,
    precision_at_r,
    rsum,
    set_f1,
    spearman,
    threshold_curve,
    top_items,
)
from itm.metrics.scorer import Scorer
from itm.text.idf import IdfTable
from itm.text.tables import read_idf
from itm.vectors.ids import among
from itm.vectors.pipeline import Embeddings

Doubles = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]
SPECIFICITIES = np.arange(16) / 10
"""Where the frontier is looked at."""
NAMED = {"specificity_0": 0.0, "specificity_05": 0.5, "specificity_1": 1.0}
"""Specificities whose figures are kept by name, and image by image."""
LISTED = 10
"""Captions kept of each image's list, for the report's examples."""


def evaluate(tables: Tables, embeddings: Embeddings, parameters: EvaluateParameters) -> Result:
    """Reliability of P(true), the frontier over the specificity, half-truths, and texts of growing true detail.

    What needs to know which pairs are true (`probability`, mAP@R, `frontier/area`, `half_truth`) is there where the
    exact relation is; RSUM and order (of levels if known, else of descriptiveness) everywhere; `crowdflower` where
    people have judged; `monotonicity` where embedded images have chains. A model without a grade has the figures of its
    similarity alone.
    """
    images, captions = tables.images["image_id"], tables.captions
    scorer = embeddings.scorer(images, captions["row"])
    idf = read_idf(tables.scored / IDF)
    metrics: Metrics = {}
    arrays: Arrays = {"image_ids": images, "caption_ids": captions["caption_id"], "owners": tables.owners}
    protocol: dict[str, Any] = {"images": len(images), "captions": len(captions["row"])}
    calibrator, protocol["grade"] = _calibrator(embeddings, idf_hash(idf))
    truth = tables.truth
    if calibrator is not None:
        protocol |= {"fitted": calibrator.facts, "recall_at": list(parameters.recall_at)}
        known = bool((captions["level"] > 0).all())
        protocol["order_by"] = "level" if known else "descriptiveness"
        order_by = captions["level"].astype(np.float64) if known else tables.descriptiveness
        found, values = _frontier(tables, scorer, calibrator, truth, order_by, parameters.recall_at)
        metrics |= found
        arrays |= values
        if truth is not None:
            metrics["probability"], values = _probability(tables, scorer, calibrator, truth)
            arrays |= values
        judged = select_ratings(tables.ratings, "crowdflower", captions["caption_id"], images)
        if len(judged):
            s, d = scorer.exact(judged.second, judged.first), tables.descriptiveness[judged.first]
            crowd = calibration_of(calibrator.probability(s, d), judged.score)
            metrics["crowdflower"] = {"ece": crowd.ece, "brier": crowd.brier}
            arrays["crowdflower_reliability"] = crowd.bins
            protocol["judged_pairs"] = len(judged)
    if truth is not None:
        found, values, count = _half_truths(tables, scorer, calibrator, truth)
        metrics |= found
        arrays |= values
        protocol["half_truths"] = count
    if embeddings.scores is None and among(tables.hierarchies["image_id"], embeddings.image_ids).any():
        metrics["monotonicity"], protocol["chains"] = _monotonicity(tables, embeddings, calibrator, idf)
    protocol |= {"image_ids": id_hash(images), "caption_ids": id_hash(captions["caption_id"])}
    return Result(metrics, arrays, protocol)


def _calibrator(embeddings: Embeddings, idf: str) -> tuple[Calibrator | None, str]:
    """The model's calibrator, or why it has none."""
    if embeddings.grade is None:
        return None, "none"
    try:
        return Calibrator.load(embeddings.grade, idf=idf), "fitted on dev"
    except ModelError as error:
        if error.reason != "no-grade":
            raise
        return None, str(error)


def _frontier(
    tables: Tables,
    scorer: Scorer,
    calibrator: Calibrator,
    truth: NDArray[np.bool_] | None,
    order_by: Doubles,
    recall_at: list[int],
) -> tuple[Metrics, Arrays]:
    """What truth, order and retrieval are as the specificity rises; text-to-image ranks do not depend on it."""
    owners, d, count = tables.owners, tables.descriptiveness, len(tables.images["image_id"])
    own = scorer.exact(owners, np.arange(len(owners)))
    answers = Positives.from_owners(owners, count)
    t2i = hit_rates(hit_ranks(scorer.transposed(), answers[1]), recall_at)
    true = Positives.from_mask(truth) if truth is not None else None
    metrics: Metrics = {}
    curves: dict[str, list[float]] = {"order": [], "rsum": [], **({"map_at_r": []} if true else {})}
    arrays: Arrays = {"specificities": SPECIFICITIES}
    for specificity in SPECIFICITIES.tolist():
        graded = Graded(scorer, calibrator, d, specificity)
        by_image = {"order": order_within(owners, calibrator.grade(own, d, specificity), order_by, count)}
        if true is not None:
            by_image["map_at_r"] = precision_at_r(graded, true).map_at_r
        figures = {key: _mean(values) for key, values in by_image.items()}
        figures["rsum"] = rsum(hit_rates(hit_ranks(graded, answers[0]), recall_at), t2i)
        for key, value in figures.items():
            curves[key].append(value)
        for name in (name for name, at in NAMED.items() if at == specificity):
            metrics[name] = figures
            arrays |= {f"{name}_{key}": values for key, values in by_image.items()}
            top = top_items(graded, min(LISTED, len(owners)))
            arrays[f"{name}_top"] = top.astype(np.int32)
            s = scorer.exact(np.repeat(np.arange(count), top.shape[1]), top.ravel())
            arrays[f"{name}_top_probability"] = (
                calibrator.probability(s, d[top.ravel()]).reshape(top.shape).astype(np.float32)
            )
    arrays |= {f"frontier_{key}": np.array(values) for key, values in curves.items()}
    if true is not None:
        known = np.isfinite(curves["order"]).all()
        metrics["frontier"] = {"area": frontier_area(curves["order"], curves["map_at_r"]) if known else float("nan")}
    return metrics, arrays


def _probability(
    tables: Tables, scorer: Scorer, calibrator: Calibrator, truth: NDArray[np.bool_]
) -> tuple[Metrics, Arrays]:
    """P(true) of all pairs against the truth: reliability, also by descriptiveness, sets, numbers of images."""
    d = tables.descriptiveness
    p = calibrator.probability(scorer.block(slice(None), slice(None), np.float64), d)
    overall = calibration_of(p, truth)
    groups = calibration_by(np.broadcast_to(d, p.shape), p, truth)
    f1, predicted, real = set_f1(p, truth), p.sum(axis=0), truth.sum(axis=0)
    varied = np.ptp(predicted) > 0 and np.ptp(real) > 0
    metrics = {
        "ece": overall.ece,
        "brier": overall.brier,
        "average_precision": threshold_curve(p, truth).average_precision,
        "set_f1": float(f1.mean()),
        "multiplicity": spearman(predicted, real) if varied else float("nan"),
        "predicted_pairs": float(predicted.sum() / real.sum()),
        "by_descriptiveness": {
            f"group_{n}": {"ece": each.ece, "brier": each.brier} for n, (_, each) in enumerate(groups, start=1)
        },
    }
    arrays: Arrays = {
        "reliability": overall.bins,
        "probability_set_f1": f1,
        "predicted_multiplicity": predicted,
        "true_multiplicity": real,
        "true_captions": truth.sum(axis=1),
        "group_descriptiveness": np.array([value for value, _ in groups]),
    }
    return metrics, arrays


def _half_truths(
    tables: Tables, scorer: Scorer, calibrator: Calibrator | None, truth: NDArray[np.bool_]
) -> tuple[Metrics, Arrays, int]:
    """Half-truth accuracy: the mean over images of how many of their half-truths score lower than the truth."""
    found = half_truths(tables.texts, tables.owners, truth)
    if not len(found.images):
        return {}, {}, 0
    d = tables.descriptiveness
    first, second = (scorer.exact(found.images, captions) for captions in (found.true, found.half_true))
    asked = np.bincount(found.images, minlength=truth.shape[0])
    metrics: Metrics = {}
    arrays: Arrays = {}
    for name, specificity in _rankings(calibrator):
        pair: Iterable[Doubles] = (first, second)
        if calibrator is not None and specificity is not None:
            pair = (
                calibrator.grade(first, d[found.true], specificity),
                calibrator.grade(second, d[found.half_true], specificity),
            )
        right = np.bincount(found.images, half_truth(*pair), len(asked))
        by_image = np.where(asked > 0, right / np.maximum(asked, 1), np.nan)
        metrics[name] = _mean(by_image)
        arrays[f"half_truth_{name}"] = by_image
    return {"half_truth": metrics}, arrays, len(found.images)


def _monotonicity(
    tables: Tables, embeddings: Embeddings, calibrator: Calibrator | None, idf: IdfTable
) -> tuple[Metrics, int]:
    """Whether scores rise along an image's chain, each text of which says what the one before it says, and more."""
    image_ids, chains, text_ids = distinct_chains(tables.hierarchies, embeddings.image_ids)
    rows = np.repeat(np.arange(len(chains)), chains.shape[1])
    scorer = embeddings.scorer(image_ids, text_ids)
    s = scorer.exact(rows, chains.ravel())
    scores = {"similarity": s}
    if calibrator is not None and idf.parameters.kind != "expected_fit":
        text = dict(zip(tables.hierarchies["text_id"].tolist(), tables.hierarchies["text"].tolist(), strict=True))
        d = describe([text[each] for each in text_ids.tolist()], idf)[chains.ravel()]
        scores |= {name: calibrator.grade(s, d, at) for name, at in _rankings(calibrator) if at is not None}
    found = {name: monotonicity(values.reshape(chains.shape)) for name, values in scores.items()}
    return {
        name: {"rising": float(each.rising.mean()), "pearson": _mean(each.pearson)} for name, each in found.items()
    }, len(chains)


def _rankings(calibrator: Calibrator | None) -> list[tuple[str, float | None]]:
    """The similarity, and the grades of a model that has them."""
    return [("similarity", None), *(NAMED.items() if calibrator is not None else ())]


def _mean(values: Doubles) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
