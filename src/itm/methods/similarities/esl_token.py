"""`esl_token`: all words of a caption with all regions of an image, then attention both ways. Pairwise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from itm.methods.method import Embedded, Requirements, Similarity, Widths
from itm.methods.similarities.esl.attention import two_way
from itm.methods.similarities.esl.correspondence import correspondence, pyramids
from itm.methods.similarities.esl.projection import TokenProjection, drop_tokens, proxy
from itm.towers.base import Features

if TYPE_CHECKING:
    from itm.config.model import EmbeddingParameters
    from itm.config.similarities import EslTokenParameters

QUERIES = 512
"""Captions whose stacked vectors are held at a time where no gradient is needed."""


class EslTokenSimilarity(Similarity):
    """R = sum over levels l of w_l t_l' W_l v_l for each word t and region v, and `attention` on R.

    Texts keep their raw unit tokens, images all levels of theirs: a score makes its queries of the words at hand, and
    an image's keys are made once. The stand-in of either is the unit mean of its raw tokens.
    """

    requires = Requirements(tokens=True)
    kind = "pairwise"

    def __init__(self, options: EslTokenParameters, embedding: EmbeddingParameters, widths: Widths) -> None:
        super().__init__()
        self.width = dimension = embedding.dimension
        self.dropout = nn.Dropout(embedding.dropout)
        self.regions = TokenProjection(widths.image_tokens, dimension, options.hidden, options.norm)
        self.words = TokenProjection(widths.text_tokens, dimension, 0, options.norm)
        self.image_pyramid, self.text_pyramid = pyramids(options, dimension)
        self.correspondence = correspondence(options, dimension)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(options.attention_temperature)))
        self.dropped = {"image": options.drop_regions, "text": options.drop_words}

    def encode_image(self, features: Features) -> Embedded:
        """Stacked levels of all regions (batch, regions, sum of the level sizes), and stand-ins."""
        regions, mask = self._tokens(features, self.regions, self.dropped["image"])
        return Embedded(proxy(regions), self.correspondence.key(self.image_pyramid(regions)), mask)

    def encode_text(self, features: Features) -> Embedded:
        """Unit tokens of all words (batch, words, dimension), and stand-ins."""
        words, mask = self._tokens(features, self.words, self.dropped["text"])
        return Embedded(proxy(words), words, mask)

    def score(self, images: Embedded, texts: Embedded) -> Tensor:
        """Similarities (images, texts), unbounded; without a gradient in blocks of bounded memory."""
        keys, regions, tokens, words = *_given(images), *_given(texts)
        step = max(len(tokens), 1) if torch.is_grad_enabled() else QUERIES
        found = [
            two_way(self.correspondence.query(self.text_pyramid(some)), keys, mask, regions, self.log_scale.exp())
            for some, mask in zip(torch.split(tokens, step), torch.split(words, step), strict=True)
        ]
        return torch.cat(found, 1)

    def multiply_adds(self, images: Embedded, texts: Embedded) -> float:
        """Of the word-region scores, which cost most by far."""
        keys, regions, _, words = *_given(images), *_given(texts)
        return float(words.sum(1).float().mean() * regions.sum(1).float().mean()) * keys.shape[-1]

    def _tokens(self, features: Features, projection: TokenProjection, dropped: float) -> tuple[Tensor, Tensor]:
        tokens, mask = _given(features)
        if self.training and dropped:
            mask = drop_tokens(mask, dropped)
        return projection(self.dropout(tokens), mask), mask


def _given(batch: Features | Embedded) -> tuple[Tensor, Tensor]:
    assert batch.tokens is not None
    assert batch.mask is not None
    return batch.tokens, batch.mask
