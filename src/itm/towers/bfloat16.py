"""Frozen towers whose matrix products PyTorch computes in bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from itm.towers.base import Computed, Features, Towers


class BFloat16Towers(Computed):
    """Towers under autocast: products round to 8 bits of mantissa, norms and softmax stay in float32.

    Features are float32 again. Any machine computes it; it is faster only where the CPU (avx512_bf16, amx_bf16) or the
    GPU (from Ampere on) has the instructions. The towers given are changed: autocast would round large weights anew for
    each batch, so that they are rounded here, once.
    """

    backend = "torch-bfloat16"

    def __init__(self, towers: Towers) -> None:
        super().__init__(towers)
        for module in towers.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.MultiheadAttention):
                module.to(torch.bfloat16)

    def image(self, pixels: Tensor) -> Features:
        """Features of preprocessed images."""
        return _rounded(self.towers.image, pixels)

    def text(self, ids: Tensor) -> Features:
        """Features of token ids."""
        return _rounded(self.towers.text, ids)


def _rounded(compute: Callable[[Tensor], Features], values: Tensor) -> Features:
    with torch.autocast(values.device.type, torch.bfloat16):
        found = compute(values)
    return Features(found.pooled.float(), None if found.tokens is None else found.tokens.float(), found.mask)
