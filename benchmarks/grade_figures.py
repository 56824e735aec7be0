"""Figures of similarities and grades on a split whose truth is known, and other ways to calibrate: for grade.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from itm.data.layout import DEV_EMBEDDINGS, EMBEDDINGS, IDF
from itm.evaluation.benchmarks.cxc import select_ratings
from itm.evaluation.benchmarks.false_negatives import TRUE, order_within
from itm.evaluation.benchmarks.hierarcaps import distinct_chains
from itm.evaluation.half_truths import half_truths
from itm.evaluation.tables import Tables, read_embeddings
from itm.grading import Calibrator, fit_calibrator
from itm.grading.texts import describe
from itm.metrics import (
    Positives,
    calibration_of,
    half_truth,
    hit_ranks,
    hit_rates,
    monotonicity,
    precision_at_r,
    rsum,
    set_f1,
    spearman,
    threshold_curve,
)
from itm.text.tables import read_idf

Doubles = NDArray[np.float64]
Figures = dict[str, Doubles]
"""By name: one value, or one an image, caption, chain or rated pair."""
RECALL_AT = (1, 5, 10)


class Split:
    """What is known of a split: owners, d, levels, truth, half-truths, ratings and chains."""

    def __init__(self, project: Path, name: str) -> None:
        self.tables = Tables(project / "data/clean", project / "data/scored", name)
        if not self.tables.has_truth:
            raise SystemExit(f"{project}: the exact truth of its {name} split is not known; run the preset `scenes`")
        self.name, self.file = name, DEV_EMBEDDINGS if name == "dev" else EMBEDDINGS
        self.images = self.tables.images["image_id"]
        self.owners, self.d = self.tables.owners, self.tables.descriptiveness
        self.level = self.tables.captions["level"].astype(np.float64)
        self.truth = self.tables.grades == TRUE
        self.true = Positives.from_mask(self.truth)
        self.answers = Positives.from_owners(self.owners, len(self.images))
        self.idf = read_idf(project / f"data/scored/{IDF}")

    @cached_property
    def half(self):
        return half_truths(self.tables.texts, self.owners, self.truth)

    @cached_property
    def rated(self):
        return select_ratings(self.tables.ratings, "sits", self.tables.captions["caption_id"], self.images)

    @cached_property
    def chains(self) -> tuple[NDArray, NDArray, NDArray, Doubles]:
        """The image of each chain, its four texts, ids and d of the texts."""
        image_ids, chains, text_ids = distinct_chains(self.tables.hierarchies, self.images)
        text = dict(zip(self.tables.hierarchies["text_id"], self.tables.hierarchies["text"], strict=True))
        return image_ids, chains, text_ids, describe([text[one] for one in text_ids], self.idf)

    @cached_property
    def words(self) -> Doubles:
        return np.array([len(text.split()) for text in self.tables.texts], dtype=np.float64)


class Scores(NamedTuple):
    """Similarities of a model on a split: all pairs, and images of chains with texts of chains."""

    s: Doubles
    chains: Doubles | None

    @classmethod
    def read(cls, folder: Path, split: Split, lift: float = 0.0) -> Scores:
        """`lift` is added where a caption is true: for a small run, whose models have learnt nothing."""
        found = read_embeddings(folder, split.file)
        everything = slice(None), slice(None), np.float64
        s = found.scorer(split.images, split.tables.captions["row"]).block(*everything).astype(np.float64)
        s += lift * split.truth
        if split.name == "dev":
            return cls(s, None)
        image_ids, _, text_ids, _ = split.chains
        return cls(s, found.scorer(np.unique(image_ids), text_ids).block(*everything).astype(np.float64))


@dataclass(frozen=True)
class Ranking:
    """Scores of all pairs under one rule: the similarity itself, or a grade."""

    pairs: Doubles
    chains: Doubles | None = None

    @classmethod
    def graded(cls, scores: Scores, split: Split, calibrator: Calibrator, specificity: float) -> Ranking:
        chains = None if scores.chains is None else calibrator.grade(scores.chains, split.chains[3], specificity)
        return cls(calibrator.grade(scores.s, split.d, specificity), chains)


def compromise(ranking: Ranking, split: Split) -> Figures:
    """The three between which the specificity chooses: mAP@R and order by image, RSUM."""
    own = ranking.pairs[split.owners, np.arange(len(split.owners))]
    rates = (hit_rates(hit_ranks(each, one), RECALL_AT) for each, one in _both_ways(ranking.pairs, split.answers))
    return {
        "i2t": precision_at_r(ranking.pairs, split.true).map_at_r,
        "order": order_within(split.owners, own, split.level, len(split.images)),
        "rsum": np.array(rsum(*rates)),
    }


def _both_ways(pairs: Doubles, answers: Sequence[Positives]):
    return (pairs, answers[0]), (pairs.T, answers[1])


def ranked(ranking: Ranking, split: Split) -> Figures:
    """All that a ranking of pairs can be asked for."""
    pairs, half, rated = ranking.pairs, split.half, split.rated
    found = compromise(ranking, split) | {"ap": np.array(threshold_curve(pairs, split.truth).average_precision)}
    found["t2i"] = precision_at_r(pairs.T, Positives.from_mask(split.truth.T)).map_at_r
    if len(half.images):
        right = half_truth(pairs[half.images, half.true], pairs[half.images, half.half_true])
        asked = np.bincount(half.images, minlength=len(pairs))
        share = np.bincount(half.images, right, len(pairs)) / np.maximum(asked, 1)
        found["half"] = np.where(asked > 0, share, np.nan)
    if len(rated):
        found["rated"] = pairs[rated.second, rated.first]
    image_ids, chains, _, _ = split.chains
    distinct, owner = np.unique(image_ids, return_inverse=True)
    if ranking.chains is not None:
        image = np.repeat(owner, chains.shape[1])
        own = Positives.from_pairs(image, chains.ravel(), ranking.chains.shape)
        found["chain_map"] = precision_at_r(ranking.chains, own).map_at_r
        rise = monotonicity(ranking.chains[image, chains.ravel()].reshape(chains.shape))
        count = np.bincount(owner, minlength=len(distinct))
        found["chain_rising"] = np.bincount(owner, rise.rising, len(distinct)) / count
        found["chain_pearson"] = np.bincount(owner, np.nan_to_num(rise.pearson), len(distinct)) / count
    return found


def stated(p: Doubles, split: Split) -> Figures:
    """What P(true) says, against the truth."""
    overall = calibration_of(p, split.truth)
    return {
        "ece": np.array(overall.ece),
        "brier": ((p - split.truth) ** 2).mean(axis=1),
        "f1": set_f1(p, split.truth),
        "pairs": np.array(p.sum() / split.truth.sum()),
        "counts": p.sum(axis=0),
    }


def multiplicity(counts: Doubles, split: Split) -> float:
    return spearman(counts, split.truth.sum(axis=0)) if np.ptp(counts) > 0 else float("nan")


# Other calibrators


def fitted(scores: Scores, split: Split, anchor: float, d: Doubles | None = None) -> Calibrator:
    described = split.d if d is None else d
    return fit_calibrator(scores.s, split.owners, described, model="", idf="", anchor=anchor)


def of_fewer(scores: Scores, split: Split, anchor: float, images: int) -> Calibrator:
    """Fitted on some of the images, drawn at random, and their captions."""
    kept = np.sort(np.random.default_rng(0).choice(len(split.images), images, replace=False))
    captions = np.isin(split.owners, kept)
    s, owners = scores.s[np.ix_(kept, captions)], np.searchsorted(kept, split.owners[captions])
    return fit_calibrator(s, owners, split.d[captions], model="", idf="", anchor=anchor)


def told(scores: Scores, split: Split, like: Calibrator) -> Calibrator:
    """The ceiling of these features: the same surface fitted on which pairs are true, and the real prior."""
    logit = _surface(scores.s, split.d, split.truth, like.low, like.high, _hats(like.knots), len(like.ratio))
    near = _hats(like.knots)(split.d)
    prior = np.log(near.T @ split.truth.mean(axis=0) / near.sum(axis=0))
    log_p = -np.logaddexp(0.0, -logit)
    # the calibrator caps what it adds up (`soft_cap`): this is that function's inverse
    return Calibrator(like.low, like.high, like.knots, log_p - 0.0025 / log_p - prior, prior, "", "")


def plain(scores: Scores, split: Split, like: Calibrator) -> Calibrator:
    """A logit of four numbers, 1, s, d and s x d, in place of the surface; anchored at the same similarities."""
    own = np.zeros(scores.s.shape, dtype=bool)
    own[split.owners, np.arange(len(split.owners))] = True
    ends = like.knots[[0, -1]] if len(like.knots) > 1 else like.knots
    corners = _surface(scores.s, split.d, own, like.low, like.high, _hats(ends), 2, every_own=True)
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
