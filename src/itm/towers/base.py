"""The interface of a pair of towers: pooled features, tokens, and the preparation of raw inputs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from itm.errors import ModelError

_PART = 8192
"""Texts that are tokenized at a time."""


@dataclass
class Features:
    """What a tower knows of a batch of images or texts.

    pooled: (batch, width) float. tokens: (batch, positions, token width) float, or None where the tower
    was asked for pooled features only. mask: (batch, positions) bool, True where a token is real. description_vectors:
    (batch, width) float of the images' "description" or the texts' "caption", for a method that adds descriptions; no
    tower makes these. inputs: what a tower made the features of, where it did so just now.
    """

    pooled: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None
    description_vectors: dict[str, Tensor] = field(default_factory=dict)
    inputs: Tensor | None = None

    def to(self, device: torch.device | str) -> Features:
        """The same features on a device."""
        tokens, mask = (
            None if value is None else value.to(device, non_blocking=True) for value in (self.tokens, self.mask)
        )
        vectors = {name: value.to(device, non_blocking=True) for name, value in self.description_vectors.items()}
        return Features(self.pooled.to(device, non_blocking=True), tokens, mask, vectors)


class FeatureMaker(Protocol):
    """What makes features of texts or images, and can make those of a batch once more."""

    def again(self, features: Features, kind: str) -> Features:
        """Features of the same inputs as those given; `kind`: "image" or "text"."""


class Towers(nn.Module):
    """A pair of encoders. Subclasses say how raw images and texts become their inputs.

    Attributes:
        image_width, text_width: width of the pooled features.
        image_token_width, text_token_width: width of the tokens.
        token_grid: cells a side that image tokens are averaged to; 0 = as they are.
        image_size: side in pixels of the images that `preprocess` takes.
        mean, deviation: what `preprocess` subtracts from pixels of 0 to 1, then divides by.
        short_texts: True when the text tower takes ids cut at the longest text of a batch.
        new: True when the towers start from random weights (they then train at the full learning rate).
    """

    image_width: int
    text_width: int
    image_token_width: int
    text_token_width: int
    image_size: int
    mean: float
    deviation: float
    token_grid: int = 0
    short_texts: bool = False
    new: bool = False

    def train(self, mode: bool = True) -> Self:
        """As any module, but batch norms of pretrained towers keep to the statistics that they came with.

        Those of a small batch, or of photos at another size, are others, and training would start from little.
        VSE-infinity (Chen et al. 2021) and many detectors keep them too. Scales and shifts are trained.
        """
        super().train(mode)
        for layer in () if self.new else self.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
        return self

    def preprocess(self, images: Tensor) -> Tensor:
        """Model inputs (batch, 3, size, size) float32 for RGB images (batch, size, size, 3) uint8."""
        return (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.deviation

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Token ids (texts, context length) int64 of raw texts; 0 where a position is empty."""

    def token_ids(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.integer]]:
        """The ids of any number of texts, as `tokenize` gives them, part by part and in few bytes (`small_ids`).

        Tokenizers keep some kilobytes a text until all are done.
        """
        parts = [small_ids(self.tokenize(texts[start : start + _PART])) for start in range(0, len(texts), _PART)]
        return np.concatenate(parts) if parts else small_ids(self.tokenize(texts))

    @abstractmethod
    def image(self, pixels: Tensor) -> Features:
        """Features of preprocessed images."""

    @abstractmethod
    def text(self, ids: Tensor) -> Features:
        """Features of token ids."""

    def again(self, features: Features, kind: str) -> Features:
        """Features of what those given were made of; `kind`: "image" or "text"."""
        assert features.inputs is not None
        found = self.image(features.inputs) if kind == "image" else self.text(features.inputs)
        return replace(found, description_vectors=features.description_vectors)

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What must be known to build the same towers again: kind, sizes, activation, preprocessing, vocabulary."""

    def checkpoint_gradients(self) -> None:
        """Keep only the layers' inputs for the backward pass, and compute the rest again.

        Raises:
            ModelError: these towers cannot (reason "no-gradient-checkpointing").
        """
        raise ModelError(
            f"train.gradient_checkpointing: {type(self).__name__} does not support it; set it to false, or save memory "
            "by train.chunk_images",
            reason="no-gradient-checkpointing",
        )


def small_ids(ids: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.integer]]:
    """Token ids in two bytes each where they fit, else in four; `wide_ids` turns some of them back.

    >>> small_ids(np.array([1, 30521])).dtype, small_ids(np.array([65536])).dtype
    (dtype('uint16'), dtype('int32'))
    """
    return ids.astype(np.uint16 if ids.max(initial=0) < 2**16 else np.int32)


def wide_ids(ids: np.ndarray[Any, np.dtype[np.integer]]) -> Tensor:
    """Token ids as towers take them."""
    return torch.from_numpy(ids.astype(np.int64))


class Computed(Towers):
    """Towers that another backend computes; what prepares images and texts is the towers' own.

    backend: its name in params.yaml.
    """

    backend: str

    def __init__(self, towers: Towers) -> None:
        super().__init__()
        self.towers = towers
        self.image_width, self.text_width = towers.image_width, towers.text_width
        self.image_token_width, self.text_token_width = towers.image_token_width, towers.text_token_width
        self.image_size, self.token_grid, self.short_texts = towers.image_size, towers.token_grid, towers.short_texts

    def preprocess(self, images: Tensor) -> Tensor:
        """As the towers themselves."""
        return self.towers.preprocess(images)

    def tokenize(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """As the towers themselves."""
        return self.towers.tokenize(texts)

    def describe(self) -> dict[str, Any]:
        """What the towers say, and who computes them."""
        return {**self.towers.describe(), "backend": self.backend}


def batch_norms(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Names and batch norms of a module that take a batch's statistics in training: not those of pretrained towers."""
    fixed = {
        layer for part in module.modules() if isinstance(part, Towers) and not part.new for layer in part.modules()
    }
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer not in fixed:
            yield name, layer


def grid_tokens(grid: Tensor, cells: int) -> Tensor:
    """Tokens (batch, positions, channels) of a map (batch, channels, height, width), row by row; `cells` a side after
    averaging, 0 = all.

    >>> grid_tokens(torch.arange(4.0).view(1, 1, 2, 2), 1).tolist()
    [[[1.5]]]
    """
    if cells and cells != grid.shape[-1]:
        grid = nn.functional.adaptive_avg_pool2d(grid, cells)
    return grid.flatten(2).transpose(1, 2)


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """The mean of the real tokens (batch, width); a row without any gives zeros.

    >>> tokens = torch.tensor([[[1.0], [3.0], [100.0]]])
    >>> masked_mean(tokens, torch.tensor([[True, True, False]])).tolist()
    [[2.0]]
    """
    weights = mask.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weights).sum(1) / weights.sum(1).clamp(min=1)
