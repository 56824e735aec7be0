"""The addition `graph`: embeddings must also match what the other rows of the batch make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from itm.errors import ModelError
from itm.methods.functional.distance_weighted import symmetric_distance_weighted
from itm.methods.functional.hinge import symmetric_hinge
from itm.methods.functional.instance_graph import Correlations, InstanceGraph, relation_divergence
from itm.methods.method import Addition, Context, Embedded, Labels, Losses, Method, Term
from itm.methods.similarities.aahr.fragments import FragmentRelation, fragment_scores

if TYPE_CHECKING:
    from itm.config.additions import GraphParameters


class Graph(Addition):
    """The instance graph over the images and captions of a batch; it is part of training only."""

    train_only = True

    def __init__(self, parameters: GraphParameters, dimension: int) -> None:
        super().__init__()
        self.options = parameters
        self.relations = nn.ModuleDict(
            {name: FragmentRelation(parameters.relation_scores) for name in ("image_to_text", "text_to_image")}
        )
        self.network = InstanceGraph(
            dimension,
            heads=parameters.heads,
            feedforward=parameters.feedforward,
            dropout=parameters.dropout,
            node_dropout=parameters.node_dropout,
            bias_weight=parameters.bias_weight,
            normalise=parameters.normalise,
        )

    def losses(self, method: Method, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """Triplets of the nodes with the graph's output, and what the relations are held to; from `start` on."""
        options = self.options
        if not self.training or context.step < options.start:
            return Losses({})
        image, text = images.unit(options.nodes), texts.unit(options.nodes)
        correlations, regulariser = self.correlate(images, texts, image, text)
        other_image, other_text = self.network(image, text, correlations)
        pairs = ((image, other_text), (other_image, text), (other_image, other_text))
        value = torch.stack([self._triplet(a @ b.T, labels, context) for a, b in pairs]).sum()
        terms = {"graph": Term(value, options.weight)}
        if options.regulariser_weight:
            terms["graph_relation"] = Term(regulariser, options.regulariser_weight)
        return Losses(terms)

    def correlate(self, images: Embedded, texts: Embedded, image: Tensor, text: Tensor) -> tuple[Correlations, Tensor]:
        """The relations of a batch, and the divergence of those between modalities from what distances say.

        Args:
            images, texts: with tokens.
            image, text: the nodes, unit vectors.

        Raises:
            ModelError: the similarity gives no tokens (reason "no-fragments").
        """
        if images.tokens is None or texts.tokens is None or images.mask is None or texts.mask is None:
            raise ModelError(
                "the graph compares words with regions, and this method's similarity gives no tokens; use the "
                "similarity `aahr`, or leave out add.graph",
                reason="no-fragments",
            )
        of_words, of_regions = fragment_scores(texts.tokens, texts.mask, images.tokens, images.mask)
        image_to_text: Tensor = self.relations["image_to_text"](of_regions, images.mask)
        text_to_image: Tensor = self.relations["text_to_image"](of_words, texts.mask)
        with torch.no_grad():
            guide = torch.exp(-(2 - 2 * image @ text.T).clamp(min=0).sqrt())
        regulariser = relation_divergence(image_to_text, guide) + relation_divergence(text_to_image, guide.T)
        return Correlations(image, text, image_to_text, text_to_image, self.options.share), regulariser

    def _triplet(self, similarities: Tensor, labels: Labels, context: Context) -> Tensor:
        options = self.options
        if options.triplet == "hinge":
            return symmetric_hinge(similarities, labels.positives, options.margin, "hardest")
        if labels.image_rows is None or labels.text_rows is None:
            raise ValueError("distance-weighted triplets need Labels.image_rows and Labels.text_rows")
        return symmetric_distance_weighted(
            similarities,
            labels.positives,
            options.margin,
            step=context.step,
            image_rows=labels.image_rows,
            text_rows=labels.text_rows,
            dimension=options.sphere,
            cutoff=options.cutoff,
            reduction=options.reduction,
        )
