"""The triplet loss with distance-weighted negatives: all distances are drawn about equally often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from itm.methods.functional.hinge import reduced
from itm.methods.functional.noise import pair_noise

if TYPE_CHECKING:
    from itm.config.additions import GraphParameters
    from itm.config.losses import DistanceWeightedParameters, Reduction
    from itm.methods.method import Labels

LEAST_DISTANCE = 0.5
"""Nearer negatives count as this far away: their weight would have no bound, and their gradient is noise."""


@torch.no_grad()
def log_weights(similarities: Tensor, positives: Tensor, dimension: int, cutoff: float) -> Tensor:
    """The log of each negative's chance to be drawn, up to a constant of its row; -inf for what cannot be drawn.

    log w = (2 - d) log(delta) - (d - 3) / 2 log(1 - delta^2 / 4), delta = max(sqrt(2 - 2 s), 0.5): the inverse of how
    many points of a unit sphere lie at that distance (Wu et al. 2017, section 4). Positives, and negatives at the
    cutoff or beyond, are not drawn. A row whose negatives all lie beyond the cutoff draws among them uniformly.

    Args:
        similarities: (rows, columns) cosines; what lies outside -1..1 counts as at its end.
        positives: (rows, columns) bool.
        dimension: d of the sphere, i.e. the width of the embeddings.
        cutoff: distance up to 2.

    >>> found = log_weights(torch.tensor([[1.0, 0.5, -1.0]]), torch.tensor([[True, False, False]]), 4, 1.9)
    >>> [round(value, 4) for value in found[0].tolist()]  # delta = 1: -(1 / 2) log(3 / 4)
    [-inf, 0.1438, -inf]
    """
    squared = (2 - 2 * similarities).clamp(LEAST_DISTANCE**2, 4)
    away = (1 - squared / 4).clamp(min=1e-8)
    found = (2 - dimension) / 2 * squared.log() - (dimension - 3) / 2 * away.log()
    found = found.masked_fill(positives | (squared >= cutoff**2), -torch.inf)
    lost = torch.isinf(found).all(1, keepdim=True)
    return torch.where(lost & ~positives, torch.zeros_like(found), found)


def distance_weighted(
    similarities: Tensor,
    positives: Tensor,
    margin: float,
    noise: Tensor,
    *,
    dimension: int,
    cutoff: float,
    reduction: Reduction,
) -> Tensor:
    """The sum or mean over positive pairs (i, p) of [margin + s_in - s_ip]_+, n drawn anew for each pair.

    Drawn by weight with the Gumbel-max trick, so that the draw of a pair is a function of its own numbers in `noise`,
    not of its place in the batch. No gradient through the draw. A pair without any negative counts 0.

    Args:
        similarities: (rows, columns) float.
        positives: (rows, columns) bool.
        noise: (positive pairs, columns) uniform in 0 <= x < 1, pairs in the order of `positives.nonzero()`.

    >>> row, positives, options = torch.tensor([[0.5, 0.6]]), torch.tensor([[True, False]]), {"reduction": "sum"}
    >>> value = distance_weighted(row, positives, 0.2, torch.rand(1, 2), dimension=4, cutoff=1.9, **options)
    >>> round(value.item(), 6)  # one negative only: it is drawn
    0.3
    """
    rows, columns = positives.nonzero(as_tuple=True)
    if rows.numel() == 0 or positives.all():
        return similarities.sum() * 0
    weights = log_weights(similarities.detach(), positives, dimension, cutoff)[rows]
    gumbel = -(-(noise.to(weights) + 2**-26).log()).log()
    drawn = (weights + gumbel).argmax(1)
    values = (margin + similarities[rows, drawn] - similarities[rows, columns]).clamp(min=0)
    values = torch.where(positives.all(1)[rows], values * 0, values)
    return reduced(values, reduction)


def symmetric_distance_weighted(
    similarities: Tensor,
    positives: Tensor,
    margin: float,
    *,
    step: int,
    image_rows: Tensor,
    text_rows: Tensor,
    dimension: int,
    cutoff: float,
    reduction: Reduction,
) -> Tensor:
    """`distance_weighted` from images to texts plus from texts to images.

    The draws are a fixed function of the step and of the ids of image, caption and negative (`pair_noise`), so that a
    resumed run and a batch spread over processes draw the same.

    Args:
        similarities: (images, texts) float.
        positives: (images, texts) bool.
        image_rows, text_rows: (images,), (texts,) long ids.
    """
    image, text = positives.nonzero(as_tuple=True)
    forth = pair_noise(step, _pair_ids(image_rows[image], text_rows[text]), text_rows)
    text, image = positives.T.nonzero(as_tuple=True)
    back = pair_noise(~step, _pair_ids(image_rows[image], text_rows[text]), image_rows)
    there = distance_weighted(
        similarities, positives, margin, forth, dimension=dimension, cutoff=cutoff, reduction=reduction
    )
    return there + distance_weighted(
        similarities.T, positives.T, margin, back, dimension=dimension, cutoff=cutoff, reduction=reduction
    )


def triplets(
    options: DistanceWeightedParameters | GraphParameters, similarities: Tensor, labels: Labels, step: int
) -> Tensor:
    """`symmetric_distance_weighted` of a batch, by the options of the loss or of the addition `graph`.

    Raises:
        ValueError: the labels have no ids of images and captions.
    """
    if labels.image_rows is None or labels.text_rows is None:
        raise ValueError("distance-weighted triplets need Labels.image_rows and Labels.text_rows")
    return symmetric_distance_weighted(
        similarities,
        labels.positives,
        options.margin,
        step=step,
        image_rows=labels.image_rows,
        text_rows=labels.text_rows,
        dimension=options.sphere,
        cutoff=options.cutoff,
        reduction=options.reduction,
    )


def _pair_ids(images: Tensor, texts: Tensor) -> Tensor:
    return images * 0x9E3779B1 + texts
