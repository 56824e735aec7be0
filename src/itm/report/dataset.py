"""The data of the report: counts, captions with their descriptiveness, and the true relation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itm.data.files import read_npz
from itm.data.layout import CAPTIONS, IMAGES, SPLITS, TRUTH
from itm.data.tables import read_columns
from itm.errors import DataError
from itm.vectors.ids import positions

TRUE = 5.0
"""The grade of a caption that is true of the image."""


@dataclass(frozen=True)
class Captions:
    """The captions of one split; row i of every field is the same caption, `owner` the row of its image."""

    ids: NDArray[np.int64]
    texts: list[str]
    owner: NDArray[np.intp]
    level: NDArray[np.int8]
    multiplicity: NDArray[np.int32]
    normalised: NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """The tables of one data set, for the split that is reported."""

    name: str
    split: str
    clean: Path
    counts: dict[str, tuple[int, int]]
    image_ids: list[str]
    captions: Captions

    @cached_property
    def caption_rows(self) -> list[NDArray[np.intp]]:
        """The rows of each image's captions, in order."""
        order = np.argsort(self.captions.owner, kind="stable")
        bounds = np.searchsorted(self.captions.owner[order], np.arange(len(self.image_ids) + 1))
        return [order[bounds[i] : bounds[i + 1]] for i in range(len(self.image_ids))]

    @cached_property
    def truth(self) -> NDArray[np.bool_] | None:
        """(images, captions) bool, which caption is true of which image; None where nobody knows."""
        path = self.clean / TRUTH
        if not path.is_file():
            return None
        names = [f"{self.split}_{name}" for name in ("image_ids", "caption_ids", "grade")]
        stored = read_npz(path, "run `dvc repro clean`", names)
        if len(stored) < len(names) or stored[names[2]].size == 0:
            return None
        images, captions, grade = (stored[name] for name in names)
        true = np.asarray(grade == TRUE)
        rows = positions(images, np.array(self.image_ids), "images", str(path))
        columns = positions(captions, self.captions.ids, "captions", str(path))
        return true[np.ix_(rows, columns)]

    def longest_caption(self, image: int) -> str:
        """The most descriptive caption of an image; '' without any."""
        rows = self.caption_rows[image]
        return self.captions.texts[rows[int(np.argmax(self.captions.normalised[rows]))]] if len(rows) else ""

    def kind(self, image: int, caption: int) -> str:
        """labelled, true (but unlabelled), false, or unlabelled where the truth is unknown."""
        if self.captions.owner[caption] == image:
            return "labelled"
        if self.truth is None:
            return "unlabelled"
        return "true" if self.truth[image, caption] else "false"


def load_dataset(name: str, split: str, clean: Path, scored: Path) -> Dataset:
    """The counts of all splits, and the images and captions of `split` in table order.

    Raises:
        DataError: a table is missing, or clean and scored captions are not the same rows.
    """
    images = read_columns(clean / IMAGES, ("image_id", "split"))
    names = ("caption_id", "image_id", "split", "text", "level", "multiplicity")
    captions = read_columns(clean / CAPTIONS, names)
    dn = read_columns(scored / CAPTIONS, ("caption_id", "normalised"))
    if not np.array_equal(captions["caption_id"], dn["caption_id"]):
        raise DataError(
            f"{scored / CAPTIONS}: its captions are not those of {clean / CAPTIONS}; run `dvc repro score`",
            reason="stale-scores",
        )
    counts = {
        part: (int(np.sum(images["split"] == part)), int(np.sum(captions["split"] == part)))
        for part in (*SPLITS, "hierarcaps")
        if np.any(images["split"] == part)
    }
    ids = images["image_id"][images["split"] == split]
    chosen = captions["split"] == split
    return Dataset(
        name,
        split,
        clean,
        counts,
        ids.tolist(),
        Captions(
            captions["caption_id"][chosen].astype(np.int64),
            captions["text"][chosen].tolist(),
            positions(ids, captions["image_id"][chosen], "captions' images", str(clean / IMAGES)),
            captions["level"][chosen].astype(np.int8),
            captions["multiplicity"][chosen].astype(np.int32),
            dn["normalised"][chosen].astype(np.float32),
        ),
    )
