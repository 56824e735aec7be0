"""The splits and relations that the loop trains on, from the pipeline's files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from itm.config.additions import WordsParameters
from itm.config.methods import MethodParameters
from itm.config.model import TowersParameters, TrainParameters
from itm.data.images import ImageStore
from itm.data.layout import IMAGE_FEATURES, TEXT_FEATURES
from itm.data.loader import Augment
from itm.data.tables import Columns, read_captions, read_images, read_keywords, read_scored, read_texts
from itm.descriptions.vectors import DescriptionVectors, read_description_vectors
from itm.errors import DataError
from itm.features import FeatureRows, read_features
from itm.methods.method import Widths
from itm.text.controls import caption_descriptiveness
from itm.towers.base import Towers
from itm.towers.build import build_towers
from itm.towers.hugging_face import width_of
from itm.towers.word_ids import word_ids
from itm.training.batches import Rows
from itm.training.inputs import Inputs, Split
from itm.training.photos import Photos
from itm.training.relations import Relations

_SCORED = ("normalised", "words")


@dataclass(frozen=True)
class Decoding:
    """How photos become pixels. memory: bytes of decoded images of a split that may be kept; larger splits, and
    training splits with random crops (`augment`), are decoded batch by batch by `workers` threads."""

    augment: Augment | None = None
    memory: float = math.inf
    workers: int = 2
    pinned: bool = False

    @classmethod
    def of(cls, parameters: TrainParameters, seed: int, pinned: bool) -> Decoding:
        """What the section `train` asks for."""
        crops = parameters.crop_area < 1
        augment = Augment(area=(parameters.crop_area, 1.0), flip=parameters.flip, seed=seed) if crops else None
        return cls(augment, parameters.image_memory * 2**30, parameters.workers, pinned)


@dataclass
class TrainingData:
    """Everything a training run reads. towers is None where they are frozen (their features are cached). constants:
    what a method is given once before training."""

    train: Split
    dev: Split
    relations: Relations
    towers: Towers | None
    towers_description: dict[str, Any]
    widths: Widths
    constants: dict[str, Tensor] = field(default_factory=dict)


def load_training_data(
    clean: Path,
    scored: Path,
    features: Path,
    towers_parameters: TowersParameters,
    method: MethodParameters,
    seed: int,
    decoding: Decoding | None = None,
    described: Path | None = None,
) -> TrainingData:
    """The train and dev splits of the pipeline's tables.

    `decoding` says how photos become pixels; without it all are decoded at once, as centre squares. `described` is the
    file of vectors that a method with descriptions reads.

    Raises:
        DataError: cached features are missing, do not fit the tables, or tables disagree in their rows.
    """
    captions, images, texts = read_captions(clean), read_images(clean), read_texts(clean)
    scores = read_scored(clean, scored, _SCORED)
    if towers_parameters.frozen:
        image_features = read_features(features / IMAGE_FEATURES, method.needs_tokens)
        text_features = read_features(features / TEXT_FEATURES, method.needs_tokens and method.add.words is None)
        if image_features is None or text_features is None:
            raise DataError(f"{features}: holds no features; run `dvc repro features`", reason="no-features")
        for name, found, rows in (("images", image_features, images), ("texts", text_features, texts)):
            if len(found.pooled) != len(rows):
                raise DataError(
                    f"{features}: {len(found.pooled)} {name} features for {len(rows)} rows", reason="rows-differ"
                )
        description = image_features.towers
        source = _Source(images, towers=None, cached=(image_features, text_features), store=None)
        towers, widths = None, cached_widths(image_features, text_features)
    else:
        training_texts = captions.loc[captions["split"] == "train", "text"]
        towers = build_towers(towers_parameters, training_texts)
        description = towers.describe()
        store = ImageStore(clean, images)
        source = _Source(images, towers, None, store, texts["text"].tolist(), decoding or Decoding())
        widths = tower_widths(towers)
    splits = {name: _split(name, captions, images, source, len(texts) - 1) for name in ("train", "dev")}
    if (words := method.add.words) is not None:
        widths = replace(widths, text_tokens=width_of(words.model))
        add_words(splits, words, captions, seed)
    relations = _relations(captions, images, scores, scored, method, seed)
    data = TrainingData(splits["train"], splits["dev"], relations, towers, description, widths)
    if method.add.descriptions is not None:
        if described is None:
            raise DataError(
                "the method adds descriptions, and no file of their vectors is given", reason="no-description-vectors"
            )
        vectors, several = read_description_vectors(described), method.add.descriptions.several
        for name, split in splits.items():
            image_rows, caption_rows, _ = _rows(captions, images, name)
            add_description_vectors(split, vectors, several, image_rows, caption_rows, len(texts) - 1, seed)
        clusters = 0
        if vectors.prototypes is not None:
            data.constants, clusters = {"prototypes": torch.from_numpy(vectors.prototypes)}, len(vectors.prototypes)
        data.widths = replace(widths, description_width=vectors.width, prototypes=clusters)
    return data


def add_words(splits: dict[str, Split], words: WordsParameters, captions: pd.DataFrame, seed: int) -> None:
    """Give the captions of each split, and the empty one, their token ids; those of training change by epoch."""
    for name, split in splits.items():
        texts = captions.loc[captions["split"] == name, "text"].tolist()
        split.texts.words = word_ids(words, texts, seed if name == "train" else None)
        split.root.words = word_ids(words, [""])


def add_description_vectors(
    split: Split, vectors: DescriptionVectors, several: str, image_rows: Rows, text_rows: Rows, root: int, seed: int
) -> None:
    """Give the images of a split their descriptions' vectors, and its texts their own where there are any.

    An image with several descriptions is given one of them, drawn anew for each announced epoch (of the training
    images only: others are never announced), or their mean, as `several` says.

    Args:
        image_rows, text_rows: rows of the tables that the rows of the split stand for. root: that of the empty text.
        seed: of the draws, with the epoch.
    """
    images = int(max(image_rows.max(initial=0), vectors.image_rows.max(initial=0))) + 1

    def described(epoch: int | None) -> dict[str, Tensor]:
        draw = None if epoch is None else np.random.default_rng([seed, epoch])
        return {"description": torch.from_numpy(vectors.of_images(images, several, draw)[image_rows])}

    split.images.description_vectors = described(None)
    if several == "sampled" and vectors.counts(images)[image_rows].max(initial=0) > 1:
        split.images.redraw = described
    if vectors.captions is not None:
        split.texts.description_vectors = {"caption": torch.from_numpy(vectors.captions[text_rows])}
        split.root.description_vectors = {"caption": torch.from_numpy(vectors.captions[root : root + 1])}


@dataclass(frozen=True)
class Described:
    """A split without its inputs: relations, and the rows of the tables that its rows stand for."""

    relations: Relations
    images: pd.DataFrame
    captions: pd.DataFrame


def describe_split(clean: Path, scored: Path, method: MethodParameters, seed: int, split: str) -> Described:
    """The relations of a split as a method would see them in training, with its images and captions.

    Raises:
        DataError: a table is missing.
    """
    captions, images, scores = read_captions(clean), read_images(clean), read_scored(clean, scored, _SCORED)
    image_rows, caption_rows, _ = _rows(captions, images, split)
    relations = _relations(captions, images, scores, scored, method, seed, split)
    of_images, of_captions = images.iloc[image_rows], captions.iloc[caption_rows]
    return Described(relations, of_images.reset_index(drop=True), of_captions.reset_index(drop=True))


def tower_widths(towers: Towers) -> Widths:
    """The widths of what towers give."""
    return Widths(towers.image_width, towers.text_width, towers.image_token_width, towers.text_token_width)


def cached_widths(images: FeatureRows, texts: FeatureRows) -> Widths:
    """The widths of cached features; where no tokens are cached, no method of the run needs them."""
    pooled = images.pooled.shape[1], texts.pooled.shape[1]
    tokens = (each.pooled if each.tokens is None else each.tokens.values for each in (images, texts))
    image_tokens, text_tokens = (values.shape[1] for values in tokens)
    return Widths(*pooled, image_tokens, text_tokens)


def _from_cache(found: FeatureRows, rows: Rows) -> Inputs:
    return Inputs(features=torch.from_numpy(found.pooled[rows]), tokens=found.tokens, token_rows=rows)


class _Source:
    """Where the inputs of image and text rows come from."""

    def __init__(
        self,
        images: pd.DataFrame,
        towers: Towers | None,
        cached: tuple[FeatureRows, FeatureRows] | None,
        store: ImageStore | None,
        texts: list[str] | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        self.cached, self.towers, self.store, self.text_list = cached, towers, store, texts
        self.decoding = decoding

    def images(self, rows: Rows, training: bool) -> Inputs:
        if self.cached is not None:
            return _from_cache(self.cached[0], rows)
        assert self.store is not None
        assert self.towers is not None
        assert self.decoding is not None
        size, augment = self.towers.image_size, self.decoding.augment if training else None
        if augment is None and len(rows) * size * size * 3 <= self.decoding.memory:
            return Inputs(raw=self.store.arrays(rows, size))
        return Inputs(photos=Photos(self.store, rows, size, augment, self.decoding.workers, self.decoding.pinned))

    def texts(self, rows: Rows) -> Inputs:
        if self.cached is not None:
            return _from_cache(self.cached[1], rows)
        assert self.towers is not None
        assert self.text_list is not None
        return Inputs(raw=self.towers.token_ids([self.text_list[row] for row in rows]))


def _rows(captions: pd.DataFrame, images: pd.DataFrame, split: str) -> tuple[Rows, Rows, Rows]:
    """Image rows and caption rows of a split, and the place of each caption's image among the former."""
    image_rows = np.flatnonzero((images["split"] == split).to_numpy())
    caption_rows = np.flatnonzero((captions["split"] == split).to_numpy())
    place = pd.Series(np.arange(len(image_rows)), index=images["image_id"].to_numpy()[image_rows])
    owner = place.reindex(captions["image_id"].to_numpy()[caption_rows])
    if owner.isna().any():
        raise DataError(
            f"{int(owner.isna().sum())} {split} captions have no image (first: {owner.index[owner.isna()][0]})",
            reason="unresolved-image",
        )
    return image_rows, caption_rows, owner.to_numpy(np.int64)


def _split(name: str, captions: pd.DataFrame, images: pd.DataFrame, source: _Source, empty_row: int) -> Split:
    image_rows, caption_rows, owner = _rows(captions, images, name)
    # texts.parquet starts with the captions in their order, so a caption's row is its text's row
    root = source.texts(np.array([empty_row]))
    return Split(source.images(image_rows, name == "train"), source.texts(caption_rows), owner, root)


def _relations(
    captions: pd.DataFrame,
    images: pd.DataFrame,
    scores: Columns,
    scored: Path,
    method: MethodParameters,
    seed: int,
    split: str = "train",
) -> Relations:
    image_rows, caption_rows, owner = _rows(captions, images, split)
    _, same = np.unique(images["sha256"].to_numpy()[image_rows], return_inverse=True)
    keywords = read_keywords(scored, len(captions))[caption_rows]
    descriptiveness = caption_descriptiveness(
        getattr(method.loss, "score", "tfidf"),
        scores["normalised"][caption_rows].astype(np.float64),
        scores["words"][caption_rows].astype(np.float64),
        seed,
    )
    return Relations(owner, same, descriptiveness, getattr(method.loss, "image_score", "paired"), keywords)
