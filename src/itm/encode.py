"""Embeddings of whole splits, and features of frozen towers, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm.config.model import EncodeParameters, TowersParameters
from itm.data.images import ImageStore
from itm.data.layout import DESCRIPTION_VECTORS, IMAGE_FEATURES, TEXT_FEATURES
from itm.data.tables import read_captions, read_images, read_texts
from itm.descriptions.vectors import read_description_vectors
from itm.errors import ModelError
from itm.features import FeatureRows, Spool, TokenRows, read_features, text_batches
from itm.methods.method import Embedded, Method
from itm.methods.saved import load_model, method_parameters
from itm.methods.scoring import Similarities, all_similarities, shortlist_similarities
from itm.towers.base import Features, Towers, wide_ids
from itm.towers.build import build_towers, by_backend, check_same
from itm.towers.word_ids import WordIds, word_ids
from itm.vectors.pipeline import Embeddings

Rows = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Report = Callable[..., None]
"""Told (done, total, note=...), as `itm.stages.harness.Progress.update` is."""
Batches = Iterator[tuple[Rows, Features]]
"""Features batch by batch, in any order, each with the places of its rows among those asked for."""
ON_CPU = 16
"""Images that frozen towers compute at a time on a CPU, at most. The values of more are so large that their memory is
fetched from the system anew each time: EfficientNet-Lite0 at 224 pixels takes 1.6 times as long with 256
(benchmarks/backends.py --batch)."""


def compute_features(
    clean: Path,
    parameters: TowersParameters,
    batch_size: int,
    threads: int,
    device: str,
    scratch: Path,
    progress: Report | None = None,
) -> tuple[FeatureRows, FeatureRows]:
    """Features of all images and of all texts of the clean tables; with tokens if `parameters.tokens`.

    Tokens lie in nameless files of the folder `scratch`. `progress` is told how many rows of how many are done, and of
    what.

    Raises:
        ModelError: the towers cannot be built, or not be computed by `parameters.backend`.
        ModuleNotFoundError: that backend's library is not installed.
    """
    torch.set_num_threads(threads)
    towers = by_backend(build_towers(parameters).eval(), parameters.backend).to(device)
    images, texts = read_images(clean), read_texts(clean)["text"].tolist()
    every = np.arange(len(images))
    at_once = min(batch_size, ON_CPU) if device == "cpu" else batch_size
    with torch.inference_mode():
        of_images = _image_batches(ImageStore(clean, images), every, towers, at_once, device, progress)
        found_images = _collect(of_images, len(images), parameters.tokens, towers, scratch)
        of_texts = _text_batches(texts, towers, batch_size, device, progress)
        found_texts = _collect(of_texts, len(texts), parameters.tokens, towers, scratch)
    return found_images, found_texts


def encode_split(
    model: Path,
    clean: Path,
    features: Path,
    descriptions: Path,
    parameters: EncodeParameters,
    threads: int,
    device: str,
    progress: Report | None = None,
    alone: bool = False,
) -> Embeddings:
    """Embeddings of a split's images and captions, of other benchmarks' photos, and of hierarchy and empty texts.

    With `alone` of the split's images and captions only. A pairwise method's scores are computed for these as well. The
    folder `descriptions` is read for a method that adds them.

    Raises:
        ModelError: the cached features are missing or come from other towers.
        DataError: the descriptions are missing.
    """
    torch.set_num_threads(threads)
    method, towers, card = load_model(model, with_towers=False)
    method = method.to(device)
    split, size = parameters.split, parameters.batch_size
    images, texts, captions = read_images(clean), read_texts(clean), read_captions(clean)
    others = {"train", "dev", "test"} - {split}
    image_rows = np.flatnonzero(((images["split"] == split) | ~(alone | images["split"].isin(others))).to_numpy())
    # the first texts are the captions, in their order
    wanted = np.full(len(texts), not alone)
    wanted[: len(captions)] = (captions["split"] == split).to_numpy()
    text_rows = np.flatnonzero(wanted)
    with torch.inference_mode():
        if card["towers"]["frozen"]:
            tokens = method.requires.tokens
            image_batches = _cached(features / IMAGE_FEATURES, tokens, card, image_rows, size, device)
            own = method.words is not None
            caption_batches = _cached(features / TEXT_FEATURES, tokens and not own, card, text_rows, size, device)
            if method.words is not None:
                found_ids = word_ids(method.words.options, texts["text"].iloc[text_rows].tolist())
                caption_batches = _with_words(caption_batches, found_ids)
        else:
            assert towers is not None
            towers = towers.to(device)
            chosen = texts["text"].iloc[text_rows].tolist()
            image_batches = _image_batches(ImageStore(clean, images), image_rows, towers, size, device, progress)
            caption_batches = _text_batches(chosen, towers, size, device, progress)
        if (added := method_parameters(card).add.descriptions) is not None:
            vectors = read_description_vectors(descriptions / DESCRIPTION_VECTORS)
            image_batches = _with_description_vectors(
                image_batches, "description", vectors.of_images(len(images), added.several)[image_rows]
            )
            if vectors.captions is not None:
                caption_batches = _with_description_vectors(caption_batches, "caption", vectors.captions[text_rows])
        pairwise = method.kind == "pairwise"
        scored_images = np.flatnonzero((images["split"] == split).to_numpy()[image_rows]) if pairwise else _NONE
        scored_texts = np.flatnonzero(text_rows < len(captions)) if pairwise else _NONE
        image, kept_images = _embed(
            image_batches, len(image_rows), method.encode_image, method.index_image, scored_images
        )
        text, kept_texts = _embed(caption_batches, len(text_rows), method.encode_text, method.index_text, scored_texts)
        ids, text_ids = images["image_id"].to_numpy()[image_rows].astype(str), texts["text_id"].to_numpy(np.int64)
        text_ids = text_ids[text_rows]
        protocol = {"method": card["name"], "seed": card["seed"], "split": split}
        protocol |= {"similarity": method.kind, "width": int(text.shape[1])}
        found = Embeddings(ids, image, text_ids, text, protocol)
        if pairwise:
            similarities = _similarities(method, kept_images, kept_texts, parameters.shortlist, progress)
            protocol |= {
                "multiply_adds_a_pair": round(similarities.multiply_adds),
                "scored_pairs": similarities.pairs,
            }
            if similarities.scored is not None:
                listed = _in_order(similarities.scored, kept_images, kept_texts)
                owner = captions["image_id"].to_numpy()[text_rows[scored_texts]].astype(str)
                protocol["shortlist"] = _shortlist(listed, ids[scored_images], owner, parameters.shortlist)
            values = _in_order(similarities.values, kept_images, kept_texts)
            found = replace(found, scores=values, scored_images=ids[scored_images], scored_texts=text_ids[scored_texts])
    return found


_NONE: Rows = np.zeros(0, np.int64)
Kept = list[tuple[Rows, Embedded]]
"""Embedded batches that are compared pair by pair, with the places of their rows."""


def _embed(
    batches: Batches,
    rows: int,
    encode: Callable[[Features], Embedded],
    index: Callable[[Embedded], Tensor],
    scored: Rows,
) -> tuple[Floats, Kept]:
    """Index vectors of all rows, and the embedded batches of those at the places `scored`."""
    vectors, kept = None, []
    for places, features in batches:
        embedded = encode(features)
        part = index(embedded).float().cpu().numpy()
        if vectors is None:
            vectors = np.zeros((rows, part.shape[1]), np.float32)
        vectors[places] = part
        chosen = np.isin(places, scored)
        if chosen.any():
            kept.append((places[chosen], embedded.rows(torch.from_numpy(chosen))))
    return np.zeros((0, 0), np.float32) if vectors is None else vectors, kept


def _similarities(method: Method, images: Kept, texts: Kept, shortlist: int, progress: Report | None) -> Similarities:
    told = partial(progress, note="texts scored") if progress else None
    batches = [each for _, each in images], [each for _, each in texts]
    if shortlist:
        return shortlist_similarities(method, *batches, shortlist, told)
    return all_similarities(method, *batches, told)


def _in_order(values: np.ndarray[Any, Any], images: Kept, texts: Kept) -> np.ndarray[Any, Any]:
    """A matrix over the batches' rows in the order of their places."""
    rows, columns = (np.argsort(np.concatenate([places for places, _ in kept])) for kept in (images, texts))
    return values[np.ix_(rows, columns)]


def _shortlist(
    listed: np.ndarray[Any, Any], images: np.ndarray[Any, Any], owner: np.ndarray[Any, Any], candidates: int
) -> dict[str, Any]:
    """How many queries have an answer (by pair labels) among the candidates that were scored."""
    own = listed & (images[:, None] == owner[None, :])
    recall = {"i2t": float(own.any(1).mean()), "t2i": float(own.any(0).mean())}
    return {"candidates": candidates, "recall": {name: round(value, 4) for name, value in recall.items()}}


def _cached(path: Path, tokens: bool, card: dict[str, Any], rows: Rows, batch_size: int, device: str) -> Batches:
    found = read_features(path, tokens)
    if found is None:
        raise ModelError(f"{path}: holds no features, but the model has frozen towers; run `dvc repro features`")
    check_same(card["towers_description"], found.towers)
    for start in range(0, len(rows), batch_size):
        places = np.arange(start, min(start + batch_size, len(rows)))
        features = Features(torch.from_numpy(found.pooled[rows[places]]))
        if found.tokens is not None:
            values, mask = found.tokens.padded(rows[places])
            features.tokens, features.mask = torch.from_numpy(values).float(), torch.from_numpy(mask)
        yield places, features.to(device)


def _with_words(batches: Batches, words: WordIds) -> Batches:
    """The batches with token ids of the rows asked for."""
    for places, features in batches:
        features.inputs = torch.from_numpy(words.rows(places)).to(features.pooled.device)
        yield places, features


def _with_description_vectors(batches: Batches, name: str, vectors: Floats) -> Batches:
    """The batches with description vectors (rows, width) of the rows asked for."""
    for places, features in batches:
        features.description_vectors[name] = torch.from_numpy(vectors[places]).to(features.pooled.device)
        yield places, features


def _image_batches(
    store: ImageStore, rows: Rows, towers: Towers, batch_size: int, device: str, progress: Report | None
) -> Batches:
    for start in range(0, len(rows), batch_size):
        places = np.arange(start, min(start + batch_size, len(rows)))
        pixels = torch.from_numpy(store.arrays(rows[places], towers.image_size)).to(device)
        yield places, towers.image(towers.preprocess(pixels))
        if progress:
            progress(start + len(places), len(rows), note="images")


def _text_batches(
    texts: Sequence[str], towers: Towers, batch_size: int, device: str, progress: Report | None
) -> Batches:
    ids = towers.token_ids(texts)
    done = 0
    # sorting by length only saves time: padding is 0 in all tokenizers here
    for places in text_batches((ids != 0).sum(1), batch_size):
        yield places, towers.text(wide_ids(ids[places]).to(device))
        done += len(places)
        if progress:
            progress(done, len(texts), note="texts")


def _collect(batches: Batches, rows: int, tokens: bool, towers: Towers, scratch: Path) -> FeatureRows:
    """The features of all batches, row by row; tokens are kept in files of the folder `scratch`."""
    pooled = None
    first, length = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    with Spool(scratch) as spool:
        width = done = 0
        for places, features in batches:
            if pooled is None:
                pooled = np.zeros((rows, features.pooled.shape[1]), np.float32)
            pooled[places] = features.pooled.float().cpu().numpy()
            if tokens:
                assert features.tokens is not None
                assert features.mask is not None
                values, mask = features.tokens.half().cpu().numpy(), features.mask.cpu().numpy()
                width = values.shape[2]
                length[places] = mask.sum(1)
                first[places] = done + np.cumsum(length[places]) - length[places]
                done = spool.add(values[mask])
        kept = spool.values(width)
    # texts come by their length, and their tokens are wanted in the order of the rows
    parts = (kept[start : start + count] for start, count in zip(first, length, strict=True))
    joined = TokenRows.join(parts, width, scratch) if tokens else None
    return FeatureRows(np.zeros((0, 0), np.float32) if pooled is None else pooled, joined, towers.describe())
