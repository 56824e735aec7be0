"""How strongly a caption may belong to an image that it was not written for."""

from __future__ import annotations

import torch
from torch import Tensor


def score_difference(score: Tensor, image_score: Tensor) -> Tensor:
    """delta_ab = dn(t_b) - dn(v_a), (images, texts) in -1..1: negative where the caption is the more generic one."""
    return score.unsqueeze(0) - image_score.unsqueeze(1)


def relaxed_margin(delta: Tensor, gate: Tensor, margin: float, width: float, floor: float) -> Tensor:
    """M_ab = m0 * (1 - gamma_ab * (1 - g(delta_ab))) with g(x) = clip(1 + x / w, g_min, 1) (DITM, inferred).

    A relevant caption (gate 1) that is more generic than the image's own (delta < 0) is likely a false negative:
    its margin shrinks; a more specific one keeps the whole margin m0. Shapes (images, texts).

    >>> delta, gate = torch.tensor([[-0.5, 0.5, -0.5]]), torch.tensor([[1.0, 1.0, 0.0]])
    >>> [round(m, 6) for m in relaxed_margin(delta, gate, 0.2, 1.0, 0.0)[0].tolist()]
    [0.1, 0.2, 0.2]
    """
    return margin * (1 - gate * (1 - (1 + delta / width).clamp(floor, 1)))


def soft_relevance(delta: Tensor, gate: Tensor, threshold: float) -> Tensor:
    """r_ab = [gamma_ab * clip(1 - delta_ab, 0, 1) - threshold]_+ / (1 - threshold), 0..1 (inferred).

    1 for a caption whose keywords all occur in the image's captions and which is no more specific than they are.

    >>> soft_relevance(torch.tensor([[-0.2, 0.25]]), torch.tensor([[1.0, 1.0]]), 0.5).tolist()
    [[1.0, 0.5]]
    """
    return (gate * (1 - delta).clamp(0, 1) - threshold).clamp(min=0) / (1 - threshold)


def gate_of(kind: str, containment: Tensor | None, like: Tensor) -> Tensor:
    """The relevance gate gamma (images, texts), 0..1: the containment, or 1 everywhere for "none"."""
    if kind == "none":
        return torch.ones_like(like)
    if containment is None:
        raise ValueError("the containment gate needs Labels.containment")
    return containment
