"""The order terms of `ditm`: an image's relevant captions ranked from generic to specific."""

from __future__ import annotations

from torch import Tensor

from itm.config.methods import DitmParameters
from itm.methods.blocks.list_order import list_order
from itm.methods.blocks.lists import Lists, own_lists, with_mined
from itm.methods.blocks.order import order_hinge, radius
from itm.methods.interface import Context, Embedded, Labels, Term
from itm.methods.refinement import Evidence


def order_terms(
    options: DitmParameters,
    similarities: Tensor,
    texts: Embedded,
    labels: Labels,
    context: Context,
    found: Evidence | None,
) -> dict[str, Term]:
    """The order terms that have a weight: "order" on similarities to the image, "radius" on distances from the root.

    Raises:
        ValueError: the radial term without `Context.root`, or mined captions without evidence.
    """
    terms = {}
    plain = options.order_form == "pairwise" and options.mined_captions == 0
    lists = None if plain else _lists(options, similarities, labels, found)

    def term(values: Tensor, margin: float, weight: float) -> Term:
        """values: one a caption, or one a pair of image and caption."""
        if lists is None:
            own = values if values.ndim == 1 else values[labels.owner, range(len(labels.owner))]
            return Term(order_hinge(own, labels.score, labels.owner, margin, options.order_gap), weight)
        listed = lists.of_texts(values) if values.ndim == 1 else lists.of_pairs(values)
        score = lists.of_texts(labels.score)
        form, gap, temperature = options.order_form, options.order_gap, options.order_temperature
        return Term(list_order(form, listed, score, lists.mask, margin, gap, temperature), weight)

    if options.order_weight > 0:
        terms["order"] = term(similarities, options.order_margin, options.order_weight)
    if options.radius_weight > 0:
        if context.root is None:
            raise ValueError("the radial order term needs Context.root")
        radii = radius(texts.embedding, context.root.embedding)
        terms["radius"] = term(radii, options.radius_margin, options.radius_weight)
    return terms


def mined(options: DitmParameters, labels: Labels, found: Evidence) -> Tensor:
    """Unlabelled pairs (images, texts) bool whose caption may join the image's relevant set: it passes the gate and
    is more generic than the image's own. A more specific one may say what the image does not show."""
    passes = (found.gate >= options.mined_threshold) & (found.difference < 0)
    return passes & ~labels.positives


def _lists(options: DitmParameters, similarities: Tensor, labels: Labels, found: Evidence | None) -> Lists:
    own = own_lists(labels.owner, len(labels.positives))
    if options.mined_captions == 0:
        return own
    if found is None:
        raise ValueError("mined captions need the evidence of the batch")
    return with_mined(own, mined(options, labels, found), similarities, options.mined_captions)
