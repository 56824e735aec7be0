"""The files of the COCO benchmarks: the test gallery, the CxC ratings and ECCV Caption's answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itm.data.annotations import raise_wrong
from itm.data.files import read_npy
from itm.errors import DataError, first_few, shown
from itm.evaluation.benchmarks import cxc
from itm.evaluation.published import sources
from itm.evaluation.result import id_hash
from itm.metrics import Positives
from itm.vectors import Gallery

SIZE = (5000, 25000)
IDS = "da31c1695cfa", "a1eb41377ccb"
"""`id_hash` of the images and captions in test order."""
RATINGS = {"sts": 44045, "sis": 46719, "sits": 44833}
QUERIES = {"i2t": 1261, "t2i": 1332}
"""Rows of CxC's test files, and queries of ECCV Caption: what is known where the gallery is the published one."""


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
    columns = ("split", "caption_id", "image_id", "original_caption", "tokenized_caption")
    table = [row for row in sources.rows(path, *columns) if row["split"] == "test"]
    captions, image_of = (_whole((row[name] for row in table), path) for name in ("caption_id", "image_id"))
    texts = [row["original_caption"] or row["tokenized_caption"] for row in table]
    return _gallery(captions, image_of, path, texts)


@cache
def _package_gallery() -> Gallery:
    data = sources.eccv_caption_data()
    captions = read_npy(data / "coco_test_ids.npy").astype(np.int64)
    path = data / "original_caption_to_image.json"
    image_of = _lists(path)
    return _gallery(captions, np.array([image_of.get(caption, [-1])[0] for caption in captions.tolist()]), path)


def _has_package() -> bool:
    try:
        sources.eccv_caption_data()
    except DataError:
        return False
    return True


def _whole(values: Iterable[str], path: Path) -> NDArray[np.int64]:
    """The ids that a column holds, or the ends of names that hold ids.

    Raises:
        DataError: some are no ids.
    """
    found, wrong = [], []
    for row, value in enumerate(values, start=1):
        match = _ID.fullmatch(value)
        found.append(int(match[1]) if match else 0)
        if not match:
            wrong.append(f"row {row}: {shown(value)} is no id")
    raise_wrong(wrong, str(path), "ids")
    return np.array(found, dtype=np.int64)


_ID = re.compile(r"(?:COCO_val2014(?::sentid:|_))?(\d{1,12})(?:\.jpg)?", re.ASCII)
"""An id by itself, or in CxC's names: COCO_val2014:sentid:732091 or COCO_val2014_000000365325.jpg."""


def _lists(path: Path) -> dict[int, list[int]]:
    """Lists of ids by id, as ECCV Caption's files have them."""
    values = sources.read_json(path)
    try:
        return {int(key): [int(each) for each in found] for key, found in values.items()}
    except (AttributeError, TypeError, ValueError):
        raise DataError(f"{path}: no lists of ids by id; install eccv_caption again", reason="form") from None


def _gallery(
    captions: NDArray[np.int64], image_of: NDArray[np.int64], path: Path, texts: Sequence[str] = ()
) -> Gallery:
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
    if _published(gallery) and (id_hash(gallery.image_ids), id_hash(gallery.caption_ids)) != IDS:
        raise DataError(
            f"{path}: the ids of the COCO test gallery, or their order, are not the published ones; fetch it again",
            reason="identity",
        )
    return gallery


def _published(gallery: Gallery) -> bool:
    """Whether it has the published sizes; a stand-in has others, and of its files nothing is known."""
    return (len(gallery.image_ids), len(gallery.caption_ids)) == (5000, 25000)


def read_cxc(gallery: Gallery, folder: Path | None) -> dict[str, cxc.Ratings]:
    """The CxC test ratings as positions in the gallery.

    Raises:
        DataError: a file is not at hand or not whole, or rates an item that the gallery lacks.
    """
    return {kind: _cxc_file(sources.find((f"{kind}_test.csv",), folder), kind, gallery) for kind in cxc.KINDS}


@cache
def _cxc_file(path: Path, kind: str, gallery: Gallery) -> cxc.Ratings:
    first, second = {"sts": ("caption1", "caption2"), "sis": ("image1", "image2")}.get(kind, ("caption", "image"))
    table = sources.rows(path, first, second, "agg_score")
    if _published(gallery):
        sources.check_count(path, "ratings", len(table), RATINGS[kind])
    score = np.array([_score(row["agg_score"]) for row in table])
    off = [f"row {row}: agg_score {shown(table[row - 1]['agg_score'])}" for row in np.flatnonzero(np.isnan(score)) + 1]
    raise_wrong(off, str(path), "scores")
    known = {"c": gallery.caption_ids, "i": gallery.image_ids}
    places = []
    for column in (first, second):
        ids = _whole((row[column] for row in table), path)
        ordered = np.argsort(known[column[0]])
        place = np.minimum(np.searchsorted(known[column[0]], ids, sorter=ordered), len(ordered) - 1)
        found = ordered[place]
        absent = int((known[column[0]][found] != ids).sum())
        if absent:
            raise DataError(f"{path}: {absent} ratings are about items outside the gallery", reason="missing-id")
        places.append(found)
    return cxc.Ratings(places[0], places[1], score, 0)


def _score(text: str) -> float:
    """A rating from 0 to 5; NaN for anything else."""
    try:
        score = float(text)
    except ValueError:
        return np.nan
    return score if 0 <= score <= 5 else np.nan


def read_eccv(
    task: str, query_ids: NDArray[np.int64], item_ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Positives, list[int]]:
    """Positions of ECCV Caption's queries, their answers, and the ids of answers that the gallery lacks."""
    name = {"i2t": "eccv_image_to_caption.json", "t2i": "eccv_caption_to_image.json"}[task]
    path = sources.eccv_caption_data() / name
    answers = _lists(path)
    if len(item_ids) + len(query_ids) == sum(SIZE) == 30_000:
        sources.check_count(path, "queries", len(answers), QUERIES[task])
    query_at = {int(one): place for place, one in enumerate(query_ids)}
    item_at = {int(one): place for place, one in enumerate(item_ids)}
    queries, items, missing, outside = [], [], np.zeros(len(answers), dtype=np.int64), []
    for number, found in enumerate(answers.values()):
        for item in found:
            if item in item_at:
                queries.append(number)
                items.append(item_at[item])
            else:
                missing[number] += 1
                outside.append(item)
    positives = Positives.from_pairs(queries, items, (len(answers), len(item_ids)), missing)
    if strangers := [query for query in answers if query not in query_at]:
        raise DataError(
            f"{path}: {len(strangers)} queries are outside the gallery ({first_few(strangers)}); install eccv_caption "
            "again",
            reason="missing-id",
        )
    return np.array([query_at[query] for query in answers], dtype=np.int64), positives, outside
