"""Order terms over lists of captions, one list an image: four ways to ask that values rise with descriptiveness.

All take values, score and mask (images, width): what should rise, dn, and which places are in use. Where no caption
of the batch is more descriptive than another by more than `gap`, a term is zero, with a gradient of zero. None
depends on the order inside a list.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Form = Literal["pairwise", "ladder", "listmle", "kl"]


def list_order(
    form: Form, values: Tensor, score: Tensor, mask: Tensor, margin: float, gap: float, temperature: float
) -> Tensor:
    """The order term of one of the four forms; margin and temperature as that form uses them."""
    if form == "ladder":
        return ladder(values, score, mask, margin, gap)
    if form == "listmle":
        return list_mle(values, score, mask, gap, temperature)
    if form == "kl":
        return list_kl(values, score, mask, margin, gap, temperature)
    return pairwise(values, score, mask, margin, gap)


def rises(score: Tensor, mask: Tensor, gap: float) -> Tensor:
    """(images, width, width) bool, [i, q, p]: place q is more descriptive than place p by more than `gap`."""
    both = mask.unsqueeze(2) & mask.unsqueeze(1)
    return both & (score.unsqueeze(2) - score.unsqueeze(1) > gap)


def pairwise(values: Tensor, score: Tensor, mask: Tensor, margin: float, gap: float) -> Tensor:
    """The mean of [margin * (d_q - d_p) + v_p - v_q]_+ over ordered pairs: `order_hinge` for lists.

    >>> row = lambda *numbers: torch.tensor([numbers])
    >>> round(pairwise(row(0.5, 0.4), row(0.0, 1.0), row(True, True), 0.1, 0.05).item(), 6)
    0.2
    """
    ordered = rises(score, mask, gap)
    if not ordered.any():
        return values.sum() * 0
    rise = margin * (score.unsqueeze(2) - score.unsqueeze(1)) + values.unsqueeze(1) - values.unsqueeze(2)
    return rise[ordered].clamp(min=0).mean()


def ladder(values: Tensor, score: Tensor, mask: Tensor, margin: float, gap: float) -> Tensor:
    """The mean over rungs of [margin - (least value on or above the rung) + (largest value below it)]_+.

    A rung is a caption that has less descriptive ones; the margin is fixed (after the ladder loss, Zhou et al. 2020:
    an inequality for each step of relevance, each with the hardest caption on both sides).

    >>> row = lambda *numbers: torch.tensor([numbers])
    >>> round(ladder(row(0.1, 0.5, 0.4), row(0.0, 0.5, 1.0), row(True, True, True), 0.2, 0.05).item(), 6)
    0.15
    """
    below = rises(score, mask, gap)
    rung = below.any(2)
    if not rung.any():
        return values.sum() * 0
    above = mask.unsqueeze(1) & mask.unsqueeze(2) & (score.unsqueeze(1) >= score.unsqueeze(2))
    rows = values.unsqueeze(1).expand_as(below)
    largest = rows.masked_fill(~below, -torch.inf).amax(2)[rung]
    least = rows.masked_fill(~above, torch.inf).amin(2)[rung]
    return (margin - least + largest).clamp(min=0).mean()


def list_mle(values: Tensor, score: Tensor, mask: Tensor, gap: float, temperature: float) -> Tensor:
    """The mean of -log( exp(v_q/tau) / sum of exp(v_p/tau) over q and all p with d_q - d_p > gap ) over q with such p.

    The likelihood of the order from specific to generic (ListMLE, Xia et al. 2008). Captions within `gap` of each
    other do not compete, so ties cost nothing; without ties and with gap 0 it is ListMLE itself.

    >>> row = lambda *numbers: torch.tensor([numbers])
    >>> round(list_mle(row(0.0, 0.0), row(0.0, 1.0), row(True, True), 0.05, 1.0).item(), 6)
    0.693147
    """
    below = rises(score, mask, gap)
    ordered = below.any(2)
    if not ordered.any():
        return values.sum() * 0
    itself = torch.eye(values.shape[1], dtype=torch.bool, device=values.device)
    rows = (values / temperature).unsqueeze(1).expand_as(below)[ordered]
    total = torch.logsumexp(rows.masked_fill(~(below | itself)[ordered], -torch.inf), 1)
    return (total - (values / temperature)[ordered]).mean()


def list_kl(values: Tensor, score: Tensor, mask: Tensor, margin: float, gap: float, temperature: float) -> Tensor:
    """The mean of KL( softmax(margin * d / tau) || softmax(v / tau) ) over lists with captions more than `gap` apart.

    Zero exactly where all differences of values are `margin` times those of d: this form asks for a distance, the
    others only for an order with at least some distance.

    >>> row = lambda *numbers: torch.tensor([numbers])
    >>> round(list_kl(row(0.3, 0.4), row(0.0, 1.0), row(True, True), 0.1, 0.05, 0.07).item(), 6)
    0.0
    """
    lists = rises(score, mask, gap).flatten(1).any(1)
    if not lists.any():
        return values.sum() * 0
    outside = ~mask[lists]
    wanted = _log_softmax(margin * score[lists] / temperature, outside)
    found = _log_softmax(values[lists] / temperature, outside)
    return (wanted.exp().masked_fill(outside, 0) * (wanted - found)).sum(1).mean()


def _log_softmax(logits: Tensor, outside: Tensor) -> Tensor:
    """The log of the softmax over the places in use, 0 elsewhere."""
    return torch.log_softmax(logits.masked_fill(outside, -torch.inf), 1).masked_fill(outside, 0)
