"""Descriptiveness of captions and images as a method uses it, and its stand-ins in control runs.

If a control does as well, descriptiveness adds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itm.errors import ConfigError, nearest

if TYPE_CHECKING:
    from itm.config.losses import ImageScore, Score

Floats = NDArray[np.float64]
CONTROLS: tuple[Score, ...] = ("word_count", "shuffled", "random")


def control_values(
    name: str, descriptiveness: np.ndarray, words: np.ndarray, splits: np.ndarray, seed: int = 0
) -> np.ndarray:
    """The values of a control for every caption, float64, to be normalised as d is.

    word_count: the number of words, stop words included; shuffled: the captions' d permuted within each
    split (the same distribution, no meaning); random: uniform in [0, 1).

    Args:
        name: one of `CONTROLS`.
        descriptiveness: d (captions,), float64.
        words: number of words (captions,).
        splits: split of each caption (captions,).
        seed: of the permutation and of the uniform numbers.

    Raises:
        ConfigError: unknown name.
    """
    if name == "word_count":
        return np.asarray(words, dtype=np.float64)
    generator = np.random.default_rng([seed, 0x5C0E])
    if name == "random":
        return generator.random(len(descriptiveness))
    if name == "shuffled":
        result = np.array(descriptiveness, dtype=np.float64)
        splits = np.asarray(splits)
        for split in sorted(set(splits.tolist())):
            rows = np.flatnonzero(splits == split)
            result[rows] = result[generator.permutation(rows)]
        return result
    raise ConfigError(f"control '{name}': {nearest(name, CONTROLS)}", reason="unknown-name")


def caption_descriptiveness(kind: Score, normalised: Floats, words: Floats, seed: int) -> Floats:
    """What plays the part of dn for the captions of a split, 0..1 where dn is.

    "tfidf" is dn itself. Controls: "word_count" is the number of words between its 1 % and 99 % quantiles,
    "shuffled" is dn permuted over all captions, "random" is uniform.
    """
    if kind == "tfidf":
        return normalised
    found: Floats = control_values(kind, normalised, words, np.zeros(len(words), np.int8), seed)
    if kind == "word_count":
        low, high = np.quantile(found, [0.01, 0.99])
        found = np.clip((found - low) / max(high - low, 1e-12), 0, 1)
    return found


def image_descriptiveness(kind: ImageScore, descriptiveness: Floats, owner: NDArray[np.intp], images: int) -> Floats:
    """dn of the images (images,), of that of their captions: the "maximum" or the "mean".

    Args:
        owner: (captions,) image row of each caption; an image without any has -inf, or a mean of 0.

    >>> image_descriptiveness("maximum", np.array([0.1, 0.4, 0.2]), np.array([0, 0, 1]), 2).tolist()
    [0.4, 0.2]
    """
    if kind == "maximum":
        found = np.full(images, -np.inf)
        np.maximum.at(found, owner, descriptiveness)
        return found
    return np.bincount(owner, descriptiveness, images) / np.maximum(np.bincount(owner, minlength=images), 1)
