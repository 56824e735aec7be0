"""Heads from tower features to the shared space."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from itm.config.model import EmbeddingParameters
from itm.methods.interface import Embedded, Method
from itm.towers.base import Features


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


class TwoHeads(Method):
    """A method whose embeddings are L2-normalised outputs of one head a tower; score = cosine similarity, -1..1."""

    def __init__(self, embedding: EmbeddingParameters, image_width: int, text_width: int) -> None:
        super().__init__()
        self.image_head = head(image_width, embedding)
        self.text_head = head(text_width, embedding)

    def encode_image(self, features: Features) -> Embedded:
        """Unit vectors (batch, dimension)."""
        return Embedded(_unit(self.image_head(features.pooled)))

    def encode_text(self, features: Features) -> Embedded:
        """Unit vectors (batch, dimension)."""
        return Embedded(_unit(self.text_head(features.pooled)))


def _unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors.float(), dim=-1)
