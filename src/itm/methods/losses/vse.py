"""`vse`: the hinge on the hardest negative (VSE++, Faghri et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from itm.methods.functional.hinge import symmetric_hinge
from itm.methods.method import Context, Embedded, Labels, Loss, Losses, Term

if TYPE_CHECKING:
    from itm.config.losses import VseParameters
    from itm.methods.functional.hinge import Negatives


class VseLoss(Loss):
    """A hinge. The first epochs use all negatives (their mean, or their sum where losses are summed), since the hardest
    negative alone can pull all embeddings of an untrained model into one point."""

    def __init__(self, parameters: VseParameters) -> None:
        super().__init__()
        self.options = parameters

    def losses(
        self, similarities: Tensor, images: Embedded, texts: Embedded, labels: Labels, context: Context
    ) -> Losses:
        """The hinge term."""
        options = self.options
        early: Negatives = "sum" if options.reduction == "sum" else "mean"
        mining = early if context.epoch < options.warmup_epochs else options.mining
        value = symmetric_hinge(similarities, labels.positives, options.margin, mining, reduction=options.reduction)
        return Losses({"hinge": Term(value)})
