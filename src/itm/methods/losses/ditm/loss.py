"""`ditm`: false negatives refined and an image's captions ordered by descriptiveness (after Jang, Lee, Sohn 2025).

The paper is withdrawn and has no code. What is public (its abstract, a teaser figure, an excerpt that names the
triplet loss) fixes the ideas but no equation; every formula here is inferred and is an option of
`itm.config.losses.DitmParameters`. Read on in `relaxation` (which negatives, how far) and `order`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from itm.methods.functional.hinge import symmetric_hinge
from itm.methods.functional.info_nce import (
    Temperature,
    added_targets,
    graded_targets,
    sigmoid_loss,
    soft_cross_entropy,
    symmetric_info_nce,
)
from itm.methods.losses.ditm.order import order_terms
from itm.methods.losses.ditm.relaxation import Refinement, evidence, refine
from itm.methods.method import Context, Embedded, Labels, Loss, Losses, Requirements, Term
from itm.text.relaxation import relaxes

if TYPE_CHECKING:
    from itm.config.losses import DitmParameters
    from itm.methods.functional.hinge import Negatives


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

    def losses(
        self, similarities: Tensor, images: Embedded, texts: Embedded, labels: Labels, context: Context
    ) -> Losses:
        """The matching term and, after the warm-up, the order terms that have a weight."""
        options, positives = self.options, labels.positives
        if context.epoch < options.warmup_epochs:
            losses = self.matching(similarities, positives, Refinement(), "mean")
        else:
            found = evidence(options, labels, texts.embedding) if self.needs_evidence else None
            refinement = refine(options, labels, found, context.step) if found is not None else Refinement()
            losses = self.matching(similarities, positives, refinement, options.mining)
            losses.terms |= order_terms(options, similarities, texts, labels, context, found)
        if options.base != "hinge":
            losses.figures["temperature"] = self.temperature.value()
        return losses

    def matching(self, similarities: Tensor, positives: Tensor, refinement: Refinement, mining: Negatives) -> Losses:
        """The base loss of labelled pairs as a refinement changes it, a term of pseudo-positives, figures to log.

        Args:
            similarities: (images, texts) float, -1..1.
            positives: (images, texts) bool.
            refinement: of this batch.
            mining: the negatives that count (hinge).
        """
        options = self.options
        if refinement.relevance is not None:
            losses = self._soft_targets(similarities, positives, refinement.relevance, refinement.label_weight)
        elif refinement.pseudo is None:
            losses = Losses({options.base: Term(self._base(similarities, positives, refinement, mining))})
        else:
            losses = self._pseudo_positives(similarities, positives, refinement.pseudo, mining)
        if refinement.relaxed is not None:
            losses.figures["relaxed_share"] = refinement.relaxed_share(positives)
        return losses

    def _base(self, similarities: Tensor, positives: Tensor, refinement: Refinement, mining: Negatives) -> Tensor:
        options, weight = self.options, refinement.weight
        margin = options.margin if refinement.margin is None else refinement.margin
        if options.base == "hinge":
            return symmetric_hinge(similarities, positives, margin, mining, weight)
        if options.base == "sigmoid":
            return sigmoid_loss(self.logits(similarities), positives.to(similarities.dtype), weight)
        if options.base == "additive_margin":
            # a negative must stay its margin below the positive (Wang et al. 2018, with a margin for each pair)
            similarities = torch.where(positives, similarities, similarities + margin)
        return symmetric_info_nce(self.logits(similarities), positives, weight)

    def _soft_targets(
        self, similarities: Tensor, positives: Tensor, relevance: Tensor, label_weight: Tensor | None
    ) -> Losses:
        logits, share = self.logits(similarities), self.options.soft_weight
        if self.options.base == "sigmoid":
            targets = torch.where(positives, torch.ones_like(relevance), share * relevance)
            return Losses({"soft_targets": Term(sigmoid_loss(logits, targets))})
        targets_of = added_targets if self.options.soft_mixing == "added" else graded_targets
        images_to_texts = soft_cross_entropy(logits, targets_of(positives, relevance, share, label_weight))
        texts_to_images = soft_cross_entropy(logits.T, targets_of(positives.T, relevance.T, share))
        return Losses({"soft_targets": Term((images_to_texts + texts_to_images) / 2)})

    def _pseudo_positives(self, similarities: Tensor, positives: Tensor, pseudo: Tensor, mining: Negatives) -> Losses:
        """Labelled and pseudo-positive pairs, each against what is neither."""
        neither = (~(positives | pseudo)).to(similarities.dtype)
        left = Refinement(weight=neither)
        if self.options.base == "sigmoid":
            # no other pair enters a pair's own question, so that only its "yes" is left
            extra = sigmoid_loss(self.logits(similarities), pseudo.to(similarities.dtype), torch.zeros_like(neither))
        else:
            extra = self._base(similarities, pseudo, left, mining)
        return Losses(
            {
                self.options.base: Term(self._base(similarities, positives, left, mining)),
                "pseudo_positives": Term(extra, self.options.soft_weight),
            }
        )

    def logits(self, similarities: Tensor) -> Tensor:
        """Similarities divided by the temperature, plus the bias of the sigmoid."""
        logits: Tensor = self.temperature(similarities)
        return logits if self.bias is None else logits + self.bias

    def negative_share(self, labels: Labels, context: Context) -> Tensor | None:
        """What the refinement leaves of unlabelled pairs: of their margin, of their weight, or 1 - relevance."""
        options = self.options
        if context.epoch < options.warmup_epochs or not relaxes(options):
            return None
        refinement = refine(options, labels, evidence(options, labels, None), context.step)
        if refinement.relevance is not None:
            return 1 - refinement.relevance
        if refinement.pseudo is not None:
            return (~refinement.pseudo).to(labels.descriptiveness.dtype)
        return refinement.weight if refinement.margin is None else refinement.margin / options.margin

    def after_step(self) -> None:
        """Keep the temperature in its range."""
        self.temperature.clamp()
