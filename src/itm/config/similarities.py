"""Parameters of the similarities: how features become what is compared, and how pairs are scored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from itm.config.base import Section


class HeadsParameters(Section):
    """One head a tower (section `embedding`), cosine of their outputs."""

    type: Literal["heads"] = Field(description="which similarity this is")


SimilarityParameters = HeadsParameters
"""Any of the similarities; `type` tells which."""
