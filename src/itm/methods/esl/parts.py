"""The blocks of ESL from their parameters."""

from __future__ import annotations

from itm.config.similarities import EslParameters
from itm.methods.esl.correspondence import Contribution, Correspondence
from itm.methods.esl.pyramid import Pyramid, level_sizes


def pyramids(options: EslParameters, dimension: int) -> tuple[Pyramid, Pyramid]:
    """The pyramids of images and of texts, which share no parameter."""
    sizes = level_sizes(dimension, options.levels)
    return Pyramid(sizes, options.mask, options.tanh), Pyramid(sizes, options.mask, options.tanh)


def starts(options: EslParameters, sizes: list[int]) -> list[float]:
    """The contribution that each level starts with.

    Unit vectors of d units agree by chance by about 1 / sqrt(d), so that equal contributions (as published) let the
    coarse levels drown the raw one until training has faded them. In proportion to the width (ours) they start faint.
    """
    if options.degree_shares == "equal":
        return [options.degree_start] * len(sizes)
    return [options.degree_start * size / sizes[0] for size in sizes]


def correspondence(options: EslParameters, dimension: int) -> Correspondence:
    """The bilinear forms of all levels and their contributions."""
    sizes = level_sizes(dimension, options.levels)
    contribution = Contribution(
        starts(options, sizes),
        sparse=options.sparse,
        threshold=options.threshold,
        sigma=options.threshold_start,
        log_tau=options.sharpness_start,
    )
    return Correspondence(sizes, options.form, contribution)
