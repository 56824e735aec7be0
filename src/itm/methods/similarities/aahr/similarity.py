"""The similarity `aahr`: tokens and the whole fused by a gate, compared by inner product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

from itm.methods.method import Embedded, Requirements, Similarity, Widths
from itm.methods.similarities.aahr.encoder import FusedEncoder, Sizes
from itm.towers.base import Features

if TYPE_CHECKING:
    from itm.config.model import EmbeddingParameters
    from itm.config.similarities import AahrParameters


class AahrSimilarity(Similarity):
    """One `FusedEncoder` a modality; similarity = inner product of their outputs, cosine where `normalise` is set.

    Embedded rows have `extra["local"]`, the pooled tokens before the gate, and in training also the projected tokens,
    without a gradient: what the instance graph looks at.
    """

    requires = Requirements(tokens=True)

    def __init__(self, parameters: AahrParameters, embedding: EmbeddingParameters, widths: Widths) -> None:
        super().__init__()
        self.width, self.normalise = embedding.dimension, parameters.normalise
        sizes = Sizes(
            dimension=embedding.dimension,
            heads=parameters.heads,
            feedforward=parameters.feedforward,
            layer_dropout=parameters.layer_dropout,
            guided_heads=parameters.guided_heads,
            guided_width=parameters.guided_width,
            guided_temperature=parameters.guided_temperature,
            guided_share=parameters.guided_share,
            top=parameters.top,
            norm=parameters.norm,
        )
        self.image = FusedEncoder(
            widths.image_tokens, widths.image, sizes, parameters.image_hidden, embedding.dropout, parameters.token_drop
        )
        self.text = FusedEncoder(
            widths.text_tokens, widths.text, sizes, parameters.text_hidden, embedding.dropout, parameters.token_drop
        )

    def encode_image(self, features: Features) -> Embedded:
        """Embedded images (batch, dimension)."""
        return self._encode(self.image, features)

    def encode_text(self, features: Features) -> Embedded:
        """Embedded texts (batch, dimension)."""
        return self._encode(self.text, features)

    def _encode(self, encoder: FusedEncoder, features: Features) -> Embedded:
        if features.tokens is None or features.mask is None:
            raise ValueError("the similarity `aahr` needs tokens and their mask")
        found = encoder(features.pooled, features.tokens.to(features.pooled.dtype), features.mask)
        fused: Tensor = found.fused.float()
        embedding = functional.normalize(fused, dim=-1) if self.normalise else fused
        if not self.training:
            return Embedded(embedding)
        return Embedded(embedding, found.tokens.detach().float(), found.mask, {"local": found.local.float()})
