"""A method from its parameters. Parts are imported when they are built: a run loads the code it uses."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from itm.config.losses import LossParameters
from itm.config.methods import MethodParameters
from itm.config.model import EmbeddingParameters
from itm.config.similarities import SimilarityParameters
from itm.errors import ModelError
from itm.methods.method import Addition, Loss, Method, Similarity, Widths


def build_method(parameters: MethodParameters, embedding: EmbeddingParameters, widths: Widths) -> Method:
    """A new method of the loss, similarity and additions that `parameters` name, for towers of the given widths."""
    similarity = build_similarity(parameters.similarity, embedding, widths)
    return Method(similarity, build_loss(parameters.loss), build_additions(parameters, similarity, widths))


def build_similarity(options: SimilarityParameters, embedding: EmbeddingParameters, widths: Widths) -> Similarity:
    """A new similarity with random weights, of the module of `itm.methods.similarities` that its type names."""
    found: Similarity = _part("similarities", options.type, "Similarity")(options, embedding, widths)
    return found


def build_loss(options: LossParameters) -> Loss:
    """A new loss, of the module of `itm.methods.losses` that its type names."""
    found: Loss = _part("losses", options.type, "Loss")(options)
    return found


def _part(folder: str, kind: str, suffix: str) -> Any:
    """The class of a type: `DistanceWeightedLoss` of `losses/distance_weighted.py` is "distance_weighted"."""
    name = "".join(word.capitalize() for word in kind.split("_")) + suffix
    return getattr(import_module(f"itm.methods.{folder}.{kind}"), name)


def build_additions(parameters: MethodParameters, similarity: Similarity, widths: Widths) -> dict[str, Addition]:
    """The additions that an entry of `method` asks for, by name, for a similarity with its first weights.

    Raises:
        ModelError: an addition does not go with the similarity (reason "pairwise").
    """
    found: dict[str, Addition] = {}
    added, dimension = parameters.add, similarity.width
    if added.words is not None:
        from itm.methods.additions.words import Words

        found["words"] = Words(added.words)
    if added.descriptions is not None:
        from itm.methods.additions.descriptions import Descriptions

        if similarity.kind != "dot":
            raise ModelError(
                f"add.descriptions: similarity '{parameters.similarity.type}' compares tokens, and descriptions change "
                "embeddings; use a similarity with index vectors",
                reason="pairwise",
            )
        found["descriptions"] = Descriptions(added.descriptions, widths.description_width, dimension, widths.prototypes)
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
