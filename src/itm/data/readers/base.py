"""The form of a reader's answer, and the reader of each data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.config.parameters import Parameters
from itm.errors import DataError

READERS = {
    "scenes": "scenes",
    "flickr8k": "flickr8k",
    "coco": "karpathy",
    "flickr30k": "karpathy",
    "hierarcaps": "coco_photos",
    "rsicd": "karpathy",
    "rsitmd": "karpathy",
    "n24news": "n24news",
    "folder": "folder",
}
"""The module of `itm.data.readers` that reads each data set."""

FEWEST_PHOTOS = 2
"""Photos that a split of the user's own needs: with one there is nothing to compare."""
CAPTIONS_AN_IMAGE = 5
"""How many captions of an image published evaluations take; COCO's images have up to seven."""

CAPTION_COLUMNS = ("caption_id", "image_id", "split", "position", "raw_text", "level", "multiplicity", "source", "row")
IMAGE_COLUMNS = ("image_id", "split", "source", "archive", "member")
HIERARCHY_COLUMNS = ("image_id", "level", "text")
RATING_COLUMNS = (
    "kind",
    "caption_id_1",
    "caption_id_2",
    "image_id_1",
    "image_id_2",
    "score",
    "sampling",
    "judge",
)
QUARANTINE_COLUMNS = ("source", "row", "reason", "text", "image_id")


def _empty(columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame({column: [] for column in columns})


@dataclass
class RawData:
    """The tables of a data set before cleaning; rows in the order train, dev, test.

    Attributes:
        captions: CAPTION_COLUMNS; `source` and `row` (1-based line or record) say where a row was read.
        images: IMAGE_COLUMNS; `archive` is a file or folder in the raw folder, `member` the photo in it ("" = none).
        hierarchies: HIERARCHY_COLUMNS, four rows a chain, generic to specific.
        ratings: RATING_COLUMNS.
        truth: arrays of truth.npz, for generated data.
        rejected: QUARANTINE_COLUMNS; rows that belong to no split or have no photo.
        notes: counts worth telling that lead to no rejection, for the quality report.
        shared_by_name: evaluation images that the training split also holds, told by their names, by benchmark.
        root: the folder that archives lie in, where it is the user's own and not the raw folder. No published list says
            then which photos count: unusable ones are rejected in every split.
    """

    captions: pd.DataFrame
    images: pd.DataFrame
    hierarchies: pd.DataFrame = field(default_factory=lambda: _empty(HIERARCHY_COLUMNS))
    ratings: pd.DataFrame = field(default_factory=lambda: _empty(RATING_COLUMNS))
    truth: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    rejected: pd.DataFrame = field(default_factory=lambda: _empty(QUARANTINE_COLUMNS))
    notes: dict[str, Any] = field(default_factory=dict)
    shared_by_name: dict[str, list[str]] = field(default_factory=dict)
    root: Path | None = None


def read(name: str, raw: Path, parameters: Parameters) -> RawData:
    """The raw tables of data set `name` from the source files in `raw`.

    Raises:
        DataError: a source file is missing, or is not of its documented form.
    """
    reader = import_module(f"itm.data.readers.{READERS[name]}")
    found: RawData = reader.read(name, raw, parameters)
    return found


def need(raw: Path, file: str) -> Path:
    """The path of a source file that is there.

    Raises:
        DataError: it is not.
    """
    path = raw / file
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; list it under data.files in params.yaml and run the download stage",
            reason="missing-file",
        )
    return path
