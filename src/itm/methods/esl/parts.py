"""The blocks of ESL from their parameters."""

from __future__ import annotations

from itm.config.similarities import EslParameters
from itm.methods.esl.correspondence import Contribution, Correspondence
from itm.methods.esl.pyramid import Pyramid, level_sizes


def pyramids(options: EslParameters, dimension: int) -> tuple[Pyramid, Pyramid]:
    """The pyramids of images and of texts, which share no parameter."""
    sizes = level_sizes(dimension, options.levels)
    return Pyramid(sizes, options.mask, options.tanh), Pyramid(sizes, options.mask, options.tanh)


def correspondence(options: EslParameters, dimension: int) -> Correspondence:
    """The bilinear forms of all levels and their contributions."""
    sizes = level_sizes(dimension, options.levels)
    contribution = Contribution(
        len(sizes),
        start=options.degree_start,
        sparse=options.sparse,
        threshold=options.threshold,
        sigma=options.threshold_start,
        log_tau=options.sharpness_start,
    )
    return Correspondence(sizes, options.form, contribution)
