"""Numbers, lists and names as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from itm.parse import flatten

TITLES = {
    "retrieval": "Retrieval",
    "cxc": "Graded similarity (CxC)",
    "hierarcaps": "Hierarchy (HierarCaps)",
    "judgements": "Human judgements",
    "false_negatives": "Exact relation",
    "grading": "The grade",
}

ABOUT = {
    "retrieval": "Image to text (i2t) and text to image (t2i) with the pair labels as the only right answers. R@K is "
    "the share of queries with a right answer among the first K; RSUM is the sum of the R@K of both directions.",
    "cxc": "Graded ratings of caption pairs (STS), image pairs (SIS) and image-caption pairs (SITS): Spearman "
    "correlation with the similarities, and retrieval whose right answers are the highly rated pairs.",
    "hierarcaps": "A walk from the empty caption outwards should meet an image's texts from generic to specific: "
    "precision and recall of the texts met, and the rank correlation τd of distance from the empty caption with level. "
    "Longer texts lie farther out in untrained towers too: hold τd against the rows below it.",
    "judgements": "Agreement of the similarity with human judgements of Flickr8k's image-caption pairs: Expert (three "
    "judges, 1 to 4; pairs of an image with its own caption left out) and CrowdFlower (share of yes).",
    "false_negatives": "The exact relation, every true pair being a right answer: how well a query's true items come "
    "first (mAP@R), how many true but unlabelled ones are among its first R, and whether similarity grows with "
    "the level of an image's captions (order τ).",
    "grading": "Similarity and descriptiveness, calibrated on dev from the pair labels: the probability that a "
    "caption is true, and the grade, log probability less specificity times the log of the share of "
    "images that such a caption fits. Specificity 0 asks what is true (mAP@R of an image's true "
    "captions), 1 what says most about the image (order τ, RSUM). The frontier is all that lies "
    "between; its area compares models over the whole range. ECE: how far probabilities are from the "
    "shares that come true. Half-truths: how often a true caption beats one with a wrong word more.",
}


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "image"), counted(6000, "image")
    ('1 image', '6,000 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Words joined as in a sentence.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def spoken(value: Any) -> str:
    """A plain value as a reader wants it.

    >>> spoken({"t2i": 5000, "i2t": 1000}), spoken([1, 5]), spoken(12345)
    ('t2i 5,000, i2t 1,000', '1, 5', '12,345')
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {spoken(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(spoken(each) for each in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int | float):
        if not math.isfinite(value):
            return "–"
        return f"{int(value):,}" if value == int(value) else f"{value:,}"
    return str(value)


def leaves(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The plain values of nested ones, each under its path.

    >>> leaves({"rows": {"train": 1200, "test_only": 3}})
    [('rows · train', '1,200'), ('rows · test only', '3')]
    """
    return [(key.replace("_", " "), spoken(value)) for key, value in flatten(values, " · ").items()]
