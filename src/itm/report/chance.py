"""Chance levels: the expectation of each metric over random orders of each gallery.

Exact for recalls, precisions and correlations, from the answers of each query that evaluate stored. Only the
hierarchy traversal has no closed form: there random embeddings are evaluated, and the mean of DRAWS of them told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.config import Parameters
from itm.evaluation.keys import flat_metrics
from itm.metrics import ndcg
from itm.report.results import Results

DRAWS = 3
SEED = 0
Levels = dict[str, float]


def chance_levels(results: Results, parameters: Parameters, clean: Path, scored: Path) -> dict[str, Levels]:
    """The chance level of the metrics of each benchmark that has one; other keys are absent."""
    levels: dict[str, Levels] = {}
    for benchmark in results.benchmarks:
        arrays = results.arrays(results.methods[0], results.seeds[0], benchmark)
        keys = results.keys(benchmark)
        if benchmark == "retrieval":
            found = _retrieval(arrays, keys)
        elif benchmark == "cxc":
            found = _cxc(arrays, keys)
        elif benchmark == "false_negatives":
            found = _false_negatives(arrays, keys)
        elif benchmark == "judgements":
            found = _judgements(arrays)
        elif benchmark == "hierarcaps":
            found = _hierarcaps(arrays, parameters, clean, scored)
        elif benchmark == "grading":
            found = _grading(arrays, keys, results.protocol(benchmark).get("recall_at", []))
        else:
            found = {}
        zero = {key: 0.0 for key in keys if re.search(r"spearman|tau_|^order/", key)}
        levels[benchmark] = {key: (found | zero)[key] for key in keys if key in found or key in zero}
    return levels


def hit_rate(answers: ArrayLike, gallery: int, k: int) -> float:
    """The expected share of queries with an answer among the first k of a random order of the gallery.

    One query with R answers in a gallery of n has 1 - C(n - R, k) / C(n, k); without an answer it is a miss.

    >>> round(hit_rate([1], 10, 5), 4), hit_rate([9], 10, 2), hit_rate([0, 1], 2, 1)
    (0.5, 1.0, 0.25)
    """
    counts = np.asarray(answers, dtype=np.float64)
    missed = np.ones(len(counts))
    for place in range(min(k, gallery)):
        missed *= np.clip((gallery - counts - place) / (gallery - place), 0, 1)
    return float(np.mean(1 - missed))


def map_at_r(answers: ArrayLike, gallery: int) -> float:
    """The expected mAP@R of a random order: the mean over queries, those without an answer left out.

    Place i holds an answer with probability R / n; then each of the i - 1 places before it does with
    probability (R - 1) / (n - 1).

    >>> round(map_at_r([1], 4), 4), map_at_r([4], 4)
    (0.25, 1.0)
    """
    counts = np.asarray(answers, dtype=np.int64)
    values = {}
    for r in np.unique(counts[counts > 0]).tolist():
        place = np.arange(1, r + 1)
        precision = (1 + (place - 1) * (r - 1) / max(1, gallery - 1)) / place
        values[r] = float(np.sum(precision)) / gallery
    return float(np.mean([values[r] for r in counts[counts > 0].tolist()]))


def _hits(keys: Sequence[str], prefix: str, answers: NDArray[Any], gallery: int) -> Levels:
    """R@K of a direction at all K among the keys, and its expected mean rank."""
    found = {
        key: hit_rate(answers, gallery, int(match[1]))
        for key in keys
        if (match := re.fullmatch(re.escape(prefix) + r"/r(\d+)", key))
    }
    having = answers[answers > 0]
    found[f"{prefix}/mean_rank"] = float(np.mean((gallery + 1) / (having + 1)))
    return found


def _retrieval(arrays: dict[str, NDArray[Any]], keys: Sequence[str]) -> Levels:
    images, captions = len(arrays["image_ids"]), len(arrays["caption_ids"])
    found = _hits(keys, "i2t", np.bincount(arrays["owners"], minlength=images), captions)
    found |= _hits(keys, "t2i", np.ones(captions, dtype=np.int64), images)
    found["rsum"] = 100 * sum(value for key, value in found.items() if re.search(r"/r\d+$", key))
    return found


def _cxc(arrays: dict[str, NDArray[Any]], keys: Sequence[str]) -> Levels:
    found: Levels = {}
    for task in ("i2t", "t2i", "t2t", "i2i"):
        if f"{task}_answers" in arrays:
            answers = arrays[f"{task}_answers"]
            # an item is not in its own gallery
            gallery = len(answers) - 1 if task in ("t2t", "i2i") else len(arrays[f"{task[::-1]}_answers"])
            asked = answers[answers > 0]
            found |= _hits(keys, task, asked if task in ("t2t", "i2i") else answers, gallery)
            found |= _hits(keys, f"{task}/answerable", asked, gallery)
    return found


def _false_negatives(arrays: dict[str, NDArray[Any]], keys: Sequence[str]) -> Levels:
    sizes = {"i2t": len(arrays["caption_ids"]), "t2i": len(arrays["image_ids"])}
    found: Levels = {}
    for task, gallery in sizes.items():
        true = arrays[f"{task}_true"]
        asked = true[true > 0]
        found |= _hits(keys, task, asked, gallery)
        found[f"{task}/map_at_r"] = map_at_r(true, gallery)
        found[f"{task}/r_precision"] = float(np.mean(asked / gallery))
        with_unlabelled = np.isfinite(arrays[f"{task}_unlabelled_recall"])
        if with_unlabelled.any():
            found[f"{task}/unlabelled_recall"] = float(np.mean(true[with_unlabelled] / gallery))
    share = float(arrays["t2i_true"].sum()) / (sizes["i2t"] * sizes["t2i"])
    # every pair accepted: precision = the share of true pairs, recall = 1
    return found | {"threshold/average_precision": share, "threshold/best_f1": 2 * share / (1 + share)}


def _grading(arrays: dict[str, NDArray[Any]], keys: Sequence[str], recall_at: Sequence[int]) -> Levels:
    images, captions = len(arrays["image_ids"]), len(arrays["caption_ids"])
    own = np.bincount(arrays["owners"], minlength=images)
    both = [hit_rate(own, captions, k) + hit_rate(np.ones(captions), images, k) for k in recall_at]
    last = {"order": 0.0, "rsum": 100 * sum(both)}
    found = {key: last[name] for key in keys if (name := key.rsplit("/", 1)[-1]) in last}
    found |= {key: 0.5 for key in keys if key.startswith("half_truth/")}
    if "true_captions" in arrays:
        true = arrays["true_captions"]
        found |= {key: map_at_r(true, captions) for key in keys if key.endswith("/map_at_r")}
        found["probability/average_precision"] = float(true.sum()) / (images * captions)
    return found


def _judgements(arrays: dict[str, NDArray[Any]]) -> Levels:
    """nDCG of a constant score: ties share the mean of their places' discounts, which is the expectation."""
    found: Levels = {}
    for kind, lowest in (("expert", 1.0), ("crowdflower", 0.0)):
        if f"{kind}_image" in arrays:
            image, grade = arrays[f"{kind}_image"], arrays[f"{kind}_grade"] - lowest
            order = np.argsort(image, kind="stable")
            groups = np.split(grade[order], np.flatnonzero(np.diff(image[order])) + 1)
            values = [ndcg(np.zeros(len(part)), part) for part in groups if len(part) > 1 and np.ptp(part) > 0]
            if values:
                found[f"{kind}/ndcg"] = float(np.mean(values))
    return found


def _hierarcaps(arrays: dict[str, NDArray[Any]], parameters: Parameters, clean: Path, scored: Path) -> Levels:
    from itm.evaluation.benchmarks.hierarcaps import evaluate
    from itm.evaluation.tables import Tables
    from itm.vectors.pipeline import Embeddings

    tables = Tables(clean, scored, parameters.encode.split)
    text_ids = np.unique(np.append(tables.hierarchies["text_id"], tables.root)).astype(np.int64)
    images, draws = arrays["image_ids"], []
    rng = np.random.default_rng(SEED)
    for _ in range(DRAWS):
        image, text = (
            rng.standard_normal((count, parameters.embedding.dimension), dtype=np.float32)
            for count in (len(images), len(text_ids))
        )
        random = Embeddings(images, image, text_ids, text, {})
        draws.append(flat_metrics(evaluate(tables, random, parameters.evaluate).metrics))
    return {key: float(np.mean([draw[key] for draw in draws])) for key in draws[0]}
