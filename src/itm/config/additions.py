"""Parameters of the additions to a method; one that is not named is not there."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from itm.config.base import Section
from itm.config.describe import DescriptionsParameters
from itm.config.losses import Reduction

Vectors = Literal["fused", "local"]
Start = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)]
"""A training step, or a share of all of them."""


class WordsParameters(Section):
    """A trained text encoder of transformers whose states take the place of the texts' tokens, beside frozen towers."""

    model: str = Field(
        min_length=1, description="name on the Hugging Face hub, or a folder with config, weights and tokenizer"
    )
    length: int = Field(ge=4, le=512, description="most tokens of a text, with those that open and close it")
    rate: float = Field(gt=0, description="its learning rate, as a share of train.learning_rate")
    masked: float = Field(ge=0, le=1, description="share of a caption's words that are masked in training")
    replaced: float = Field(ge=0, le=1, description="share that is replaced by random tokens")
    dropped: float = Field(ge=0, le=1, description="share that is left out")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (total := self.masked + self.replaced + self.dropped) > 1:
            raise ValueError(f"masked, replaced and dropped are shares of all words, and sum to {total:g}")
        return self


class PrototypesParameters(Section):
    """Swapped assignment to trained prototypes (AAHR, after SwAV)."""

    start: Start = Field(description="first training step with the term; below 1, as a share of all steps")
    weight: float = Field(gt=0, description="weight of the term")
    count: int = Field(ge=2, description="prototypes")
    epsilon: float = Field(gt=0, description="softness of the balanced assignments (Sinkhorn)")
    iterations: int = Field(ge=1, description="rounds of Sinkhorn")
    temperature: float = Field(gt=0, description="temperature of the prediction of an assignment")


class GraphParameters(Section):
    """Instance graph over the images and captions of a batch, in training only (AAHR, after HREM)."""

    start: Start = Field(description="first training step with the terms; below 1, as a share of all steps")
    weight: float = Field(gt=0, description="weight of the triplets with the graph's output")
    nodes: Vectors = Field(description="the nodes: embeddings, or the pooled tokens before the gate (similarity aahr)")
    share: float = Field(gt=0, le=1, description="share of each block's columns that a node is connected with")
    heads: int = Field(ge=1, description="heads of the attention between connected nodes")
    feedforward: int = Field(ge=1, description="hidden width of the attention layer")
    dropout: float = Field(ge=0, lt=1, description="dropout of the attention layer")
    node_dropout: float = Field(ge=0, lt=1, description="dropout on the nodes before a convolution")
    bias_weight: float = Field(ge=0, description="weight of the relations as the attention's bias")
    normalise: bool = Field(description="scale the rows of the relations to a sum of 1 in the convolutions")
    relation_scores: int = Field(
        ge=0, description="largest fragment scores that a trained map adds to their mean; 0 = the mean alone"
    )
    regulariser_weight: float = Field(
        ge=0, description="weight of the divergence of the relations from what distances say; 0 = off"
    )
    triplet: Literal["hinge", "distance_weighted"] = Field(
        description="hinge on the hardest negative, or negatives drawn by distance"
    )
    margin: float = Field(gt=0, description="margin of the triplets")
    sphere: int = Field(ge=2, description="dimension that the weights of distances are for (distance_weighted)")
    cutoff: float = Field(gt=0, le=2, description="distance from which negatives are not drawn (distance_weighted)")
    reduction: Reduction = Field(description="over the triplets of a batch")


class QueueParameters(Section):
    """Queues of embeddings by a slow twin of the encoders as further negatives (AAHR, after MoCo)."""

    start: Start = Field(
        description="first training step with the term; below 1, a share of all steps; the queues fill from the first"
    )
    weight: float = Field(gt=0, description="weight of the term")
    size: int = Field(ge=1, description="embeddings in each of the two queues")
    momentum: float = Field(ge=0, lt=1, description="share of itself that the twin keeps in a step")
    temperature: float = Field(gt=0, description="temperature of the softmax")
    query: Vectors = Field(
        description="what is compared with the queues: embeddings, or pooled tokens before the gate (similarity aahr)"
    )
    mask_same: bool = Field(description="captions and copies of the same image in a queue are no negatives")
    margin: float = Field(
        ge=0,
        description="added to the similarity of a queued negative, as far as the loss leaves it one; 0 = what the loss "
        "relaxes is a weight",
    )


class Additions(Section):
    """Further terms and inputs, each under its name."""

    words: WordsParameters | None = Field(default=None, description="words by a text encoder that is trained, too")
    prototypes: PrototypesParameters | None = Field(default=None, description="soft positives by shared prototypes")
    graph: GraphParameters | None = Field(default=None, description="relations within a batch, by an instance graph")
    queue: QueueParameters | None = Field(default=None, description="negatives beyond the batch, from a slow twin")
    descriptions: DescriptionsParameters | None = Field(
        default=None, description="descriptions of the images (stage `describe`) as further knowledge of them"
    )
