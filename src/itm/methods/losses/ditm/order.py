"""DITM's order: values of an image's captions that rise with their descriptiveness, from generic to specific.

The values are similarities to the image, or distances from the empty caption. A list holds the captions that are
ranked for one image: its own, and mined ones of other images in the batch. All forms take values, dn and mask
(images, width): what should rise, with what, and which places are in use. Where no caption of the batch is more
descriptive than another by more than `gap`, a term is zero, with a gradient of zero. None depends on the order inside
a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from itm.methods.losses.ditm.relaxation import Evidence
from itm.methods.method import Context, Embedded, Labels, Term

if TYPE_CHECKING:
    from itm.config.losses import DitmParameters, OrderForm


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
    terms: dict[str, Term] = {}
    if not (options.order_weight > 0 or options.radius_weight > 0):
        return terms
    lists = _lists(options, similarities, labels, found)
    dn = lists.of_texts(labels.descriptiveness)

    def term(values: Tensor, margin: float, weight: float) -> Term:
        form, gap, temperature = options.order_form, options.order_gap, options.order_temperature
        return Term(list_order(form, values, dn, lists, margin, gap, temperature), weight)

    if options.order_weight > 0:
        terms["order"] = term(lists.of_pairs(similarities), options.order_margin, options.order_weight)
    if options.radius_weight > 0:
        if context.root is None:
            raise ValueError("the radial order term needs Context.root")
        radii = radius(texts.embedding, context.root.embedding)
        terms["radius"] = term(lists.of_texts(radii), options.radius_margin, options.radius_weight)
    return terms


def radius(texts: Tensor, root: Tensor) -> Tensor:
    """Euclidean distance (texts,) of unit text vectors from the unit vector of the empty caption, 0..2.

    Computed as sqrt(2 - 2 cos) with a floor inside the root, so that its gradient stays finite at the root itself.
    """
    return (2 - 2 * (texts * root).sum(-1)).clamp(min=1e-8).sqrt()


def mined(options: DitmParameters, labels: Labels, found: Evidence) -> Tensor:
    """Unlabelled pairs (images, texts) bool whose caption may join the image's relevant set: it passes the gate and
    is more generic than the image's own. A more specific one may say what the image does not show."""
    passes = (found.gate >= options.mined_threshold) & (found.difference < 0)
    return passes & ~labels.positives


@dataclass(frozen=True)
class Lists:
    """One list an image, padded. index: (images, width) long, rows of texts. mask: (images, width) bool, in use."""

    index: Tensor
    mask: Tensor

    def of_texts(self, values: Tensor) -> Tensor:
        """The values (images, width) of the listed captions, from one value a caption (texts,)."""
        return values[self.index]

    def of_pairs(self, values: Tensor) -> Tensor:
        """The values (images, width) of the listed captions, from one value a pair (images, texts)."""
        return values.gather(1, self.index)


def _lists(options: DitmParameters, similarities: Tensor, labels: Labels, found: Evidence | None) -> Lists:
    own = own_lists(labels.owner, len(labels.positives))
    if options.mined_captions == 0:
        return own
    if found is None:
        raise ValueError("mined captions need the evidence of the batch")
    return with_mined(own, mined(options, labels, found), similarities, options.mined_captions)


def own_lists(owner: Tensor, images: int) -> Lists:
    """The captions that were drawn for each image.

    >>> lists = own_lists(torch.tensor([1, 0, 1]), 2)
    >>> lists.index.tolist(), lists.mask.tolist()
    ([[1, 0], [0, 2]], [[True, False], [True, True]])
    """
    counts = torch.bincount(owner, minlength=images)
    order = torch.argsort(owner, stable=True)
    place = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner[order]]
    index = owner.new_zeros(images, int(counts.max()))
    index[owner[order], place] = order
    return Lists(index, torch.arange(index.shape[1], device=owner.device) < counts.unsqueeze(1))


def with_mined(own: Lists, candidates: Tensor, similarities: Tensor, limit: int) -> Lists:
    """Own captions, and after them the `limit` captions of `candidates` that are most similar to
    each image (fewer where there are fewer). candidates: (images, texts) bool, must hold none of the own.
    similarities: (images, texts).

    >>> own = own_lists(torch.tensor([0, 1, 1]), 2)
    >>> mined = with_mined(own, torch.tensor([[False, True, True], [False] * 3]), torch.tensor([[0, 1, 2.0]] * 2), 1)
    >>> mined.index[0][mined.mask[0]].tolist(), mined.index[1][mined.mask[1]].tolist()
    ([0, 2], [1, 2])
    """
    among = similarities.detach().masked_fill(~candidates, -torch.inf)
    best = among.topk(min(limit, among.shape[1]), dim=1)
    return Lists(torch.cat([own.index, best.indices], 1), torch.cat([own.mask, best.values > -torch.inf], 1))


def list_order(
    form: OrderForm, values: Tensor, dn: Tensor, lists: Lists, margin: float, gap: float, temperature: float
) -> Tensor:
    """The order term of one of the four forms; margin and temperature as that form uses them."""
    if form == "ladder":
        return ladder(values, dn, lists.mask, margin, gap)
    if form == "listmle":
        return list_mle(values, dn, lists.mask, gap, temperature)
    if form == "kl":
        return list_kl(values, dn, lists.mask, margin, gap, temperature)
    return pairwise(values, dn, lists, margin, gap)


def rises(dn: Tensor, mask: Tensor, gap: float) -> Tensor:
    """(images, width, width) bool, [i, q, p]: place q is more descriptive than place p by more than `gap`."""
    both = mask.unsqueeze(2) & mask.unsqueeze(1)
    return both & (dn.unsqueeze(2) - dn.unsqueeze(1) > gap)


def pairwise(values: Tensor, dn: Tensor, lists: Lists, margin: float, gap: float) -> Tensor:
    """The mean of [margin * (d_q - d_p) + v_p - v_q]_+ over an image's caption pairs with d_q - d_p > gap.

    With v = similarity to the image this is the cross-modal generic-to-specific term (DITM, inferred; the shape
    follows the ladder loss, Zhou et al. 2020); with v = distance from the empty caption it is its radial form. Pairs
    are added up in the order of the batch, whatever the lists' is.

    >>> row = lambda *numbers: torch.tensor([numbers])
    >>> round(pairwise(row(0.5, 0.4), row(0.0, 1.0), own_lists(torch.tensor([0, 0]), 1), 0.1, 0.05).item(), 6)
    0.2
    """
    image, specific, generic = rises(dn, lists.mask, gap).nonzero(as_tuple=True)
    if image.numel() == 0:
        return values.sum() * 0
    rows = lists.index[image, generic] * (int(lists.index.max()) + 1) + lists.index[image, specific]
    order = torch.argsort(rows, stable=True)
    image, specific, generic = image[order], specific[order], generic[order]
    rise = margin * (dn[image, specific] - dn[image, generic])
    return (rise + values[image, generic] - values[image, specific]).clamp(min=0).mean()


def ladder(values: Tensor, dn: Tensor, mask: Tensor, margin: float, gap: float) -> Tensor:
    """The mean over rungs of [margin - (least value on or above the rung) + (largest value below it)]_+.

    A rung is a caption that has less descriptive ones; the margin is fixed (after the ladder loss, Zhou et al. 2020:
    an inequality for each step of relevance, each with the hardest caption on both sides).

    >>> row = lambda *numbers: torch.tensor([numbers])
    >>> round(ladder(row(0.1, 0.5, 0.4), row(0.0, 0.5, 1.0), row(True, True, True), 0.2, 0.05).item(), 6)
    0.15
    """
    below = rises(dn, mask, gap)
    rung = below.any(2)
    if not rung.any():
        return values.sum() * 0
    above = mask.unsqueeze(1) & mask.unsqueeze(2) & (dn.unsqueeze(1) >= dn.unsqueeze(2))
    rows = values.unsqueeze(1).expand_as(below)
    largest = rows.masked_fill(~below, -torch.inf).amax(2)[rung]
    least = rows.masked_fill(~above, torch.inf).amin(2)[rung]
    return (margin - least + largest).clamp(min=0).mean()


def list_mle(values: Tensor, dn: Tensor, mask: Tensor, gap: float, temperature: float) -> Tensor:
    """The mean of -log( exp(v_q/tau) / sum of exp(v_p/tau) over q and all p with d_q - d_p > gap ) over q with such p.

    The likelihood of the order from specific to generic (ListMLE, Xia et al. 2008). Captions within `gap` of each
    other do not compete, so ties cost nothing; without ties and with gap 0 it is ListMLE itself.

    >>> row = lambda *numbers: torch.tensor([numbers])
    >>> round(list_mle(row(0.0, 0.0), row(0.0, 1.0), row(True, True), 0.05, 1.0).item(), 6)
    0.693147
    """
    below = rises(dn, mask, gap)
    ordered = below.any(2)
    if not ordered.any():
        return values.sum() * 0
    itself = torch.eye(values.shape[1], dtype=torch.bool, device=values.device)
    rows = (values / temperature).unsqueeze(1).expand_as(below)[ordered]
    total = torch.logsumexp(rows.masked_fill(~(below | itself)[ordered], -torch.inf), 1)
    return (total - (values / temperature)[ordered]).mean()


def list_kl(values: Tensor, dn: Tensor, mask: Tensor, margin: float, gap: float, temperature: float) -> Tensor:
    """The mean of KL( softmax(margin * d / tau) || softmax(v / tau) ) over lists with captions more than `gap` apart.

    Zero exactly where all differences of values are `margin` times those of d: this form asks for a distance, the
    others only for an order with at least some distance.

    >>> row = lambda *numbers: torch.tensor([numbers])
    >>> round(list_kl(row(0.3, 0.4), row(0.0, 1.0), row(True, True), 0.1, 0.05, 0.07).item(), 6)
    0.0
    """
    lists = rises(dn, mask, gap).flatten(1).any(1)
    if not lists.any():
        return values.sum() * 0
    outside = ~mask[lists]
    wanted = _log_softmax(margin * dn[lists] / temperature, outside)
    found = _log_softmax(values[lists] / temperature, outside)
    return (wanted.exp().masked_fill(outside, 0) * (wanted - found)).sum(1).mean()


def _log_softmax(logits: Tensor, outside: Tensor) -> Tensor:
    """The log of the softmax over the places in use, 0 elsewhere."""
    return torch.log_softmax(logits.masked_fill(outside, -torch.inf), 1).masked_fill(outside, 0)
