"""What a method is to the training loop, the encoder and the tests."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from itm.towers.base import Features


@dataclass(frozen=True)
class Requirements:
    """What a method needs in a batch beyond pooled features; the loop computes only what is asked for.

    tokens: token features and masks. containment: the relevance gate of images x captions.
    root: the embedding of the empty caption. captions_per_image: the fewest captions of an image in a batch.
    """

    tokens: bool = False
    containment: bool = False
    root: bool = False
    captions_per_image: int = 1


@dataclass
class Embedded:
    """A batch of embedded images or texts. embedding: (batch, dimension) float."""

    embedding: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None


@dataclass
class Labels:
    """What is known of the pairs of a batch of `images` images and `texts` captions.

    positives: (images, texts) bool, True where the caption belongs to the image (or to a copy of it in the
        batch); every row and every column has at least one. Pairs of the same image are never negatives.
    owner: (texts,) long, the batch row of the image that each caption was drawn for.
    score: (texts,) float, descriptiveness dn of each caption, 0..1.
    image_score: (images,) float, dn of each image (of its paired caption, or over all its captions).
    containment: (images, texts) float 0..1, the idf-weighted share of the caption's keywords that occur in the
        image's captions; None unless the method requires it.
    image_rows, text_rows: (images,), (texts,) long, what names an image or a caption in every batch.
    """

    positives: Tensor
    owner: Tensor
    score: Tensor
    image_score: Tensor
    containment: Tensor | None = None
    image_rows: Tensor | None = None
    text_rows: Tensor | None = None


@dataclass
class Context:
    """Where training stands. epoch counts from 0. root: the embedded empty caption (1, dimension), if required."""

    epoch: int = 0
    step: int = 0
    root: Embedded | None = None


@dataclass
class Term:
    """One term of a loss: the training loop minimises the sum of weight x value and logs every value."""

    value: Tensor
    weight: float = 1.0


@dataclass
class Losses:
    """The terms of a step by name, and plain figures to log beside them (shares, margins, temperatures)."""

    terms: dict[str, Term]
    figures: dict[str, float] = field(default_factory=dict)

    def total(self) -> Tensor:
        """The weighted sum of the terms."""
        return torch.stack([term.value * term.weight for term in self.terms.values()]).sum()


class Method(nn.Module):
    """A matching method on top of two towers.

    `similarity` is "dot" where score(a, b) is the inner product of `index_image` and `index_text`
    (such embeddings can be put into any inner-product index), else "pairwise".
    """

    requires = Requirements()
    similarity = "dot"

    @abstractmethod
    def encode_image(self, features: Features) -> Embedded:
        """Embedded images; each row depends on its own features only."""

    @abstractmethod
    def encode_text(self, features: Features) -> Embedded:
        """Embedded texts; each row depends on its own features only."""

    def index_image(self, embedded: Embedded) -> Tensor:
        """Index vectors (batch, width) of images; required where similarity is "dot"."""
        return embedded.embedding

    def index_text(self, embedded: Embedded) -> Tensor:
        """Index vectors (batch, width) of texts; required where similarity is "dot"."""
        return embedded.embedding

    def score(self, images: Embedded, texts: Embedded) -> Tensor:
        """Similarities (images, texts); independent of what else is in the batch."""
        return self.index_image(images) @ self.index_text(texts).T

    @abstractmethod
    def losses(self, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """The terms to minimise for a batch."""

    def after_step(self) -> None:
        """Called after each optimiser step: clamp or update what is not trained by gradient."""
