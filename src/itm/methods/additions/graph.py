"""The addition `graph`: agreement of embeddings with what the other rows of the batch make of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from itm.errors import ModelError
from itm.methods.functional.distance_weighted import triplets
from itm.methods.functional.hinge import symmetric_hinge
from itm.methods.method import Addition, Context, Embedded, Labels, Losses, Method, Term, step_of
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

    def first_step(self, steps: int) -> int:
        """By `start`."""
        return step_of(self.options.start, steps)

    def losses(self, method: Method, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """Triplets of the nodes with the graph's output, and what the relations are held to; from `start` on."""
        options = self.options
        if not self.training or context.step < self.first_step(context.steps):
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
            return symmetric_hinge(
                similarities, labels.positives, options.margin, "hardest", reduction=options.reduction
            )
        return triplets(options, similarities, labels, context.step)


RESOLUTION = 1e-4


def intra_relation(nodes: Tensor) -> Tensor:
    """exp(-|n_i - n_j|), (nodes, nodes) 0..1, of unit vectors; 1 on the diagonal up to rounding, without a gradient."""
    squared = (2 - 2 * nodes @ nodes.T).clamp(min=1e-8)  # the root has no slope at 0
    return torch.exp(-squared.sqrt())


def connection_mask(values: Tensor, share: float) -> Tensor:
    """True for the ceil(share * columns) largest values of each row, (rows, columns) bool; of equal ones the first.

    Equal is what differs by rounding alone: captions that are worded alike would else be told apart by it, and the
    graph of a batch would depend on how the batch was cut for encoding.

    >>> connection_mask(torch.tensor([[0.5, 0.5, 0.5], [0.1, 0.3, 0.2]]), 0.5).tolist()
    [[True, True, False], [False, True, True]]
    """
    count = math.ceil(share * values.shape[1])
    order = torch.sort((values.detach() / RESOLUTION).round(), dim=1, descending=True, stable=True).indices[:, :count]
    return torch.zeros_like(values, dtype=torch.bool).scatter_(1, order, True)


def adjacency(relation: Tensor) -> Tensor:
    """The relation with the absolute values of each row scaled to a sum of 1: activations then do not grow with the
    batch. A row of zeros stays zero.

    >>> adjacency(torch.tensor([[1.0, 3.0], [0.0, 0.0]])).tolist()
    [[0.25, 0.75], [0.0, 0.0]]
    """
    return relation / relation.abs().sum(1, keepdim=True).clamp(min=1e-8)


class Correlations:
    """The relations of all nodes, images first, and which of them are connected.

    Args:
        images: (images, dimension) unit vectors.
        texts: (texts, dimension) unit vectors.
        image_to_text: (images, texts) relation from fragments.
        text_to_image: (texts, images) likewise; not the transpose.
        share: of each block's columns that a row is connected with.

    Attributes:
        image, text: the intra-modal relations.
        whole: (nodes, nodes) [[image, image_to_text], [text_to_image, text]].
        connected: (nodes, nodes) bool; by inner product within a modality, by fragments between them.
    """

    def __init__(
        self, images: Tensor, texts: Tensor, image_to_text: Tensor, text_to_image: Tensor, share: float
    ) -> None:
        self.image, self.text = intra_relation(images), intra_relation(texts)
        self.whole = _blocks(self.image, image_to_text, text_to_image, self.text)
        # the relation within a modality falls with the distance, so that its order is that of the inner products
        self.connected = _blocks(
            *(
                connection_mask(each, share)
                for each in (images @ images.T, image_to_text, text_to_image, texts @ texts.T)
            )
        )


def _blocks(first: Tensor, second: Tensor, third: Tensor, fourth: Tensor) -> Tensor:
    return torch.cat([torch.cat([first, second], 1), torch.cat([third, fourth], 1)])


class InstanceGraph(nn.Module):
    """Two graph convolutions (within each modality, then over all nodes), then attention between connected nodes.

    Args:
        dimension: of the nodes.
        heads, feedforward, dropout: of the attention layer.
        node_dropout: on the nodes before each convolution.
        bias_weight: of the relation as the attention's bias.
        normalise: scale the rows of the relations (`adjacency`).
    """

    def __init__(
        self,
        dimension: int,
        *,
        heads: int,
        feedforward: int,
        dropout: float,
        node_dropout: float,
        bias_weight: float,
        normalise: bool,
    ) -> None:
        super().__init__()
        self.bias_weight, self.normalise = bias_weight, normalise
        self.node_dropout = nn.Dropout(node_dropout)
        self.of_images, self.of_texts, self.of_all = (nn.Linear(dimension, dimension) for _ in range(3))
        self.attention = nn.TransformerEncoderLayer(dimension, heads, feedforward, dropout, batch_first=True)

    def forward(self, images: Tensor, texts: Tensor, correlations: Correlations) -> tuple[Tensor, Tensor]:
        """Unit vectors of images (images, dimension) and texts (texts, dimension) as their neighbours change them.

        Each convolution is u = LeakyReLU_0.2(R drop(n) W + b); nodes + norm(u) then attend to the nodes they are
        connected with, with `bias_weight` * R added to the logits.
        """
        inner = torch.cat(
            [
                self._convolved(correlations.image, images, self.of_images),
                self._convolved(correlations.text, texts, self.of_texts),
            ]
        )
        outer = self._convolved(correlations.whole, inner, self.of_all)
        nodes = torch.cat([images, texts]) + functional.normalize(outer, dim=-1)
        bias = (self.bias_weight * correlations.whole).masked_fill(~correlations.connected, -torch.inf)
        found = functional.normalize(self.attention(nodes.unsqueeze(0), src_mask=bias).squeeze(0), dim=-1)
        return found[: len(images)], found[len(images) :]

    def _convolved(self, relation: Tensor, nodes: Tensor, layer: nn.Linear) -> Tensor:
        relation = adjacency(relation) if self.normalise else relation
        return functional.leaky_relu(
            relation @ functional.linear(self.node_dropout(nodes), layer.weight) + layer.bias, 0.2
        )


def relation_divergence(relation: Tensor, guide: Tensor) -> Tensor:
    """The mean over rows of KL( softmax(relation) || softmax(guide) ); no gradient reaches the guide.

    This is the direction of the published code, in which the relation is the target of the divergence.

    >>> relation_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 3.0]])).item()
    0.0
    """
    found, wanted = torch.log_softmax(relation, 1), torch.log_softmax(guide.detach(), 1)
    return (found.exp() * (found - wanted)).sum(1).mean()
