"""COCO Karpathy test (5K and 1K), Crisscrossed Captions and ECCV Caption: one gallery, one pass over the scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itm.errors import DataError
from itm.evaluation import cxc
from itm.evaluation.published import sources
from itm.evaluation.published.report import Report
from itm.evaluation.published.vectors import Floats, Vectors
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

SIZE = (5000, 25000)
FOLDS = 5
RECALL_AT = (1, 5, 10)
TRIALS = 1000


@dataclass(frozen=True, eq=False)
class Gallery:
    """Images in test order, captions with the position of their image; the order decides ties and folds."""

    image_ids: NDArray[np.int64]
    caption_ids: NDArray[np.int64]
    owners: NDArray[np.int64]


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
    """The metrics of any of "coco", "cxc" and "eccv" for embeddings with COCO ids.

    `items=False` leaves text-to-text and image-to-image retrieval out of "cxc", `correlations=False` its bootstraps.
    """
    gallery = read_gallery(folder)
    image = vectors.rows("image", gallery.image_ids, normalize)
    text = vectors.rows("caption", gallery.caption_ids, normalize)
    report = Report()
    report.protocol |= {
        "images": len(gallery.image_ids),
        "captions": len(gallery.caption_ids),
        "image_id_hash": id_hash(gallery.image_ids),
        "caption_id_hash": id_hash(gallery.caption_ids),
        "ignored_images": len(vectors.ids("image")) - len(gallery.image_ids),
        "ignored_captions": len(vectors.ids("caption")) - len(gallery.caption_ids),
    }
    pairs = DotProduct(image, text)
    answers = {"coco": Positives.from_owners(gallery.owners, len(image))} if "coco" in wanted else {}
    if "cxc" in wanted:
        ratings = read_cxc(gallery, folder)
        rated = cxc.rated_answers(ratings, gallery.owners, len(image))
        answers["cxc"] = rated.i2t, rated.t2i
    by_row, by_column = rank_all(pairs, [both[0] for both in answers.values()], [both[1] for both in answers.values()])
    ranks = dict(zip(answers, zip(by_row, by_column, strict=True), strict=True))
    if "coco" in wanted:
        _coco(report, gallery, image, text, *ranks["coco"])
    if "cxc" in wanted:
        found = {"i2t": ranks["cxc"][0], "t2i": ranks["cxc"][1]}
        if items:
            found |= cxc.rank_items({"t2t": (DotProduct(text), rated.t2t), "i2i": (DotProduct(image), rated.i2i)})
        _cxc(report, gallery, found)
        if correlations:
            _correlations(report, gallery, ratings, image, text, trials, seed)
    if "eccv" in wanted:
        _eccv(report, gallery, image, text)
    return report


def _coco(
    report: Report,
    gallery: Gallery,
    image: Floats,
    text: Floats,
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
        (rows,), (columns,) = rank_all(DotProduct(image[images], text[captions]), [answers[0]], [answers[1]])
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
    image: Floats,
    text: Floats,
    trials: int,
    seed: int,
) -> None:
    for kind, rated in ratings.items():
        scores = cxc.pair_scores(kind, rated, image, text)
        report.metrics["cxc"][kind], _ = cxc.correlate(kind, rated, scores, trials, seed)
        pairs, images = np.arange(len(rated)), cxc.pair_images(kind, rated, gallery.owners)
        report.values("cxc", kind, "model_score", scores, pairs, gallery.image_ids[images])
        report.values("cxc", kind, "rating", rated.score, pairs, gallery.image_ids[images])
    report.protocol["cxc"] |= {
        "correlation_queries": cxc.QUERIES,
        "rated_pairs": {kind: len(rated) for kind, rated in ratings.items()},
        "trials": trials,
        "seed": seed,
    }


def _eccv(report: Report, gallery: Gallery, image: Floats, text: Floats) -> None:
    outside: list[int] = []
    metrics: Metrics = {}
    for task, queries, items, query_ids, item_ids in (
        ("i2t", image, text, gallery.image_ids, gallery.caption_ids),
        ("t2i", text, image, gallery.caption_ids, gallery.image_ids),
    ):
        asked, positives, missing = read_eccv(task, query_ids, item_ids)
        outside += missing
        lists = top_items(DotProduct(queries[asked], items), int(positives.relevant.max()))
        scores = precision_at_r_of_lists(lists, positives)
        right = positives.contains(np.arange(len(positives))[:, None], lists)
        groups = gallery.image_ids if task == "i2t" else gallery.image_ids[gallery.owners]
        values: dict[str, NDArray[np.float64]] = {
            "map_at_r": scores.map_at_r,
            "r_precision": scores.r_precision,
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


def read_gallery(folder: Path | None) -> Gallery:
    """The Karpathy test split with the first five captions of each image, 5,000 and 25,000, in test order.

    From karpathy_captions.csv, or where that is not at hand from the installed package eccv_caption.
    """
    try:
        path = sources.find(("karpathy_captions.csv",), folder)
    except DataError:
        if folder is not None and not _has_package():
            raise
        return _package_gallery()
    return _table_gallery(path)


@cache
def _table_gallery(path: Path) -> Gallery:
    table = [row for row in sources.rows(path) if row["split"] == "test"]
    captions = np.array([int(row["caption_id"]) for row in table], dtype=np.int64)
    return _gallery(captions, np.array([int(row["image_id"]) for row in table], dtype=np.int64))


@cache
def _package_gallery() -> Gallery:
    data = sources.eccv_caption_data()
    captions = np.load(data / "coco_test_ids.npy").astype(np.int64)
    image_of = sources.read_json(data / "original_caption_to_image.json")
    return _gallery(captions, np.array([image_of[str(caption)][0] for caption in captions], dtype=np.int64))


def _has_package() -> bool:
    try:
        sources.eccv_caption_data()
    except DataError:
        return False
    return True


def _gallery(captions: NDArray[np.int64], image_of: NDArray[np.int64]) -> Gallery:
    ids, first, back = np.unique(image_of, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(ids), dtype=np.int64)
    place[order] = np.arange(len(ids))
    gallery = Gallery(ids[order], captions, place[back])
    if (len(ids), len(captions)) != SIZE:
        raise DataError(
            f"the COCO test gallery has {len(ids)} images and {len(captions)} captions;"
            f" expected {SIZE[0]} and {SIZE[1]}",
            reason="gallery-size",
        )
    return gallery


def read_cxc(gallery: Gallery, folder: Path | None) -> dict[str, cxc.Ratings]:
    """The CxC test ratings as positions in the gallery.

    Raises:
        DataError: a file is not at hand, or rates an item that the gallery lacks.
    """
    return {kind: _cxc_file(sources.find((f"{kind}_test.csv",), folder), kind, gallery) for kind in cxc.KINDS}


@cache
def _cxc_file(path: Path, kind: str, gallery: Gallery) -> cxc.Ratings:
    first, second = {"sts": ("caption1", "caption2"), "sis": ("image1", "image2")}.get(kind, ("caption", "image"))
    table = list(sources.rows(path))
    score = np.array([float(row["agg_score"]) for row in table])
    known = {"c": gallery.caption_ids, "i": gallery.image_ids}
    places = []
    for column in (first, second):
        ids = np.array([_coco_id(row[column]) for row in table], dtype=np.int64)
        ordered = np.argsort(known[column[0]])
        place = np.minimum(np.searchsorted(known[column[0]], ids, sorter=ordered), len(ordered) - 1)
        found = ordered[place]
        absent = int((known[column[0]][found] != ids).sum())
        if absent:
            raise DataError(f"{path}: {absent} ratings are about items outside the gallery", reason="missing-id")
        places.append(found)
    return cxc.Ratings(places[0], places[1], score, 0)


def _coco_id(name: str) -> int:
    """The number in CxC's names of captions and images.

    >>> _coco_id("COCO_val2014:sentid:732091"), _coco_id("COCO_val2014_000000365325.jpg")
    (732091, 365325)
    """
    return int(name.removesuffix(".jpg").replace(":", "_").rsplit("_", 1)[1])


def read_eccv(
    task: str, query_ids: NDArray[np.int64], item_ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Positives, list[int]]:
    """Positions of ECCV Caption's queries, their answers, and the ids of answers that the gallery lacks."""
    name = {"i2t": "eccv_image_to_caption.json", "t2i": "eccv_caption_to_image.json"}[task]
    answers = sources.read_json(sources.eccv_caption_data() / name)
    query_at = {int(one): place for place, one in enumerate(query_ids)}
    item_at = {int(one): place for place, one in enumerate(item_ids)}
    queries, items, missing, outside = [], [], np.zeros(len(answers), dtype=np.int64), []
    for number, found in enumerate(answers.values()):
        for item in found:
            if int(item) in item_at:
                queries.append(number)
                items.append(item_at[int(item)])
            else:
                missing[number] += 1
                outside.append(int(item))
    positives = Positives.from_pairs(queries, items, (len(answers), len(item_ids)), missing)
    return np.array([query_at[int(query)] for query in answers], dtype=np.int64), positives, outside
