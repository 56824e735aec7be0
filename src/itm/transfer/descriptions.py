"""Descriptions of a target's images by what the training data set knows: its captions, its encoder, its mean.

The target's evaluation rows stand behind the training split as if they were its test split, and the functions of the
stage `describe` do the rest: descriptions come from training captions, an encoder that is fitted is fitted on them, and
the means that are taken off are theirs. No caption of the target is read for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from itm.config.describe import DescribeParameters, DescriptionsParameters
from itm.config.model import TowersParameters
from itm.data.files import PARQUET, atomic_path
from itm.data.layout import CAPTIONS, DESCRIPTION_VECTORS, IMAGE_FEATURES, IMAGES, SPLITS, TEXT_FEATURES, TEXTS
from itm.data.tables import read_captions, read_images, read_texts
from itm.descriptions.run import Report, Tables, describe_images, vectors_of
from itm.descriptions.vectors import DescriptionVectors, read_description_vectors
from itm.errors import ConfigError, DataError, ModelError
from itm.features import FeatureRows, read_features, write_features
from itm.towers.build import check_same

CLOSE, FEW = 0.02, 0.01
"""Vectors differ by rounding (they are stored as float16); a tie of two captions may fall elsewhere on another CPU."""


@dataclass
class Describer:
    """Describes a target once for all models that read the same vectors: their seeds, and methods alike in this.

    Attributes:
        source: data folder of the training: features and descriptions/METHOD.
        work: folder for what is joined.
    """

    training: Part
    evaluated: Part
    source: Path
    work: Path
    parameters: DescribeParameters
    device: str
    progress: Report | None = None
    _found: dict[tuple[str, bool], DescriptionVectors] = field(default_factory=dict, init=False)

    def vectors(
        self, method: str, features: Path, wanted: DescriptionsParameters, towers: TowersParameters
    ) -> DescriptionVectors:
        """The vectors that a method with descriptions reads, for the evaluated rows alone.

        Args:
            features: of the evaluated rows, where towers are frozen.

        Raises:
            ConfigError: descriptions come from a file, which knows nothing of the target.
            DataError: features or descriptions of the training are missing.
            ModelError: the descriptions of the training images come out differently from those that training read.
        """
        if self.parameters.captioner == "file":
            raise ConfigError(
                "describe.captioner is 'file', and the file describes the training data set only; a transfer needs a "
                "captioner that can describe other images (retrieved, tags, mllm, openai)",
                reason="captioner",
            )
        key = (towers.model_dump_json(), wanted.captions)
        if key not in self._found:
            self._found[key] = self._whole(self.work / f"joined-{len(self._found)}", features, wanted, towers)
        vectors, images = self._found[key], len(self.training.images)
        rows = images + len(self.evaluated.images)
        _check_training(vectors, self.source / "descriptions" / method / DESCRIPTION_VECTORS, images, rows)
        own = vectors.image_rows >= images
        captions = None if vectors.captions is None else vectors.captions[len(self.training.captions) :]
        return DescriptionVectors(
            vectors.descriptions[own], vectors.image_rows[own] - images, captions, None, vectors.facts
        )

    def _whole(
        self, place: Path, features: Path, wanted: DescriptionsParameters, towers: TowersParameters
    ) -> DescriptionVectors:
        """The vectors of the training rows and the evaluated ones behind them."""
        clean, cached = place / "clean", place / "features"
        joined(self.training, self.evaluated).write(clean)
        if towers.frozen:
            counts = ((IMAGE_FEATURES, len(self.training.images)), (TEXT_FEATURES, len(self.training.captions)))
            for name, rows in counts:
                _join_features(self.source / "features" / name, features / name, rows, cached / name)
        tables = Tables.read(clean, cached)
        described, _ = describe_images(tables, self.parameters, towers, self.device, self.progress)
        without = wanted.model_copy(update={"prototype_weight": 0.0})  # a trained model has its prototypes in itself
        return vectors_of(tables, described, self.parameters, without, towers, self.device, self.progress)


def _join_features(first: Path, second: Path, rows: int, out: Path) -> None:
    """Write the pooled features of the training rows (the first of their tables), then those of the evaluated rows."""
    before, after = read_features(first), read_features(second)
    if before is None or after is None:
        raise DataError(
            f"{first}: holds no features, but the model has frozen towers; run `dvc repro features` with the "
            "parameters of the training",
            reason="no-features",
        )
    check_same(after.towers, before.towers)
    if len(before.pooled) < rows:
        raise DataError(
            f"{first}: {len(before.pooled)} rows for {rows} of the training split; run `dvc repro features`",
            reason="bad-features",
        )
    pooled = np.concatenate([before.pooled[:rows], after.pooled])
    write_features(out, FeatureRows(pooled, None, after.towers))


def _check_training(vectors: DescriptionVectors, stored: Path, images: int, rows: int) -> None:
    """Stop unless the training images are described as they were for the training: same data, options, encoder."""
    before = read_description_vectors(stored)
    if before.width != vectors.width:
        raise _other(stored, f"vectors are {vectors.width} wide instead of {before.width}")
    count = max(int(before.image_rows.max(initial=-1)) + 1, images)
    then, now = before.of_images(count, "mean")[:images], vectors.of_images(rows, "mean")[:images]
    moved = int((np.abs(then - now).max(1) > CLOSE).sum())
    if moved > FEW * images:
        raise _other(stored, f"{moved} of {images} training images are described differently")


def _other(stored: Path, what: str) -> ModelError:
    return ModelError(
        f"{stored}: {what}; data/clean, data/features and `describe` in params.yaml must be those of the training: "
        "compose its preset again and run `dvc repro describe` (or `dvc pull`)",
        reason="descriptions-differ",
    )


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
                table.to_parquet(temporary, index=False, **PARQUET)


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
