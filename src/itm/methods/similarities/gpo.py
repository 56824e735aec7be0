"""`gpo`: tokens pooled by a learned operator (VSE-infinity, Chen et al. 2021)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from itm.methods.functional.token_norm import TokenNetwork
from itm.methods.method import Embedded, Requirements, Similarity, Widths
from itm.methods.similarities.heads import unit
from itm.towers.base import Features, masked_mean

if TYPE_CHECKING:
    from itm.config.model import EmbeddingParameters
    from itm.config.similarities import GpoParameters


class GpoSimilarity(Similarity):
    """L2-normalised pooled tokens; similarity = cosine, -1..1.

    Image tokens go through a linear map plus a small two-layer one, words through a linear map. In training each token
    is left out with a chance of `drop` (at least one stays). The two-layer map normalises over a token's dimensions, so
    that an image depends on itself alone, or, as published, over the batch (`norm`).
    """

    requires = Requirements(tokens=True)

    def __init__(self, options: GpoParameters, embedding: EmbeddingParameters, widths: Widths) -> None:
        super().__init__()
        self.width, self.drop = embedding.dimension, options.drop
        self.image_map = nn.Linear(widths.image_tokens, embedding.dimension)
        self.image_detail = TokenNetwork(widths.image_tokens, options.hidden, embedding.dimension, options.norm)
        self.text_map = nn.Linear(widths.text_tokens, embedding.dimension)
        self.image_pool, self.text_pool = pooling(options), pooling(options)

    def encode_image(self, features: Features) -> Embedded:
        """Unit vectors (batch, dimension)."""
        tokens, mask = self._tokens(features)
        return Embedded(unit(self.image_pool(self.image_map(tokens) + self.image_detail(tokens, mask), mask)))

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


def pooling(options: GpoParameters) -> nn.Module:
    """What makes one vector of the tokens of an image or text."""
    if options.pooling == "mean":
        return MeanPooling()
    return GeneralisedPooling(options.position_width, options.temperature)


class MeanPooling(nn.Module):
    """The mean of the real tokens."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Vectors (batch, width)."""
        return masked_mean(tokens, mask)


class GeneralisedPooling(nn.Module):
    """Tokens (batch, positions, width) to vectors (batch, width).

    The weights of n sorted values are softmax(s / temperature) with s from a bidirectional GRU over sinusoidal codes
    of the positions 0..n-1: a function of n alone. The two directions are averaged.

    Args:
        width: of the position codes and of the GRU.
        temperature: of the softmax.
    """

    def __init__(self, width: int, temperature: float) -> None:
        super().__init__()
        self.width, self.temperature = width, temperature
        self.recurrent = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The weighted sums of the sorted values.

        Args:
            mask: (batch, positions) bool, True where a token is real; a row without any gives zeros.
        """
        counts = mask.sum(1)
        lowest = torch.finfo(tokens.dtype).min
        ordered = tokens.masked_fill(~mask.unsqueeze(-1), lowest).sort(1, descending=True).values
        # padding was sorted to the end, where it now counts nothing
        real = torch.arange(tokens.shape[1], device=tokens.device) < counts.unsqueeze(1)
        ordered = ordered.masked_fill(~real.unsqueeze(-1), 0)
        weights = self.weights(counts.clamp(min=1))[:, : tokens.shape[1]].to(tokens.dtype)
        return (ordered[:, : weights.shape[1]] * weights.unsqueeze(-1)).sum(1)

    def weights(self, counts: Tensor) -> Tensor:
        """The weights (batch, largest count) for rows of `counts` values; 0 beyond a row's count, sums of 1."""
        different, place = torch.unique(counts, return_inverse=True)
        longest = int(different.max())
        parameter = self.score.weight
        codes = position_codes(longest, self.width, parameter).expand(len(different), -1, -1)
        packed = nn.utils.rnn.pack_padded_sequence(codes, different.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        both = (states[..., : self.width] + states[..., self.width :]) / 2
        beyond = torch.arange(longest, device=counts.device) >= different.unsqueeze(1)
        scores = self.score(both).squeeze(-1).masked_fill(beyond, -torch.inf)
        return torch.softmax(scores.float() / self.temperature, 1)[place]


def position_codes(positions: int, width: int, like: Tensor) -> Tensor:
    """Sinusoidal codes (positions, width) of the numbers 0, 1, ... (Vaswani et al. 2017), of the type of `like`.

    >>> position_codes(1, 4, torch.zeros(1)).tolist()
    [[0.0, 1.0, 0.0, 1.0]]
    """
    place = torch.arange(positions, device=like.device).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2, device=like.device) * (-math.log(10000.0) / width))
    angles = place * rate
    codes = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
    return codes[:, :width].to(like.dtype)
