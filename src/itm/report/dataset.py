"""The data of the report: counts, captions with their descriptiveness, and the true relation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from itm.data.layout import CAPTIONS, IMAGES, SPLITS
from itm.data.tables import read_columns, read_scored
from itm.evaluation.tables import Tables


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
    tables: Tables
    counts: dict[str, tuple[int, int]]
    image_ids: list[str]
    captions: Captions

    @cached_property
    def caption_rows(self) -> list[NDArray[np.intp]]:
        """The rows of each image's captions, in order."""
        order = np.argsort(self.captions.owner, kind="stable")
        bounds = np.searchsorted(self.captions.owner[order], np.arange(len(self.image_ids) + 1))
        return [order[bounds[i] : bounds[i + 1]] for i in range(len(self.image_ids))]

    def longest_caption(self, image: int) -> str:
        """The most descriptive caption of an image; '' without any."""
        rows = self.caption_rows[image]
        return self.captions.texts[rows[int(np.argmax(self.captions.normalised[rows]))]] if len(rows) else ""

    def kind(self, image: int, caption: int) -> str:
        """labelled, true (but unlabelled), false, or unlabelled where the truth is unknown."""
        if self.captions.owner[caption] == image:
            return "labelled"
        if self.tables.truth is None:
            return "unlabelled"
        return "true" if self.tables.truth[image, caption] else "false"


def load_dataset(name: str, tables: Tables) -> Dataset:
    """The counts of all splits, and the images and captions of the tables' split in their order.

    Raises:
        DataError: a table is missing, or clean and scored captions are not the same rows.
    """
    clean, table = tables.clean, tables.captions
    images, captions = (read_columns(clean / file, ("split",))["split"] for file in (IMAGES, CAPTIONS))
    counts = {
        part: (int(np.sum(images == part)), int(np.sum(captions == part)))
        for part in (*SPLITS, "hierarcaps")
        if np.any(images == part)
    }
    return Dataset(
        name,
        tables,
        counts,
        tables.images["image_id"].tolist(),
        Captions(
            table["caption_id"].astype(np.int64),
            tables.texts,
            tables.owners,
            table["level"].astype(np.int8),
            read_columns(clean / CAPTIONS, ("multiplicity", "split"), tables.split)["multiplicity"].astype(np.int32),
            read_scored(clean, tables.scored, ("normalised",))["normalised"][table["row"]].astype(np.float32),
        ),
    )
