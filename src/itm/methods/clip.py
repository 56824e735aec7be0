"""`clip`: symmetric InfoNCE (Radford et al. 2021) with all of an image's captions as positives."""

from __future__ import annotations

from itm.config.methods import ClipParameters
from itm.config.model import EmbeddingParameters
from itm.methods.blocks.heads import TwoHeads
from itm.methods.blocks.info_nce import Temperature, symmetric_info_nce
from itm.methods.interface import Context, Embedded, Labels, Losses, Term


class Clip(TwoHeads):
    """Two heads trained with symmetric InfoNCE."""

    def __init__(
        self, parameters: ClipParameters, embedding: EmbeddingParameters, image_width: int, text_width: int
    ) -> None:
        super().__init__(embedding, image_width, text_width)
        self.temperature = Temperature(parameters.temperature, parameters.learn_temperature)

    def losses(self, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """The InfoNCE term."""
        value = symmetric_info_nce(self.temperature(self.score(images, texts)), labels.positives)
        return Losses({"info_nce": Term(value)}, {"temperature": self.temperature.value()})

    def after_step(self) -> None:
        """Keep the temperature in its range."""
        self.temperature.clamp()
