"""Retrieval on any image-caption pairs: Flickr30K, Flickr8k, or your own."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itm.errors import DataError
from itm.evaluation.published import sources
from itm.evaluation.published.report import Report
from itm.evaluation.result import id_hash
from itm.metrics import Positives, hit_rates, rank_all, rsum, warn_if_collapsed
from itm.vectors import Vectors, read_similarity

RECALL_AT = (1, 5, 10)
SIZES = {"flickr30k": (1000, 5000), "flickr8k": (1000, 5000)}


def evaluate(vectors: Vectors, name: str, folder: Path | None, *, normalize: bool) -> Report:
    """Hit rates both ways. The image of each caption is the data set's, or `caption_image_ids` of the file."""
    image_ids, caption_ids, image_of = _gallery(vectors, name, folder)
    order = np.argsort(image_ids, kind="stable")
    place = np.minimum(np.searchsorted(image_ids[order], image_of), len(order) - 1)
    strangers = int((image_ids[order[place]] != image_of).sum())
    if strangers:
        raise DataError(
            f"{vectors.path}: {strangers} captions belong to images that are not there", reason="missing-id"
        )
    owners = order[place]
    answers = Positives.from_owners(owners, len(image_ids))
    scorer = read_similarity(vectors, image_ids, caption_ids, normalize).pairs()
    (i2t,), (t2i,) = rank_all(scorer, rows=[answers[0]], columns=[answers[1]])
    report = Report()
    rates = {}
    for task, ranks, ids, groups in (("i2t", i2t, image_ids, image_ids), ("t2i", t2i, caption_ids, image_of)):
        warn_if_collapsed(ranks, f"{name} {task}")
        rates[task] = hit_rates(ranks, RECALL_AT)
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


def _gallery(
    vectors: Vectors, name: str, folder: Path | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Image ids, caption ids, and the image id of each caption, in gallery order."""
    if name == "flickr8k":
        gallery = _flickr8k(sources.find(("Flickr8k_text.zip", "flickr8k-text.zip"), folder))
    elif name == "flickr30k" and "caption_image_ids" not in vectors.arrays:
        gallery = _flickr30k(sources.find(("dataset_flickr30k.json",), folder))
    else:
        image_of = vectors._array("caption_image_ids").astype(np.int64)
        gallery = vectors.ids("image"), vectors.ids("caption"), image_of
        if len(gallery[1]) != len(image_of):
            raise DataError(
                f"{vectors.path}: {len(image_of)} caption_image_ids for {len(gallery[1])} caption_ids", reason="shape"
            )
    if name in SIZES and (len(gallery[0]), len(gallery[1])) != SIZES[name]:
        raise DataError(
            f"{vectors.path}: {len(gallery[0])} images and {len(gallery[1])} captions; the {name} test split has"
            f" {SIZES[name][0]} and {SIZES[name][1]}: is it the whole data set?",
            reason="gallery-size",
        )
    return gallery


def _flickr8k(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The official test split. Image ids are the digits before '_' of the file name, caption ids 10 x that + #k."""
    with zipfile.ZipFile(path) as archive:
        names = archive.read("Flickr_8k.testImages.txt").decode("ascii").split()
        lines = archive.read("Flickr8k.token.txt").decode("utf-8").splitlines()
    test = {name: flickr8k_id(name) for name in names}
    captions, image_of = [], []
    for line in lines:
        name, number = line.split("\t", 1)[0].split("#")
        if name in test:
            captions.append(10 * test[name] + int(number))
            image_of.append(test[name])
    return np.array(list(test.values())), np.array(captions), np.array(image_of)


def flickr8k_id(name: str) -> int:
    """The id of a Flickr8k photo: Flickr's own number, the digits at the start of its file name.

    >>> flickr8k_id("3385593926_d3e9c21170.jpg")
    3385593926
    """
    return int(name.split("_", 1)[0])


def _flickr30k(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Karpathy's test split: `imgid` and `sentid` are the ids."""
    test = [one for one in json.loads(path.read_text(encoding="utf-8"))["images"] if one["split"] == "test"]
    pairs = [(sentence, one["imgid"]) for one in test for sentence in one["sentids"]]
    captions, image_of = np.array(pairs, dtype=np.int64).T
    return np.array([one["imgid"] for one in test], dtype=np.int64), captions, image_of
