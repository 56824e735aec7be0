"""Heads from tower features to the shared space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from itm.methods.method import Embedded, Similarity, Widths
from itm.towers.base import Features

if TYPE_CHECKING:
    from itm.config.model import EmbeddingParameters
    from itm.config.similarities import HeadsParameters


def head(width: int, parameters: EmbeddingParameters) -> nn.Sequential:
    """Dropout, then `layers` linear maps with GELU between them, from `width` to the embedding's dimension."""
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
