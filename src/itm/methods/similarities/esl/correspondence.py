"""Correspondence of the units of two pyramids: a bilinear form a level, and a sparse contribution a level.

S = sum over l of w_l x_l' W_l y_l. The sum is one inner product of two stacked vectors, concat(w_l x_l' W_l) and
concat(y_l), so that no level and no pair needs a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from itm.methods.similarities.esl.pyramid import EPSILON, Pyramid, level_sizes

if TYPE_CHECKING:
    from itm.config.similarities import EslParameters, Form, Threshold


class NormedMatrix(nn.Module):
    """A square matrix that layer normalisation over all its entries keeps at mean 0 and variance 1, then trained
    scales and shifts; the entries start from N(0, 1)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, size))
        self.norm = nn.LayerNorm((size, size), eps=EPSILON)

    def forward(self) -> Tensor:
        """The matrix (size, size)."""
        normed: Tensor = self.norm(self.weight)
        return normed


class FreeMatrix(nn.Module):
    """A square matrix that starts as the identity: each unit begins by answering to its own counterpart."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(size))

    def forward(self) -> Tensor:
        """The matrix (size, size)."""
        return self.weight


class Contribution(nn.Module):
    """The weight of each level: w_l = alpha_l p_l, alpha_l = exp(tau (|p_l| - t)).

    The threshold is t = min|p| + sigma (max|p| - min|p|), sigma and log tau are trained. Levels below t fade
    exponentially; none becomes exactly zero. Not sparse: w_l = p_l, and there is no sigma and no tau.
    """

    def __init__(
        self, starts: Sequence[float], *, sparse: bool, threshold: Threshold, sigma: float, log_tau: float
    ) -> None:
        super().__init__()
        self.degrees = nn.Parameter(torch.tensor(starts))
        self.squash = threshold == "sigmoid"
        self.sigma = nn.Parameter(torch.tensor(sigma)) if sparse else None
        self.log_tau = nn.Parameter(torch.tensor(log_tau)) if sparse else None

    def forward(self) -> Tensor:
        """Weights (levels,)."""
        if self.sigma is None or self.log_tau is None:
            return self.degrees
        size = self.degrees.abs()
        sigma = self.sigma.sigmoid() if self.squash else self.sigma
        threshold = size.amin() + sigma * (size.amax() - size.amin())
        return (self.log_tau.exp() * (size - threshold)).exp() * self.degrees


class Correspondence(nn.Module):
    """Bilinear forms and contributions of all levels."""

    def __init__(self, sizes: Sequence[int], form: Form, contribution: Contribution) -> None:
        super().__init__()
        self.matrices = nn.ModuleList(NormedMatrix(n) if form == "layer_norm" else FreeMatrix(n) for n in sizes)
        self.contribution = contribution

    def query(self, levels: Sequence[Tensor]) -> Tensor:
        """concat(w_l x_l' W_l) (..., sum of sizes) for the levels (..., size) of the side left of W."""
        weights = self.contribution()
        forms = (form() for form in self.matrices)
        return torch.cat([w * (x @ form) for w, x, form in zip(weights, levels, forms, strict=True)], -1)

    def key(self, levels: Sequence[Tensor]) -> Tensor:
        """concat(y_l) (..., sum of sizes) for the levels of the other side."""
        return torch.cat(list(levels), -1)


def pyramids(options: EslParameters, dimension: int) -> tuple[Pyramid, Pyramid]:
    """The pyramids of images and of texts, which share no parameter."""
    sizes = level_sizes(dimension, options.levels)
    images = Pyramid(sizes, options.mask, options.tanh, "unit")
    return images, Pyramid(sizes, options.mask, options.tanh, options.text_chain)


def starts(options: EslParameters, sizes: list[int]) -> list[float]:
    """The contribution that each level starts with.

    Unit vectors of d units agree by chance by about 1 / sqrt(d), so that equal contributions (as published) let the
    coarse levels drown the raw one until training has faded them. In proportion to the width (ours) they start faint.
    """
    if options.degree_shares == "equal":
        return [options.degree_start] * len(sizes)
    return [options.degree_start * size / sizes[0] for size in sizes]


def correspondence(options: EslParameters, dimension: int) -> Correspondence:
    """The bilinear forms of all levels and their contributions."""
    sizes = level_sizes(dimension, options.levels)
    contribution = Contribution(
        starts(options, sizes),
        sparse=options.sparse,
        threshold=options.threshold,
        sigma=options.threshold_start,
        log_tau=options.sharpness_start,
    )
    return Correspondence(sizes, options.form, contribution)
