"""Descriptions without any model of language: the training captions nearest to an image, or its likeliest words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from itm.descriptions.questions import Picture
from itm.descriptions.records import Description
from itm.descriptions.space import Floats, fitted_maps, fold_of, place_images
from itm.metrics.top import largest

_BLOCK = 512


def retrieve_captions(
    pictures: Sequence[Picture],
    features: Floats,
    captions: pd.DataFrame,
    vectors: Floats,
    *,
    joined: int,
    per_image: int,
    ridge: float,
    folds: int,
) -> list[Description]:
    """For each picture the training captions nearest to its place, `joined` of them in a description.

    A caption of the picture itself or of a copy of it (the same bytes) is not taken, unless an image of other content
    has the same caption. The first description has the nearest captions, the next one those that follow.

    Args:
        features: (pictures, width) float, what is known of the pictures.
        captions: training captions: image_id, text.
        vectors: (captions, dimension) float, their vectors.
    """
    content = {picture.image_id: picture.sha256 for picture in pictures}
    owner = captions["image_id"].map(content).to_numpy(dtype=object)
    texts, first, of_caption = np.unique(
        captions["text"].to_numpy(dtype=object), return_index=True, return_inverse=True
    )
    places = _places(pictures, features, captions["image_id"], vectors, ridge, folds)
    known = vectors[first] - vectors.mean(0)
    known /= np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1e-9)
    forbidden = _only_of(of_caption, owner, len(texts))
    wanted = joined * per_image
    descriptions = []
    for start in range(0, len(pictures), _BLOCK):
        scores = places[start : start + _BLOCK] @ known.T
        for picture, row in zip(pictures[start : start + _BLOCK], scores, strict=True):
            row[forbidden.get(picture.sha256, [])] = -np.inf
            count = min(wanted, int(np.isfinite(row).sum()))
            best = np.argpartition(-row, count - 1)[:count] if count < len(row) else np.arange(len(row))
            best = best[np.lexsort((best, -row[best]))][:count]
            for position in range(0, -(-count // joined)):
                chosen = best[position * joined : (position + 1) * joined]
                descriptions.append(_description(picture, position, _sentences(texts[chosen].tolist()), "retrieved"))
    return descriptions


def likely_words(
    pictures: Sequence[Picture],
    features: Floats,
    captions: pd.DataFrame,
    *,
    words: int,
    least: int,
    ridge: float,
    folds: int,
) -> list[Description]:
    """For each picture the words that stand out: how much likelier it makes them than training images are on average.

    z = place / deviation of a word's indicator over training images; words in fewer than `least` training images and
    English stop words are left out. Memory: of images x words only a block at a time.
    """
    from scipy import sparse
    from sklearn.feature_extraction.text import CountVectorizer

    by_image = captions.groupby("image_id", sort=False)["text"].agg(" ".join)
    counter = CountVectorizer(binary=True, stop_words="english", min_df=min(least, len(by_image)), dtype=np.float32)
    present = counter.fit_transform(by_image)
    names = counter.get_feature_names_out()
    share = np.asarray(present.mean(0, dtype=np.float64)).ravel()
    spread = np.maximum(np.sqrt(share * (1 - share)), 1e-3).astype(np.float32)
    here, rows = _rows_of(pictures, pd.Series(by_image.index))
    ones: Any = np.ones(len(here), np.float32), (rows, here)
    chosen = sparse.csr_array(ones, shape=(len(pictures), present.shape[0]))
    train, fold = _training(pictures, np.bincount(rows, minlength=len(pictures)), folds)
    best = np.zeros((len(pictures), min(words, len(names))), np.int64)
    for placed, place in fitted_maps(features, sparse.csr_array(chosen @ present), train, fold, ridge):
        for start in range(0, len(placed), _BLOCK):
            some = placed[start : start + _BLOCK]
            best[some] = [largest(row, words) for row in place(features[some]).astype(np.float32) / spread]
    return [
        _description(picture, 0, f"A picture of {', '.join(names[row])}.", "tags")
        for picture, row in zip(pictures, best, strict=True)
    ]


def _rows_of(pictures: Sequence[Picture], owner: pd.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the owners are pictures here, and the pictures' rows."""
    row = pd.Series({picture.image_id: place for place, picture in enumerate(pictures)}, dtype=np.int64)
    rows = row.reindex(owner.to_numpy()).to_numpy()
    here = np.flatnonzero(~np.isnan(rows))
    return here, rows[here].astype(np.int64)


def _training(
    pictures: Sequence[Picture], captions: NDArray[Any], folds: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which pictures maps are fitted on, and their folds.

    A training picture without captions is placed by all others, as an evaluation picture is.
    """
    train = np.array([picture.split == "train" for picture in pictures]) & (captions > 0)
    return train, fold_of(np.array([picture.sha256 for picture in pictures]), folds)


def _places(
    pictures: Sequence[Picture], features: Floats, owner: pd.Series, vectors: Floats, ridge: float, folds: int
) -> Floats:
    """The pictures' places; the target of a training picture is the mean of the vectors that it owns."""
    here, rows = _rows_of(pictures, owner)
    targets = np.zeros((len(pictures), vectors.shape[1]), np.float32)
    counts = np.zeros(len(pictures), np.float32)
    np.add.at(targets, rows, vectors[here])
    np.add.at(counts, rows, 1)
    targets /= np.maximum(counts, 1)[:, None]
    return place_images(features, targets, *_training(pictures, counts, folds), ridge)


def _only_of(of_caption: NDArray[np.intp], owner: NDArray[np.object_], texts: int) -> dict[str, list[int]]:
    """The texts that belong to images of one content only, by that content."""
    table = pd.DataFrame({"text": of_caption, "owner": owner}).drop_duplicates()
    single = table[~table["text"].duplicated(keep=False)]
    return {str(name): rows.tolist() for name, rows in single.groupby("owner")["text"]}


def _sentences(captions: Sequence[str]) -> str:
    """Captions one after the other, each with its full stop.

    >>> _sentences(["a dog", "it runs ."])
    'a dog. it runs .'
    """
    return " ".join(text if text.rstrip().endswith((".", "!", "?")) else f"{text}." for text in captions)


def _description(picture: Picture, position: int, text: str, generator: str) -> Description:
    condition = "retrieved_caption" if generator == "retrieved" else "none"
    return Description(picture.image_id, picture.split, position, text, generator, "", condition)
