"""Half-truths among a split's captions: a true caption, and another that says the same and one wrong word more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class HalfTruths(NamedTuple):
    """Positions of images, of one of their own captions each, and of a caption with one word more that is false."""

    images: Rows
    true: Rows
    half_true: Rows


def half_truths(texts: Sequence[str], owners: Rows, truth: NDArray[np.bool_]) -> HalfTruths:
    """Every image's own captions with every half-truth that the split's captions hold of them, each text once.

    "a small red square" is one for "a red square" where the first is false and the second true of the image: texts
    differ by one word, so that the word alone is wrong. "a" and "an" are one word. No text is made up: these are
    captions of other images, which the model embeds anyway and which sound like all others.

    Args:
        texts: [captions].
        owners: [captions] position of each caption's image.
        truth: [images, captions] which captions are true of which images.

    >>> found = half_truths(["a square", "a red square", "an orange square"], [0, 0, 1], [[1, 1, 0], [1, 0, 1]])
    >>> [rows.tolist() for rows in found]
    [[0], [0], [2]]
    """
    true = np.asarray(truth, dtype=bool)
    words = [tuple("a" if word == "an" else word for word in text.lower().split()) for text in texts]
    first: dict[tuple[str, ...], int] = {}
    for caption, each in enumerate(words):
        first.setdefault(each, caption)
    longer: dict[tuple[str, ...], list[int]] = {}
    for each, caption in first.items():
        for short in {each[:place] + each[place + 1 :] for place in range(len(each))} & first.keys():
            longer.setdefault(short, []).append(caption)
    rows = [
        (image, caption, half)
        for caption, image in enumerate(np.asarray(owners).tolist())
        if true[image, caption]
        for half in longer.get(words[caption], ())
        if not true[image, half]
    ]
    return HalfTruths(*np.array(rows, dtype=np.int64).reshape(-1, 3).T)
