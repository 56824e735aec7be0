"""The generalised pooling operator: a learned weight for the largest, the second largest, ... value of each dimension.

Chen et al. 2021, "Learning the best pooling strategy for visual semantic embedding". Mean and maximum pooling are two
of the weightings that it can learn, whatever the number of tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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
