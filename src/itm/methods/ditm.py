"""`ditm`: descriptiveness refines false negatives and orders an image's captions (after Jang, Lee, Sohn 2025).

The paper is withdrawn and has no code. What is public (its abstract, a teaser figure, an excerpt that names the
triplet loss) fixes the ideas but no equation; every formula here is inferred and is an option of `DitmParameters`.
"""

from __future__ import annotations

from torch import Tensor

from itm.config.methods import DitmParameters
from itm.config.model import EmbeddingParameters
from itm.methods.blocks.heads import TwoHeads
from itm.methods.blocks.hinge import symmetric_hinge
from itm.methods.blocks.info_nce import Temperature, graded_targets, soft_cross_entropy, symmetric_info_nce
from itm.methods.blocks.order import order_hinge, radius
from itm.methods.blocks.relevance import gate_of, relaxed_margin, score_difference, soft_relevance
from itm.methods.interface import Context, Embedded, Labels, Losses, Requirements, Term


class Ditm(TwoHeads):
    """Two heads; a matching term refined by descriptiveness, and order terms over an image's captions."""

    def __init__(
        self, parameters: DitmParameters, embedding: EmbeddingParameters, image_width: int, text_width: int
    ) -> None:
        super().__init__(embedding, image_width, text_width)
        self.options = parameters
        self.temperature = Temperature(parameters.temperature, parameters.learn_temperature)
        ordered = parameters.order_weight > 0 or parameters.radius_weight > 0
        self.requires = Requirements(
            containment=parameters.gate == "containment" and parameters.refinement != "none",
            root=parameters.radius_weight > 0,
            captions_per_image=2 if ordered else 1,
        )

    def losses(self, images: Embedded, texts: Embedded, labels: Labels, context: Context) -> Losses:
        """The matching term and, after the warm-up, the order terms that have a weight."""
        options = self.options
        refined = context.epoch >= options.warmup_epochs
        similarities = self.score(images, texts)
        losses = self._matching(similarities, labels, refined)
        if refined and options.order_weight > 0:
            own = similarities[labels.owner, range(len(labels.owner))]
            value = order_hinge(own, labels.score, labels.owner, options.order_margin, options.order_gap)
            losses.terms["order"] = Term(value, options.order_weight)
        if refined and options.radius_weight > 0:
            if context.root is None:
                raise ValueError("the radial order term needs Context.root")
            radii = radius(texts.embedding, context.root.embedding)
            value = order_hinge(radii, labels.score, labels.owner, options.radius_margin, options.order_gap)
            losses.terms["radius"] = Term(value, options.radius_weight)
        return losses

    def _matching(self, similarities: Tensor, labels: Labels, refined: bool) -> Losses:
        options, positives = self.options, labels.positives
        if options.refinement == "relative_margin":
            if not refined:
                return Losses({"hinge": Term(symmetric_hinge(similarities, positives, options.margin, "mean"))})
            margin = self.margins(similarities, labels)
            value = symmetric_hinge(similarities, positives, margin, options.mining)
            share = (margin[~positives] < options.margin).float().mean().item()
            return Losses({"hinge": Term(value)}, {"relaxed_share": share})
        logits = self.temperature(similarities)
        figures = {"temperature": self.temperature.value()}
        if options.refinement == "none" or not refined or options.soft_weight == 0:
            return Losses({"info_nce": Term(symmetric_info_nce(logits, positives))}, figures)
        relevance = self.relevance(similarities, labels)
        images_to_texts = soft_cross_entropy(logits, graded_targets(positives, relevance, options.soft_weight))
        texts_to_images = soft_cross_entropy(logits.T, graded_targets(positives.T, relevance.T, options.soft_weight))
        figures["relaxed_share"] = (relevance[~positives] > 0).float().mean().item()
        return Losses({"soft_targets": Term((images_to_texts + texts_to_images) / 2)}, figures)

    def relevance(self, similarities: Tensor, labels: Labels) -> Tensor:
        """The graded relevance (images, texts), 0..1, of unlabelled pairs."""
        return soft_relevance(*self._difference_and_gate(similarities, labels), self.options.soft_threshold)

    def margins(self, similarities: Tensor, labels: Labels) -> Tensor:
        """The margin (images, texts), at most m0, of each negative pair."""
        options = self.options
        delta, gate = self._difference_and_gate(similarities, labels)
        if not options.direction:
            # the gate-only control relaxes by relevance alone, as if every caption were the most generic one
            delta = delta - 1
        return relaxed_margin(delta, gate, options.margin, options.margin_width, options.margin_floor)

    def _difference_and_gate(self, similarities: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
        gate = gate_of(self.options.gate, labels.containment, similarities.detach())
        delta = score_difference(labels.score, labels.image_score)
        return (delta if self.options.direction else delta * 0), gate

    def after_step(self) -> None:
        """Keep the temperature in its range."""
        self.temperature.clamp()
