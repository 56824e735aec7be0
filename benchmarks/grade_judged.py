"""Scores and probabilities of pairs against what people say of them: for grade_photos.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from grade_figures import Doubles, Split
from numpy.typing import NDArray

from itm.evaluation.benchmarks.cxc import select_ratings
from itm.metrics import Calibration, Comparison, calibration_by, calibration_of

GROUPS, BINS, SAMPLES = 4, 10, 1000


@dataclass(frozen=True)
class Kind:
    """A kind of judgement: its name, Kendall's tau that is usual for it, and what in it is a probability."""

    title: str
    variant: str
    own: bool
    """Whether pairs of an image with its own caption count."""
    says_true: str
    highest: float | None = None
    """The judgement that says "true"; where None, the judgement is a share of yes itself, up to `top`."""
    top: float = 1.0


KINDS = {
    "expert": Kind("Expert", "c", False, "judgements that say 4, no error", highest=4.0),
    "crowdflower": Kind("CrowdFlower", "b", True, "yes votes"),
    "sits": Kind("SITS", "b", True, "the rating / 5", top=5.0),
}


@dataclass(frozen=True, eq=False)
class Judged:
    """Judgements of pairs of a split, one row each."""

    kind: Kind
    images: NDArray[np.int64]
    captions: NDArray[np.int64]
    rating: Doubles
    d: Doubles

    @property
    def true(self) -> Doubles:
        """How true people say that each pair is, 0..1."""
        if self.kind.highest is not None:
            return np.asarray(self.rating == self.kind.highest, dtype=np.float64)
        return np.asarray(self.rating / self.kind.top)

    @property
    def base(self) -> float:
        """The Brier score of saying the mean of every pair."""
        return float(self.true.var())


def judged(split: Split) -> dict[str, Judged]:
    """What people (or, of scenes, the logic) say of pairs of the split."""
    found = {}
    for name, kind in KINDS.items():
        of = select_ratings(split.tables.ratings, name, split.tables.captions["caption_id"], split.images)
        kept = (split.owners[of.first] != of.second) | kind.own
        if kept.any():
            images, captions = of.second[kept], of.first[kept]
            found[name] = Judged(kind, images, captions, of.score[kept], split.d[captions])
    return found


def taus(scores: Sequence[Doubles], among: Judged) -> Doubles:
    """[seeds] Kendall's tau of each seed's scores with the judgements."""
    every = np.ones(len(among.rating))
    return np.array([weighted_tau(*_cells(one, among.rating), every, among.kind.variant) for one in scores])


def compare_taus(second: Sequence[Doubles], first: Sequence[Doubles], among: Judged, seed: int = 0) -> Comparison:
    """Tau of `second` less that of `first`: a bootstrap over images and seeds, in which the two stay paired.

    p is twice the smaller share of samples on either side of zero, one more counted on each.
    """
    both = [[_cells(one, among.rating) for one in scores] for scores in (first, second)]
    _, member = np.unique(among.images, return_inverse=True)
    images, seeds = int(member.max()) + 1, len(first)
    rng = np.random.default_rng(seed)
    differences = np.empty(SAMPLES)
    for sample in range(SAMPLES):
        weight = np.bincount(rng.integers(images, size=images), minlength=images)[member].astype(np.float64)
        drawn = int(rng.integers(seeds))
        of = [weighted_tau(*cells[drawn], weight, among.kind.variant) for cells in both]
        differences[sample] = of[1] - of[0]
    low, high = np.quantile(differences, [0.025, 0.975])
    gain, spread = float(np.mean(taus(second, among) - taus(first, among))), float(differences.std())
    sides = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    p = min(1.0, 2 * (1 + sides) / (1 + SAMPLES))
    return Comparison(gain, float(low), float(high), p, "bootstrap", gain / spread if spread else 0.0, images)


Cells = tuple[NDArray[np.int64], tuple[int, int]]


def _cells(scores: Doubles, rating: Doubles) -> Cells:
    """Each pair's cell in a table of distinct scores and distinct judgements."""
    row, column = (np.unique(each, return_inverse=True)[1] for each in (scores, rating))
    shape = int(row.max()) + 1, int(column.max()) + 1
    return row * shape[1] + column, shape


def weighted_tau(cell: NDArray[np.int64], shape: tuple[int, int], weight: Doubles, variant: str) -> float:
    """Kendall's tau-b or tau-c (`itm.metrics.kendall`) of a sample that holds pair i weight[i] times."""
    table = np.bincount(cell, weight, shape[0] * shape[1]).reshape(shape)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    under = np.cumsum(table, axis=0) - table
    less = np.cumsum(under, axis=1) - under
    more = under.sum(axis=1, keepdims=True) - under - less
    excess = float((table * (less - more)).sum())
    count = float(weight.sum())
    if variant == "c":
        fewest = min(int((rows > 0).sum()), int((columns > 0).sum()))
        return 2 * excess * fewest / (count**2 * (fewest - 1)) if fewest > 1 else float("nan")
    apart = [(count * (count - 1) - float((each * (each - 1)).sum())) / 2 for each in (rows, columns)]
    return excess / float(np.sqrt(apart[0] * apart[1])) if min(apart) > 0 else float("nan")


@dataclass(frozen=True, eq=False)
class Group:
    """Pairs of one range of descriptiveness; each figure of every seed."""

    d: float
    stated: Doubles
    """Mean P."""
    ece: Doubles
    brier: Doubles
    true: float
    """How true people say the pairs are, on average."""


def reliability_by(stated: Sequence[Doubles], among: Judged) -> list[Group]:
    """All pairs, and then each quarter by descriptiveness."""
    runs = [
        [(float(among.d.mean()), calibration_of(p, among.true, BINS)), *calibration_by(among.d, p, among.true, GROUPS)]
        for p in stated
    ]
    return [
        Group(
            group[0][0],
            np.array([_mean(found, 0) for _, found in group]),
            np.array([found.ece for _, found in group]),
            np.array([found.brier for _, found in group]),
            _mean(group[0][1], 1),
        )
        for group in zip(*runs, strict=True)
    ]


def _mean(found: Calibration, column: int) -> float:
    return float(found.bins[:, column] @ found.bins[:, 2] / found.bins[:, 2].sum())


def curve(stated: Sequence[Doubles], among: Judged) -> list[tuple[float, float, float]]:
    """Of each tenth of P that is filled: mean P, how true people say it is, share of the pairs; of all seeds."""
    found = calibration_of(np.concatenate(stated), np.tile(among.true, len(stated)), BINS).bins
    return [(float(p), float(true), float(count / found[:, 2].sum())) for p, true, count in found]
