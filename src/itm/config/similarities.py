"""Parameters of the similarities: how features become what is compared, and how pairs are scored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itm.config.base import Section


class HeadsParameters(Section):
    """One head a tower (section `embedding`), cosine of their outputs."""

    type: Literal["heads"] = Field(description="which similarity this is")


class GpoParameters(Section):
    """Tokens pooled by a learned operator over their sorted values (VSE-infinity); cosine."""

    type: Literal["gpo"] = Field(description="which similarity this is")
    hidden: int = Field(
        ge=2, description="hidden width of the second map of image tokens, which is added to the linear"
    )
    position_width: int = Field(
        ge=2, description="width of the codes and of the recurrent layer of the pooling weights"
    )
    temperature: float = Field(gt=0, description="temperature of the pooling weights")
    drop: float = Field(ge=0, lt=1, description="chance of a token to be left out in training")


SimilarityParameters = Annotated[HeadsParameters | GpoParameters, Field(discriminator="type")]
"""Any of the similarities; `type` tells which."""
