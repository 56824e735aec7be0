"""What an epoch is judged by: retrieval on the dev split, never on test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from itm.metrics import DotProduct, Positives, hit_rates, rank_all, rsum

Floats = np.ndarray[Any, np.dtype[np.float32]]


def dev_figures(owner: np.ndarray[Any, np.dtype[np.int64]]) -> Callable[[Floats, Floats], dict[str, float]]:
    """A function from dev index vectors to {"rsum", "i2t_r1", "t2i_r1"} (rsum 0..600, R@1 as fractions)."""
    images_to_texts, texts_to_images = Positives.from_owners(owner, int(owner.max()) + 1)

    def figures(images: Floats, texts: Floats) -> dict[str, float]:
        (forth,), (back,) = (
            [hit_rates(ranks) for ranks in direction]
            for direction in rank_all(DotProduct(images, texts), [images_to_texts], [texts_to_images])
        )
        return {"rsum": rsum(forth, back), "i2t_r1": forth["r1"], "t2i_r1": back["r1"]}

    return figures
