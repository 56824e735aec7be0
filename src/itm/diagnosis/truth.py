"""The exact relation of images and captions, the measure of relaxed pairs, where the data set knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from itm.data.scenes.files import read_scenes
from itm.data.scenes.logic import overlap, requirement_facts, scene_facts
from itm.data.tables import TRUE, read_truth
from itm.errors import DataError, first_few
from itm.training.batches import Rows

Bools = np.ndarray[Any, np.dtype[np.bool_]]


class Truth(Protocol):
    """Which captions are true of which images of a split, by their rows in it."""

    def of(self, images: Rows, captions: Rows) -> Bools:
        """(images, captions) bool."""
        ...


class StoredTruth:
    """The relation that the clean stage stored for a split (dev, test).

    Raises:
        DataError: truth.npz has no relation of this split, or lacks an image or a caption.
    """

    def __init__(self, clean: Path, split: str, image_ids: list[str], caption_ids: Rows) -> None:
        stored = read_truth(clean)
        known = stored.get(f"{split}_image_ids", np.zeros(0, np.str_))
        if not len(known):
            raise DataError(f"{clean}: the exact relation of the {split} split is not known", reason="no-truth")
        self.true: Bools = stored[f"{split}_grade"] == TRUE
        self.images = _places(known, image_ids, f"{split} images")
        self.captions = _places(stored[f"{split}_caption_ids"], caption_ids, f"{split} captions")

    def of(self, images: Rows, captions: Rows) -> Bools:
        """(images, captions) bool."""
        return self.true[np.ix_(self.images[images], self.captions[captions])]


class LogicTruth:
    """The relation of any split of the scenes, computed from their logic for the pairs that are asked for.

    Raises:
        DataError: the file lacks an image or a caption, or a caption is not of the image that the tables name.
    """

    def __init__(self, scenes: Path, image_ids: list[str], caption_ids: Rows, owners: list[str]) -> None:
        wanted, kept, requirements, found, first = set(image_ids), [], [], [], 0
        for scene in read_scenes(scenes):
            if scene.image_id in wanted:
                kept.append(scene)
                requirements += [caption.requirement for caption in scene.captions]
                found += [(first + place, scene.image_id) for place in range(len(scene.captions))]
            first += len(scene.captions)
        images = _places(np.array([scene.image_id for scene in kept]), image_ids, "images")
        captions = _places(np.array([caption for caption, _ in found], np.int64), caption_ids, "captions")
        wrong = [owner for owner, place in zip(owners, captions, strict=True) if found[place][1] != owner]
        if wrong:
            raise DataError(
                f"{scenes}: {len(wrong)} captions are of another image than in the tables ({first_few(wrong)}); "
                "run `dvc repro clean`",
                reason="rows-differ",
            )
        self.given = scene_facts(kept)[images]
        self.asked = requirement_facts(requirements)[captions]

    def of(self, images: Rows, captions: Rows) -> Bools:
        """(images, captions) bool."""
        asked = self.asked[captions]
        true: Bools = (overlap(asked, self.given[images]) == asked.atoms[:, None]).T
        return true


def _places(known: np.ndarray[Any, Any], wanted: Any, what: str) -> Rows:
    place = pd.Index(known).get_indexer(pd.Index(wanted))
    if (place < 0).any():
        absent = np.asarray(wanted)[place < 0].tolist()
        raise DataError(
            f"{len(absent)} {what} have no stored truth ({first_few(absent)}); run `dvc repro clean`",
            reason="rows-differ",
        )
    return np.asarray(place, np.int64)
