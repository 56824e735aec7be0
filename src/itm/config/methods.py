"""Parameters of a method: a loss, a similarity, any additions, each a type or name with its own options."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from itm.config.additions import Additions
from itm.config.base import Section
from itm.config.losses import DitmParameters, LossParameters
from itm.config.model import SelectBy
from itm.config.similarities import SimilarityParameters


class RecipeParameters(Section):
    """What an entry trains with in place of the sections `embedding` and `train`; absent = as they say."""

    dimension: int | None = Field(default=None, ge=2, description="in place of embedding.dimension")
    epochs: int | None = Field(default=None, ge=1, description="in place of train.epochs")
    batch_images: int | None = Field(default=None, ge=2, description="in place of train.batch_images")
    captions_per_image: int | None = Field(default=None, ge=1, description="in place of train.captions_per_image")
    decay_epochs: list[int] | None = Field(default=None, description="in place of train.decay_epochs")
    select_by: SelectBy | None = Field(default=None, description="in place of train.select_by")


class MethodParameters(Section):
    """An entry of `method`: one row of the results."""

    loss: LossParameters = Field(description="what is minimised: a type and its options")
    similarity: SimilarityParameters = Field(description="how pairs are compared: a type and its options")
    add: Additions = Field(description="additions by name, each with its options; {} = none")
    recipe: RecipeParameters | None = Field(default=None, description="what this entry alone trains with")

    @property
    def needs_tokens(self) -> bool:
        """Whether pooled features are not enough."""
        return self.similarity.needs_tokens

    @property
    def heads(self) -> dict[str, int]:
        """Numbers of attention heads that must divide the embedding's dimension, by key."""
        found = {"similarity.heads": self.similarity.heads} if self.similarity.type == "aahr" else {}
        return found | ({} if self.add.graph is None else {"add.graph.heads": self.add.graph.heads})

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        local = [
            f"add.{name}.{key}: local"
            for name, key in (("graph", "nodes"), ("queue", "query"))
            if (options := getattr(self.add, name)) is not None and getattr(options, key) == "local"
        ]
        if self.similarity.type != "aahr" and (local or self.add.graph is not None):
            raise ValueError(
                f"{local[0] if local else 'add.graph'} needs the pooled tokens of similarity 'aahr'; this entry has "
                f"'{self.similarity.type}'"
            )
        return self

    @model_validator(mode="after")
    def _gated(self) -> Self:
        if isinstance(self.loss, DitmParameters) and self.loss.gate == "text_cosine" and self.add.queue is not None:
            raise ValueError(
                "loss.gate 'text_cosine' compares the captions of a batch, and add.queue has others; use 'containment'"
            )
        return self

    @model_validator(mode="after")
    def _described(self) -> Self:
        added = self.add.descriptions
        if added is not None and added.fusion == "only" and self.similarity.type not in ("heads", "gpo"):
            raise ValueError(
                "add.descriptions.fusion 'only' compares vectors by cosine, and similarity "
                f"'{self.similarity.type}' does not"
            )
        return self


def has_old_form(entry: Any) -> bool:
    """Whether an entry is of before 0.1: its loss is a name, and the options of the loss lie beside it."""
    return isinstance(entry, dict) and isinstance(entry.get("loss"), str)


def renewed(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of the old form in the present one.

    >>> renewed({"loss": "clip", "temperature": 0.07, "similarity": {"type": "heads"}, "add": {}})
    {'loss': {'type': 'clip', 'temperature': 0.07}, 'similarity': {'type': 'heads'}, 'add': {}}
    """
    options = {key: value for key, value in entry.items() if key not in ("loss", "similarity", "add")}
    parts: dict[str, Any] = {key: entry[key] for key in ("similarity", "add") if key in entry}
    return {"loss": {"type": entry["loss"], **options}, **parts}
