"""Crisscrossed Captions (Parekh et al. 2021): graded similarity of captions and images of COCO's dev and test."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from itm.data.annotations import content_of, raise_wrong, rows_of
from itm.data.readers.base import RATING_COLUMNS, need
from itm.errors import shown

FORMS = {
    "sts": ("caption1", "caption2"),
    "sis": ("image1", "image2"),
    "sits": ("caption", "image"),
}
"""The two columns that each file compares; both are followed by agg_score and sampling_method."""

_CAPTION = re.compile(r"COCO_val2014:sentid:(\d+)")
_IMAGE = re.compile(r"(COCO_val2014_\d{12})\.jpg")


def caption_id(text: str) -> int:
    """The COCO annotation id in a caption's name.

    >>> caption_id("COCO_val2014:sentid:732091")
    732091
    """
    match = _CAPTION.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text)} is no caption name COCO_val2014:sentid:<number>")
    return int(match[1])


def image_id(text: str) -> str:
    """The image id in a photo's file name.

    >>> image_id("COCO_val2014_000000365325.jpg")
    'COCO_val2014_000000365325'
    """
    match = _IMAGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text)} is no photo name COCO_val2014_<12 digits>.jpg")
    return match[1]


def read_ratings(raw: Path, files: Iterable[str]) -> pd.DataFrame:
    """The ratings of all files `<kind>_<split>.csv` among `files` (RATING_COLUMNS), in their order.

    Raises:
        DataError: a file is missing, has other columns, or has rows that are not of the published form.
    """
    rows: list[tuple[Any, ...]] = []
    for file in files:
        kind = file.partition("_")[0]
        if kind in FORMS and file.endswith(".csv"):
            rows += _read(need(raw, file), kind)
    return pd.DataFrame(rows, columns=list(RATING_COLUMNS))


def _read(path: Path, kind: str) -> list[tuple[Any, ...]]:
    first, second = FORMS[kind]
    rows, wrong = [], []
    columns = (first, second, "agg_score", "sampling_method")
    for number, row in enumerate(rows_of(content_of(path), str(path), columns), start=1):
        try:
            score = float(row["agg_score"])
            if not (math.isfinite(score) and 0 <= score <= 5):
                raise ValueError(f"agg_score {score:g} is not between 0 and 5")
            rows.append(_FORM[kind](row[first], row[second], score, row["sampling_method"]))
        except ValueError as error:
            wrong.append(f"row {number}: {error}")
    raise_wrong(wrong, str(path), "rows")
    return rows


_FORM: dict[str, Callable[[str, str, float, str], tuple[Any, ...]]] = {
    "sts": lambda a, b, score, how: ("sts", caption_id(a), caption_id(b), None, None, score, how, -1),
    "sis": lambda a, b, score, how: ("sis", None, None, image_id(a), image_id(b), score, how, -1),
    "sits": lambda a, b, score, how: ("sits", caption_id(a), None, image_id(b), None, score, how, -1),
}
