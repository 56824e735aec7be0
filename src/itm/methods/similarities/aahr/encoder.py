"""One encoder of AAHR: tokens pooled under the guidance of the whole, and a gate between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from itm.methods.similarities.aahr.pooling import Gate, GuidedPooling, top_mean


class Fused(NamedTuple):
    """What the encoder gives. fused: (batch, dimension), the embedding before it is normalised. local: (batch,
    dimension), the pooled tokens alone. tokens, mask: (batch, positions, dimension), before pooling."""

    fused: Tensor
    local: Tensor
    tokens: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Sizes:
    """Options of the encoder; see `AahrSimilarity` for what they mean."""

    dimension: int
    heads: int
    feedforward: int
    layer_dropout: float
    guided_heads: int
    guided_width: int
    guided_temperature: float
    guided_share: float
    top: int


class FusedEncoder(nn.Module):
    """Token features and pooled features of one modality to its embedding.

    local = (1 - share) * top-k mean of the projected tokens + share * guided pooling of what one transformer layer
    makes of them; the whole is a linear map of the pooled features; the gate mixes both.

    Args:
        token_width, pooled_width: of the tower's features.
        sizes: options.
        hidden: width of a second map of the tokens, beside the linear one (0 = none).
        dropout: on the features.
        token_drop: chance of a token to be left out in training; one always stays.
    """

    def __init__(
        self, token_width: int, pooled_width: int, sizes: Sizes, hidden: int, dropout: float, token_drop: float
    ) -> None:
        super().__init__()
        self.sizes, self.token_drop = sizes, token_drop
        self.input_dropout = nn.Dropout(dropout)
        self.project = nn.Linear(token_width, sizes.dimension)
        # normalised by layer: batch statistics would tie the rows of a batch to each other
        self.deep = (
            nn.Sequential(
                nn.Linear(token_width, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, sizes.dimension)
            )
            if hidden
            else None
        )
        self.whole = nn.Linear(pooled_width, sizes.dimension)
        self.layer = nn.TransformerEncoderLayer(
            sizes.dimension, sizes.heads, sizes.feedforward, sizes.layer_dropout, batch_first=True
        )
        self.guided = GuidedPooling(sizes.dimension, sizes.guided_heads, sizes.guided_width, sizes.guided_temperature)
        self.gate = Gate(sizes.dimension)

    def forward(self, pooled: Tensor, tokens: Tensor, mask: Tensor) -> Fused:
        """Embedded rows; each depends on its own features only.

        Args:
            pooled: (batch, pooled width) float.
            tokens: (batch, positions, token width) float.
            mask: (batch, positions) bool.
        """
        if self.training and self.token_drop:
            mask = kept_tokens(mask, self.token_drop)
        features = self.input_dropout(tokens)
        projected = self.project(features)
        if self.deep is not None:
            projected = projected + self.deep(features)
        # attention over nothing is not a number: a row without tokens attends to its padding, which is then left out
        attended = self.layer(projected, src_key_padding_mask=~(mask | ~mask.any(1, keepdim=True)))
        whole = self.whole(self.input_dropout(pooled))
        share = self.sizes.guided_share
        local = (1 - share) * top_mean(projected, mask, self.sizes.top)
        local = local + share * self.guided(whole, attended, mask)
        return Fused(self.gate(local, whole), local, projected, mask)


def kept_tokens(mask: Tensor, drop: float) -> Tensor:
    """The mask with each real token left out with chance `drop`; a row that would lose all keeps its first one."""
    kept = mask & (torch.rand(mask.shape, device=mask.device) >= drop)
    first = functional.one_hot(mask.to(torch.uint8).argmax(1), mask.shape[1]).bool() & mask
    return torch.where(kept.any(1, keepdim=True), kept, first)
