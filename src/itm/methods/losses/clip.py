"""`clip`: symmetric InfoNCE (Radford et al. 2021) with all of an image's captions as positives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from itm.methods.functional.info_nce import Temperature, symmetric_info_nce
from itm.methods.method import Context, Embedded, Labels, Loss, Losses, Term

if TYPE_CHECKING:
    from itm.config.losses import ClipParameters


class ClipLoss(Loss):
    """Symmetric InfoNCE."""

    def __init__(self, parameters: ClipParameters) -> None:
        super().__init__()
        self.temperature = Temperature(parameters.temperature, parameters.learn_temperature)

    def losses(
        self, similarities: Tensor, images: Embedded, texts: Embedded, labels: Labels, context: Context
    ) -> Losses:
        """The InfoNCE term."""
        value = symmetric_info_nce(self.temperature(similarities), labels.positives)
        return Losses({"info_nce": Term(value)}, {"temperature": self.temperature.value()})

    def after_step(self) -> None:
        """Keep the temperature in its range."""
        self.temperature.clamp()
