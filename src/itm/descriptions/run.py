"""The work of the stage `describe`: descriptions, their vectors, and how much of the data has any."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from itm.config.describe import ASKING, DescribeParameters, DescriptionsParameters
from itm.config.model import TowersParameters
from itm.data.images import ImageStore
from itm.data.layout import TEXT_FEATURES
from itm.data.tables import read_captions, read_images, read_texts
from itm.descriptions.encoders import Floats, build_encoder, centred, read_vectors, unit
from itm.descriptions.prototypes import prototypes_of
from itm.descriptions.questions import Picture, pictures_of
from itm.descriptions.records import Description, read_descriptions
from itm.descriptions.vectors import DescriptionVectors
from itm.errors import DataError, first_few
from itm.features import read_features

log = logging.getLogger(__name__)

Report = Callable[..., None]
LEAST_IMAGES_A_WORD = 5
"""`tags`: a word of fewer training images is left out."""


@dataclass
class Tables:
    """The clean tables, and where images and features lie."""

    clean: Path
    features: Path
    images: pd.DataFrame
    captions: pd.DataFrame
    texts: list[str]

    @classmethod
    def read(cls, clean: Path, features: Path) -> Tables:
        """The tables of a folder."""
        texts = read_texts(clean)["text"].tolist()
        return cls(clean, features, read_images(clean), read_captions(clean), texts)

    @property
    def training_captions(self) -> pd.DataFrame:
        """The captions of the training split, rows counted anew."""
        return self.captions[self.captions["split"] == "train"].reset_index(drop=True)


def describe_images(
    tables: Tables,
    parameters: DescribeParameters,
    towers: TowersParameters,
    device: str,
    progress: Report | None = None,
) -> tuple[list[Description], dict[str, Any]]:
    """Descriptions in the order of images.parquet, and what they took (tokens, cost) where a model was asked.

    Raises:
        DataError: descriptions name unknown images, or images have none and `missing` is "refuse".
        ModelError: a model or a server cannot be used, or left images without an answer.
    """
    pictures = pictures_of(tables.images)
    usage: dict[str, Any] = {}
    if parameters.captioner == "none":
        found: list[Description] = []
    elif parameters.captioner == "file":
        found = _from_file(Path(parameters.file), pictures)
    elif parameters.captioner in ASKING:
        found, usage = _by_asking(tables, pictures, parameters, towers, device, progress)
    else:
        found = _without_a_model(tables, pictures, parameters, towers, device, progress)
    described = {one.image_id for one in found}
    missing = [picture for picture in pictures if picture.image_id not in described]
    if missing and parameters.missing == "refuse":
        names = [f"{picture.image_id} ({picture.split})" for picture in missing]
        raise DataError(
            f"{len(missing)} of {len(pictures)} images have no description ({first_few(names)}); describe them, or set "
            "describe.missing to 'zero': they then go on with their own embedding",
            reason="undescribed",
        )
    return found, usage


def _from_file(path: Path, pictures: Sequence[Picture]) -> list[Description]:
    """The file's descriptions in the order of the images; their splits must be those of the tables."""
    found = read_descriptions(path)
    known = {picture.image_id: picture for picture in pictures}
    strange = [one.image_id for one in found if one.image_id not in known]
    if strange:
        raise DataError(
            f"{path}: {len(strange)} descriptions are of images that the data set lacks ({first_few(strange)})",
            reason="unknown-image",
        )
    moved = [one for one in found if one.split != known[one.image_id].split]
    if moved:
        names = [f"{one.image_id}: {one.split}, not {known[one.image_id].split}" for one in moved]
        raise DataError(
            f"{path}: {len(moved)} descriptions give another split than the tables ({first_few(names)})",
            reason="other-split",
        )
    return sorted(found, key=lambda one: (known[one.image_id].row, one.desc_id))


def _by_asking(
    tables: Tables,
    pictures: Sequence[Picture],
    parameters: DescribeParameters,
    towers: TowersParameters,
    device: str,
    progress: Report | None,
) -> tuple[list[Description], dict[str, Any]]:
    from itm.descriptions.asking import Hints, describe_by_asking

    hints = Hints()
    if parameters.condition == "paper":
        texts_of = tables.training_captions.groupby("image_id")["text"].apply(list)
        hints = Hints(own={str(image): found for image, found in texts_of.items()})
    elif parameters.condition == "retrieved":
        one = parameters.model_copy(update={"captioner": "retrieved", "per_image": 1})
        texts = _without_a_model(tables, pictures, one, towers, device, None)
        hints = Hints(retrieved={found.image_id: found.text or "" for found in texts})
    store = ImageStore(tables.clean, tables.images)
    if parameters.captioner == "openai":
        from itm.descriptions.chat import ChatServer

        found, usage = describe_by_asking(
            pictures, ChatServer(parameters, store.read), parameters, hints, progress=progress
        )
    else:
        from itm.descriptions.mllm import VisionLanguageModel

        found, usage = describe_by_asking(
            pictures, VisionLanguageModel(parameters, store, device), parameters, hints, progress=progress
        )
    return found, asdict(usage)


def _without_a_model(
    tables: Tables,
    pictures: Sequence[Picture],
    parameters: DescribeParameters,
    towers: TowersParameters,
    device: str,
    progress: Report | None,
) -> list[Description]:
    from itm.descriptions.retrieved import likely_words, retrieve_captions
    from itm.descriptions.space import image_features

    captions = tables.training_captions
    seen = image_features(parameters, tables.clean, tables.features, tables.images, towers.image_size, device, progress)
    if parameters.captioner == "tags":
        return likely_words(
            pictures,
            seen,
            captions,
            words=parameters.captions,
            least=LEAST_IMAGES_A_WORD,
            ridge=parameters.ridge,
            folds=parameters.folds,
        )
    if parameters.space == "towers":
        cached = read_features(tables.features / TEXT_FEATURES)
        assert cached is not None  # image_features has read its twin
        vectors = unit(cached.pooled[np.flatnonzero((tables.captions["split"] == "train").to_numpy())])
    else:
        tfidf = parameters.model_copy(update={"encoder": "tfidf"})
        texts = captions["text"].tolist()
        vectors = build_encoder(tfidf, texts, device)(texts)
    return retrieve_captions(
        pictures,
        seen,
        captions,
        vectors,
        joined=parameters.captions,
        per_image=parameters.per_image,
        ridge=parameters.ridge,
        folds=parameters.folds,
    )


def vectors_of(
    tables: Tables,
    descriptions: Sequence[Description],
    parameters: DescribeParameters,
    wanted: DescriptionsParameters,
    towers: TowersParameters,
    device: str,
    progress: Report | None = None,
) -> DescriptionVectors:
    """The vectors that a method with the addition `wanted` reads.

    Raises:
        DataError: a description has no text, and its vector is not in a file either; or no prototypes can be made.
        ModelError: the sentence encoder cannot be loaded.
    """
    row = {image_id: place for place, image_id in enumerate(tables.images["image_id"].tolist())}
    image_rows = np.array([row[one.image_id] for one in descriptions], np.int64)
    captions = None
    if parameters.encoder == "file":
        vectors, captions = _vectors_from_files(Path(parameters.file), descriptions, tables, wanted.captions)
    else:
        untold = [one.image_id for one in descriptions if one.text is None]
        if untold:
            raise DataError(
                f"{len(untold)} descriptions have no text ({first_few(untold)}); set describe.encoder to 'file', which "
                "reads the vectors beside them",
                reason="no-text",
            )
        encode = build_encoder(parameters, tables.training_captions["text"].tolist(), device, progress)
        texts = [one.text or "" for one in descriptions]
        vectors = encode(texts or ["-"])[: len(texts)]  # without any, their width must be known all the same
        if wanted.captions:
            captions = _cached_captions(tables, parameters, towers)
            captions = encode(tables.texts) if captions is None else captions
    train = (tables.images["split"] == "train").to_numpy()[image_rows]
    if parameters.centre:
        vectors = centred(vectors, train)
        if captions is not None:
            in_training = np.zeros(len(captions), bool)
            in_training[: len(tables.captions)] = (tables.captions["split"] == "train").to_numpy()
            captions = centred(captions, in_training)
    prototypes = None
    if wanted.prototype_weight:
        shown = vectors[train]
        prototypes = prototypes_of(
            shown[np.abs(shown).sum(1) > 0],
            len(np.unique(image_rows[train])),
            wanted.prototypes,
            wanted.prototype_seed,
        )
    facts = {"encoder": parameters.encoder, "model": parameters.encoder_model, "centred": parameters.centre}
    if parameters.encoder_revision:
        facts["revision"] = parameters.encoder_revision
    return DescriptionVectors(vectors, image_rows, captions, prototypes, facts)


def _cached_captions(tables: Tables, parameters: DescribeParameters, towers: TowersParameters) -> Floats | None:
    """The texts' vectors where the frozen text tower is the sentence encoder itself, and its features are cached."""
    if parameters.encoder != "minilm" or towers.kind != "offline" or not towers.frozen:
        return None
    cached = read_features(tables.features / TEXT_FEATURES)
    if cached is None or len(cached.pooled) != len(tables.texts):
        return None
    vectors = unit(cached.pooled)
    vectors[np.array([text == "" for text in tables.texts])] = 0
    return vectors


def _vectors_from_files(
    path: Path, descriptions: Sequence[Description], tables: Tables, with_captions: bool
) -> tuple[Floats, Floats | None]:
    """Vectors beside a descriptions file: descriptions.npy by (image id, desc_id), captions.npy by caption id."""
    stored, ids = read_vectors(path.with_suffix(".npy"))
    place = {(str(image), int(number)): at for at, (image, number) in enumerate(ids)}
    lost = [one for one in descriptions if (one.image_id, one.desc_id) not in place]
    if lost:
        raise DataError(
            f"{path.with_suffix('.npy')}: no vector for {len(lost)} descriptions "
            f"({first_few(f'{one.image_id} {one.desc_id}' for one in lost)})",
            reason="no-vectors",
        )
    vectors = unit(stored[[place[one.image_id, one.desc_id] for one in descriptions]])
    if not with_captions:
        return vectors, None
    file = path.with_name("captions.npy")
    of_captions, caption_ids = read_vectors(file)
    rows = pd.Series(np.arange(len(tables.captions)), index=tables.captions["caption_id"])
    found = rows.reindex(caption_ids)
    captions = np.zeros((len(tables.texts), vectors.shape[1]), np.float32)
    here = found.notna().to_numpy()
    captions[found[here].astype(int)] = unit(of_captions[here])
    log.info("%s: vectors for %d of %d captions", file, int(here.sum()), len(tables.captions))
    return vectors, captions


def coverage_of(
    tables: Tables, descriptions: Sequence[Description], vectors: DescriptionVectors, usage: dict[str, Any]
) -> dict[str, Any]:
    """How many images of each split have a description, how long these are, and what they took."""
    described = {one.image_id for one in descriptions}
    splits: dict[str, dict[str, float]] = {}
    for split, rows in tables.images.groupby("split", sort=False):
        here = sum(image_id in described for image_id in rows["image_id"])
        splits[str(split)] = {
            "images": len(rows),
            "described": here,
            "share": round(here / len(rows), 4),
        }
    words = [len(one.text.split()) for one in descriptions if one.text]
    found: dict[str, Any] = {
        "coverage": splits,
        "descriptions": len(descriptions),
        "words": round(float(np.mean(words)), 2) if words else 0.0,
        "width": vectors.width,
        "prototypes": 0 if vectors.prototypes is None else len(vectors.prototypes),
    }
    if usage:
        found["asked"] = {name: round(value, 4) for name, value in usage.items()}
    return found
