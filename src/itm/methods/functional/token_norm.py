"""A small network on every token, normalised by token or over the real tokens of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from itm.config.similarities import Norm


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of tokens (batch, positions, width) whose statistics are those of the real tokens only.

    In training the tokens of a batch see each other through it; `evaluate` mode uses running statistics.
    """

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalised tokens, zeros where the mask (batch, positions) is False."""
        normed = self.normalise(tokens[mask])
        return normed.new_zeros(*tokens.shape).masked_scatter(mask.unsqueeze(-1), normed)

    def normalise(self, real: Tensor) -> Tensor:
        """Normalised tokens (tokens, width)."""
        if self.training and len(real) < 2:  # no variance to normalise by
            return nn.functional.batch_norm(
                real, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(real)


def token_norm(width: int, norm: Norm) -> nn.Module:
    """The normalisation of that name for tokens of a width."""
    return MaskedBatchNorm(width) if norm == "batch_norm" else nn.LayerNorm(width)


class TokenNetwork(nn.Sequential):
    """Linear map, normalisation, ReLU, linear map, of each token."""

    def __init__(self, width: int, hidden: int, dimension: int, norm: Norm) -> None:
        super().__init__(nn.Linear(width, hidden), token_norm(hidden, norm), nn.ReLU(), nn.Linear(hidden, dimension))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Tokens (batch, positions, dimension); `mask` (batch, positions) says which count in batch statistics."""
        for layer in self:
            tokens = layer(tokens, mask) if isinstance(layer, MaskedBatchNorm) else layer(tokens)
        return tokens
