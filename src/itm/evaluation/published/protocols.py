"""The figures that other evaluations of COCO and Flickr30K give for the same embeddings, and why they differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itm.errors import DataError
from itm.evaluation.published import coco_files, pairs
from itm.evaluation.published.report import Report
from itm.evaluation.result import Metrics
from itm.metrics import HitRanks, Positives, hit_rates, rank_all, rsum, top_items
from itm.metrics.scorer import Scorer
from itm.vectors import SCORES, Gallery, Similarity, Vectors, left_out, read_similarity

BENCHMARKS = ("coco", "flickr30k")
DEPTH = 10

DIFFERENCES = {
    "clip_benchmark": (
        "figure: R@5 alone, under the names image_retrieval (t2i) and text_retrieval (i2t)",
        "recall: a hit rate, as here; its function recall_at_k itself gives the share of right answers found",
        "gallery: every caption of a photo (COCO 25,010), here the first five (25,000)",
        "ties: in the order of torch.topk, which is not specified; here the lower position first",
        "precision: encodes under automatic mixed precision by default (--no_amp); no embeddings here were made so",
        "length: embeddings are scaled to unit length",
    ),
    "mteb": (
        "figure: nDCG@10, gain 1 / log2(rank + 1), over the best order of min(R, 10) answers; recall_at_k beside it "
        "is the share of right answers found, no hit rate",
        "gallery: COCO captions of equal text are one text, right for every photo that has it (24,809 texts)",
        "ties: the higher id first, compared as text; here the ids are the data set's, MTEB's are its copy's own",
        "depth: only the first 1,000 items of a query are scored, which changes none of these figures",
        "length: similarity is the cosine",
    ),
    "karpathy": (
        "figure: R@1/5/10 both ways and their sum, as here; published code gives percent",
        "ties: numpy.argsort reversed, so mostly the higher position first; here the lower",
        "length: embeddings as given (published code trains with unit length)",
    ),
}
"""What differs from the figures of the benchmark itself, a line each."""


def evaluate(
    vectors: Vectors, name: str, protocols: tuple[str, ...], folder: Path | None, *, normalize: bool
) -> Report:
    """The figures of other protocols for benchmark "coco" or "flickr30k".

    Raises:
        DataError: as the benchmark itself; texts are not at hand ("mteb").
    """
    gallery = coco_files.read_gallery(folder) if name == "coco" else pairs.read_gallery(name, folder)
    report = Report()
    for protocol in protocols:
        unit = SCORES not in vectors.arrays and (normalize or protocol != "karpathy")
        similarity = read_similarity(vectors, gallery, unit)
        if not similarity.paired:
            report.left_out.append(left_out(f"{protocol} of {name}", similarity))
            continue
        found = {"clip_benchmark": _clip_benchmark, "mteb": _mteb, "karpathy": _karpathy}[protocol]
        report.metrics[protocol] = {name: found(name, gallery, similarity)}
        report.protocol[protocol] = list(DIFFERENCES[protocol])
    return report


def _karpathy(name: str, gallery: Gallery, similarity: Similarity) -> Metrics:
    i2t, t2i = (hit_rates(ranks) for ranks in _ranks(gallery, similarity))
    return {"i2t": i2t, "t2i": t2i, "rsum": rsum(i2t, t2i)}


def _clip_benchmark(name: str, gallery: Gallery, similarity: Similarity) -> Metrics:
    i2t, t2i = (hit_rates(ranks, (5,))["r5"] for ranks in _ranks(gallery, similarity))
    return {"image_retrieval_recall@5": t2i, "text_retrieval_recall@5": i2t}


def _ranks(gallery: Gallery, similarity: Similarity) -> tuple[HitRanks, HitRanks]:
    rows, columns = Positives.from_owners(gallery.owners, len(gallery.image_ids))
    (i2t,), (t2i,) = rank_all(similarity.pairs(), [rows], [columns])
    return i2t, t2i


def _mteb(name: str, gallery: Gallery, similarity: Similarity) -> Metrics:
    if len(gallery.texts) != len(gallery.caption_ids):
        raise DataError(
            f"{name}: MTEB's figure needs the captions' texts; name the folder of the data set's own file with "
            "--annotations",
            reason="missing-annotations",
        )
    number: dict[str, int] = {}
    # Flickr30K's copy keeps its one repeated text twice
    keys = [" ".join(text.split()) if name == "coco" else str(at) for at, text in enumerate(gallery.texts)]
    text_of = np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)
    _, first = np.unique(text_of, return_index=True)
    # equal scores fall by id, the higher first: items stand in that order, and the lower position comes first
    captions = first[_falling(gallery.caption_ids[first])]
    images = _falling(gallery.image_ids)
    owned = np.unique(np.stack((_inverse(images)[gallery.owners], _place(captions, text_of)), axis=1), axis=0)
    shape = len(images), len(captions)
    i2t = Positives.from_pairs(owned[:, 0], owned[:, 1], shape)
    t2i = Positives.from_pairs(owned[:, 1], owned[:, 0], shape[::-1])
    scorer = similarity.pairs(images, captions)
    return {"i2t": _graded(scorer, i2t), "t2i": _graded(scorer.transposed(), t2i)}


def _graded(scorer: Scorer, answers: Positives) -> Metrics:
    lists = top_items(scorer, min(DEPTH, scorer.shape[1]))
    right = answers.contains(np.arange(len(answers))[:, None], lists)
    gains = 1 / np.log2(np.arange(lists.shape[1]) + 2)
    best = np.cumsum(gains)[np.minimum(answers.counts, len(gains)) - 1]
    found: Metrics = {"ndcg_at_10": float(np.mean(right @ gains / best))}
    for k in (1, 5, 10):
        found[f"recall_at_{k}"] = float(np.mean(right[:, :k].sum(1) / answers.counts))
    return found


def _falling(ids: NDArray[np.generic]) -> NDArray[np.int64]:
    """The places of the ids in falling order of their text."""
    return np.argsort(ids.astype(str), kind="stable")[::-1]


def _inverse(order: NDArray[np.int64]) -> NDArray[np.int64]:
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place


def _place(captions: NDArray[np.int64], text_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """[captions] the place of each caption's text among the chosen captions."""
    return _inverse(text_of[captions])[text_of]
