"""The matching term of `ditm`: one of four base losses over labelled pairs, as a refinement changes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from itm.config.methods import DitmParameters
from itm.methods.blocks.hinge import Mining, symmetric_hinge
from itm.methods.blocks.info_nce import added_targets, graded_targets, soft_cross_entropy, symmetric_info_nce
from itm.methods.blocks.sigmoid import sigmoid_loss
from itm.methods.interface import Losses, Term
from itm.methods.refinement import Refinement


@dataclass(frozen=True)
class Matching:
    """The base loss of `options`; `logits` maps similarities to logits (temperature, and bias if there is one)."""

    options: DitmParameters
    logits: Callable[[Tensor], Tensor]

    def losses(self, similarities: Tensor, positives: Tensor, refinement: Refinement, mining: Mining) -> Losses:
        """The matching term, a second term for pseudo-positives, and figures to log.

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

    def _base(self, similarities: Tensor, positives: Tensor, refinement: Refinement, mining: Mining) -> Tensor:
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

    def _pseudo_positives(self, similarities: Tensor, positives: Tensor, pseudo: Tensor, mining: Mining) -> Losses:
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
