"""The loss `distance_weighted`: triplets whose negatives are drawn by distance (Wu et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from itm.methods.functional.distance_weighted import symmetric_distance_weighted
from itm.methods.method import Context, Embedded, Labels, Loss, Losses, Term

if TYPE_CHECKING:
    from itm.config.losses import DistanceWeightedParameters


class DistanceWeightedLoss(Loss):
    """One negative for each positive pair and direction. The hardest negative alone is often a false one; here all
    distances up to the cutoff are met about equally often."""

    def __init__(self, parameters: DistanceWeightedParameters) -> None:
        super().__init__()
        self.options = parameters

    def losses(self, scores: Tensor, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """The triplet term."""
        if labels.image_rows is None or labels.text_rows is None:
            raise ValueError("distance-weighted triplets need Labels.image_rows and Labels.text_rows")
        options = self.options
        value = symmetric_distance_weighted(
            scores,
            labels.positives,
            options.margin,
            step=context.step,
            image_rows=labels.image_rows,
            text_rows=labels.text_rows,
            dimension=options.sphere,
            cutoff=options.cutoff,
            reduction=options.reduction,
        )
        return Losses({"distance_weighted": Term(value)})
