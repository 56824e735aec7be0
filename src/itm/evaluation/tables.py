"""The clean tables of the evaluated split, aligned by id."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itm.data.files import read_npz
from itm.data.layout import CAPTIONS, HIERARCHIES, IMAGES, RATINGS, TEXTS, TRUTH
from itm.data.tables import TRUE, Columns, read_columns, read_scored
from itm.errors import DataError, first_few
from itm.vectors.ids import positions


@dataclass(frozen=True)
class Tables:
    """The tables of one split as columns of numpy arrays; each file is read when it is first asked for."""

    clean: Path
    scored: Path
    split: str

    @cached_property
    def captions(self) -> Columns:
        """The split's captions, with their position in the whole table under `row` (which is their text_id)."""
        table = read_columns(self.clean / CAPTIONS, ("caption_id", "image_id", "split", "level"), self.split)
        if not len(table["row"]):
            raise DataError(f"{self.clean / CAPTIONS}: no caption of the split '{self.split}'", reason="empty-split")
        return table

    @cached_property
    def images(self) -> Columns:
        """The split's images."""
        return read_columns(self.clean / IMAGES, ("image_id", "split"), self.split)

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """[captions] position of each caption's image in `images`."""
        return positions(self.images["image_id"], self.captions["image_id"], "captions' images", "images.parquet")

    @cached_property
    def hierarchies(self) -> Columns:
        """All chains, four rows each."""
        return read_columns(self.clean / HIERARCHIES, ("image_id", "level", "text", "text_id"))

    @cached_property
    def root(self) -> int:
        """The text_id of the empty caption."""
        table = read_columns(self.clean / TEXTS, ("text_id", "kind"))
        empty = table["text_id"][table["kind"] == "empty"]
        if len(empty) != 1:
            raise DataError(f"{self.clean / TEXTS}: {len(empty)} texts of kind 'empty'; expected one", reason="root")
        return int(empty[0])

    @cached_property
    def ratings(self) -> Columns:
        """All human (or exact) ratings. An id that a kind does not have is -1 or ''."""
        names = ("kind", "caption_id_1", "caption_id_2", "image_id_1", "image_id_2", "score", "sampling", "judge")
        return read_columns(self.clean / RATINGS, names)

    @cached_property
    def descriptiveness(self) -> NDArray[np.float64]:
        """[captions] the score d of each caption of the split."""
        found = read_scored(self.clean, self.scored, ("descriptiveness",))
        scores: NDArray[np.float64] = found["descriptiveness"][self.captions["row"]]
        return scores

    @cached_property
    def texts(self) -> list[str]:
        """[captions] the text of each caption of the split."""
        found: list[str] = read_columns(self.clean / CAPTIONS, ("text", "split"), self.split)["text"].tolist()
        return found

    @cached_property
    def has_truth(self) -> bool:
        """Whether the exact relation of the split is known: it is where images are generated."""
        path = self.clean / TRUTH
        if not path.exists():
            return False
        name = f"{self.split}_image_ids"
        return bool(len(read_npz(path, "run `dvc repro clean`", [name]).get(name, ())))

    @cached_property
    def grades(self) -> NDArray[np.float32]:
        """[images, captions] the exact relation of the split, 0..5, 5 where the caption is true of the image."""
        path = self.clean / TRUTH
        if not path.exists():
            raise DataError(f"{path}: no such file; run `dvc repro clean`", reason="missing-file")
        names = [f"{self.split}_{name}" for name in ("image_ids", "caption_ids", "grade")]
        stored = read_npz(path, "run `dvc repro clean`", names)
        if missing := [name for name in names if name not in stored]:
            raise DataError(f"{path}: has no {first_few(missing)}; run `dvc repro clean`", reason="missing-array")
        image_ids, caption_ids, grade = (stored[name] for name in names)
        row = positions(image_ids, self.images["image_id"], "images", str(path))
        column = positions(caption_ids, self.captions["caption_id"], "captions", str(path))
        ordered: NDArray[np.float32] = grade[np.ix_(row, column)]
        return ordered

    @cached_property
    def truth(self) -> NDArray[np.bool_] | None:
        """[images, captions] which captions are true of which images; None where nobody knows."""
        return self.grades == TRUE if self.has_truth else None
