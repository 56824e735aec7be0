"""The model inputs of a split: cached tower features, or pixels and token ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm.methods.interface import Embedded, Method
from itm.towers.base import Features, Towers


@dataclass
class Inputs:
    """Images or texts as rows. Either `features` (rows, width) float32 from frozen towers, or `raw`:
    pixels (rows, size, size, 3) uint8 for images, token ids (rows, context length) int64 for texts."""

    features: Tensor | None = None
    raw: np.ndarray[Any, Any] | None = None

    def __len__(self) -> int:
        return len(self.features) if self.features is not None else len(self.raw)  # type: ignore[arg-type]

    def batch(self, rows: np.ndarray[Any, Any], device: torch.device) -> Features | Tensor:
        """The rows as features, or as raw inputs that a tower must see first."""
        if self.features is not None:
            return Features(self.features[torch.from_numpy(rows)].to(device))
        assert self.raw is not None
        return torch.from_numpy(self.raw[rows]).to(device)


class Encoder:
    """Method and towers together: rows of inputs to embeddings."""

    def __init__(self, method: Method, towers: Towers | None, device: torch.device, precision: str = "float32") -> None:
        self.method, self.towers, self.device = method, towers, device
        self.autocast = precision == "bfloat16"

    def images(self, batch: Features | Tensor) -> Embedded:
        """Embedded images of a batch."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            if isinstance(batch, Tensor):
                assert self.towers is not None
                batch = self.towers.image(self.towers.preprocess(batch))
            return self.method.encode_image(batch)

    def texts(self, batch: Features | Tensor) -> Embedded:
        """Embedded texts of a batch."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            if isinstance(batch, Tensor):
                assert self.towers is not None
                batch = self.towers.text(batch)
            return self.method.encode_text(batch)

    def train(self, mode: bool = True) -> None:
        """Switch dropout and batch norms of the trained parts."""
        self.method.train(mode)
        if self.towers is not None:
            self.towers.train(mode)

    @torch.no_grad()
    def index(self, inputs: Inputs, kind: str, batch_size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Index vectors (rows, width) float32 of all rows, in evaluation mode; `kind` is "image" or "text"."""
        self.train(False)
        encode, index = (
            (self.images, self.method.index_image) if kind == "image" else (self.texts, self.method.index_text)
        )
        parts = [
            index(encode(inputs.batch(np.arange(start, min(start + batch_size, len(inputs))), self.device)))
            .float()
            .cpu()
            for start in range(0, len(inputs), batch_size)
        ]
        return torch.cat(parts).numpy() if parts else np.zeros((0, 0), np.float32)
