"""Parameters of the methods. An entry of `method` is one row of the results: a name, a type, its options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itm.config.base import Section


class ClipParameters(Section):
    """Symmetric InfoNCE (CLIP)."""

    type: Literal["clip"] = Field(description="which method this entry is")
    temperature: float = Field(gt=0, description="initial temperature of the softmax")
    learn_temperature: bool = Field(description="train the temperature (never below 0.01)")


class VseParameters(Section):
    """Hinge on the hardest negative (VSE++)."""

    type: Literal["vse"] = Field(description="which method this entry is")
    margin: float = Field(gt=0, description="margin of the hinge")
    mining: Literal["hardest", "sum"] = Field(description="negatives that count after the warm-up")
    warmup_epochs: int = Field(ge=0, description="first epochs with the mean over all negatives")


class DitmParameters(Section):
    """Descriptiveness-aware matching (DITM): refined false negatives and generic-to-specific order."""

    type: Literal["ditm"] = Field(description="which method this entry is")
    score: Literal["tfidf", "word_count", "shuffled", "random"] = Field(
        description="what plays the part of dn; all but tfidf are controls"
    )
    gate: Literal["containment", "none"] = Field(
        description="A9: relevance gate; containment = idf-weighted share of the caption's keywords "
        "that the image's captions hold"
    )
    direction: bool = Field(description="use the descriptiveness difference; false = gate-only control")
    refinement: Literal["relative_margin", "soft_targets", "none"] = Field(
        description="A5: what the score changes; relative_margin is a hinge, soft_targets and none are InfoNCE"
    )
    image_score: Literal["paired", "maximum", "mean"] = Field(
        description="A10: dn of an image = of the caption paired in the batch, or of all its captions"
    )
    warmup_epochs: int = Field(ge=0, description="first epochs without refinement and order terms")
    margin: float = Field(gt=0, description="m0: margin of the hinge (relative_margin)")
    mining: Literal["hardest", "sum"] = Field(
        description="A11: negatives that count after the warm-up (relative_margin)"
    )
    margin_width: float = Field(
        gt=0, description="w: score difference over which the margin falls from m0 to its floor"
    )
    margin_floor: float = Field(ge=0, le=1, description="g_min: smallest share of m0 that is left")
    temperature: float = Field(gt=0, description="initial temperature of the softmax (soft_targets, none)")
    learn_temperature: bool = Field(description="train the temperature (never below 0.01)")
    soft_weight: float = Field(ge=0, le=1, description="eps: share of the target given to relevant unlabelled pairs")
    soft_threshold: float = Field(ge=0, lt=1, description="relevance below this counts as none (soft_targets)")
    order_weight: float = Field(
        ge=0, description="lambda_ord: weight of the order term on image-text similarities; 0 = off"
    )
    order_margin: float = Field(ge=0, description="beta: order margin per unit of score difference")
    order_gap: float = Field(ge=0, description="smallest score difference that is ordered")
    radius_weight: float = Field(
        ge=0, description="weight of the order term on text radii from the empty caption; 0 = off"
    )
    radius_margin: float = Field(ge=0, description="radius margin per unit of score difference")


MethodParameters = Annotated[ClipParameters | VseParameters | DitmParameters, Field(discriminator="type")]
