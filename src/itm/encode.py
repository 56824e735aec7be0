"""Embeddings of whole splits, and features of frozen towers, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm.config.model import TowersParameters
from itm.data.files import atomic_path
from itm.data.images import ImageStore
from itm.data.layout import EMBEDDINGS, IMAGE_FEATURES, TEXT_FEATURES
from itm.data.tables import read_captions, read_images, read_texts
from itm.errors import ModelError
from itm.features import fill_rows, read_features, text_batches
from itm.methods.saved import load_model
from itm.towers.base import Features, Towers
from itm.towers.build import build_towers, check_same

Rows = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Report = Callable[..., None]
"""Told (done, total, note=...), as `itm.stages.harness.Progress.update` is."""


@dataclass
class Embeddings:
    """Index vectors of images (n, width) and texts (m, width) float32 with their ids; similarity: dot product."""

    image_ids: np.ndarray[Any, Any]
    image: Floats
    text_ids: Rows
    text: Floats
    similarity: str


def compute_features(
    clean: Path,
    parameters: TowersParameters,
    batch_size: int,
    threads: int,
    device: str,
    progress: Report | None = None,
) -> tuple[Floats, Floats, dict[str, Any]]:
    """Pooled features of all images and texts of the clean tables, and what the towers say of themselves.

    `progress` is told how many rows of how many are done, and of what.
    """
    torch.set_num_threads(threads)
    towers = build_towers(parameters).to(device).eval()
    images, texts = read_images(clean), read_texts(clean)["text"].tolist()
    store = ImageStore(clean, images)
    with torch.inference_mode():
        image_features = _over_images(store, np.arange(len(images)), towers, batch_size, device, _pooled, progress)
        text_features = _over_texts(texts, towers, batch_size, device, _pooled, progress)
    return image_features, text_features, towers.describe()


def encode_split(
    model: Path,
    clean: Path,
    features: Path,
    split: str,
    batch_size: int,
    threads: int,
    device: str,
    progress: Report | None = None,
) -> Embeddings:
    """Embeddings of a split's images and captions, of other benchmarks' photos, and of hierarchy and empty texts.

    Raises:
        ModelError: the model is for pairwise scoring, or the cached features come from other towers.
    """
    torch.set_num_threads(threads)
    method, towers, card = load_model(model, with_towers=False)
    if method.similarity != "dot":
        raise ModelError(f"{model}: scores pairs, it has no index vectors", reason="no-index")
    method = method.to(device)
    images, texts, captions = read_images(clean), read_texts(clean), read_captions(clean)
    image_rows = np.flatnonzero(~images["split"].isin({"train", "dev", "test"} - {split}).to_numpy())
    # the first texts are the captions, in their order
    wanted = np.ones(len(texts), bool)
    wanted[: len(captions)] = (captions["split"] == split).to_numpy()
    text_rows = np.flatnonzero(wanted)

    def index_image(batch: Features) -> Tensor:
        return method.index_image(method.encode_image(batch))

    def index_text(batch: Features) -> Tensor:
        return method.index_text(method.encode_text(batch))

    with torch.inference_mode():
        if card["towers"]["frozen"]:
            image = _over_features(features / IMAGE_FEATURES, card, image_rows, batch_size, device, index_image)
            text = _over_features(features / TEXT_FEATURES, card, text_rows, batch_size, device, index_text)
        else:
            assert towers is not None
            towers = towers.to(device)
            store = ImageStore(clean, images)
            chosen = texts["text"].iloc[text_rows].tolist()
            image = _over_images(store, image_rows, towers, batch_size, device, index_image, progress)
            text = _over_texts(chosen, towers, batch_size, device, index_text, progress)
    ids = images["image_id"].to_numpy()[image_rows].astype(str)
    return Embeddings(ids, image, texts["text_id"].to_numpy(np.int64)[text_rows], text, method.similarity)


def write_embeddings(folder: Path, found: Embeddings, protocol: dict[str, Any]) -> None:
    """Write embeddings.npz: the arrays, and a `protocol` JSON string that says what they are."""
    with atomic_path(folder / EMBEDDINGS) as temporary:
        np.savez(
            temporary,
            image_ids=found.image_ids,
            image=found.image,
            text_ids=found.text_ids,
            text=found.text,
            protocol=np.array(json.dumps({**protocol, "similarity": found.similarity}, sort_keys=True)),
        )


def _over_features(
    path: Path, card: dict[str, Any], rows: Rows, batch_size: int, device: str, compute: Callable[[Features], Tensor]
) -> Floats:
    pooled, description = read_features(path)
    if pooled is None or description is None:
        raise ModelError(f"{path}: holds no features, but the model has frozen towers; run `dvc repro features`")
    check_same(card["towers_description"], description)
    parts = [
        compute(Features(torch.from_numpy(pooled[rows[start : start + batch_size]]).to(device))).float().cpu().numpy()
        for start in range(0, len(rows), batch_size)
    ]
    return np.concatenate(parts)


def _pooled(features: Features) -> Tensor:
    return features.pooled


def _over_images(
    store: ImageStore,
    rows: Rows,
    towers: Towers,
    batch_size: int,
    device: str,
    compute: Callable[[Features], Tensor],
    progress: Report | None,
) -> Floats:
    batches = (np.arange(start, min(start + batch_size, len(rows))) for start in range(0, len(rows), batch_size))

    def run(batch: Rows) -> Floats:
        pixels = torch.from_numpy(store.arrays(rows[batch], towers.image_size)).to(device)
        return compute(towers.image(towers.preprocess(pixels))).float().cpu().numpy()

    return fill_rows(len(rows), batches, run, partial(progress, note="images") if progress else None)


def _over_texts(
    texts: Sequence[str],
    towers: Towers,
    batch_size: int,
    device: str,
    compute: Callable[[Features], Tensor],
    progress: Report | None,
) -> Floats:
    ids = towers.tokenize(texts)
    lengths = (ids != 0).sum(1)  # sorting by length only saves time: padding is 0 in all tokenizers here

    def run(batch: Rows) -> Floats:
        return compute(towers.text(torch.from_numpy(ids[batch]).to(device))).float().cpu().numpy()

    told = partial(progress, note="texts") if progress else None
    return fill_rows(len(texts), text_batches(lengths, batch_size), run, told)
