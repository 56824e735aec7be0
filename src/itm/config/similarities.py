"""Parameters of the similarities: vectors from features, and numbers from pairs of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itm.config.base import Section

Norm = Literal["layer_norm", "batch_norm"]
Mask = Literal["heuristic", "adaptive"]
Chain = Literal["unit", "raw"]
Form = Literal["identity", "layer_norm"]
Threshold = Literal["raw", "sigmoid"]


class SimilaritySection(Section):
    """What every similarity has."""

    @property
    def needs_tokens(self) -> bool:
        """Whether pooled features are not enough."""
        return False


class HeadsParameters(SimilaritySection):
    """One head a tower (section `embedding`), cosine of their outputs."""

    type: Literal["heads"] = Field(description="which similarity this is")


class EslParameters(SimilaritySection):
    """What both forms of ESL share: pyramids of mixed dimensions, and forms that compare them level by level."""

    mask: Mask = Field(
        description="which two units of the level below a unit mixes: neighbours, by one filter a level; or those that "
        "a trained matrix weighs highest"
    )
    levels: int = Field(ge=0, le=16, description="most levels above the raw one; each halves the width, down to 2")
    text_chain: Chain = Field(
        description="what a text's next level is made of: the level at unit length (as an image's), or as it was mixed "
        "(as published)"
    )
    tanh: bool = Field(description="tanh of the mixed units, before they get unit length")
    form: Form = Field(
        description="bilinear form of a level: a free matrix that starts as the identity, or a random one kept at "
        "mean 0 and variance 1"
    )
    sparse: bool = Field(
        description="sharpen the levels' contributions around a threshold; false = p alone weighs them"
    )
    degree_start: float = Field(gt=0, description="initial p, the contribution of the raw level")
    degree_shares: Literal["equal", "width"] = Field(
        description="initial p of the other levels: that of the raw one, or its share of the raw level's width"
    )
    threshold: Threshold = Field(
        description="how the trained sigma places the threshold between the least and the largest |p| (sparse)"
    )
    threshold_start: float = Field(description="initial sigma, before the sigmoid if there is one (sparse)")
    sharpness_start: float = Field(description="initial log tau: how fast contributions grow with |p| (sparse)")


class EslGlobalParameters(EslParameters):
    """ESL on pooled features: an inner product of two stacked vectors."""

    type: Literal["esl_global"] = Field(description="which similarity this is")


class EslTokenParameters(EslParameters):
    """ESL on tokens: every word with every region, then attention both ways."""

    type: Literal["esl_token"] = Field(description="which similarity this is")
    hidden: int = Field(ge=0, description="width of the network beside the regions' linear map; 0 = that map alone")
    norm: Norm = Field(description="normalisation inside that network; batch_norm counts real regions only")
    drop_regions: float = Field(ge=0, lt=1, description="share of an image's tokens left out at random in training")
    drop_words: float = Field(ge=0, lt=1, description="share of a text's tokens left out at random in training")
    attention_temperature: float = Field(gt=0, description="initial temperature of the attention, trained")

    @property
    def needs_tokens(self) -> bool:
        """Words and regions are tokens."""
        return True


class AahrParameters(SimilaritySection):
    """Tokens pooled under the guidance of the whole and fused with it by a gate (AAHR); inner product."""

    type: Literal["aahr"] = Field(description="which similarity this is")
    image_hidden: int = Field(
        ge=0, description="width of a second, deeper map of image tokens; 0 = the linear one only"
    )
    text_hidden: int = Field(ge=0, description="the same for words")
    norm: Norm = Field(description="normalisation inside the deeper maps; batch_norm (as published) counts real tokens")
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

    @property
    def needs_tokens(self) -> bool:
        """The pooling is over tokens."""
        return True


class GpoParameters(SimilaritySection):
    """Tokens pooled by a learned operator over their sorted values (VSE-infinity), or their mean; cosine."""

    type: Literal["gpo"] = Field(description="which similarity this is")
    pooling: Literal["learned", "mean"] = Field(
        description="learned weights of the sorted values, or the mean of the tokens (VSE++ on regions)"
    )
    hidden: int = Field(
        ge=2, description="hidden width of the second map of image tokens, which is added to the linear"
    )
    norm: Norm = Field(description="normalisation inside that map; batch_norm (as published) counts real regions only")
    position_width: int = Field(
        ge=2, description="width of the codes and of the recurrent layer of the pooling weights"
    )
    temperature: float = Field(gt=0, description="temperature of the pooling weights")
    drop: float = Field(ge=0, lt=1, description="chance of a token to be left out in training")

    @property
    def needs_tokens(self) -> bool:
        """The pooling is over tokens."""
        return True


SimilarityParameters = Annotated[
    HeadsParameters | EslGlobalParameters | EslTokenParameters | AahrParameters | GpoParameters,
    Field(discriminator="type"),
]
"""Any of the similarities; `type` tells which."""
