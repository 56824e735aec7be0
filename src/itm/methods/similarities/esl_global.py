"""`esl_global`: pooled features, one vector an image or text. Similarity is an inner product of two vectors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from itm.methods.method import Embedded, Similarity, Widths
from itm.methods.similarities.esl.correspondence import correspondence, pyramids
from itm.methods.similarities.esl.pyramid import Pyramid, level_sizes, unit
from itm.methods.similarities.heads import head
from itm.towers.base import Features

if TYPE_CHECKING:
    from itm.config.model import EmbeddingParameters
    from itm.config.similarities import EslGlobalParameters


class EslGlobalSimilarity(Similarity):
    """S = mean over levels l of w_l x_l' W_l y_l, x_l of the image and y_l of the text.

    Embeddings are all levels side by side, over the root of their number: unit vectors that compare texts with texts
    and images with images. Texts are indexed by them; the index vectors of images hold the forms and contributions
    and have no fixed length, so that an index must go by inner product, not by cosine.
    """

    def __init__(self, options: EslGlobalParameters, embedding: EmbeddingParameters, widths: Widths) -> None:
        super().__init__()
        self.image_head, self.text_head = head(widths.image, embedding), head(widths.text, embedding)
        self.image_pyramid, self.text_pyramid = pyramids(options, embedding.dimension)
        self.correspondence = correspondence(options, embedding.dimension)
        self.sizes = level_sizes(embedding.dimension, options.levels)
        self.width = sum(self.sizes)

    def encode_image(self, features: Features) -> Embedded:
        """Unit vectors (batch, sum of the level sizes)."""
        return self._embed(self.image_head(features.pooled), self.image_pyramid)

    def encode_text(self, features: Features) -> Embedded:
        """Unit vectors (batch, sum of the level sizes)."""
        return self._embed(self.text_head(features.pooled), self.text_pyramid)

    def index_image(self, embedded: Embedded) -> Tensor:
        """concat(w_l x_l' W_l) over the root of the number of levels (batch, sum of the level sizes)."""
        return self.correspondence.query(torch.split(embedded.embedding, self.sizes, -1))

    def _embed(self, vectors: Tensor, pyramid: Pyramid) -> Embedded:
        return Embedded(torch.cat(pyramid(unit(vectors)), -1) / math.sqrt(len(self.sizes)))
