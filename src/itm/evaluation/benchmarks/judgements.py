"""Flickr8k's human judgements: agreement of the similarity with experts and with the crowd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.config.parameters import EvaluateParameters
from itm.errors import DataError
from itm.evaluation.benchmarks.cxc import Ratings, select_ratings
from itm.evaluation.result import Metrics, Result
from itm.evaluation.tables import Tables
from itm.metrics import kendall, ndcg, spearman
from itm.vectors.pipeline import Embeddings

KINDS = ("expert", "crowdflower")
LOWEST = {"expert": 1.0, "crowdflower": 0.0}


def evaluate(tables: Tables, embeddings: Embeddings, parameters: EvaluateParameters) -> Result:
    """Kendall's tau-c and tau-b and Spearman's rho against Expert and CrowdFlower ratings, and graded nDCG.

    As in the caption-evaluation literature, Expert's tau-c is over the three single judgements of each pair
    and leaves out pairs of an image with its own caption; `with_own` keeps them. Spearman is against the
    mean judgement. CrowdFlower has one rating a pair, the share of "yes". nDCG ranks each image's rated
    captions, for images that have at least two different mean grades.
    """
    images, captions = tables.images["image_id"], tables.captions
    scorer = embeddings.scorer(images, captions["row"])
    metrics: Metrics = {}
    per_query: dict[str, NDArray[Any]] = {}
    protocol: dict[str, Any] = {"images": len(images), "captions": len(captions["row"]), "pairs": {}}
    for kind in KINDS:
        ratings = select_ratings(tables.ratings, kind, captions["caption_id"], images)
        if not len(ratings):
            continue
        found = judge(kind, ratings, scorer.exact(ratings.second, ratings.first), tables.owners)
        metrics[kind], protocol["pairs"][kind] = found.metrics, found.counts
        per_query |= {f"{kind}_{name}": values for name, values in found.per_pair.items()}
        per_query[f"{kind}_caption_id"] = captions["caption_id"][found.caption]
    if not metrics:
        raise DataError(
            f"{tables.clean}: no judgement is about the split '{tables.split}'; Flickr8k's are about its test split",
            reason="no-ratings",
        )
    protocol["image_ids"] = "positions in the split's images"
    return Result(metrics, per_query, protocol)


@dataclass(frozen=True, eq=False)
class Judged:
    """Agreement with one kind of judgements. Of every rated pair: `caption`, its caption's position, and in `per_pair`
    the position of its image, the model's score, the mean grade, and whether the caption is the image's own."""

    metrics: Metrics
    caption: NDArray[np.int64]
    per_pair: dict[str, NDArray[Any]]
    counts: dict[str, int]


def judge(kind: str, ratings: Ratings, scores: NDArray[np.float64], owners: NDArray[np.int64]) -> Judged:
    """The agreement of the scores of judged pairs, one a judgement, with the judgements (`evaluate` says how)."""
    pair, first, back = np.unique(
        ratings.first * (int(ratings.second.max()) + 1) + ratings.second, return_index=True, return_inverse=True
    )
    grade = np.bincount(back, weights=ratings.score) / np.bincount(back)
    asked, score = ratings.second[first], scores[first]
    own = owners[ratings.first] == ratings.second
    if kind == "expert":
        metrics = {
            **_agreement(scores[~own], ratings.score[~own], score[~own[first]], grade[~own[first]]),
            "with_own": _agreement(scores, ratings.score, score, grade),
        }
    else:
        metrics = _agreement(scores, ratings.score, score, grade)
    gains = _ndcg_by_image(asked, score, grade - LOWEST[kind])
    metrics["ndcg"] = float(np.mean(gains)) if len(gains) else float("nan")
    counts = {
        "rated": len(pair),
        "judgements": len(ratings),
        "own_caption": int(own[first].sum()),
        "outside": ratings.outside,
        "ndcg_queries": len(gains),
    }
    per_pair = {"image": asked, "model": score, "grade": grade, "own": own[first]}
    return Judged(metrics, ratings.first[first], per_pair, counts)


def _agreement(
    scores: NDArray[np.float64],
    judgements: NDArray[np.float64],
    pair_score: NDArray[np.float64],
    mean_grade: NDArray[np.float64],
) -> Metrics:
    return {
        "tau_b": kendall(scores, judgements, "b"),
        "tau_c": kendall(scores, judgements, "c"),
        "spearman": spearman(pair_score, mean_grade),
    }


def _ndcg_by_image(
    image: NDArray[np.int64], score: NDArray[np.float64], gain: NDArray[np.float64]
) -> NDArray[np.float64]:
    """nDCG of each image's rated captions, of the images with at least two different grades."""
    order = np.argsort(image, kind="stable")
    found = []
    for part in np.split(order, np.flatnonzero(np.diff(image[order])) + 1):
        if len(part) > 1 and np.ptp(gain[part]) > 0:
            found.append(ndcg(score[part], gain[part]))
    return np.array(found)
