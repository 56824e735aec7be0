"""Losses over the logits of a batch: InfoNCE with many positives, cross-entropy with graded targets, sigmoid."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Temperature(nn.Module):
    """A positive temperature, trained in the log of its inverse as CLIP does (Radford et al. 2021, section 2.5).

    The inverse never exceeds 100.
    """

    def __init__(self, initial: float, learn: bool) -> None:
        super().__init__()
        self.log_inverse = nn.Parameter(torch.tensor(math.log(1 / initial)), requires_grad=learn)

    def forward(self, similarities: Tensor) -> Tensor:
        """Similarities divided by the temperature."""
        return similarities * self.log_inverse.exp()

    @torch.no_grad()
    def clamp(self) -> None:
        """Keep the temperature at or above 0.01."""
        self.log_inverse.clamp_(max=math.log(100))

    def value(self) -> float:
        """The temperature as a number."""
        return math.exp(-self.log_inverse.item())


def info_nce(logits: Tensor, positives: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean InfoNCE loss of all positive pairs, seen from the rows.

    -log( exp(l_ip) / (exp(l_ip) + sum over negatives n of i of W_in exp(l_in)) ), averaged over the positives of a
    row and then over the rows (van den Oord et al. 2018, eq. 4, for each positive by itself): other positives of
    the row are neither pulled down nor counted as negatives. Peers that label the diagonal only (open_clip's loss)
    treat an image's other captions as negatives. A row without a positive counts as 0, as does one without negatives.

    Args:
        logits: (rows, columns) float.
        positives: (rows, columns) bool.
        weight: (rows, columns) float 0..1, share of each negative in the denominator; None = 1 everywhere.

    >>> logits = torch.tensor([[2.0, 2.0, 0.0]])
    >>> round(info_nce(logits, torch.tensor([[True, True, False]])).item(), 6) == round(math.log(1 + math.exp(-2)), 6)
    True
    """
    if weight is None:
        against = logits.masked_fill(positives, -torch.inf)
    else:
        # filled, not added: the gradient of a row without any negative must be 0, not 0 x infinity
        against = (logits + weight.log()).masked_fill(positives | (weight == 0), -torch.inf)
    negatives = torch.logsumexp(against, dim=1, keepdim=True)
    pair_losses = torch.nn.functional.softplus(negatives - logits)  # log(1 + exp(negatives - logit))
    labelled = positives.to(logits.dtype)
    weights = labelled / labelled.sum(1, keepdim=True).clamp(min=1)
    return (torch.where(positives, pair_losses, 0) * weights).sum(1).mean()


def symmetric_info_nce(logits: Tensor, positives: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean of the image-to-text and the text-to-image InfoNCE loss; one weight matrix serves both directions."""
    turned = None if weight is None else weight.T
    return (info_nce(logits, positives, weight) + info_nce(logits.T, positives.T, turned)) / 2


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy -sum_j y_ij log softmax(l_i)_j over rows; `targets` rows sum to 1.

    >>> round(soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]])).item(), 6)
    0.693147
    """
    # as targets sum to 1, log softmax need not be spread over all pairs
    return (torch.logsumexp(logits, dim=1) - (targets * logits).sum(1)).mean()


def graded_targets(positives: Tensor, relevance: Tensor, weight: float, counted: Tensor | None = None) -> Tensor:
    """Target distributions of the rows: (1 - weight) on the labelled positives, weight by relevance.

    y = (1 - eps) * w P / sum(w P) + eps * r / sum(r), with r set to w on labelled positives (docs: ditm, soft
    targets; inferred, no published formula). Shapes (rows, columns); every row of the result sums to 1. `counted`:
    w, positive, for each column; None = 1.

    >>> graded_targets(torch.tensor([[True, False]]), torch.tensor([[0.0, 1.0]]), 0.5).tolist()
    [[0.75, 0.25]]
    """
    labelled = _labelled(positives, relevance, counted)
    relevance = torch.where(positives, labelled, relevance)
    hard = labelled / labelled.sum(1, keepdim=True)
    return (1 - weight) * hard + weight * relevance / relevance.sum(1, keepdim=True)


def added_targets(positives: Tensor, relevance: Tensor, weight: float, counted: Tensor | None = None) -> Tensor:
    """Target distributions of the rows: w for each labelled positive, weight x relevance for every other pair, scaled.

    y = t / sum(t), t = w on labelled positives and eps * r elsewhere (inferred, no published formula): with many
    relevant pairs the labels of a row keep less than in `graded_targets`, with w = 1 never less than each of the
    others. Shapes (rows, columns). `counted`: w, positive, for each column; None = 1.

    >>> relevance = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    >>> added_targets(torch.tensor([[True, False, False]]), relevance, 0.25).tolist()
    [[0.8, 0.2, 0.0]]
    >>> added_targets(torch.tensor([[True, False, True]]), relevance, 0.5, torch.tensor([1.0, 1.0, 2.5])).tolist()
    [[0.25, 0.125, 0.625]]
    """
    values = torch.where(positives, _labelled(positives, relevance, counted), weight * relevance)
    return values / values.sum(1, keepdim=True)


def _labelled(positives: Tensor, like: Tensor, counted: Tensor | None) -> Tensor:
    """w on labelled positives, 0 elsewhere."""
    labelled = positives.to(like.dtype)
    return labelled if counted is None else labelled * counted.to(like.dtype)


def sigmoid_loss(logits: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of all pairs, summed over a row and averaged over rows (SigLIP, Zhai et al. 2023).

    sum_j y_ij softplus(-l_ij) + W_ij (1 - y_ij) softplus(l_ij). With y of 0 and 1 this is SigLIP's loss for any
    number of positives; its bias must be part of the logits. No softmax, so pairs do not compete with each other.

    Args:
        logits: (rows, columns) float.
        targets: (rows, columns) float 0..1.
        weight: (rows, columns) float 0..1, weight of the "no" part of each pair; None = 1 everywhere.

    >>> import torch
    >>> round(sigmoid_loss(torch.zeros(2, 3), torch.eye(2, 3)).item(), 6)
    2.079442
    """
    no = (1 - targets) * functional.softplus(logits)
    if weight is not None:
        no = no * weight
    return (targets * functional.softplus(-logits) + no).sum(1).mean()
