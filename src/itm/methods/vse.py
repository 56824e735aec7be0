"""`vse`: the hinge on the hardest negative (VSE++, Faghri et al. 2018)."""

from __future__ import annotations

from itm.config.methods import VseParameters
from itm.config.model import EmbeddingParameters
from itm.methods.blocks.heads import TwoHeads
from itm.methods.blocks.hinge import symmetric_hinge
from itm.methods.interface import Context, Embedded, Labels, Losses, Term


class Vse(TwoHeads):
    """Two heads trained with a hinge. The first epochs use the mean of the negatives, since the hardest negative
    alone can pull all embeddings of an untrained model into one point."""

    def __init__(
        self, parameters: VseParameters, embedding: EmbeddingParameters, image_width: int, text_width: int
    ) -> None:
        super().__init__(embedding, image_width, text_width)
        self.options = parameters

    def losses(self, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """The hinge term."""
        options = self.options
        mining = "mean" if context.epoch < options.warmup_epochs else options.mining
        similarities = self.score(images, texts)
        return Losses({"hinge": Term(symmetric_hinge(similarities, labels.positives, options.margin, mining))})
