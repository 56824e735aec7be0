"""HierarCaps: a walk through the text space, and an image's captions that it meets from generic to specific."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itm.config.parameters import EvaluateParameters
from itm.data.tables import Columns
from itm.errors import DataError
from itm.evaluation.result import Metrics, Result, id_hash
from itm.evaluation.tables import Tables
from itm.metrics import ChainScores, chain_scores, interpolation, radii, radius_levels, tau_d
from itm.vectors.ids import among
from itm.vectors.pipeline import Embeddings

LEVELS = 4
WORD_COUNT = "tau_d_of_word_count"
"""Under this name protocols hold what `word_count_tau_d` gives."""


def evaluate(tables: Tables, embeddings: Embeddings, parameters: EvaluateParameters) -> Result:
    """Both published traversals over the chains of the embedded images, embeddings at unit length.

    `radius_levels` is the official evaluation, `interpolation` is ProLIP's; their numbers are not comparable.
    `path_text_ids` keeps the texts that the official one retrieves, [images, levels], generic end first.
    """
    image_ids, chains, text_ids = distinct_chains(tables.hierarchies, embeddings.image_ids)
    distinct, owners = np.unique(image_ids, return_inverse=True)
    image = unit(embeddings.images(distinct))
    text, root = unit(embeddings.texts(text_ids)), unit(embeddings.texts(np.array([tables.root])))[0]
    metrics, per_query, path = traverse(image, text, root, chains, owners, parameters.hierarcaps_levels)
    text_of = dict(zip(tables.hierarchies["text_id"].tolist(), tables.hierarchies["text"].tolist(), strict=True))
    protocol = {
        "images": len(image),
        "chains": len(chains),
        "texts": len(text_ids),
        WORD_COUNT: word_count_tau_d([text_of[each] for each in text_ids.tolist()], chains),
        "levels": parameters.hierarcaps_levels,
        "root": "embedding of the empty caption",
        "unit_length": True,
        "image_ids": id_hash(distinct),
    }
    return Result(metrics, {"image_ids": distinct, "path_text_ids": text_ids[path], **per_query}, protocol)


def traverse(
    image: NDArray[np.floating],
    text: NDArray[np.floating],
    root: NDArray[np.floating],
    chains: NDArray[np.int64],
    owners: NDArray[np.int64],
    levels: int,
) -> tuple[Metrics, dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """The metrics of both traversals and tau_d, their per-image values, and the official path [images, levels]."""
    per_query: dict[str, NDArray[np.float64]] = {}
    metrics: Metrics = {}
    paths = {
        "radius_levels": radius_levels(image, text, root, levels),
        "interpolation": interpolation(image, text, root, levels),
    }
    for name, path in paths.items():
        scores = chain_scores(path, chains, owners)
        metrics[name] = {}
        for field in ChainScores.__dataclass_fields__:
            values = getattr(scores, field)
            per_query[f"{name}_{field}"] = values
            metrics[name][field] = float(values.mean())
    per_query["tau_d"] = tau_d(radii(text, root)[chains])
    metrics["tau_d"] = float(per_query["tau_d"].mean())
    return metrics, per_query, paths["radius_levels"]


def word_count_tau_d(texts: Sequence[str], chains: NDArray[np.int64]) -> float:
    """tau_d with the number of words for the radius, to four decimals: what length alone gives, without any model.

    >>> word_count_tau_d(["a", "a dog", "dogs"], np.array([[0, 1], [0, 2]]))
    0.5
    """
    words = np.array([len(text.split()) for text in texts])
    return round(float(tau_d(words[chains]).mean()), 4)


def distinct_chains(
    table: Columns, known_images: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """The image of each chain, the chains as numbers of distinct strings, and the text_id of each such string.

    Strings are numbered in order of first appearance, row by row, level 1 up: the order that decides ties.

    Raises:
        DataError: no chain is about an embedded image, or a chain does not have levels 1, 2, 3, 4 in order.
    """
    kept = np.flatnonzero(among(table["image_id"], known_images))
    if not len(kept):
        raise DataError("hierarchies.parquet: no chain is about an embedded image", reason="no-chains")
    level = table["level"][kept]
    image = table["image_id"][kept]
    if len(kept) % LEVELS or (level.reshape(-1, LEVELS) != np.arange(1, LEVELS + 1)).any():
        raise DataError("hierarchies.parquet: each chain must be four rows, levels 1, 2, 3, 4", reason="chain-levels")
    by_chain = image.reshape(-1, LEVELS)
    if (by_chain != by_chain[:, :1]).any():
        raise DataError("hierarchies.parquet: a chain's rows name different images", reason="chain-images")
    _, first, back = np.unique(table["text"][kept], return_index=True, return_inverse=True)
    by_appearance = np.argsort(first, kind="stable")
    number = np.empty(len(first), dtype=np.int64)
    number[by_appearance] = np.arange(len(first))
    text_ids = table["text_id"][kept][first[by_appearance]].astype(np.int64)
    return by_chain[:, 0], number[back].reshape(-1, LEVELS), text_ids


def unit(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows scaled to unit length, in float64.

    Raises:
        DataError: a row is zero.
    """
    wide = values.astype(np.float64)
    norm = np.linalg.norm(wide, axis=1, keepdims=True)
    zero = int((norm == 0).sum())
    if zero:
        raise DataError(f"{zero} of {len(values)} embeddings are zero and have no direction", reason="zero-vector")
    scaled: NDArray[np.float64] = wide / norm
    return scaled
