"""Parameters of the losses."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from itm.config.base import Section

Mining = Literal["hardest", "sum", "semi_hard"]
Reduction = Literal["sum", "mean"]
Score = Literal["tfidf", "word_count", "shuffled", "random"]
ImageScore = Literal["paired", "maximum", "mean"]
Gate = Literal["containment", "text_cosine", "none"]
OrderForm = Literal["pairwise", "ladder", "listmle", "kl"]


class LossSection(Section):
    """What every loss has."""

    @property
    def least_captions(self) -> int:
        """The fewest captions of an image that a batch must hold."""
        return 1


class ClipParameters(LossSection):
    """Symmetric InfoNCE (CLIP)."""

    type: Literal["clip"] = Field(description="which loss this is")
    temperature: float = Field(gt=0, description="initial temperature of the softmax")
    learn_temperature: bool = Field(description="train the temperature (never below 0.01)")


class VseParameters(LossSection):
    """Hinge on the hardest negative (VSE++)."""

    type: Literal["vse"] = Field(description="which loss this is")
    margin: float = Field(gt=0, description="margin of the hinge")
    mining: Mining = Field(description="negatives that count after the warm-up")
    warmup_epochs: int = Field(ge=0, description="first epochs with all negatives, by `reduction`")
    reduction: Reduction = Field(
        description="over the positive pairs of a batch, and over all negatives in the warm-up; sum (as published) "
        "makes gradients a batch times as long, so that train.gradient_clip then sets the length of most steps"
    )


class DistanceWeightedParameters(LossSection):
    """Triplets whose negatives are drawn by distance (Wu et al. 2017)."""

    type: Literal["distance_weighted"] = Field(description="which loss this is")
    margin: float = Field(gt=0, description="margin of the triplets")
    sphere: int = Field(
        ge=2, description="dimension of the sphere on which the weights of distances hold: the embedding's, by rule"
    )
    cutoff: float = Field(gt=0, le=2, description="distance from which negatives are not drawn")
    reduction: Reduction = Field(description="over the triplets of a batch")


BASES: dict[str, tuple[str, ...]] = {
    "relative_margin": ("hinge", "additive_margin"),
    "absolute_margin": ("hinge", "additive_margin"),
    "triplet_weight": ("hinge", "info_nce", "additive_margin", "sigmoid"),
    "negative_sampling": ("hinge", "info_nce", "additive_margin", "sigmoid"),
    "soft_targets": ("info_nce", "sigmoid"),
    "masked": ("hinge", "info_nce", "additive_margin", "sigmoid"),
    "pseudo_positives": ("hinge", "info_nce", "additive_margin", "sigmoid"),
    "none": ("hinge", "info_nce", "additive_margin", "sigmoid"),
}
"""The base losses that have what a refinement changes: a margin, a target, or any negatives."""


class DitmParameters(LossSection):
    """Descriptiveness-aware matching (DITM): refined false negatives and generic-to-specific order."""

    type: Literal["ditm"] = Field(description="which loss this is")
    score: Score = Field(description="what plays the part of dn; all but tfidf are controls")
    gate: Gate = Field(
        description="A9: relevance gate; containment = idf-weighted share of the caption's keywords that the image's "
        "captions hold, text_cosine (experimental) = largest cosine with the image's captions in the batch"
    )
    direction: bool = Field(description="use the descriptiveness difference; false = the gate alone refines (control)")
    base: Literal["hinge", "info_nce", "additive_margin", "sigmoid"] = Field(
        description="A13: loss of labelled pairs; experimental: additive_margin = InfoNCE with the margin added to "
        "negatives, sigmoid = SigLIP's"
    )
    refinement: Literal[
        "relative_margin",
        "absolute_margin",
        "triplet_weight",
        "negative_sampling",
        "soft_targets",
        "masked",
        "pseudo_positives",
        "none",
    ] = Field(
        description="A5: what dn changes of a negative: its margin (by the difference to the image's dn, or "
        "by its own), its weight, the chance to be left out; or, where relevance passes soft_threshold, its target, "
        "whether it counts at all, or its label"
    )
    image_score: ImageScore = Field(
        description="A10: dn of an image = of the caption paired in the batch, or of all its captions"
    )
    warmup_epochs: int = Field(ge=0, description="first epochs without refinement and order terms")
    margin: float = Field(gt=0, description="m0: margin of a negative (hinge, additive_margin)")
    mining: Mining = Field(description="A11: negatives that count after the warm-up (hinge)")
    margin_width: float = Field(
        gt=0,
        description="w: difference of dn over which a negative falls from its whole margin, weight or chance to its "
        "floor (relative_margin, triplet_weight, negative_sampling)",
    )
    margin_floor: float = Field(
        ge=0, le=1, description="g_min: smallest share of margin, weight or chance that is left"
    )
    temperature: float = Field(gt=0, description="initial temperature of the logits (all but hinge)")
    learn_temperature: bool = Field(description="train the temperature (never below 0.01)")
    bias: float = Field(description="initial bias of the logits, always trained; most pairs do not match (sigmoid)")
    soft_weight: float = Field(
        ge=0,
        le=1,
        description="eps: how much relevant unlabelled pairs count in the target (soft_targets, see soft_mixing), or "
        "weight of their term (pseudo_positives)",
    )
    soft_mixing: Literal["added", "share"] = Field(
        description="added = a pair counts eps times its relevance in a row's target, where a labelled pair counts 1; "
        "share = labelled pairs keep 1 - eps, and eps is divided by relevance (soft_targets)"
    )
    soft_threshold: float = Field(
        ge=0, lt=1, description="relevance below this counts as none (soft_targets, masked, pseudo_positives)"
    )
    label_slope: float = Field(
        ge=0,
        description="kappa: among an image's targets a labelled caption counts 1 + kappa dn, so that the one that says "
        "more comes first; 0 = all labels count alike (soft_targets, not with the base sigmoid)",
    )
    order_form: OrderForm = Field(
        description="A7: hinge on pairs with a margin by difference of dn; experimental: fixed margins between rungs, "
        "likelihood of the order, or divergence from softmax(margin * dn / temperature)"
    )
    order_weight: float = Field(
        ge=0, description="lambda_ord: weight of the order term on image-text similarities; 0 = off"
    )
    order_margin: float = Field(
        ge=0, description="beta: order margin per unit of difference of dn (ladder: of a rung; listmle: not used)"
    )
    order_gap: float = Field(ge=0, description="smallest difference of dn that is ordered")
    order_temperature: float = Field(gt=0, description="temperature of the order terms (listmle, kl)")
    radius_weight: float = Field(
        ge=0, description="weight of the order term on text radii from the empty caption; 0 = off"
    )
    radius_margin: float = Field(ge=0, description="as order_margin, for the radii")
    mined_captions: int = Field(
        ge=0,
        description="A8 (experimental): most in-batch captions that join an image's own in the order terms; 0 = its "
        "own only",
    )
    mined_threshold: float = Field(
        gt=0, le=1, description="theta: smallest gate of a mined caption, which is also more generic than the image's"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        bases = BASES[self.refinement]
        if self.base not in bases:
            raise ValueError(
                f"refinement '{self.refinement}' does not go with base '{self.base}'; it goes with {', '.join(bases)}"
            )
        if self.label_slope and self.refinement == "soft_targets" and self.base == "sigmoid":
            raise ValueError("label_slope weighs the targets of a softmax, and base 'sigmoid' has none; set it to 0")
        if self.gate == "none" and not self.direction and self.refinement not in ("none", "soft_targets"):
            raise ValueError(
                f"refinement '{self.refinement}' has nothing to go by: gate is 'none' and direction false, so that "
                "every negative would be relaxed"
            )
        ordered = {"order_margin": self.order_weight, "radius_margin": self.radius_weight}
        if self.mined_captions and not any(ordered.values()):
            raise ValueError("mined_captions join the order terms, but order_weight and radius_weight are both 0")
        if self.mined_captions and self.gate == "none":
            raise ValueError("mined_captions need a gate: with 'none' any more generic caption would be relevant")
        for margin, weight in ordered.items():
            if self.order_form == "kl" and weight and getattr(self, margin) == 0:
                raise ValueError(f"order_form 'kl' with {margin} 0 asks for equal values, not for an order; raise it")
        return self

    @property
    def least_captions(self) -> int:
        """The fewest captions of an image that a batch must hold: an order needs two."""
        return 2 if (self.order_weight or self.radius_weight) and not self.mined_captions else 1


LossParameters = Annotated[
    ClipParameters | VseParameters | DistanceWeightedParameters | DitmParameters, Field(discriminator="type")
]
"""Any of the losses; `type` tells which."""
