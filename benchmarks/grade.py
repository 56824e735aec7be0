"""What the grade does: truth, order and retrieval of trained models with and without it, on scenes, over seeds.

    itm preset scenes 'methods=[clip,vse,ditm,ditm-gate-only,esl-global]' 'seeds=[0,1,2,3,4]' && dvc repro
    python benchmarks/grade.py . --page docs/results/grade.md

PROJECT is a folder in which the pipeline has run. Calibrators are fitted anew on the embeddings of its dev split, by
its own `grade.anchor`; all else is measured on test. Seeds that some method has no evaluation of are left out.

The single specificity ("chosen") is the smallest of 0, 0.1 ... 1.5 at which, on dev, the order of an image's captions
that `ditm` gives is better than that of `clip` as it is, p < .01 by images and seeds, and its RSUM no lower. mAP@R falls
as the specificity rises, so this is the most truth that costs neither. Where none does: the largest mean of mAP@R, order
and RSUM, each from 0 to 1 over the range. All methods are read at that one value.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import smoke
from grade_figures import (
    Doubles,
    Figures,
    Ranking,
    Scores,
    Split,
    compromise,
    fitted,
    multiplicity,
    of_fewer,
    plain,
    ranked,
    stated,
    told,
)
from results_page import ROOT, command, commit, git, machine, remark
from scipy.stats import ttest_rel

from itm.config import load
from itm.errors import DataError
from itm.evaluation.benchmarks.grading import SPECIFICITIES
from itm.evaluation.compare import compare
from itm.grading import Calibrator
from itm.metrics import Comparison, compare_correlations, compare_paired, frontier_area, holm, spearman

SUBJECT, BASE, CERTAIN, SHARE = "ditm", "clip", 0.01, 0.9
FEWER = (100, 250)
LIFT = 0.3
"""Of the small run, whose models have learnt nothing: what a true pair's similarity is higher by."""


@dataclass(frozen=True)
class Figure:
    title: str
    times: float = 1.0
    digits: int = 3
    by: str = "image"
    """What its values belong to: image, caption, seed; or scores that are correlated: rated, counts."""


RANKED = {
    "i2t": Figure("image to text mAP@R", 100, 1),
    "t2i": Figure("text to image mAP@R", 100, 1, "caption"),
    "ap": Figure("AP over all pairs", by="seed"),
    "order": Figure("order τ"),
    "rsum": Figure("RSUM", digits=1, by="seed"),
    "rated": Figure("ratings ρ", by="rated"),
    "half": Figure("half-truths", 100, 1),
    "chain_map": Figure("chains mAP@R", 100, 1),
    "chain_rising": Figure("chains rising", 100, 1),
    "chain_pearson": Figure("chains, Pearson"),
}
STATED = {
    "ece": Figure("ECE", by="seed"),
    "brier": Figure("Brier"),
    "pairs": Figure("true pairs predicted / real", digits=2, by="seed"),
    "f1": Figure("set F1, P ≥ .5"),
    "counts": Figure("multiplicity ρ", by="counts"),
}
WALK = {
    "hierarcaps/radius_levels/precision": Figure("HierarCaps precision", 100, 1),
    "hierarcaps/radius_levels/recall": Figure("HierarCaps recall", 100, 1),
    "hierarcaps/tau_d": Figure("HierarCaps τd"),
}
RUN = dict[str, list[Figures]]
"""Figures by method, one for each seed."""


class Models:
    """Similarities and calibrators of a project's models, of the seeds that all its methods have."""

    def __init__(self, project: Path, lift: float) -> None:
        with chdir(project):
            parameters = load()
        self.project, self.lift, self.anchor = project, lift, parameters.grade.anchor
        self.methods = list(parameters.methods)
        if missing := [name for name in (SUBJECT, BASE) if name not in self.methods]:
            raise SystemExit(f"{project}/params.yaml: methods lack {', '.join(missing)}, which this page is about")
        self.stated = list(parameters.seeds)
        self.seeds = [seed for seed in self.stated if all(self._done(name, seed) for name in self.methods)]
        if not self.seeds:
            raise SystemExit(f"{project}: no seed has been evaluated for all of {', '.join(self.methods)}")
        self.dev, self.test = Split(project, "dev"), Split(project, "test")
        self._calibrators: dict[tuple[str, int], Calibrator] = {}

    def _done(self, method: str, seed: int) -> bool:
        return (self.project / f"results/runs/{method}/seed{seed}/grading.json").is_file()

    def scores(self, method: str, seed: int, split: Split) -> Scores:
        return Scores.read(self.project / f"embeddings/{method}/seed{seed}", split, self.lift)

    def calibrator(self, method: str, seed: int) -> Calibrator:
        key = method, seed
        if key not in self._calibrators:
            try:
                self._calibrators[key] = fitted(self.scores(method, seed, self.dev), self.dev, self.anchor)
            except DataError as error:
                raise SystemExit(f"{self.project}: {method} seed {seed} cannot be calibrated: {error}") from None
        return self._calibrators[key]


def frontier(models: Models, method: str) -> list[list[Figures]]:
    """On dev, for each specificity, each seed's figures; the last is the similarity as it is."""
    found: list[list[Figures]] = [[] for _ in range(len(SPECIFICITIES) + 1)]
    for seed in models.seeds:
        scores, calibrator = models.scores(method, seed, models.dev), models.calibrator(method, seed)
        for place, specificity in enumerate(SPECIFICITIES):
            found[place].append(compromise(Ranking.graded(scores, models.dev, calibrator, specificity), models.dev))
        found[-1].append(compromise(Ranking(scores.s), models.dev))
    return found


def choose(subject: list[list[Figures]], base: list[Figures]) -> tuple[float, bool]:
    """The specificity by the rule above, and whether its condition is met there."""
    for specificity, found in zip(SPECIFICITIES, subject[:-1], strict=True):
        better = tested(found, base, "order", RANKED["order"])
        no_lower = mean(found, "rsum") >= mean(base, "rsum")
        if better.p < CERTAIN and better.difference > 0 and no_lower:
            return float(specificity), True
    curves = [np.array([mean(found, name) for found in subject[:-1]]) for name in ("i2t", "order", "rsum")]
    scaled = [(one - one.min()) / max(np.ptp(one), 1e-12) for one in curves]
    return float(SPECIFICITIES[np.sum(scaled, axis=0).argmax()]), False


def variants(chosen: float) -> dict[str, float | None]:
    steps = {f"specificity {at:g}": at for at in sorted({0.0, chosen, 1.0})}
    return {"similarity": None, **steps}


def on_test(models: Models, method: str, chosen: float) -> tuple[dict[str, list[Figures]], list[Figures]]:
    """Each variant's rankings by seed, and what P states."""
    rankings: dict[str, list[Figures]] = {name: [] for name in variants(chosen)}
    said: list[Figures] = []
    for seed in models.seeds:
        scores, calibrator, split = models.scores(method, seed, models.test), models.calibrator(method, seed), models.test
        zero = Ranking.graded(scores, split, calibrator, 0.0)
        said.append(stated(np.exp(zero.pairs), split))
        for name, at in variants(chosen).items():
            ranking = Ranking(*scores) if at is None else Ranking.graded(scores, split, calibrator, at)
            figures = ranked(ranking, split)
            figures["counts"] = scores.s.sum(axis=0) if at is None else said[-1]["counts"]
            rankings[name].append(figures)
    return rankings, said


def value(figures: Figures, name: str, figure: Figure, split: Split | None = None) -> float:
    found = figures[name]
    if figure.by == "counts":
        return multiplicity(found, split)
    if figure.by == "rated":
        return spearman(found, split.rated.score)
    return figure.times * (float(np.nanmean(found)) if np.isfinite(found).any() else float("nan"))


def mean(runs: Sequence[Figures], name: str) -> float:
    return float(np.mean([np.nanmean(one[name]) for one in runs]))


def cell(runs: Sequence[Figures], name: str, figure: Figure, split: Split) -> str:
    if name not in runs[0]:
        return ""
    values = np.array([value(one, name, figure, split) for one in runs])
    spread = f" ±{values.std(ddof=1):.{figure.digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{figure.digits}f}{spread}"


def tested(b: Sequence[Figures], a: Sequence[Figures], name: str, figure: Figure, split: Split | None = None) -> Comparison:
    """b against a, paired by image (or rated pair, or caption) and seed."""
    first, second = (np.stack([one[name] for one in runs]) for runs in (a, b))
    if figure.by == "seed":
        gain = second - first
        half = 2.776 if len(gain) == 5 else 2.0
        p = float(ttest_rel(second, first).pvalue) if len(gain) > 1 and np.ptp(gain) > 0 else 1.0
        error = float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else 0.0
        middle = float(gain.mean())
        return Comparison(middle, middle - half * error, middle + half * error, p, "t", 0.0, len(gain))
    if figure.by == "rated":
        return compare_correlations(first, second, split.rated.score, split.rated.second)
    if figure.by == "counts":
        return compare_correlations(first, second, split.truth.sum(axis=0), split.owners)
    known = np.isfinite(first).all(axis=0) & np.isfinite(second).all(axis=0)
    groups = split.owners[known] if figure.by == "caption" and split is not None else None
    return compare_paired(first[:, known], second[:, known], groups)
