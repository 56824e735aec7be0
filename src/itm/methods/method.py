"""A method: one similarity, one loss, and any additions, put together by parameters alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_

from torch import Tensor, nn

from itm.methods.interface import Addition, Context, Embedded, Labels, Loss, Losses, Requirements, Similarity
from itm.towers.base import Features


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
