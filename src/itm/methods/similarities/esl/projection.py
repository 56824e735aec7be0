"""Tower tokens to unit tokens of the joint space: a linear map, for images beside a small network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from itm.methods.functional.token_norm import MaskedBatchNorm, token_norm
from itm.methods.similarities.esl.pyramid import unit

if TYPE_CHECKING:
    from itm.config.similarities import Norm


class TokenProjection(nn.Module):
    """unit(Linear(x) + MLP(x)) of every token; without `hidden` the linear map alone."""

    def __init__(self, width: int, dimension: int, hidden: int, norm: Norm) -> None:
        super().__init__()
        self.linear = nn.Linear(width, dimension)
        self.into = nn.Linear(width, hidden) if hidden else None
        self.norm: nn.Module | None = None
        if hidden:
            self.norm = token_norm(hidden, norm)
            self.out = nn.Linear(hidden, dimension)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Unit tokens (batch, positions, dimension); zeros where the mask is False, whatever stands there."""
        tokens = tokens.masked_fill(~mask.unsqueeze(-1), 0)
        joint = self.linear(tokens)
        if self.into is not None and self.norm is not None:
            inner = self.into(tokens)
            inner = self.norm(inner, mask) if isinstance(self.norm, MaskedBatchNorm) else self.norm(inner)
            joint = joint + self.out(inner.relu())
        return unit(joint.masked_fill(~mask.unsqueeze(-1), 0))


def proxy(tokens: Tensor) -> Tensor:
    """The unit mean (batch, dimension) of unit tokens (batch, positions, dimension) that are 0 where padded."""
    return unit(tokens.sum(1))


def drop_tokens(mask: Tensor, share: float) -> Tensor:
    """The mask without a random share of its tokens; an item that would lose all of them keeps them."""
    kept = mask & (torch.rand(mask.shape, device=mask.device) >= share)
    return torch.where(kept.any(1, keepdim=True), kept, mask)
