"""The loss `distance_weighted`: triplets whose negatives are drawn by distance (Wu et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from itm.methods.functional.distance_weighted import triplets
from itm.methods.method import Context, Embedded, Labels, Loss, Losses, Term

if TYPE_CHECKING:
    from itm.config.losses import DistanceWeightedParameters


class DistanceWeightedLoss(Loss):
    """One negative for each positive pair and direction. The hardest negative alone is often a false one; here all
    distances up to the cutoff are met about equally often."""

    def __init__(self, parameters: DistanceWeightedParameters) -> None:
        super().__init__()
        self.options = parameters

    def losses(
        self, similarities: Tensor, images: Embedded, texts: Embedded, labels: Labels, context: Context
    ) -> Losses:
        """The triplet term."""
        return Losses({"distance_weighted": Term(triplets(self.options, similarities, labels, context.step))})
