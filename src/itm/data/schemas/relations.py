"""Rules between tables: what one table names, another must have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.data.schemas.rules import Fault, fault, rows_where
from itm.data.tables import as_list


def check_captions(captions: pd.DataFrame, images: pd.DataFrame) -> list[Fault]:
    """Every caption's image exists, in the same split; every image of a split has a caption; the same order."""
    split_of = dict(zip(as_list(images["image_id"]), as_list(images["split"]), strict=True))
    found = captions["image_id"].map(split_of)
    unknown = found.isna()
    faults = rows_where("captions", captions, "image_id", unknown, "must be an image of the images table", "reference")
    other = ~unknown & (found != captions["split"])
    faults += rows_where("captions", captions, "split", other, "must be the split of the image", "reference")
    named = set(as_list(captions["image_id"]))
    silent = [image for image, split in split_of.items() if split != "hierarcaps" and image not in named]
    faults += fault("images", "image_id", "every image of a split has a caption", "count", silent)
    if not faults:
        order = list(dict.fromkeys(as_list(captions["image_id"])))
        expected = [image for image, split in split_of.items() if split != "hierarcaps"]
        moved = [found for found, wanted in zip(order, expected, strict=True) if found != wanted]
        faults += fault("captions", "image_id", "captions must follow the order of the images table", "order", moved)
    return faults


def check_texts(texts: pd.DataFrame, captions: pd.DataFrame, hierarchies: pd.DataFrame) -> list[Fault]:
    """The list of texts is the captions, the hierarchy texts and the empty text."""
    wanted = len(captions) + len(hierarchies) + 1
    if len(texts) != wanted:
        return fault("texts", "", f"has {len(texts)} rows instead of {wanted}", "count", ["all"])
    found = texts["text"].to_numpy()
    listed = np.concatenate([captions["text"].to_numpy(), hierarchies["text"].to_numpy(), np.array([""], object)])
    rows = np.flatnonzero(found != listed).tolist()
    faults = fault("texts", "text", "must be the text of its caption or chain", "reference", rows)
    moved = hierarchies["text_id"].to_numpy() != np.arange(len(captions), len(captions) + len(hierarchies))
    rows = np.flatnonzero(moved).tolist()
    return faults + fault("hierarchies", "text_id", "must be its row in texts", "reference", rows)


def check_references(
    hierarchies: pd.DataFrame, ratings: pd.DataFrame, captions: pd.DataFrame, images: pd.DataFrame
) -> list[Fault]:
    """Chains and ratings name images and captions that exist."""
    split_of = dict(zip(as_list(images["image_id"]), as_list(images["split"]), strict=True))
    caption_split = dict(zip(captions["caption_id"].tolist(), as_list(captions["split"]), strict=True))
    faults = _resolve("hierarchies", hierarchies, "image_id", split_of)
    for column in ("image_id_1", "image_id_2"):
        faults += _resolve("ratings", ratings, column, split_of)
    for column in ("caption_id_1", "caption_id_2"):
        faults += _resolve("ratings", ratings, column, caption_split)
    return faults


def _resolve(
    table: str, frame: pd.DataFrame, column: str, split_of: Mapping[str, str] | Mapping[int, str]
) -> list[Fault]:
    given = frame[column].notna()
    found = frame[column].map(split_of)
    return rows_where(table, frame, column, given & found.isna(), "must exist", "reference")


def check_truth(truth: Mapping[str, NDArray[np.generic]], captions: pd.DataFrame, images: pd.DataFrame) -> list[Fault]:
    """The exact relation covers the split's images and captions in their order; an image's own captions are true."""
    faults = []
    for split in ("dev", "test"):
        grade = truth.get(f"{split}_grade")
        if grade is None or grade.size == 0:
            continue
        own = captions[captions["split"] == split]
        ids = as_list(images.loc[images["split"] == split, "image_id"])
        table = f"truth.{split}"
        if truth[f"{split}_image_ids"].astype(str).tolist() != ids:
            faults += fault(table, "image_ids", "must be the images of the split in their order", "reference", ["all"])
        if truth[f"{split}_caption_ids"].tolist() != own["caption_id"].tolist():
            faults += fault(
                table, "caption_ids", "must be the captions of the split in their order", "reference", ["all"]
            )
        if grade.shape != (len(ids), len(own)):
            faults += fault(
                table, "grade", f"has the shape {grade.shape}, not {(len(ids), len(own))}", "count", ["all"]
            )
        if faults:
            continue
        values = grade.astype(np.float64)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 5):
            faults += fault(table, "grade", "must be 0 to 5", "range", ["some"])
        place = {image: row for row, image in enumerate(ids)}
        rows = np.array([place[image] for image in as_list(own["image_id"])], dtype=np.intp)
        untrue = own["caption_id"].to_numpy()[values[rows, np.arange(len(own))] != 5].tolist()
        faults += fault(table, "grade", "a caption must be true of its own image (grade 5)", "value", untrue)
    return faults
