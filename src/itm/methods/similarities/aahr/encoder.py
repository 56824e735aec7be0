"""One encoder of AAHR: tokens pooled under the guidance of the whole, and a gate between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from itm.methods.functional.token_norm import TokenNetwork

if TYPE_CHECKING:
    from itm.config.similarities import Norm


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
    norm: Norm


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
        self.deep = TokenNetwork(token_width, hidden, sizes.dimension, sizes.norm) if hidden else None
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
            projected = projected + self.deep(features, mask)
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


def top_mean(tokens: Tensor, mask: Tensor, count: int) -> Tensor:
    """The mean (batch, width) of each dimension's `count` largest values over the real tokens.

    A row with fewer real tokens takes the mean of those it has, whatever the others of the batch have; a row with
    none is zero.

    Args:
        tokens: (batch, positions, width) float.
        mask: (batch, positions) bool.

    >>> tokens = torch.tensor([[[1.0], [4.0], [2.0], [9.0]]])
    >>> top_mean(tokens, torch.tensor([[True, True, True, False]]), 2).tolist()
    [[3.0]]
    """
    count = min(count, tokens.shape[1])
    largest = tokens.masked_fill(~mask.unsqueeze(-1), -torch.inf).topk(count, 1).values
    real = torch.arange(count, device=mask.device) < mask.sum(1, keepdim=True)
    total = torch.where(real.unsqueeze(-1), largest, 0).sum(1)
    return total / real.sum(1, keepdim=True).clamp(min=1)


class GuidedPooling(nn.Module):
    """Tokens weighted by how well they go with the vector of the whole, in several heads that are averaged.

    Head h: w_n = softmax_n( cos(Q_h g, K_h t_n) / temperature ) over real tokens, output V_h sum_n w_n t_n.

    Args:
        dimension: of tokens and of the whole.
        heads: how many.
        width: of a head's queries and keys; 0 = `dimension`. The values of every head have the whole dimension.
        temperature: of the softmax over cosines. At 1 no token weighs more than e^2 = 7.4 times another.
    """

    def __init__(self, dimension: int, heads: int, width: int, temperature: float) -> None:
        super().__init__()
        self.heads, self.width, self.temperature = heads, width or dimension, temperature
        self.query = nn.Linear(dimension, heads * self.width)
        self.key = nn.Linear(dimension, heads * self.width)
        # one map for all heads: the mean of V_h x_h is a linear map of the heads' pooled tokens side by side
        self.value = nn.Linear(heads * dimension, dimension)

    def forward(self, whole: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Pooled tokens (batch, dimension); a row without real tokens gives the bias of the values.

        Args:
            whole: (batch, dimension) float.
            tokens: (batch, positions, dimension) float.
            mask: (batch, positions) bool.
        """
        pooled = self.weights(whole, tokens, mask).transpose(1, 2) @ tokens  # (batch, heads, dimension)
        found: Tensor = self.value(pooled.flatten(1))
        return found

    def weights(self, whole: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """The weights (batch, positions, heads) of tokens; those of a head sum to 1, or are 0 without real tokens."""
        query = functional.normalize(self.query(whole).unflatten(1, (self.heads, self.width)), dim=-1)
        key = functional.normalize(self.key(tokens).unflatten(2, (self.heads, self.width)), dim=-1)
        logits = torch.einsum("bhw,bnhw->bnh", query, key) / self.temperature
        hidden = ~mask.unsqueeze(-1)
        # a finite floor, and zeros afterwards: a row without tokens would else be 0 / 0
        weights = torch.softmax(logits.masked_fill(hidden, torch.finfo(logits.dtype).min), 1)
        return weights.masked_fill(hidden, 0)


class Gate(nn.Module):
    """z = g * norm(local) + (1 - g) * norm(whole), g = sigmoid(Linear([norm(local); norm(whole)])) a dimension."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.choose = nn.Linear(2 * dimension, dimension)

    def forward(self, local: Tensor, whole: Tensor) -> Tensor:
        """The fused vectors (batch, dimension), not normalised."""
        local, whole = functional.normalize(local, dim=-1), functional.normalize(whole, dim=-1)
        share = torch.sigmoid(self.choose(torch.cat([local, whole], -1)))
        return share * local + (1 - share) * whole
