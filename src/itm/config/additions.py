"""Parameters of what can be added to any method; what is not named is not there."""

from __future__ import annotations

from pydantic import Field

from itm.config.base import Section
from itm.config.describe import DescriptionsParameters


class Additions(Section):
    """Further terms and inputs, each under its name."""

    descriptions: DescriptionsParameters | None = Field(
        default=None, description="descriptions of the images (stage `describe`) as further knowledge of them"
    )
