"""Other ways to calibrate, for what each part of the calibrator is worth: for grade.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from grade_figures import Doubles, Figures, Ranking, Similarities, Split, compromise, stated, truths
from numpy.typing import NDArray
from scipy.optimize import minimize

from itm.grading import Calibrator, fit_calibrator
from itm.metrics import precision_at_r

ANCHORS, FEWER = (0.5, 0.7, 0.9), (100, 250)
USUAL, TOLD = "as it is", "told which pairs are true"
OTHER_SCORES = {
    "d of tfidf, a document is one caption": {"document": "caption"},
    "d = number of keywords": {"kind": "keyword_count"},
    "d = expected_fit": {"kind": "expected_fit"},
}


def fitted(similarities: Similarities, split: Split, anchor: float, d: Doubles | None = None) -> Calibrator:
    described = split.d if d is None else d
    return fit_calibrator(similarities.s, split.owners, described, model="", idf="", anchor=anchor)


def of_fewer(similarities: Similarities, split: Split, anchor: float, images: int) -> Calibrator:
    """Fitted on some of the images, drawn at random, and their captions."""
    kept = np.sort(np.random.default_rng(0).choice(len(split.images), images, replace=False))
    captions = np.isin(split.owners, kept)
    s, owners = similarities.s[np.ix_(kept, captions)], np.searchsorted(kept, split.owners[captions])
    return fit_calibrator(s, owners, split.d[captions], model="", idf="", anchor=anchor)


def told(similarities: Similarities, split: Split, like: Calibrator) -> Calibrator:
    """The ceiling of these features: the same surface fitted on which pairs are true, and the real prior."""
    logit = _surface(similarities.s, split.d, split.truth, like.low, like.high, _hats(like.knots), len(like.ratio))
    near = _hats(like.knots)(split.d)
    prior = np.log(near.T @ split.truth.mean(axis=0) / near.sum(axis=0))
    log_p = -np.logaddexp(0.0, -logit)
    # the calibrator caps what it adds up (`soft_cap`): this is that function's inverse
    return Calibrator(like.low, like.high, like.knots, log_p - 0.0025 / log_p - prior, prior, "", "")


def plain(similarities: Similarities, split: Split, like: Calibrator) -> Calibrator:
    """A logit of four numbers, 1, s, d and s x d, in place of the surface; anchored at the same similarities."""
    own = np.zeros(similarities.s.shape, dtype=bool)
    own[split.owners, np.arange(len(split.owners))] = True
    ends = like.knots[[0, -1]] if len(like.knots) > 1 else like.knots
    corners = _surface(similarities.s, split.d, own, like.low, like.high, _hats(ends), 2, every_own=True)
    heights = np.stack([np.interp(like.knots, ends, row) for row in corners])
    share = np.linspace(0, 1, len(like.ratio))[:, None]
    ratio = heights[0] + share * (heights[1] - heights[0]) + np.log(len(split.images))
    place = [np.interp(-at, r, share[:, 0]) for at, r in zip(like.log_prior, like.ratio.T, strict=True)]
    reached = [np.interp(at, share[:, 0], r) for at, r in zip(place, ratio.T, strict=True)]
    return Calibrator(like.low, like.high, like.knots, ratio, np.minimum(0.0, -np.array(reached)), "", "")


def _hats(knots: Doubles) -> Callable[[Doubles], Doubles]:
    """[values, knots] shares of the knots on both sides of each value."""
    return lambda values: np.stack([np.interp(values, knots, one) for one in np.eye(len(knots))], axis=-1)


def _surface(
    s: Doubles,
    d: Doubles,
    positive: NDArray[np.bool_],
    low: float,
    high: float,
    across: Callable[[Doubles], Doubles],
    rows: int,
    every_own: bool = False,
) -> Doubles:
    """[rows, knots of d] heights of a logit that rises with s, by maximum likelihood on all pairs, in 256 x 64 cells.

    With `every_own` all pairs, the positive ones among them, stand against the positive ones.
    """
    edges = np.quantile(d, np.arange(1, 64) / 64)
    column = np.broadcast_to(np.searchsorted(edges, d), s.shape)
    row = (np.clip((s - low) / (high - low), 0, 1) * 255).round().astype(np.int64)
    cell = row * 64 + column
    yes = np.bincount(cell[positive], minlength=256 * 64).reshape(256, 64).astype(np.float64)
    every = np.bincount(cell.ravel(), minlength=256 * 64).reshape(256, 64) + (yes if every_own else 0.0)
    filled = np.bincount(column[0], minlength=64)
    middle = np.bincount(column[0], d, 64) / np.maximum(filled, 1)
    along = _hats(np.linspace(0, 255, rows))(np.arange(256.0))
    right = across(middle)
    shape = (rows, right.shape[1])

    def loss(increments: Doubles) -> tuple[float, Doubles]:
        rises = increments.reshape(shape)
        logit = along @ np.cumsum(rises, axis=0) @ right.T
        value = (every * np.logaddexp(0.0, logit) - yes * logit).sum() + 0.005 * (rises[1:] ** 2).sum()
        slope = along.T @ (every * np.exp(-np.logaddexp(0.0, -logit)) - yes) @ right
        gradient = np.cumsum(slope[::-1], axis=0)[::-1].copy()
        gradient[1:] += 0.01 * rises[1:]
        return float(value), gradient.ravel()

    start = np.full(shape, 4.0 / rows)
    start[0] = -8.0
    bounds = [(None, None)] * shape[1] + [(1e-3, None)] * (shape[1] * (rows - 1))
    done = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000})
    return np.cumsum(done.x.reshape(shape), axis=0)


def ablations(
    similarities: Similarities, dev: Split, test: Split, anchor: float, usual: Calibrator
) -> Iterator[tuple[str, Calibrator, Doubles]]:
    """Name, calibrator, and the d of the test captions that it wants; `similarities` are those of dev."""
    yield USUAL, usual, test.d
    for other in (each for each in ANCHORS if each != anchor):
        yield f"anchor {other}", fitted(similarities, dev, other), test.d
    yield "without d", fitted(similarities, dev, anchor, np.zeros_like(dev.d)), np.zeros_like(test.d)
    yield "d = number of words", fitted(similarities, dev, anchor, dev.words), test.words
    for name, options in OTHER_SCORES.items():
        yield name, fitted(similarities, dev, anchor, dev.described(options)), test.described(options)
    yield "logit of 1, s, d, s x d", plain(similarities, dev, usual), test.d
    for images in (each for each in FEWER if each < len(dev.images)):
        yield f"fitted on {images} images of {len(dev.images)}", of_fewer(similarities, dev, anchor, images), test.d
    yield TOLD, told(similarities, dev, usual), test.d
    yield "d = -log of the real share of images", fitted(similarities, dev, anchor, dev.surprisal), test.surprisal


def ablation(
    dev_similarities: Similarities,
    test_similarities: Similarities,
    dev: Split,
    test: Split,
    anchor: float,
    usual: Calibrator,
    chosen: float,
) -> dict[str, Figures]:
    """On test, truth at specificity 0, order and RSUM at the chosen one."""
    found: dict[str, Figures] = {}
    for name, calibrator, d in ablations(dev_similarities, dev, test, anchor, usual):
        log_p = calibrator.grade(test_similarities.s, d)
        found[name] = compromise(Ranking(log_p - chosen * calibrator.log_prior_of(d)), test)
        found[name] |= truths(Ranking(log_p), test) | stated(np.exp(log_p), test)
        found[name]["i2t"] = precision_at_r(log_p, test.true).map_at_r
    return found
