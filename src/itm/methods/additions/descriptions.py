"""The addition `descriptions`: a text encoder's vector of an image's description joins the image (VSD)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from itm.methods.functional.swapped_prototypes import SwappedPrototypes
from itm.methods.method import Addition, Context, Embedded, Labels, Losses, Method, Term
from itm.methods.similarities.heads import unit
from itm.towers.base import Features

if TYPE_CHECKING:
    from itm.config.describe import DescriptionsParameters


class Fusion(nn.Module):
    """An embedding with a description vector taken in; a row whose vector is zero stays as it is.

    sum: unit(v + weight b). gate: unit(g v + (1 - g) b), g = sigmoid(Linear([v; b])). only: b. Where b is not as wide
    as v, it goes through a linear map without a bias first, and is scaled to length 1 again. For "only", rows of which
    nothing is known (the empty text too) share one direction, since a zero vector has none.
    """

    def __init__(self, options: DescriptionsParameters, width: int, dimension: int) -> None:
        super().__init__()
        self.kind, self.weight = options.fusion, options.weight
        other = width != dimension and options.fusion != "only"
        self.map: nn.Module = nn.Linear(width, dimension, bias=False) if other else nn.Identity()
        self.gate = nn.Linear(2 * dimension, dimension) if options.fusion == "gate" else None

    def mapped(self, vectors: Tensor) -> Tensor:
        """Description vectors (rows, width) as unit vectors (rows, dimension); zero stays zero."""
        return unit(self.map(vectors))

    def forward(self, embedding: Tensor, vectors: Tensor) -> Tensor:
        """The fused unit vectors (rows, dimension), of the description vectors' own width for "only"."""
        known = (vectors != 0).any(-1, keepdim=True)
        if self.kind == "only":
            return torch.where(known, vectors, torch.full_like(vectors, vectors.shape[1] ** -0.5))
        taken = self.mapped(vectors).to(embedding.dtype)
        if self.gate is None:
            fused = embedding + self.weight * taken
        else:
            share = torch.sigmoid(self.gate(torch.cat([embedding, taken], -1)))
            fused = share * embedding + (1 - share) * taken
        return torch.where(known, unit(fused).to(embedding.dtype), embedding)


class Descriptions(Addition):
    """Fusion with vectors of descriptions (images) and captions (texts), and fixed prototypes of descriptions.

    Prototypes are centres of training descriptions' vectors. They go through the images' linear map, without a
    gradient: what the map learns is to match, not to make prediction easy. The term is the swapped prediction of
    `SwappedPrototypes` on fused embeddings.

    Args:
        width: of description vectors. dimension: of the embeddings. prototypes: how many there are.
    """

    prototypes: Tensor

    def __init__(self, options: DescriptionsParameters, width: int, dimension: int, prototypes: int) -> None:
        super().__init__()
        self.options = options
        self.images = Fusion(options, width, dimension)
        self.texts = Fusion(options, width, dimension) if options.captions else None
        if options.prototype_weight:
            self.register_buffer("prototypes", torch.zeros(prototypes, width))

    def start(self, constants: Mapping[str, Tensor]) -> None:
        """Take the prototypes (clusters, width) of the training descriptions."""
        if self.options.prototype_weight:
            self.prototypes.copy_(constants["prototypes"])

    def image(self, embedded: Embedded, features: Features) -> Embedded:
        """Images with their descriptions."""
        return _with(embedded, self.images, features.description_vectors.get("description"))

    def text(self, embedded: Embedded, features: Features) -> Embedded:
        """Texts with their own vectors."""
        vectors = features.description_vectors.get("caption")
        return embedded if self.texts is None else _with(embedded, self.texts, vectors)

    def losses(self, method: Method, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """The swapped prediction of prototypes, in training."""
        options = self.options
        if not options.prototype_weight or not self.training:
            return Losses({})
        with torch.no_grad():
            centres = self.images.mapped(self.prototypes)
        swapped = SwappedPrototypes(
            centres.to(images.embedding.dtype),
            learn=False,
            epsilon=options.epsilon,
            iterations=options.iterations,
            temperature=options.prototype_temperature,
        )
        value: Tensor = swapped(images.embedding, texts.embedding, labels.owner)
        return Losses({"description_prototypes": Term(value, options.prototype_weight)})


def _with(embedded: Embedded, fusion: Fusion, vectors: Tensor | None) -> Embedded:
    if vectors is None:
        return embedded
    return Embedded(fusion(embedded.embedding, vectors), embedded.tokens, embedded.mask, embedded.extra)
