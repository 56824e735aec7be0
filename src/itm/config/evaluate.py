"""Parameters of the evaluation and the report."""

from __future__ import annotations

from pydantic import Field

from itm.config.base import Section


class EvaluateParameters(Section):
    """Protocol constants of the benchmarks."""

    recall_at: list[int] = Field(min_length=1, description="the K of R@K; RSUM is their sum over both directions")
    bootstrap_samples: int = Field(ge=1, description="samples of the CxC correlation bootstrap")
    hierarcaps_levels: int = Field(ge=2, description="levels of the HierarCaps traversal (50 in all published numbers)")
    seed: int = Field(ge=0, description="seed of the bootstrap samples")
    digits: int = Field(ge=1, le=10, description="decimals kept in the metrics files")


class ReportParameters(Section):
    """What the report shows."""

    examples: int = Field(ge=1, le=100, description="retrieval examples shown a method")
    title: str = Field(description="headline of the report")
    embed_photos: bool = Field(
        description="true: show photos of public data sets as thumbnails (report.html is kept in git; mind their "
        "licences); false: their ids and captions instead. The generated scenes are always shown"
    )
