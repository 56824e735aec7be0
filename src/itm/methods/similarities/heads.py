"""Heads from tower features to the shared space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from itm.errors import ModelError
from itm.methods.method import Embedded, Similarity, Widths
from itm.towers.base import Features

if TYPE_CHECKING:
    from itm.config.model import EmbeddingParameters
    from itm.config.similarities import HeadsParameters


def head(width: int, parameters: EmbeddingParameters) -> nn.Sequential:
    """Dropout, then `layers` linear maps with GELU between them, from `width` to the embedding's dimension; 0 = none.

    Raises:
        ModelError: no layer, and features of another width (reason "identity-head").
    """
    if not parameters.layers and width != parameters.dimension:
        raise ModelError(
            f"embedding.layers is 0, so that features are embeddings, but features are {width} wide and "
            f"embedding.dimension is {parameters.dimension}; set layers to 1, or dimension to the features' width",
            reason="identity-head",
        )
    modules: list[nn.Module] = [nn.Dropout(parameters.dropout)]
    for layer in range(parameters.layers):
        last = layer == parameters.layers - 1
        out = parameters.dimension if last else parameters.hidden
        modules.append(nn.Linear(width, out))
        if not last:
            modules += [nn.GELU(), nn.Dropout(parameters.dropout)]
        width = out
    return nn.Sequential(*modules)


class HeadsSimilarity(Similarity):
    """L2-normalised outputs of one head a tower; score = cosine similarity, -1..1."""

    def __init__(self, options: HeadsParameters, embedding: EmbeddingParameters, widths: Widths) -> None:
        super().__init__()
        self.width = embedding.dimension
        self.image_head = head(widths.image, embedding)
        self.text_head = head(widths.text, embedding)

    def encode_image(self, features: Features) -> Embedded:
        """Unit vectors (batch, dimension)."""
        return Embedded(unit(self.image_head(features.pooled)))

    def encode_text(self, features: Features) -> Embedded:
        """Unit vectors (batch, dimension)."""
        return Embedded(unit(self.text_head(features.pooled)))


def unit(vectors: Tensor) -> Tensor:
    """Vectors scaled to length 1 along the last dimension, in float32 at least."""
    return functional.normalize(vectors.float(), dim=-1)
