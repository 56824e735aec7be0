"""`gpo`: tokens pooled by a learned operator (VSE-infinity, Chen et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from itm.methods.functional.gpo import GeneralisedPooling
from itm.methods.method import Embedded, Requirements, Similarity, Widths
from itm.methods.similarities.heads import unit
from itm.towers.base import Features

if TYPE_CHECKING:
    from itm.config.model import EmbeddingParameters
    from itm.config.similarities import GpoParameters


class GpoSimilarity(Similarity):
    """L2-normalised pooled tokens; score = cosine similarity, -1..1.

    Image tokens go through a linear map plus a small two-layer one, words through a linear map. In training each token
    is left out with a chance of `drop` (at least one stays). The two-layer map normalises over a token's dimensions,
    where the published one does over the batch: an image then depends on itself alone.
    """

    requires = Requirements(tokens=True)

    def __init__(self, options: GpoParameters, embedding: EmbeddingParameters, widths: Widths) -> None:
        super().__init__()
        self.width, self.drop = embedding.dimension, options.drop
        self.image_map = nn.Linear(widths.image_tokens, embedding.dimension)
        self.image_detail = nn.Sequential(
            nn.Linear(widths.image_tokens, options.hidden),
            nn.LayerNorm(options.hidden),
            nn.ReLU(),
            nn.Linear(options.hidden, embedding.dimension),
        )
        self.text_map = nn.Linear(widths.text_tokens, embedding.dimension)
        self.image_pool = GeneralisedPooling(options.position_width, options.temperature)
        self.text_pool = GeneralisedPooling(options.position_width, options.temperature)

    def encode_image(self, features: Features) -> Embedded:
        """Unit vectors (batch, dimension)."""
        tokens, mask = self._tokens(features)
        return Embedded(unit(self.image_pool(self.image_map(tokens) + self.image_detail(tokens), mask)))

    def encode_text(self, features: Features) -> Embedded:
        """Unit vectors (batch, dimension)."""
        tokens, mask = self._tokens(features)
        return Embedded(unit(self.text_pool(self.text_map(tokens), mask)))

    def _tokens(self, features: Features) -> tuple[Tensor, Tensor]:
        assert features.tokens is not None
        assert features.mask is not None
        mask = features.mask
        if self.training and self.drop:
            kept = mask & (torch.rand(mask.shape, device=mask.device) >= self.drop)
            mask = torch.where(kept.any(1, keepdim=True), kept, mask)
        return features.tokens, mask
