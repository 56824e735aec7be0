"""The tables that a model meets: a target's evaluation rows, alone and behind the rows that it was trained on.

Both are written as clean tables into folders of their own, so that features, descriptions and embeddings come from the
functions of the pipeline. Training rows of the target are in neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from itm.data.files import atomic_path
from itm.data.layout import CAPTIONS, IMAGES, SPLITS, TEXTS
from itm.data.tables import read_captions, read_images, read_texts
from itm.errors import DataError


@dataclass(frozen=True)
class Part:
    """Some rows of clean tables; `images.shard` is a whole path. texts: the captions, then what else is embedded."""

    images: pd.DataFrame
    captions: pd.DataFrame
    texts: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write the tables that features, descriptions and embeddings read."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in ((IMAGES, self.images), (CAPTIONS, self.captions), (TEXTS, self.texts)):
            with atomic_path(folder / name) as temporary:
                table.to_parquet(temporary, index=False)


def training_part(clean: Path) -> Part:
    """The training split of clean tables: images and captions, nothing else is embedded.

    Raises:
        DataError: a table is missing or damaged, or no image is of the training split (reason "empty-split").
    """
    images, captions = _placed(clean), read_captions(clean)
    rows = (captions["split"] == "train").to_numpy()
    chosen = images[images["split"] == "train"]
    if not len(chosen):
        raise DataError(f"{clean / IMAGES}: no image of the split 'train'", reason="empty-split")
    texts = read_texts(clean).iloc[: len(captions)][rows]
    return Part(chosen.reset_index(drop=True), captions[rows].reset_index(drop=True), texts.reset_index(drop=True))


def evaluation_part(clean: Path, split: str) -> Part:
    """A split of clean tables, other benchmarks' photos, and all texts but other splits' captions.

    Texts keep the ids that they have in the tables.

    Raises:
        DataError: a table is missing or damaged, or no image is of the split (reason "empty-split").
    """
    images, captions, texts = _placed(clean), read_captions(clean), read_texts(clean)
    if not (images["split"] == split).any():
        raise DataError(f"{clean / IMAGES}: no image of the split '{split}'", reason="empty-split")
    own = (captions["split"] == split).to_numpy()
    wanted = np.ones(len(texts), bool)
    wanted[: len(captions)] = own
    others = ~images["split"].isin(set(SPLITS) - {split})
    return Part(
        images[others].reset_index(drop=True),
        captions[own].reset_index(drop=True),
        texts[wanted].reset_index(drop=True),
    )


def joined(first: Part, second: Part) -> Part:
    """The rows of one part, then those of another, whose images get names that no image of the first can have."""
    images = second.images.assign(image_id="evaluated/" + second.images["image_id"])
    captions = second.captions.assign(image_id="evaluated/" + second.captions["image_id"])
    return Part(
        pd.concat([first.images, images], ignore_index=True),
        pd.concat([first.captions, captions], ignore_index=True),
        pd.concat([first.texts, second.texts], ignore_index=True),
    )


def seen_in_training(training: Part, evaluated: Part) -> int:
    """How many of the evaluated images are, byte for byte, among the training images."""
    return int(evaluated.images["sha256"].isin(training.images["sha256"]).sum())


def _placed(clean: Path) -> pd.DataFrame:
    """The images of a folder, which name their shards by their whole paths."""
    images = read_images(clean)
    return images.assign(shard=[str(clean.resolve() / shard) for shard in images["shard"]])
