"""scenes.jsonl as the tables that the clean stage works on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.data.layout import SPLITS
from itm.data.scenes.files import read_scenes
from itm.data.scenes.ratings import ratings
from itm.data.scenes.records import Scene
from itm.data.scenes.truth import MOST_COUNTED, entails, grade, holds, multiplicity
from itm.errors import DataError, first_few

#: Splits with ratings and with the exact relation; only the test split has chains and ratings.
GRADED = ("dev", "test")
RATED = ("test",)

_BLOCK = 2048


@dataclass(frozen=True)
class Tables:
    """The data set before cleaning; rows are in the order train, dev, test.

    Attributes:
        images: image_id, split, background, objects int8, held_out bool (shows a combination kept from training).
        captions: caption_id int64 (= row), image_id, split, position int8, text, level int8, multiplicity int32.
        hierarchies: image_id, level int8 1..4, text; four rows an image of the test split.
        ratings: as ratings.parquet (see `itm.data.scenes.ratings`).
        truth: the arrays of truth.npz: for dev and test `<split>_image_ids`, `<split>_caption_ids`, `<split>_grade`.
    """

    images: pd.DataFrame
    captions: pd.DataFrame
    hierarchies: pd.DataFrame
    ratings: pd.DataFrame
    truth: dict[str, NDArray[np.generic]]


def tables(path: str | Path, seed: int = 0) -> Tables:
    """The tables of a file of `write_scenes`; `seed` only chooses which pairs are rated.

    The multiplicity of a split of more than MOST_COUNTED images is -1; memory then holds its texts, not its logic.

    Raises:
        DataError: as `read_scenes`; splits that are missing or out of order; a caption that is not true of its own
            image, or a chain of which a level does not entail the level before.
    """
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in ("images", "captions", "hierarchies", "ratings")}
    truth: dict[str, NDArray[np.generic]] = {}
    found = []
    for split, scenes in groupby(read_scenes(path), key=lambda scene: scene.split):
        found.append(split)
        kept, frames = _read_split(path, split, scenes)
        captions = pd.concat([frame["captions"] for frame in frames], ignore_index=True)
        captions.insert(0, "caption_id", np.arange(len(captions)) + sum(map(len, parts["captions"])))
        requirements = [caption.requirement for scene in kept for caption in scene.captions]
        captions["multiplicity"] = multiplicity(requirements, kept) if kept else np.int32(-1)
        if split in GRADED:
            ids = captions["caption_id"].to_numpy()
            grades = grade(requirements, kept)
            truth |= {
                f"{split}_image_ids": np.array([scene.image_id for scene in kept]),
                f"{split}_caption_ids": ids,
                f"{split}_grade": grades,
            }
            if split in RATED:
                parts["ratings"].append(ratings(kept, ids, seed, grades))
        parts["captions"].append(captions)
        for name in ("images", "hierarchies"):
            parts[name] += [frame[name] for frame in frames]
    if found != list(SPLITS):
        raise DataError(
            f"{path}: splits in the order {first_few(found, limit=6) or 'none'}; expected {', '.join(SPLITS)}",
            reason="order",
        )
    return Tables(**{name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}, truth=truth)


def _read_split(
    path: str | Path, split: str, scenes: Iterator[Scene]
) -> tuple[list[Scene], list[dict[str, pd.DataFrame]]]:
    """The scenes of a split, or none when they are too many to compare, and their tables block by block."""
    kept: list[Scene] = []
    frames = []
    count = 0
    while block := list(islice(scenes, _BLOCK)):
        _check(path, block)
        frames.append({"images": _images(block), "captions": _captions(block), "hierarchies": _hierarchies(block)})
        count += len(block)
        if split in GRADED or count <= MOST_COUNTED:
            kept += block
        else:
            kept.clear()
    return kept, frames


def _check(path: str | Path, scenes: list[Scene]) -> None:
    """Stop unless every text is true of its image and every level of a chain entails the one before."""
    told = [(row, caption) for row, scene in enumerate(scenes) for caption in (*scene.captions, *scene.chain)]
    true = holds([caption.requirement for _, caption in told], scenes, np.array([row for row, _ in told]))
    if not true.all():
        wrong = [f"{scenes[told[i][0]].image_id} {told[i][1].text!r}" for i in np.flatnonzero(~true)]
        raise DataError(
            f"{path}: {len(wrong)} captions are not true of their own image: {first_few(wrong)}", reason="truth"
        )
    steps = [(scene, generic, specific) for scene in scenes for generic, specific in pairwise(scene.chain)]
    entailed = entails(
        [specific.requirement for *_, specific in steps], [generic.requirement for _, generic, _ in steps]
    )
    if not entailed.all():
        wrong = [f"{steps[i][0].image_id} level {steps[i][2].level}" for i in np.flatnonzero(~entailed)]
        raise DataError(
            f"{path}: {len(wrong)} levels of chains do not entail the level before: {first_few(wrong)}", reason="chain"
        )


def _images(scenes: list[Scene]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [scene.image_id for scene in scenes],
            "split": [scene.split for scene in scenes],
            "background": [scene.background for scene in scenes],
            "objects": np.array([len(scene.items) for scene in scenes], dtype=np.int8),
            "held_out": [scene.held_out for scene in scenes],
        }
    )


def _captions(scenes: list[Scene]) -> pd.DataFrame:
    rows = [(scene, position, caption) for scene in scenes for position, caption in enumerate(scene.captions)]
    return pd.DataFrame(
        {
            "image_id": [scene.image_id for scene, _, _ in rows],
            "split": [scene.split for scene, _, _ in rows],
            "position": np.array([position for _, position, _ in rows], dtype=np.int8),
            "text": [caption.text for _, _, caption in rows],
            "level": np.array([caption.level for _, _, caption in rows], dtype=np.int8),
        }
    )


def _hierarchies(scenes: list[Scene]) -> pd.DataFrame:
    rows = [(scene.image_id, caption) for scene in scenes for caption in scene.chain]
    return pd.DataFrame(
        {
            "image_id": pd.Series([image_id for image_id, _ in rows], dtype="str"),
            "level": np.array([caption.level for _, caption in rows], dtype=np.int8),
            "text": pd.Series([caption.text for _, caption in rows], dtype="str"),
        }
    )
