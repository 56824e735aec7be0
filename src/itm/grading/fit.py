"""The fit of a calibrator: own pairs against a sample of all pairs, by a logistic regression that rises with s.

The logit is a surface over (s, d), straight between knots, whose heights at the knots are fitted. It rises with s
everywhere exactly when each height is above the one before it: bounds on increments, which L-BFGS-B keeps, and no
penalty that could be outvoted. (An I-spline of order one in s times hat functions in d, with positive coefficients.)
Roughness costs: squared second differences of the heights, in s and in d (P-splines, Eilers and Marx 1996), so that
regions without pairs go on straight. On captions of the scenes ten times more or less of either penalty, or twice or
half the knots, moves the log loss of other pairs by less than 3 %; leaving d out costs 2 to 15 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itm.errors import DataError, first_few
from itm.grading.calibrator import Calibrator
from itm.metrics.scorer import Scorer, as_scorer

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Doubles = NDArray[np.float64]
ANCHOR = 0.9
"""Quantile of the own similarities (at each d) at which a caption counts as certainly true."""
CAPTIONS, IMAGES = 10_000, 40
"""Most captions that are looked at, and most images that each is compared with."""
_CELLS, _PARTS = 32, 8
_KNOTS, _CAPTIONS_PER_KNOT = 7, 50
_LEAST_RISE = 1e-3
_ROUGH_IN_S, _ROUGH_IN_D, _STEEP = 10.0, 0.3, 0.01
_DIGITS = 6


class Sample(NamedTuple):
    """Similarities and descriptiveness of each caption's own pair, and of pairs drawn from all."""

    own: Doubles
    """[captions]"""
    any: Doubles
    """[captions, images a caption]"""
    d: Doubles
    """[captions]"""


def fit_calibrator(
    scores: Scorer | ArrayLike,
    owners: ArrayLike,
    descriptiveness: ArrayLike,
    *,
    model: str,
    idf: str,
    anchor: float = ANCHOR,
    seed: int = 0,
) -> Calibrator:
    """The calibrator of a model, from pair labels alone: which image each caption was written for.

    Own pairs are told from pairs of the caption with random images, all captions weighing the same. The logit, plus
    the log of how many random pairs there are to an own one, is r(s, d) = log p(s | own, d) / p(s | any, d). The
    prior log pi(d) = -r(a(d), d) puts P = 1 at a(d), the quantile `anchor` of own similarities at d: the largest
    prior for which P <= 1 there. So pi and P are upper bounds where false pairs reach a(d) as well; a higher
    anchor is less generous, and noisier.

    Choose nothing on the pairs that are reported later: fit on dev.

    Args:
        scores: similarities of images (rows) and captions (columns), a scorer or the matrix.
        owners: [captions] int, the row of each caption's image.
        descriptiveness: [captions] d.
        model: what made the similarities (`itm.vectors.pipeline.model_hash` for a model of this project).
        idf: hash of the idf table behind d.
        anchor: between 0 and 1.
        seed: of the sample of pairs, where not all are looked at.

    Raises:
        DataError: shapes do not fit, a value is not finite, there are fewer than two images or captions, all
            similarities are equal, or own pairs are no more similar than others.
    """
    scorer = as_scorer(scores)
    owner, d = _checked(scorer, owners, descriptiveness, anchor)
    sample = _sample(scorer, owner, d, seed)
    low, high = _range(sample)
    knots = _knots(sample.d)
    ratio = _fit(sample, low, high, knots)
    log_prior = _log_prior(sample, low, high, knots, ratio, anchor)
    facts = {
        "images": scorer.shape[0],
        "captions": scorer.shape[1],
        "pairs": int(sample.own.size + sample.any.size),
        "anchor": anchor,
        "seed": seed,
    }
    return Calibrator(low, high, knots, ratio, log_prior, model, idf, facts)


def _checked(
    scorer: Scorer, owners: ArrayLike, descriptiveness: ArrayLike, anchor: float
) -> tuple[NDArray[np.int64], Doubles]:
    images, captions = scorer.shape
    owner, d = np.asarray(owners), np.asarray(descriptiveness, dtype=np.float64)
    if owner.shape != (captions,) or d.shape != (captions,):
        raise DataError(
            f"grade: {owner.shape} owners and {d.shape} values of descriptiveness for {captions} captions; one each",
            reason="shape",
        )
    if images < 2 or captions < 2:
        raise DataError(
            f"grade: {images} images and {captions} captions; with fewer than two of each there is nothing to compare",
            reason="too-few",
        )
    if not np.issubdtype(owner.dtype, np.integer) or owner.min() < 0 or owner.max() >= images:
        raise DataError(f"grade: owners must be rows 0..{images - 1} of the images", reason="owners")
    bad = np.flatnonzero(~np.isfinite(d))
    if len(bad):
        raise DataError(
            f"grade: the descriptiveness of {len(bad)} of {captions} captions is NaN or infinite"
            f" (captions {first_few(bad)})",
            reason="not-finite",
        )
    if not 0 < anchor < 1:
        raise DataError(f"grade: anchor {anchor}; expected a quantile between 0 and 1", reason="anchor")
    return owner.astype(np.int64), d


def _sample(scorer: Scorer, owner: NDArray[np.int64], d: Doubles, seed: int) -> Sample:
    """Own pairs of some captions, and each of these with all images, or with random ones where these are many."""
    images, captions = scorer.shape
    rng = np.random.default_rng(seed)
    chosen = np.arange(captions)
    if captions > CAPTIONS:
        chosen = np.sort(rng.choice(captions, CAPTIONS, replace=False))
    if images <= IMAGES:
        others = np.broadcast_to(np.arange(images), (len(chosen), images))
    else:
        others = rng.integers(images, size=(len(chosen), IMAGES))
    columns = np.broadcast_to(chosen[:, None], others.shape)
    own = scorer.exact(owner[chosen], chosen)
    compared = scorer.exact(others.ravel(), columns.ravel()).reshape(others.shape)
    for name, values in (("own pairs", own), ("pairs", compared)):
        bad = int(values.size - np.isfinite(values).sum())
        if bad:
            raise DataError(
                f"grade: the similarity of {bad} of {values.size} {name} is NaN or infinite", reason="not-finite"
            )
    return Sample(own, compared, d[chosen])


def _range(sample: Sample) -> tuple[float, float]:
    """The similarities that the surface covers: nearly all of the sample, and a tenth more on both sides.

    Raises:
        DataError: similarities tell nothing.
    """
    low, high = (float(value) for value in (sample.any.min(), max(sample.any.max(), sample.own.max())))
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        raise DataError(
            f"grade: all similarities are equal ({low:.6g}): the model has collapsed, nothing can be calibrated",
            reason="collapsed",
        )
    better = (sample.own[:, None] > sample.any).mean() + (sample.own[:, None] == sample.any).mean() / 2
    chance = 0.5 + 2 / np.sqrt(12 * len(sample.own))
    if better <= chance:
        raise DataError(
            f"grade: a caption's own image is more similar than a random one in {better:.0%} of {sample.any.size}"
            f" comparisons; above {chance:.0%} is needed to tell them apart. Do the ids of images and captions belong"
            " together?",
            reason="no-better-than-chance",
        )
    low = float(np.quantile(sample.any, 0.0005))
    high = float(max(np.quantile(sample.own, 0.9995), np.quantile(sample.any, 0.9995)))
    margin = (high - low) / 10
    return low - margin, high + margin


def _knots(d: Doubles) -> Doubles:
    """Descriptivenesses between which the surface is straight: some captions' own, one for some dozens of captions."""
    count = int(np.clip(len(d) // _CAPTIONS_PER_KNOT, 1, _KNOTS))
    if count == 1:
        return np.array([np.median(d)])
    found = np.unique(np.quantile(d, np.linspace(0.01, 0.99, count), method="nearest"))
    kept = np.concatenate(([True], np.diff(found) > 1e-6 * (found[-1] - found[0])))
    return np.asarray(found[kept])


def _fit(sample: Sample, low: float, high: float, knots: Doubles) -> Doubles:
    """[S, D] the log ratio at the knots."""
    from scipy.optimize import minimize

    captions, images = sample.any.shape
    shape = (_CELLS + 1, len(knots))
    s, d = (
        np.concatenate(pair) for pair in ((sample.own, sample.any.ravel()), (sample.d, np.repeat(sample.d, images)))
    )
    design, group = _design(s, d, low, high, knots)
    back = design.T.tocsr()
    every, own = np.bincount(group), np.bincount(group[:captions], minlength=design.shape[0])

    def loss(increments: Any) -> tuple[float, Any]:
        rises: Doubles = increments.reshape(shape)
        heights = np.cumsum(rises, axis=0)
        logit = design @ heights.ravel()
        value = float(every @ np.logaddexp(0.0, logit) - own @ logit)
        slope = (back @ (every * np.exp(-np.logaddexp(0.0, -logit)) - own)).reshape(shape)
        for axis, weight in ((0, _ROUGH_IN_S), (1, _ROUGH_IN_D)):
            if shape[axis] > 2:
                bend = np.diff(heights, n=2, axis=axis)
                value += weight / 2 * float((bend**2).sum())
                padding = [(2, 2) if each == axis else (0, 0) for each in range(2)]
                slope += weight * np.diff(np.pad(bend, padding), n=2, axis=axis)  # the transposed difference
        value += _STEEP / 2 * float((rises[1:] ** 2).sum())
        gradient = np.cumsum(slope[::-1], axis=0)[::-1].copy()
        gradient[1:] += _STEEP * rises[1:]
        return value, gradient.ravel()

    start = np.full(shape, 4.0 / _CELLS)
    start[0] = -np.log(images) - 2.0
    bounds: list[tuple[float | None, None]] = [(None, None)] * shape[1]
    bounds += [(_LEAST_RISE, None)] * (_CELLS * shape[1])
    options: Any = {"maxiter": 3000, "maxfun": 6000, "maxcor": 30}
    found: Any = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    if not np.isfinite(found.x).all():
        raise DataError(f"grade: the fit failed ({found.message}); are similarities of a sane size?", reason="fit")
    rises = found.x.reshape(shape)
    rises[0] += np.log(images)  # there are `images` pairs to one own pair
    return np.asarray(np.round(np.cumsum(rises, axis=0), _DIGITS))


def _design(s: Doubles, d: Doubles, low: float, high: float, knots: Doubles) -> tuple[csr_array, NDArray[np.int64]]:
    """[groups, S x D] how much each height counts (four of them, by bilinear interpolation), and each pair's group.

    Pairs that lie in the same eighth of a cell, both ways, are one group.
    """
    from scipy.sparse import csr_array

    place = np.rint(np.clip((s - low) / (high - low), -1, 2) * _CELLS * _PARTS).astype(np.int64)
    between = np.rint(np.interp(d, knots, np.arange(len(knots))) * _PARTS).astype(np.int64)
    (place, between), group = np.unique(np.stack((place, between)), axis=1, return_inverse=True)
    row = np.clip(place // _PARTS, 0, _CELLS - 1)
    column = np.clip(between // _PARTS, 0, max(0, len(knots) - 2))
    along, across = place / _PARTS - row, between / _PARTS - column
    cells, values = [], []
    for down, down_weight in ((row, 1 - along), (row + 1, along)):
        for right, right_weight in ((column, 1 - across), (np.minimum(column + 1, len(knots) - 1), across)):
            cells.append(down * len(knots) + right)
            values.append(down_weight * right_weight)
    starts = np.arange(0, 4 * len(row) + 1, 4)
    entries = np.stack(values, axis=1).ravel(), np.stack(cells, axis=1).ravel(), starts
    return csr_array(entries, shape=(len(row), (_CELLS + 1) * len(knots))), group.ravel()


def _log_prior(sample: Sample, low: float, high: float, knots: Doubles, ratio: Doubles, anchor: float) -> Doubles:
    """[D] -r at the quantile `anchor` of the own similarities around each knot; at most 0."""
    order = np.argsort(sample.own, kind="stable")
    own = sample.own[order]
    place = np.interp(sample.d[order], knots, np.arange(len(knots)))
    prior = np.empty(len(knots))
    for knot, column in enumerate(ratio.T):
        near = np.maximum(0.0, 1 - np.abs(place - knot))
        reached = np.cumsum(near)
        middle = (reached - near / 2) / reached[-1]
        point = np.interp(anchor, middle[near > 0], own[near > 0])
        prior[knot] = -np.interp(point, np.linspace(low, high, len(column)), column)
    return np.asarray(np.round(np.minimum(prior, 0.0), _DIGITS), dtype=np.float64)
