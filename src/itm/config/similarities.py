"""Parameters of the similarities: how features become what is compared, and how pairs are scored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itm.config.base import Section


class HeadsParameters(Section):
    """One head a tower (section `embedding`), cosine of their outputs."""

    type: Literal["heads"] = Field(description="which similarity this is")


class AahrParameters(Section):
    """Tokens pooled under the guidance of the whole and fused with it by a gate (AAHR); inner product."""

    type: Literal["aahr"] = Field(description="which similarity this is")
    image_hidden: int = Field(
        ge=0, description="width of a second, deeper map of image tokens; 0 = the linear one only"
    )
    text_hidden: int = Field(ge=0, description="the same for words")
    heads: int = Field(ge=1, description="heads of the transformer layer over the tokens")
    feedforward: int = Field(ge=1, description="hidden width of that layer")
    layer_dropout: float = Field(ge=0, lt=1, description="dropout of that layer")
    guided_heads: int = Field(ge=1, description="heads of the guided pooling, which are averaged")
    guided_width: int = Field(ge=0, description="width of their queries and keys; 0 = the embedding's dimension")
    guided_temperature: float = Field(gt=0, description="temperature of the guided pooling's softmax over cosines")
    guided_share: float = Field(ge=0, le=1, description="share of the guided pooling; the rest is the largest values'")
    top: int = Field(ge=1, description="largest values of each dimension that are averaged")
    token_drop: float = Field(ge=0, lt=1, description="chance of a token to be left out in training")
    normalise: bool = Field(description="unit embeddings; false = as the gate gives them")


SimilarityParameters = Annotated[HeadsParameters | AahrParameters, Field(discriminator="type")]
"""Any of the similarities; `type` tells which."""
