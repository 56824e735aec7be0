"""DITM's relaxation: changes to the negatives of a batch by descriptiveness, in margin, weight or label.

How far a pair is relaxed is the rule of `itm.text.relaxation`; here it meets the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from itm.methods.functional.noise import pair_noise
from itm.methods.method import Labels
from itm.text.relaxation import BY_RELEVANCE, difference, lost, relaxes, relevance

if TYPE_CHECKING:
    from itm.config.losses import DitmParameters, Gate


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
    targets. label_weight: (texts,), how much a label counts. pseudo: bool, unlabelled pairs that count as positives.
    relaxed: bool, pairs that are changed in any way (of labelled pairs it says nothing).
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
    further = difference(labels.descriptiveness, labels.image_descriptiveness)
    return Evidence(further, gate_of(options.gate, labels, texts))


def refine(options: DitmParameters, labels: Labels, found: Evidence, step: int) -> Refinement:
    """What `options.refinement` makes of a batch; the step decides what negative_sampling leaves out."""
    kind = options.refinement
    nothing = torch.zeros_like(labels.positives)
    if kind == "none":
        return Refinement()
    if not relaxes(options) and options.label_slope == 0:
        return Refinement(relaxed=nothing)
    if kind in BY_RELEVANCE:
        relevant = relevance(options, found.gate, found.difference)
        likely = (relevant > 0) & ~labels.positives
        if kind == "soft_targets":
            weight = 1 + options.label_slope * labels.descriptiveness if options.label_slope else None
            relaxed = relevant > 0 if relaxes(options) else nothing
            return Refinement(relevance=relevant, label_weight=weight, relaxed=relaxed)
        if kind == "masked":
            return Refinement(weight=(~likely).to(relevant.dtype), relaxed=likely)
        return Refinement(pseudo=likely, relaxed=likely)
    left = 1 - lost(options, found.gate, found.difference, labels.descriptiveness)
    if kind in ("relative_margin", "absolute_margin"):
        return Refinement(margin=options.margin * left, relaxed=left < 1)
    if kind == "negative_sampling":
        if labels.image_rows is None or labels.text_rows is None:
            raise ValueError("negative_sampling needs Labels.image_rows and Labels.text_rows")
        stays = pair_noise(step, labels.image_rows, labels.text_rows) < left
        return Refinement(weight=stays.to(left.dtype), relaxed=~stays)
    return Refinement(weight=left, relaxed=left < 1)


def gate_of(kind: Gate, labels: Labels, texts: Tensor | None) -> Tensor:
    """The relevance gate gamma (images, texts), 0..1, without a gradient; 1 everywhere for "none".

    Raises:
        ValueError: the gate needs `Labels.containment` or embedded texts, and there are none.
    """
    if kind == "none":
        return torch.ones_like(labels.positives, dtype=labels.descriptiveness.dtype)
    if kind == "text_cosine":
        if texts is None:
            raise ValueError("the text_cosine gate needs embedded texts")
        return text_cosine(texts, labels.owner, len(labels.positives))
    if labels.containment is None:
        raise ValueError("the containment gate needs Labels.containment")
    return labels.containment


@torch.no_grad()
def text_cosine(texts: Tensor, owner: Tensor, images: int) -> Tensor:
    """gamma_ab = the largest cosine, at least 0, of caption b with a caption of image a in the batch.

    Args:
        texts: (texts, dimension) unit vectors.
        owner: (texts,) long, the image of each caption.
        images: number of images; one without a caption has a gate of 0.

    >>> text_cosine(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), torch.tensor([0, 0, 1]), 2)[0].tolist()
    [1.0, 1.0, 0.800000011920929]
    """
    cosines = (texts @ texts.T).clamp(0, 1)
    gate = cosines.new_zeros(images, len(texts))
    return gate.scatter_reduce(0, owner.unsqueeze(1).expand_as(cosines), cosines, "amax")
