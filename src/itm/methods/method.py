"""A method and its three parts: a similarity, a loss, and what may be added to any pair of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from itm.errors import ModelError
from itm.towers.base import FeatureMaker, Features

if TYPE_CHECKING:
    from itm.config.additions import Vectors
    from itm.methods.additions.words import Words


@dataclass(frozen=True)
class Requirements:
    """What a part needs in a batch beyond pooled features; the loop computes only what is asked for.

    tokens: token features and masks. containment: the relevance gate of images x captions.
    root: the embedding of the empty caption.
    """

    tokens: bool = False
    containment: bool = False
    root: bool = False

    def __or__(self, other: Requirements) -> Requirements:
        return Requirements(*(getattr(self, each.name) or getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True)
class Widths:
    """Widths of what a pair of towers gives: pooled features and tokens, of images and texts.

    description_width: width of the description vectors, and prototypes: how many there are, for methods that add those.
    """

    image: int
    text: int
    image_tokens: int
    text_tokens: int
    description_width: int = 0
    prototypes: int = 0


@dataclass
class Embedded:
    """A batch of embedded images or texts.

    embedding: (batch, dimension) float; for a pairwise similarity a unit vector that stands in for the whole, for
        shortlists and for comparing texts with texts or images with images.
    tokens: (batch, positions, width) float, what a pairwise similarity compares; mask: (batch, positions) bool.
    extra: further tensors (batch, ...) float by name, for parts that need more of a batch.
    """

    embedding: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)

    def rows(self, chosen: Tensor | slice) -> Embedded:
        """Some of the rows."""
        tokens, mask = (None if each is None else each[chosen] for each in (self.tokens, self.mask))
        return Embedded(self.embedding[chosen], tokens, mask, {name: v[chosen] for name, v in self.extra.items()})

    def unit(self, vectors: Vectors) -> Tensor:
        """Unit vectors (batch, dimension): the embeddings ("fused"), or the pooled tokens alone ("local").

        Raises:
            ModelError: the similarity gives no pooled tokens (reason "no-local").
        """
        if vectors == "local" and "local" not in self.extra:
            raise ModelError(
                "'local' vectors are those of the similarity `aahr`, and this method has another one; use 'fused'",
                reason="no-local",
            )
        return functional.normalize(self.embedding if vectors == "fused" else self.extra["local"], dim=-1)

    def detach(self) -> Embedded:
        """The same values without gradients."""
        tokens = None if self.tokens is None else self.tokens.detach()
        extra = {name: value.detach() for name, value in self.extra.items()}
        return Embedded(self.embedding.detach(), tokens, self.mask, extra)


@dataclass
class Labels:
    """What is known of the pairs of a batch of `images` images and `texts` captions.

    positives: (images, texts) bool, True where the caption belongs to the image (or to a copy of it in the
        batch); every row and every column has at least one. Pairs of the same image are never negatives.
    owner: (texts,) long, the batch row of the image that each caption was drawn for.
    descriptiveness: (texts,) float, dn of each caption, 0..1.
    image_descriptiveness: (images,) float, dn of each image (of its paired caption, or over all its captions).
    containment: (images, texts) float 0..1, the idf-weighted share of the caption's keywords that occur in the
        image's captions; None unless the method requires it.
    image_rows, text_rows: (images,), (texts,) long, what names an image or a caption in every batch.
    image_same, text_same: (images,), (texts,) long; equal values say: copies of one image, or captions of those.
    containment_of: gives the containment of any image rows (n,) with any caption rows (m,) of the training split, (n,
        m), also of those that are not in the batch; None unless the method requires containment.
    """

    positives: Tensor
    owner: Tensor
    descriptiveness: Tensor
    image_descriptiveness: Tensor
    containment: Tensor | None = None
    image_rows: Tensor | None = None
    text_rows: Tensor | None = None
    image_same: Tensor | None = None
    text_same: Tensor | None = None
    containment_of: Callable[[Tensor, Tensor], Tensor] | None = None


@dataclass
class Context:
    """Where training stands. epoch and step count from 0; steps: in all.
    root: the embedded empty caption (1, dimension), if required."""

    epoch: int = 0
    step: int = 0
    steps: int = 0
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


class Similarity(nn.Module):
    """Two encoders on top of the towers' features, and a similarity of each pair.

    `kind` is "dot" where score(a, b) is the inner product of `index_image` and `index_text` (such vectors can be put
    into any inner-product index), else "pairwise": the pair must be looked at together. `width`: of the embeddings.
    """

    requires = Requirements()
    kind = "dot"
    width: int

    @abstractmethod
    def encode_image(self, features: Features) -> Embedded:
        """Embedded images; each row depends on its own features only."""

    @abstractmethod
    def encode_text(self, features: Features) -> Embedded:
        """Embedded texts; each row depends on its own features only."""

    def index_image(self, embedded: Embedded) -> Tensor:
        """Vectors (batch, width) of images: for "dot" the factors of the similarity, for "pairwise" the stand-ins."""
        return embedded.embedding

    def index_text(self, embedded: Embedded) -> Tensor:
        """Vectors (batch, width) of texts, as `index_image`."""
        return embedded.embedding

    def score(self, images: Embedded, texts: Embedded) -> Tensor:
        """Similarities (images, texts); independent of what else is in the batch."""
        return self.index_image(images) @ self.index_text(texts).T

    def multiply_adds(self, images: Embedded, texts: Embedded) -> float:
        """Multiplications and additions that the similarity of a pair takes, on average over these images and texts."""
        return float(self.index_text(texts).shape[1])


class Loss(nn.Module):
    """What is minimised, given the similarities of a batch."""

    requires = Requirements()

    @abstractmethod
    def losses(
        self, similarities: Tensor, images: Embedded, texts: Embedded, labels: Labels, context: Context
    ) -> Losses:
        """The terms to minimise for a batch; `similarities` (images, texts) are the method's similarities."""

    def negative_share(self, labels: Labels, context: Context) -> Tensor | None:
        """What the loss leaves of each unlabelled pair as a negative, (images, texts) 0..1; None = all of all.

        Parts that have negatives of their own ask this, with labels of those pairs: a loss that relaxes pairs relaxes
        them wherever they come from.
        """
        return None

    def after_step(self) -> None:
        """Called after each optimiser step: clamp or update what is not trained by gradient."""


class Addition(nn.Module):
    """What goes with any similarity and loss: it may change the embeddings, add terms, and keep state.

    `train_only` parts are saved in resume checkpoints, but not in models.
    """

    requires = Requirements()
    train_only = False

    def start(self, constants: Mapping[str, Tensor]) -> None:
        """Called once before training with what is given for the whole run, by name."""

    def watch(self, trained: FeatureMaker) -> None:
        """Called once before training with what is trained below the method (towers, words): it will change."""

    def read_text(self, features: Features) -> Features:
        """What becomes of a text's features before the similarity sees them."""
        return features

    def first_step(self, steps: int) -> int:
        """The first of `steps` training steps with terms of this addition."""
        return 0

    def image(self, embedded: Embedded, features: Features) -> Embedded:
        """What becomes of embedded images; row by row."""
        return embedded

    def text(self, embedded: Embedded, features: Features) -> Embedded:
        """What becomes of embedded texts; row by row."""
        return embedded

    def losses(self, method: Method, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """Further terms to minimise."""
        return Losses({})

    def after_step(self, method: Method, images: Embedded, texts: Embedded, labels: Labels) -> None:
        """Called after each optimiser step with the batch (of all processes), without gradients."""


def step_of(start: int | float, steps: int) -> int:
    """The training step that `start` names: itself, or, as a fraction, that share of `steps` steps.

    >>> step_of(8000, 45280), step_of(0.25, 1000)
    (8000, 250)
    """
    return round(start * steps) if isinstance(start, float) else start


class Method(nn.Module):
    """What the training loop, the encoder and the tests see: any similarity with any loss and any additions.

    kind: "dot" or "pairwise", as the similarity's. requires: what any of the parts needs.
    """

    def __init__(self, similarity: Similarity, loss: Loss, additions: Mapping[str, Addition]) -> None:
        super().__init__()
        self.similarity, self.loss = similarity, loss
        self.additions = nn.ModuleDict(additions)

    @property
    def added(self) -> dict[str, Addition]:
        """The additions by name."""
        return dict(self.additions.items())  # type: ignore[arg-type]

    @property
    def words(self) -> Words | None:
        """The text encoder that is trained with the method, if there is one."""
        return cast("Words | None", self.added.get("words"))

    @property
    def kind(self) -> str:
        """ "dot" or "pairwise"."""
        return self.similarity.kind

    @property
    def requires(self) -> Requirements:
        """What the parts need in a batch."""
        parts = (self.similarity.requires, self.loss.requires, *(each.requires for each in self.added.values()))
        return reduce(or_, parts)

    def encode_image(self, features: Features) -> Embedded:
        """Embedded images; each row depends on its own features only."""
        embedded = self.similarity.encode_image(features)
        for addition in self.added.values():
            embedded = addition.image(embedded, features)
        return embedded

    def encode_text(self, features: Features) -> Embedded:
        """Embedded texts; each row depends on its own features only."""
        for addition in self.added.values():
            features = addition.read_text(features)
        embedded = self.similarity.encode_text(features)
        for addition in self.added.values():
            embedded = addition.text(embedded, features)
        return embedded

    def index_image(self, embedded: Embedded) -> Tensor:
        """Index vectors (batch, width) of images (stand-ins, if pairwise)."""
        return self.similarity.index_image(embedded)

    def index_text(self, embedded: Embedded) -> Tensor:
        """Index vectors (batch, width) of texts (stand-ins, if pairwise)."""
        return self.similarity.index_text(embedded)

    def score(self, images: Embedded, texts: Embedded) -> Tensor:
        """Similarities (images, texts); independent of what else is in the batch."""
        return self.similarity.score(images, texts)

    def losses(self, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """The terms of the loss, then those of the additions."""
        found = self.loss.losses(self.score(images, texts), images, texts, labels, context)
        for addition in self.added.values():
            more = addition.losses(self, images, texts, labels, context)
            found = Losses(found.terms | more.terms, found.figures | more.figures)
        return found

    def after_step(self, images: Embedded, texts: Embedded, labels: Labels) -> None:
        """Let the parts update what is not trained by gradient; `images` and `texts` are the batch."""
        self.loss.after_step()
        for addition in self.added.values():
            addition.after_step(self, images.detach(), texts.detach(), labels)

    def exported(self) -> dict[str, Tensor]:
        """The state that a trained model is: all but what serves training only."""
        skipped = tuple(f"additions.{name}." for name, each in self.added.items() if each.train_only)
        return {key: value for key, value in self.state_dict().items() if not key.startswith(skipped)}
