"""Batches of different widths as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from itm.methods.interface import Embedded


def concatenate(parts: Sequence[Embedded]) -> Embedded:
    """The rows of all parts as one; shorter token sequences are padded."""
    if len(parts) == 1:
        return parts[0]
    embedding = torch.cat([part.embedding for part in parts])
    extra = {name: torch.cat([part.extra[name] for part in parts]) for name in parts[0].extra}
    tokens = [part.tokens for part in parts if part.tokens is not None]
    masks = [part.mask for part in parts if part.mask is not None]
    if not tokens:
        return Embedded(embedding, extra=extra)
    longest = max(each.shape[1] for each in tokens)

    def padded(values: Tensor) -> Tensor:
        below = [0, 0] * (values.ndim - 2)
        return nn.functional.pad(values, [*below, 0, longest - values.shape[1]])

    return Embedded(
        embedding,
        torch.cat([padded(each) for each in tokens]),
        torch.cat([padded(each) for each in masks]) if masks else None,
        extra,
    )
