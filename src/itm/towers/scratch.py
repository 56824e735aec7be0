"""Small towers for training from random weights: a strided convolution network and a short transformer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from itm.towers.base import Features, Towers, grid_tokens, masked_mean

PADDING, UNKNOWN, START = 0, 1, 2
_WORD = re.compile(r"\w+|[^\w\s]")
# captions of like length share a forward pass, in at most so many groups of at least so many captions
_GROUPS, _SMALLEST_GROUP = 4, 32


def words(text: str) -> list[str]:
    """The lower-cased words and punctuation marks of a text.

    >>> words("A dog, running.")
    ['a', 'dog', ',', 'running', '.']
    """
    return _WORD.findall(text.lower())


def build_vocabulary(texts: Iterable[str], minimum_count: int = 2) -> list[str]:
    """The words that occur at least `minimum_count` times, most frequent first, ties in alphabetical order."""
    counts = Counter(word for text in texts for word in words(text))
    return sorted((word for word, count in counts.items() if count >= minimum_count), key=lambda w: (-counts[w], w))


class ConvolutionTower(nn.Module):
    """Four strided stages, each halving the side and widening; pooled features are the mean of the last map."""

    def __init__(self, width: int, token_grid: int = 0) -> None:
        super().__init__()
        self.token_grid = token_grid
        widths = [width, 2 * width, 4 * width, 6 * width]
        stages: list[nn.Module] = []
        channels = 3
        for index, out in enumerate(widths):
            kernel = 5 if index == 0 else 3
            stages += [
                nn.Conv2d(channels, out, kernel, stride=2, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(inplace=True),
            ]
            if index >= 2:
                stages += [nn.Conv2d(out, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
        self.stages = nn.Sequential(*stages)
        self.width = channels
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: Tensor) -> Features:
        """Pooled features and one token a cell of the last map."""
        grid = self.stages(pixels.contiguous(memory_format=torch.channels_last))
        cells, tokens = grid.flatten(2), grid_tokens(grid, self.token_grid)
        # mean and maximum keep both "how much of it" and "is there any": captions speak of single objects
        pooled = torch.cat([cells.mean(2), cells.amax(2)], 1)
        return Features(pooled, tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device))


class TransformerTower(nn.Module):
    """A pre-norm transformer over word embeddings; pooled features are the mean of the real tokens."""

    def __init__(self, vocabulary: int, context_length: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PADDING)
        self.position = nn.Parameter(nn.init.normal_(torch.empty(context_length, width), std=0.02))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, ids: Tensor) -> Features:
        """Pooled features and one token a word."""
        mask = ids != PADDING
        if torch.compiler.is_exporting():  # a graph of fixed form: no sorting, no cutting by what the values are
            tokens = self._layers(ids, mask)
            return Features(masked_mean(tokens, mask), tokens, mask)
        lengths = mask.sum(1)
        # columns beyond the longest caption are padding: leaving them out changes nothing but time; so does going
        # through captions of like length together, most being much shorter than the longest
        longest = max(int(lengths.max()), 1)
        order = torch.argsort(lengths, stable=True)
        groups = order.chunk(min(_GROUPS, -(-len(ids) // _SMALLEST_GROUP)))
        tokens = torch.cat([self._tokens(ids[rows], mask[rows], longest) for rows in groups])[torch.argsort(order)]
        mask = mask[:, :longest]
        return Features(masked_mean(tokens, mask), tokens, mask)

    def _tokens(self, ids: Tensor, mask: Tensor, width: int) -> Tensor:
        """Token features (texts, width, features) of texts; those of padding mean nothing."""
        longest = max(int(mask.sum(1).max()), 1)
        tokens = self._layers(ids[:, :longest], mask[:, :longest])
        return functional.pad(tokens, (0, 0, 0, width - longest))

    def _layers(self, ids: Tensor, mask: Tensor) -> Tensor:
        tokens = self.embedding(ids) + self.position[: ids.shape[1]]
        for layer in self.layers:
            tokens = layer(tokens, src_key_padding_mask=~mask)
        normed: Tensor = self.norm(tokens)
        return normed


class ScratchTowers(Towers):
    """The two small towers with a word vocabulary taken from the training captions."""

    new = True
    # Channel means and deviations are fixed so that a saved model never depends on the data it was built beside.
    mean, deviation = 0.5, 0.25

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        image_size: int,
        context_length: int,
        image_width: int,
        text_width: int,
        text_layers: int,
        text_heads: int,
        token_grid: int = 0,
    ) -> None:
        super().__init__()
        self.vocabulary = list(vocabulary)
        self._index = {word: row + 3 for row, word in enumerate(self.vocabulary)}
        self.sizes = {
            "image_size": image_size,
            "context_length": context_length,
            "image_width": image_width,
            "text_width": text_width,
            "text_layers": text_layers,
            "text_heads": text_heads,
            "token_grid": token_grid,
        }
        self.image_size, self.context_length, self.token_grid = image_size, context_length, token_grid
        self.image_tower = ConvolutionTower(image_width, token_grid)
        self.text_tower = TransformerTower(len(vocabulary) + 3, context_length, text_width, text_layers, text_heads)
        self.image_width, self.text_width = 2 * self.image_tower.width, text_width
        self.image_token_width, self.text_token_width = self.image_tower.width, text_width

    def tokenize(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Word ids after a start token, cut at the context length; unknown words share one id."""
        ids = np.zeros((len(texts), self.context_length), np.int64)
        for row, text in enumerate(texts):
            found = [START] + [self._index.get(word, UNKNOWN) for word in words(text)]
            found = found[: self.context_length]
            ids[row, : len(found)] = found
        return ids

    def image(self, pixels: Tensor) -> Features:
        """Features of preprocessed images."""
        features: Features = self.image_tower(pixels)
        return features

    def text(self, ids: Tensor) -> Features:
        """Features of word ids."""
        features: Features = self.text_tower(ids)
        return features

    def describe(self) -> dict[str, Any]:
        """Sizes, preprocessing and vocabulary."""
        return {
            "kind": "scratch",
            **self.sizes,
            "activation": {"image": "relu", "text": "gelu"},
            "preprocessing": {"mean": self.mean, "deviation": self.deviation, "resize": "centre square"},
            "vocabulary": self.vocabulary,
        }
