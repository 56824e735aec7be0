"""Retrieval on any image-caption pairs: Flickr30K, Flickr8k, or your own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from itm.data.annotations import content_of, karpathy_records
from itm.data.flickr8k_texts import no_lists, read_texts
from itm.errors import DataError, first_few, shown
from itm.evaluation.published import sources
from itm.evaluation.published.report import Report
from itm.evaluation.published.trec import both_ways
from itm.evaluation.result import id_hash
from itm.metrics import Positives, hit_rates, rank_all, rsum, warn_if_collapsed
from itm.vectors import Gallery, Vectors, check_ids, left_out, read_similarity

RECALL_AT = (1, 5, 10)
BY_QUERY = ("rank", "optimistic", "pessimistic", "answerable")
SIZES = {"flickr30k": (1000, 5000), "flickr8k": (1000, 5000)}


def evaluate(vectors: Vectors, name: str, folder: Path | None, *, normalize: bool) -> Report:
    """Hit rates both ways. The image of each caption is the data set's, or `caption_image_ids` of the file.

    An image of one's own without a caption asks nothing of the captions, and stays in the gallery of theirs.
    """
    own = name == "pairs" or (name == "flickr30k" and "caption_image_ids" in vectors.arrays)
    gallery = _own(vectors) if own else read_gallery(name, folder)
    _check_size(gallery, name, vectors.path)
    image_ids, caption_ids, owners = gallery.image_ids, gallery.caption_ids, gallery.owners
    similarity = read_similarity(vectors, gallery, normalize)
    if not similarity.paired:
        return Report(left_out=[left_out(name, similarity)])
    answers = Positives.from_owners(owners, len(image_ids))
    scorer = similarity.pairs()
    (i2t,), (t2i,) = rank_all(scorer, rows=[answers[0]], columns=[answers[1]])
    report = Report()
    report.retrievals += both_ways(name, scorer, answers, gallery)
    rates = {}
    for task, ranks, ids, groups in (
        ("i2t", i2t, image_ids, image_ids),
        ("t2i", t2i, caption_ids, image_ids[owners]),
    ):
        warn_if_collapsed(ranks, f"{name} {task}")
        rates[task] = hit_rates(ranks, RECALL_AT, answerable_only=True)
        if not (asked := ranks.answerable).all():
            without = f"{np.count_nonzero(~asked)} of {len(asked)} queries have no right answer"
            report.left_out.append(f"{name} {task}: {without} and are left out, as MTEB does")
            ranks = replace(ranks, **{each: getattr(ranks, each)[asked] for each in BY_QUERY})
            ids, groups = ids[asked], groups[asked]
        report.ranks(name, task, ranks, ids, groups)
    report.metrics[name] = {**rates, "rsum": rsum(*rates.values())}
    report.protocol |= {
        "images": len(image_ids),
        "captions": len(caption_ids),
        "image_id_hash": id_hash(image_ids),
        "caption_id_hash": id_hash(caption_ids),
        "recall_at": list(RECALL_AT),
    }
    return report


def read_gallery(name: str, folder: Path | None) -> Gallery:
    """The test split of "flickr8k" or "flickr30k" with its photos and texts."""
    if name == "flickr8k":
        return _flickr8k(find_flickr8k(folder))
    return _flickr30k(sources.find(("dataset_flickr30k.json",), folder))


def find_flickr8k(folder: Path | None) -> Path:
    """The archive of Flickr8k's captions, splits and judgements."""
    return sources.find(("Flickr8k_text.zip", "flickr8k-text.zip"), folder)


def _own(vectors: Vectors) -> Gallery:
    """The items of the file itself, in its order."""
    image_ids, caption_ids = vectors.ids("image"), vectors.ids("caption")
    name = f"{vectors.path}: caption_image_ids"
    image_of = check_ids(vectors.array("caption_image_ids"), name, rows=len(caption_ids), unique=False)
    if image_of.dtype.kind != image_ids.dtype.kind:
        raise DataError(f"{name} and image_ids are not both numbers or both texts", reason="ids")
    order = np.argsort(image_ids, kind="stable")
    place = np.minimum(np.searchsorted(image_ids[order], image_of), len(order) - 1)
    strangers = image_of[image_ids[order[place]] != image_of]
    if len(strangers):
        raise DataError(
            f"{name}: {len(strangers)} captions belong to images that are not there ({first_few(strangers)})",
            reason="missing-id",
        )
    return Gallery(image_ids, caption_ids, order[place])


def _check_size(gallery: Gallery, name: str, path: Path) -> None:
    size = len(gallery.image_ids), len(gallery.caption_ids)
    if name in SIZES and size != SIZES[name]:
        raise DataError(
            f"{path}: {size[0]} images and {size[1]} captions; the {name} test split has"
            f" {SIZES[name][0]} and {SIZES[name][1]}: is it the whole data set?",
            reason="gallery-size",
        )


def _flickr8k(path: Path) -> Gallery:
    """The official test split. Image ids are the digits before '_' of the file name, caption ids 10 x that + #k."""
    found = read_texts(path, ("test",))
    if "test" not in found.splits:
        raise no_lists(path, ("test",))
    names = found.splits["test"]
    place = {name: number for number, name in enumerate(names)}
    captions, owners, texts = [], [], []
    for name, number, text in found.captions:
        if name in place:
            captions.append(10 * flickr8k_id(name) + number)
            owners.append(place[name])
            texts.append(text.strip())
    ids = np.array([flickr8k_id(name) for name in names])
    return Gallery(ids, np.array(captions), np.array(owners), names, texts)


def flickr8k_id(name: str) -> int:
    """The id of a Flickr8k photo: Flickr's own number, the digits at the start of its file name.

    >>> flickr8k_id("3385593926_d3e9c21170.jpg")
    3385593926
    """
    if (match := re.match(r"[0-9]{1,17}(?=_)", name)) is None:
        raise DataError(f"{shown(name)} is no name of a Flickr8k photo: digits, '_' and more", reason="form")
    return int(match[0])


def _flickr30k(path: Path) -> Gallery:
    """Karpathy's test split: `imgid` and `sentid` are the ids."""
    records = karpathy_records(content_of(path), str(path), path.name, whole=("imgid",))
    test = [record for record in records if record["split"] == "test"]
    rows = [
        (sentence["sentid"], place, sentence["raw"]) for place, one in enumerate(test) for sentence in one["sentences"]
    ]
    if not rows:
        raise DataError(f"{path}: no image is in the split `test`; fetch the file again", reason="form")
    captions, owners, texts = zip(*rows, strict=True)
    ids = np.array([one["imgid"] for one in test], dtype=np.int64)
    return Gallery(ids, np.array(captions), np.array(owners), [one["filename"] for one in test], texts)
