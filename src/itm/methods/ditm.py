"""`ditm`: descriptiveness refines false negatives and orders an image's captions (after Jang, Lee, Sohn 2025).

The paper is withdrawn and has no code. What is public (its abstract, a teaser figure, an excerpt that names the
triplet loss) fixes the ideas but no equation; every formula here is inferred and is an option of `DitmParameters`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itm.config.methods import DitmParameters
from itm.methods.blocks.info_nce import Temperature
from itm.methods.interface import Context, Embedded, Labels, Loss, Losses, Requirements
from itm.methods.matching import Matching
from itm.methods.ordering import order_terms
from itm.methods.refinement import Refinement, evidence, refine
from itm.text.relaxation import relaxes


class DitmLoss(Loss):
    """A matching term refined by descriptiveness, and order terms over an image's captions."""

    def __init__(self, parameters: DitmParameters) -> None:
        super().__init__()
        self.options = parameters
        self.temperature = Temperature(parameters.temperature, parameters.learn_temperature)
        self.bias = nn.Parameter(torch.tensor(parameters.bias)) if parameters.base == "sigmoid" else None
        ordered = parameters.order_weight > 0 or parameters.radius_weight > 0
        self.needs_evidence = parameters.refinement != "none" or (ordered and parameters.mined_captions > 0)
        self.requires = Requirements(
            containment=parameters.gate == "containment" and self.needs_evidence,
            root=parameters.radius_weight > 0,
        )

    def losses(self, scores: Tensor, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """The matching term and, after the warm-up, the order terms that have a weight."""
        options, positives = self.options, labels.positives
        matching = Matching(options, self.logits)
        if context.epoch < options.warmup_epochs:
            losses = matching.losses(scores, positives, Refinement(), "mean")
        else:
            found = evidence(options, labels, texts.embedding) if self.needs_evidence else None
            refinement = refine(options, labels, found, context.step) if found is not None else Refinement()
            losses = matching.losses(scores, positives, refinement, options.mining)
            losses.terms |= order_terms(options, scores, texts, labels, context, found)
        if options.base != "hinge":
            losses.figures["temperature"] = self.temperature.value()
        return losses

    def negative_share(self, labels: Labels, context: Context) -> Tensor | None:
        """What the refinement leaves of unlabelled pairs: of their margin, of their weight, or 1 - relevance."""
        options = self.options
        if context.epoch < options.warmup_epochs or not relaxes(options):
            return None
        refinement = refine(options, labels, evidence(options, labels, None), context.step)
        if refinement.relevance is not None:
            return 1 - refinement.relevance
        if refinement.pseudo is not None:
            return (~refinement.pseudo).to(labels.score.dtype)
        return refinement.weight if refinement.margin is None else refinement.margin / options.margin

    def logits(self, similarities: Tensor) -> Tensor:
        """Similarities divided by the temperature, plus the bias of the sigmoid."""
        logits: Tensor = self.temperature(similarities)
        return logits if self.bias is None else logits + self.bias

    def after_step(self) -> None:
        """Keep the temperature in its range."""
        self.temperature.clamp()
