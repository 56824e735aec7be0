"""Parameters of region features that a user supplies."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from itm.config.base import Section


class RegionsParameters(Section):
    """Region features of the images (BUTD), computed by others and put into data/regions; see the page there."""

    use: bool = Field(
        description="true: images' tokens are the regions in data/regions; needs frozen towers and tokens"
    )
    pooled: Literal["towers", "mean"] = Field(
        description="what methods see of a whole image: the towers' pooled feature, or the mean of its regions"
    )
