"""The files of the COCO benchmarks: the test gallery, the CxC ratings and ECCV Caption's answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itm.errors import DataError
from itm.evaluation.benchmarks import cxc
from itm.evaluation.published import sources
from itm.metrics import Positives
from itm.vectors import Gallery

SIZE = (5000, 25000)


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
    texts = [row["original_caption"] or row["tokenized_caption"] for row in table]
    return _gallery(captions, np.array([int(row["image_id"]) for row in table], dtype=np.int64), texts)


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


def _gallery(captions: NDArray[np.int64], image_of: NDArray[np.int64], texts: Sequence[str] = ()) -> Gallery:
    ids, first, back = np.unique(image_of, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(ids), dtype=np.int64)
    place[order] = np.arange(len(ids))
    photos = [f"COCO_val2014_{one:012d}.jpg" for one in ids[order]]
    gallery = Gallery(ids[order], captions, place[back], photos, texts)
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
