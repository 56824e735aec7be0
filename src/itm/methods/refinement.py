"""What descriptiveness changes of the negatives of a batch: their margin, their weight, or their label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from itm.config.methods import DitmParameters
from itm.methods.blocks.gates import gate_of
from itm.methods.blocks.noise import pair_noise
from itm.methods.blocks.relevance import absolute_margin, relaxed_margin, score_difference, soft_relevance
from itm.methods.interface import Labels


@dataclass(frozen=True)
class Evidence:
    """What is known of each pair (images, texts). difference: dn of the caption minus dn of the image, -1..1.
    gate: relevance, 0..1."""

    difference: Tensor
    gate: Tensor


@dataclass(frozen=True)
class Refinement:
    """What a refinement makes of the pairs of a batch; all (images, texts), None = as without refinement.

    margin: of each negative. weight: 0..1 of each negative. relevance: 0..1 of each unlabelled pair, for soft
    targets. pseudo: bool,
    unlabelled pairs that count as positives. relaxed: bool, pairs that are changed in any way (of labelled pairs it
    says nothing).
    """

    margin: Tensor | None = None
    weight: Tensor | None = None
    relevance: Tensor | None = None
    label_weight: Tensor | None = None
    pseudo: Tensor | None = None
    relaxed: Tensor | None = None

    def relaxed_share(self, positives: Tensor) -> float:
        """The share of unlabelled pairs that are changed (0 where there is no such pair)."""
        if self.relaxed is None or positives.all():
            return 0.0
        return self.relaxed[~positives].float().mean().item()


def evidence(options: DitmParameters, labels: Labels, texts: Tensor | None) -> Evidence:
    """The evidence of a batch; `texts` are its embedded captions, needed for the text_cosine gate only."""
    return Evidence(score_difference(labels.score, labels.image_score), gate_of(options.gate, labels, texts))


def refine(options: DitmParameters, labels: Labels, found: Evidence, step: int) -> Refinement:
    """What `options.refinement` makes of a batch; the step decides what negative_sampling leaves out."""
    kind = options.refinement
    if kind == "none" or (kind == "soft_targets" and options.soft_weight == 0 and options.label_slope == 0):
        return Refinement()
    if kind in ("soft_targets", "masked", "pseudo_positives"):
        relevance = relevance_of(options, found)
        likely = (relevance > 0) & ~labels.positives
        if kind == "soft_targets":
            weight = 1 + options.label_slope * labels.score if options.label_slope else None
            return Refinement(relevance=relevance, label_weight=weight, relaxed=relevance > 0)
        if kind == "masked":
            return Refinement(weight=(~likely).to(relevance.dtype), relaxed=likely)
        return Refinement(pseudo=likely, relaxed=likely)
    if kind in ("relative_margin", "absolute_margin"):
        margin = kept(options, labels, found, options.margin)
        return Refinement(margin=margin, relaxed=margin < options.margin)
    share = kept(options, labels, found, 1.0)
    if kind == "negative_sampling":
        if labels.image_rows is None or labels.text_rows is None:
            raise ValueError("negative_sampling needs Labels.image_rows and Labels.text_rows")
        stays = pair_noise(step, labels.image_rows, labels.text_rows) < share
        return Refinement(weight=stays.to(share.dtype), relaxed=~stays)
    return Refinement(weight=share, relaxed=share < 1)


def relevance_of(options: DitmParameters, found: Evidence) -> Tensor:
    """The graded relevance (images, texts), 0..1, of unlabelled pairs; by the gate alone without `direction`."""
    difference = found.difference if options.direction else torch.zeros_like(found.difference)
    return soft_relevance(difference, found.gate, options.soft_threshold)


def kept(options: DitmParameters, labels: Labels, found: Evidence, whole: float) -> Tensor:
    """What is left (images, texts) of `whole`, the margin or weight of a negative.

    The gate-only control (no `direction`) relaxes by relevance alone, as if every caption were the most generic one.
    """
    if options.refinement == "absolute_margin":
        score = labels.score if options.direction else torch.zeros_like(labels.score)
        return absolute_margin(score, found.gate, whole, options.margin_floor)
    difference = found.difference if options.direction else torch.full_like(found.difference, -1)
    return relaxed_margin(difference, found.gate, whole, options.margin_width, options.margin_floor)
