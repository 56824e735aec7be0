"""What an epoch is judged by: retrieval on the dev split, never on test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from itm.metrics import Positives, hit_rates, rank_all, rsum
from itm.metrics.scorer import Scorer


def dev_figures(owner: np.ndarray[Any, np.dtype[np.int64]]) -> Callable[[Scorer], dict[str, float]]:
    """A function from the similarities of dev images and captions to {"rsum", "i2t_r1", "t2i_r1"}.

    rsum: 0..600; R@1 as fractions.
    """
    images_to_texts, texts_to_images = Positives.from_owners(owner, int(owner.max()) + 1)

    def figures(scorer: Scorer) -> dict[str, float]:
        (forth,), (back,) = (
            [hit_rates(ranks) for ranks in direction]
            for direction in rank_all(scorer, [images_to_texts], [texts_to_images])
        )
        return {"rsum": rsum(forth, back), "i2t_r1": forth["r1"], "t2i_r1": back["r1"]}

    return figures
