"""What descriptiveness changes of the negatives of a batch: their margin, their weight, or their label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from itm.config.methods import DitmParameters
from itm.methods.blocks.gates import gate_of
from itm.methods.blocks.noise import pair_noise
from itm.methods.interface import Labels
from itm.text.relaxation import BY_RELEVANCE, difference, lost, relaxes, relevance


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
    return Evidence(difference(labels.score, labels.image_score), gate_of(options.gate, labels, texts))


def refine(options: DitmParameters, labels: Labels, found: Evidence, step: int) -> Refinement:
    """What `options.refinement` makes of a batch; the step decides what negative_sampling leaves out."""
    kind = options.refinement
    nothing = torch.zeros_like(labels.positives)
    if not relaxes(options) and (kind == "none" or options.label_slope == 0):
        return Refinement(relaxed=None if kind == "none" else nothing)
    if kind in BY_RELEVANCE:
        relevant = relevance(options, found.gate, found.difference)
        likely = (relevant > 0) & ~labels.positives
        if kind == "soft_targets":
            weight = 1 + options.label_slope * labels.score if options.label_slope else None
            relaxed = relevant > 0 if relaxes(options) else nothing
            return Refinement(relevance=relevant, label_weight=weight, relaxed=relaxed)
        if kind == "masked":
            return Refinement(weight=(~likely).to(relevant.dtype), relaxed=likely)
        return Refinement(pseudo=likely, relaxed=likely)
    left = 1 - lost(options, found.gate, found.difference, labels.score)
    if kind in ("relative_margin", "absolute_margin"):
        return Refinement(margin=options.margin * left, relaxed=left < 1)
    if kind == "negative_sampling":
        if labels.image_rows is None or labels.text_rows is None:
            raise ValueError("negative_sampling needs Labels.image_rows and Labels.text_rows")
        stays = pair_noise(step, labels.image_rows, labels.text_rows) < left
        return Refinement(weight=stays.to(left.dtype), relaxed=~stays)
    return Refinement(weight=left, relaxed=left < 1)
