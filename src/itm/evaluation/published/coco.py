"""COCO Karpathy test (5K and 1K), Crisscrossed Captions and ECCV Caption: one gallery, one pass over the scores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itm.evaluation.benchmarks import cxc
from itm.evaluation.published.coco_files import read_cxc, read_eccv, read_gallery
from itm.evaluation.published.report import Report
from itm.evaluation.published.trec import both_ways
from itm.evaluation.result import Metrics, id_hash
from itm.metrics import (
    DotProduct,
    HitRanks,
    Positives,
    fold_means,
    hit_rates,
    precision_at_r_of_lists,
    rank_all,
    rsum,
    top_items,
    warn_if_collapsed,
)
from itm.vectors import Gallery, Similarity, Vectors, left_out, read_similarity

FOLDS = 5
RECALL_AT = (1, 5, 10)
TRIALS = 1000


def evaluate(
    vectors: Vectors,
    wanted: Iterable[str],
    folder: Path | None,
    *,
    normalize: bool,
    seed: int = 0,
    trials: int = TRIALS,
    items: bool = True,
    correlations: bool = True,
) -> Report:
    """The metrics of any of "coco", "cxc" and "eccv" for embeddings, or scores of pairs, with COCO ids.

    Scores of pairs have no text-to-text, image-to-image, STS and SIS; embeddings of captions alone have only t2t and
    STS, of images alone only i2i and SIS: what is left out is said. `items=False` leaves text-to-text and
    image-to-image retrieval out of "cxc", `correlations=False` its bootstraps.
    """
    gallery = read_gallery(folder)
    similarity = read_similarity(vectors, gallery, normalize)
    report = Report()
    for kind in ("image", "caption"):
        if similarity.paired or vectors.has(kind):
            report.protocol |= {
                f"{kind}s": len(gallery.ids(kind)),
                f"{kind}_id_hash": id_hash(gallery.ids(kind)),
                f"ignored_{kind}s": vectors.count(kind) - len(gallery.ids(kind)),
            }
    wanted = list(wanted)
    if not similarity.paired:
        parts = "i2t, t2i, i2i, sis, sits" if similarity.image is None else "i2t, t2i, t2t, sts, sits"
        report.left_out += [left_out(f"cxc ({parts})" if name == "cxc" else name, similarity) for name in wanted]
        wanted = [name for name in wanted if name == "cxc"]
    answers = {"coco": Positives.from_owners(gallery.owners, len(gallery.image_ids))} if "coco" in wanted else {}
    if "cxc" in wanted:
        ratings = read_cxc(gallery, folder)
        rated = cxc.rated_answers(ratings, gallery.owners, len(gallery.image_ids))
        if similarity.paired:
            answers["cxc"] = rated.i2t, rated.t2i
    by_row: list[HitRanks] = []
    by_column: list[HitRanks] = []
    if answers:
        rows, columns = zip(*answers.values(), strict=True)
        scorer = similarity.pairs()
        by_row, by_column = rank_all(scorer, list(rows), list(columns))
        for name, right in answers.items():
            report.retrievals += both_ways(name, scorer, right, gallery)
    ranks = dict(zip(answers, zip(by_row, by_column, strict=True), strict=True))
    if "coco" in wanted:
        _coco(report, gallery, similarity, *ranks["coco"])
    if "cxc" in wanted:
        found = dict(zip(("i2t", "t2i"), ranks.get("cxc", ()), strict=False))
        if items:
            found |= _among_items(similarity, rated)
        _cxc(report, gallery, found)
        if correlations:
            _correlations(report, gallery, ratings, similarity, trials, seed)
    if "eccv" in wanted:
        _eccv(report, gallery, similarity)
    return report


def _among_items(similarity: Similarity, rated: cxc.CxcAnswers) -> dict[str, HitRanks]:
    """Ranks of text-to-text and image-to-image retrieval, of what has embeddings."""
    given = {"t2t": (similarity.text, rated.t2t), "i2i": (similarity.image, rated.i2i)}
    scorers = {
        task: (DotProduct(own, multiply=similarity.multiply), right)
        for task, (own, right) in given.items()
        if own is not None
    }
    return cxc.rank_items(scorers)


def _coco(
    report: Report,
    gallery: Gallery,
    similarity: Similarity,
    i2t: HitRanks,
    t2i: HitRanks,
) -> None:
    for task, ranks in (("i2t", i2t), ("t2i", t2i)):
        warn_if_collapsed(ranks, f"coco_5k {task}")
    report.metrics["coco_5k"] = _both(i2t, t2i)
    report.ranks("coco_5k", "i2t", i2t, gallery.image_ids, gallery.image_ids)
    report.ranks("coco_5k", "t2i", t2i, gallery.caption_ids, gallery.image_ids[gallery.owners])
    size = len(gallery.image_ids) // FOLDS
    folds = []
    for fold in range(FOLDS):
        images = slice(fold * size, (fold + 1) * size)
        captions = np.flatnonzero((gallery.owners >= images.start) & (gallery.owners < images.stop))
        answers = Positives.from_owners(gallery.owners[captions] - images.start, size)
        (rows,), (columns,) = rank_all(similarity.pairs(images, captions), [answers[0]], [answers[1]])
        folds.append(_both(rows, columns))
        ids = gallery.image_ids[images]
        report.ranks("coco_1k", "i2t", rows, ids, ids)
        report.ranks(
            "coco_1k", "t2i", columns, gallery.caption_ids[captions], gallery.image_ids[gallery.owners[captions]]
        )
    report.metrics["coco_1k"] = {
        "i2t": fold_means([fold["i2t"] for fold in folds]),
        "t2i": fold_means([fold["t2i"] for fold in folds]),
        "rsum": float(np.mean([fold["rsum"] for fold in folds])),
    }
    report.protocol |= {"folds": FOLDS, "recall_at": list(RECALL_AT)}


def _cxc(report: Report, gallery: Gallery, found: dict[str, HitRanks]) -> None:
    report.metrics["cxc"] = {}
    image_of = gallery.image_ids[gallery.owners]
    for task, ranks in found.items():
        warn_if_collapsed(ranks, f"cxc {task}")
        report.metrics["cxc"][task] = cxc.task_rates(task, ranks, list(RECALL_AT))
        by_caption = task[0] == "t"
        report.ranks(
            "cxc",
            task,
            ranks,
            gallery.caption_ids if by_caption else gallery.image_ids,
            image_of if by_caption else gallery.image_ids,
        )
    report.protocol["cxc"] = {
        "thresholds": cxc.THRESHOLDS,
        "queries": {task: len(ranks.rank) for task, ranks in found.items()},
        "answerable": {task: int(ranks.answerable.sum()) for task, ranks in found.items()},
    }


def _correlations(
    report: Report,
    gallery: Gallery,
    ratings: dict[str, cxc.Ratings],
    similarity: Similarity,
    trials: int,
    seed: int,
) -> None:
    scorers = {
        "sts": None if similarity.text is None else DotProduct(similarity.text),
        "sis": None if similarity.image is None else DotProduct(similarity.image),
        "sits": similarity.pairs().transposed() if similarity.paired else None,
    }
    measured = {}
    for kind, rated in ratings.items():
        scorer = scorers[kind]
        if scorer is None:
            continue
        measured[kind] = len(rated)
        scores = scorer.exact(rated.first, rated.second)
        report.metrics["cxc"][kind], _ = cxc.correlate(kind, rated, scores, trials, seed)
        pairs, images = np.arange(len(rated)), cxc.pair_images(kind, rated, gallery.owners)
        report.values("cxc", kind, "model_score", scores, pairs, gallery.image_ids[images])
        report.values("cxc", kind, "rating", rated.score, pairs, gallery.image_ids[images])
    report.protocol["cxc"] |= {
        "correlation_queries": cxc.QUERIES,
        "rated_pairs": measured,
        "trials": trials,
        "seed": seed,
    }


def _eccv(report: Report, gallery: Gallery, similarity: Similarity) -> None:
    outside: list[int] = []
    metrics: Metrics = {}
    for task, query_ids, item_ids in (
        ("i2t", gallery.image_ids, gallery.caption_ids),
        ("t2i", gallery.caption_ids, gallery.image_ids),
    ):
        asked, positives, missing = read_eccv(task, query_ids, item_ids)
        outside += missing
        lists = top_items(similarity.queries(task, asked), int(positives.relevant.max()))
        found = precision_at_r_of_lists(lists, positives)
        right = positives.contains(np.arange(len(positives))[:, None], lists)
        groups = gallery.image_ids if task == "i2t" else gallery.image_ids[gallery.owners]
        values: dict[str, NDArray[np.float64]] = {
            "map_at_r": found.map_at_r,
            "r_precision": found.r_precision,
            **{f"r{k}": np.asarray(right[:, :k].any(axis=1), dtype=np.float64) for k in RECALL_AT},
        }
        metrics[task] = {name: float(by_query.mean()) for name, by_query in values.items()}
        for name, by_query in values.items():
            report.values("eccv", task, name, by_query, query_ids[asked], groups[asked])
    metrics |= {name: (metrics["i2t"][name] + metrics["t2i"][name]) / 2 for name in metrics["i2t"]}
    report.metrics["eccv"] = metrics
    report.protocol["eccv"] = {"answers_outside_gallery": sorted(outside), "they": "count in R, cannot be found"}


def _both(i2t: HitRanks, t2i: HitRanks) -> Metrics:
    rates = {"i2t": hit_rates(i2t, RECALL_AT), "t2i": hit_rates(t2i, RECALL_AT)}
    return {**rates, "rsum": rsum(*rates.values())}
