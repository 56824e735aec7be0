"""A method from its parameters. Parts are imported when they are built: a run loads the code it uses."""

from __future__ import annotations

from itm.config.methods import (
    ClipParameters,
    DistanceWeightedParameters,
    DitmParameters,
    MethodParameters,
    VseParameters,
)
from itm.config.model import EmbeddingParameters
from itm.config.similarities import (
    AahrParameters,
    EslGlobalParameters,
    EslTokenParameters,
    GpoParameters,
    HeadsParameters,
    SimilarityParameters,
)
from itm.errors import ModelError
from itm.methods.interface import Addition, Loss, Similarity, Widths
from itm.methods.method import Method


def build_method(parameters: MethodParameters, embedding: EmbeddingParameters, widths: Widths) -> Method:
    """A new method of the loss, similarity and additions that `parameters` name, for towers of the given widths."""
    similarity = build_similarity(parameters.similarity, embedding, widths)
    return Method(similarity, build_loss(parameters), build_additions(parameters, similarity, widths))


def build_similarity(parameters: SimilarityParameters, embedding: EmbeddingParameters, widths: Widths) -> Similarity:
    """A new similarity with random weights."""
    if isinstance(parameters, HeadsParameters):
        from itm.methods.blocks.heads import Heads

        return Heads(embedding, widths)
    if isinstance(parameters, EslGlobalParameters):
        from itm.methods.esl.whole import EslGlobal

        return EslGlobal(parameters, embedding, widths)
    if isinstance(parameters, EslTokenParameters):
        from itm.methods.esl.fragments import EslToken

        return EslToken(parameters, embedding, widths)
    if isinstance(parameters, AahrParameters):
        from itm.methods.aahr.similarity import AahrSimilarity

        return AahrSimilarity(parameters, embedding, widths)
    if isinstance(parameters, GpoParameters):
        from itm.methods.pooling import PooledTokens

        return PooledTokens(parameters, embedding, widths)
    raise TypeError(f"no similarity for {type(parameters).__name__}")


def build_loss(parameters: MethodParameters) -> Loss:
    """The loss that an entry of `method` names."""
    if isinstance(parameters, ClipParameters):
        from itm.methods.clip import ClipLoss

        return ClipLoss(parameters)
    if isinstance(parameters, VseParameters):
        from itm.methods.vse import VseLoss

        return VseLoss(parameters)
    if isinstance(parameters, DistanceWeightedParameters):
        from itm.methods.distance_weighted import DistanceWeightedLoss

        return DistanceWeightedLoss(parameters)
    if isinstance(parameters, DitmParameters):
        from itm.methods.ditm import DitmLoss

        return DitmLoss(parameters)
    raise TypeError(f"no loss for {type(parameters).__name__}")


def build_additions(parameters: MethodParameters, similarity: Similarity, widths: Widths) -> dict[str, Addition]:
    """The additions that an entry of `method` asks for, by name, for a similarity with its first weights.

    Raises:
        ModelError: an addition does not go with the similarity (reason "pairwise").
    """
    found: dict[str, Addition] = {}
    added, dimension = parameters.add, embedding_width(similarity, widths)
    if added.descriptions is not None:
        from itm.methods.additions.descriptions import Descriptions

        if similarity.kind != "dot":
            raise ModelError(
                f"add.descriptions: similarity '{parameters.similarity.type}' compares tokens, and descriptions change "
                "embeddings; use a similarity with index vectors",
                reason="pairwise",
            )
        found["descriptions"] = Descriptions(added.descriptions, widths.side, dimension, widths.prototypes)
    if added.prototypes is not None:
        from itm.methods.additions.prototypes import Prototypes

        found["prototypes"] = Prototypes(added.prototypes, dimension)
    if added.graph is not None:
        from itm.methods.additions.graph import Graph

        found["graph"] = Graph(added.graph, dimension)
    if added.queue is not None:
        from itm.methods.additions.queue import Queues

        found["queue"] = Queues(added.queue, similarity, dimension)
    return found


def embedding_width(similarity: Similarity, widths: Widths) -> int:
    """The width of the embeddings that a similarity makes, found by embedding one text of zeros."""
    import torch

    from itm.towers.base import Features

    training = similarity.training
    similarity.eval()
    with torch.no_grad():
        mask = torch.ones(1, 2, dtype=torch.bool)
        text = Features(torch.zeros(1, widths.text), torch.zeros(1, 2, widths.text_tokens), mask)
        width = similarity.encode_text(text).embedding.shape[1]
    similarity.train(training)
    return int(width)
