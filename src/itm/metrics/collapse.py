"""A warning when a model gives (nearly) the same score to everything."""

from __future__ import annotations

import warnings

import numpy as np

from itm.metrics.ranks import HitRanks

TIED_SHARE = 0.01
"""A mean tie of more than this share of the gallery is reported."""


class CollapseWarning(RuntimeWarning):
    """Scores are tied so widely that the tie rule, not the model, decides the ranks."""


def warn_if_collapsed(ranks: HitRanks, where: str) -> bool:
    """Whether ties are wide; warns with the interval of R@1 under the kindest and harshest order of ties."""
    if ranks.tied <= TIED_SHARE:
        return False
    answered = ranks.answerable
    low = float(np.mean(ranks.pessimistic[answered] < 1))
    high = float(np.mean(ranks.optimistic[answered] < 1))
    warnings.warn(
        f"{where}: the best answer ties with {ranks.tied:.1%} of the gallery on average; R@1 lies between {low:.4f}"
        f" and {high:.4f} by the order of ties: the model may have collapsed",
        CollapseWarning,
        stacklevel=2,
    )
    return True
