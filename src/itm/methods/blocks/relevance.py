"""How strongly a caption may belong to an image that it was not written for, and what that takes from a negative."""

from __future__ import annotations

from torch import Tensor


def score_difference(score: Tensor, image_score: Tensor) -> Tensor:
    """delta_ab = dn(t_b) - dn(v_a), (images, texts) in -1..1: negative where the caption is the more generic one."""
    return score.unsqueeze(0) - image_score.unsqueeze(1)


def relaxed_margin(delta: Tensor, gate: Tensor, margin: float, width: float, floor: float) -> Tensor:
    """M_ab = m0 * (1 - gamma_ab * (1 - g(delta_ab))) with g(x) = clip(1 + x / w, g_min, 1) (DITM, inferred).

    A relevant caption (gate 1) that is more generic than the image's own (delta < 0) is likely a false negative:
    its margin shrinks; a more specific one keeps the whole margin m0. Shapes (images, texts). With m0 = 1 it is
    the share of a negative that is left: a weight, or the probability to keep it.

    >>> import torch
    >>> delta, gate = torch.tensor([[-0.5, 0.5, -0.5]]), torch.tensor([[1.0, 1.0, 0.0]])
    >>> [round(m, 6) for m in relaxed_margin(delta, gate, 0.2, 1.0, 0.0)[0].tolist()]
    [0.1, 0.2, 0.2]
    """
    return margin * (1 - gate * (1 - (1 + delta / width).clamp(floor, 1)))


def absolute_margin(score: Tensor, gate: Tensor, margin: float, floor: float) -> Tensor:
    """M_ab = m0 * (1 - gamma_ab * (1 - clip(dn(t_b), g_min, 1))), (images, texts): m0 * dn(t_b) for a gate of 1.

    The caption alone decides (inferred; the reading of the teaser figure in which generic captions have many
    images): it cannot tell that one caption is a false negative of one image and a true one of another.

    >>> import torch
    >>> absolute_margin(torch.tensor([0.0, 0.5]), torch.tensor([[1.0, 1.0], [0.0, 0.0]]), 0.5, 0.0).tolist()
    [[0.0, 0.25], [0.5, 0.5]]
    """
    return margin * (1 - gate * (1 - score.clamp(floor, 1)))


def soft_relevance(delta: Tensor, gate: Tensor, threshold: float) -> Tensor:
    """r_ab = [gamma_ab * clip(1 - delta_ab, 0, 1) - threshold]_+ / (1 - threshold), 0..1 (inferred).

    1 for a caption whose keywords all occur in the image's captions and which is no more specific than they are.

    >>> import torch
    >>> soft_relevance(torch.tensor([[-0.2, 0.25]]), torch.tensor([[1.0, 1.0]]), 0.5).tolist()
    [[1.0, 0.5]]
    """
    return (gate * (1 - delta).clamp(0, 1) - threshold).clamp(min=0) / (1 - threshold)
