"""Pyramids of multi-dimensional aggregators: ever coarser vectors whose units each mix two units of the level below.

ESL (Enhanced Semantic Similarity Learning, TCSVT 2023), its aggregators as published code has them; docs/esl.md says
what is taken from where. With the raw vector x_0 of unit length, level l is u_l = A_l x_(l-1), x_l = u_l / |u_l|.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from itm.config.similarities import Chain, Mask

MIXED = 2
"""Units of the level below that a unit mixes: k of the publication, 2 in both published codes."""

EPSILON = 1e-8


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., width) over their length + 1e-8, so that a zero vector stays one; never in half precision.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    if vectors.dtype in (torch.float16, torch.bfloat16):
        vectors = vectors.float()  # 1e-8 is zero in float16
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / (lengths + EPSILON)


def level_sizes(dimension: int, levels: int) -> list[int]:
    """Widths of the raw vector and of at most `levels` aggregated levels; each halves the one before, down to 2.

    An odd width loses its last unit in the next level, as a convolution of kernel 2 and stride 2 does.

    >>> level_sizes(512, 8), sum(level_sizes(512, 8))
    ([512, 256, 128, 64, 32, 16, 8, 4, 2], 1022)
    >>> level_sizes(12, 8), level_sizes(12, 1)
    ([12, 6, 3], [12, 6])
    """
    sizes = [dimension]
    while len(sizes) <= levels and sizes[-1] // MIXED >= 2:
        sizes.append(sizes[-1] // MIXED)
    return sizes


class SharedFilter(nn.Module):
    """Heuristic mask: neighbouring units in pairs, all mixed by one filter of two numbers.

    u[j] = a x[2j] + b x[2j + 1]. Published code sums four channels of a convolution, which is the same map: the two
    numbers start as the sum of four draws of that convolution's initial distribution.
    """

    def __init__(self) -> None:
        super().__init__()
        bound = 1 / math.sqrt(MIXED)
        self.taps = nn.Parameter(torch.empty(4, MIXED).uniform_(-bound, bound).sum(0))

    def forward(self, vectors: Tensor) -> Tensor:
        """Mixed units (..., width // 2) of vectors (..., width)."""
        used = vectors.shape[-1] // MIXED * MIXED
        return self.taps[0] * vectors[..., 0:used:MIXED] + self.taps[1] * vectors[..., 1:used:MIXED]


class TopTwo(nn.Module):
    """Adaptive mask: each unit mixes the two units that its row of a trained matrix weighs highest (with sign).

    Rows have unit length before all but their two largest entries are dropped. The choice itself has no gradient;
    entries that were dropped change through their row's length only.
    """

    def __init__(self, width: int, below: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, below))

    def matrix(self) -> Tensor:
        """The map (width, width below) with exactly two entries that are kept in every row."""
        values, columns = unit(self.weight).topk(MIXED, dim=1)
        return torch.zeros_like(self.weight, dtype=values.dtype).scatter(1, columns, values)

    def forward(self, vectors: Tensor) -> Tensor:
        """Mixed units (..., width) of vectors (..., width below)."""
        return nn.functional.linear(vectors, self.matrix())


class Pyramid(nn.Module):
    """All levels of unit vectors of one modality, finest first."""

    def __init__(self, sizes: list[int], mask: Mask, tanh: bool, chain: Chain = "unit") -> None:
        super().__init__()
        self.chain = chain
        pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
        self.steps = nn.ModuleList(SharedFilter() if mask == "heuristic" else TopTwo(*pair) for pair in pairs)
        self.tanh = tanh

    def forward(self, vectors: Tensor) -> list[Tensor]:
        """Unit vectors (..., size) of each level, for unit vectors (..., dimension).

        The next level is made of the normalised one (chain "unit"), or of u_l itself ("raw", as published text branches
        do). Without a tanh the two differ by what `unit` adds to lengths alone, which fall from level to level.
        """
        levels, below = [vectors], vectors
        for step in self.steps:
            mixed = step(below)
            mixed = mixed.tanh() if self.tanh else mixed
            levels.append(unit(mixed))
            below = mixed if self.chain == "raw" else levels[-1]
        return levels
