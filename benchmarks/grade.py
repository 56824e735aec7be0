"""Effects of the grade: truth, order and retrieval of trained models with and without it, on scenes, over seeds.

    itm preset scenes 'methods=[clip,vse,ditm,ditm-gate-only,esl-global]' 'seeds=[0,1,2,3,4]' && dvc repro
    python benchmarks/grade.py . --page docs/results/grade.md

PROJECT is a folder in which the pipeline has run. Calibrators are fitted anew on the embeddings of its dev split, by
its own `grade.anchor`; all else is measured on test. Seeds that some method has no evaluation of are left out.

The single specificity ("chosen") is the smallest of 0, 0.1 ... 1.5 at which, on dev, the order of an image's captions
that `ditm` gives is better than that of `clip` as it is (p < .01, and an interval over images and seeds above 0), and
its RSUM no lower. mAP@R falls as the specificity rises, so this is the most truth that costs neither. Where none does:
the largest mean of mAP@R, order and RSUM, each from 0 to 1 over the range. All methods are read at that one value.
"""

from __future__ import annotations

import argparse
from contextlib import chdir
from pathlib import Path

import numpy as np
import smoke
import yaml
from grade_figures import Figures, Ranking, Similarities, Split, compromise, ranked, stated
from grade_fits import TOLD, USUAL, ablation, fitted
from grade_tables import (
    CERTAIN,
    RANKED,
    STATED,
    WALK,
    Figure,
    Rows,
    areas,
    cell,
    corrected,
    difference_table,
    differences,
    figure_table,
    frontier_table,
    mean,
    paired,
    sides,
)
from results_page import command, commit, machine, remark, write_or_print

from itm.data.layout import DEV_EMBEDDINGS
from itm.errors import DataError
from itm.evaluation.benchmarks.grading import SPECIFICITIES
from itm.evaluation.compare import compare
from itm.grading import Calibrator
from itm.metrics import Comparison

SUBJECT, BASE, SHARE = "ditm", "clip", 0.9
LIFT = 2.0
"""Of the small run, whose models have learnt nothing: how many standard deviations a true pair is higher."""


class Models:
    """Similarities and calibrators of a project's models, of the seeds that all its methods have."""

    def __init__(self, project: Path, lift: float) -> None:
        # by YAML alone: the project may be at a commit whose parameters were others
        values = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
        self.project, self.lift, self.anchor = project, lift, float(values["grade"]["anchor"])
        self.methods: list[str] = values["methods"]
        if missing := [name for name in (SUBJECT, BASE) if name not in self.methods]:
            raise SystemExit(f"{project}/params.yaml: methods lack {', '.join(missing)}, which this page is about")
        self.stated: list[int] = values["seeds"]
        self.seeds = [seed for seed in self.stated if all(self._done(name, seed) for name in self.methods)]
        if not self.seeds:
            raise SystemExit(f"{project}: no seed has been evaluated for all of {', '.join(self.methods)}")
        self.dev, self.test = Split(project, "dev"), Split(project, "test")
        self._calibrators: dict[tuple[str, int], Calibrator] = {}

    def _done(self, method: str, seed: int) -> bool:
        """Whether it has been encoded and evaluated."""
        run = f"{method}/seed{seed}"
        files = f"embeddings/{run}/{DEV_EMBEDDINGS}", f"results/runs/{run}/hierarcaps.json"
        return all((self.project / name).is_file() for name in files)

    def made_by(self) -> str:
        """The command that makes the project's results."""
        with chdir(self.project):
            return command()

    def similarities(self, method: str, seed: int, split: Split) -> Similarities:
        return Similarities.read(self.project / f"embeddings/{method}/seed{seed}", split, self.lift)

    def calibrator(self, method: str, seed: int) -> Calibrator:
        key = method, seed
        if key not in self._calibrators:
            try:
                self._calibrators[key] = fitted(self.similarities(method, seed, self.dev), self.dev, self.anchor)
            except DataError as error:
                raise SystemExit(f"{self.project}: {method} seed {seed} cannot be calibrated: {error}") from None
        return self._calibrators[key]


def frontier(models: Models, method: str) -> list[list[Figures]]:
    """On dev, for each specificity, each seed's figures; the last is the similarity as it is."""
    found: list[list[Figures]] = [[] for _ in range(len(SPECIFICITIES) + 1)]
    for seed in models.seeds:
        similarities, calibrator = models.similarities(method, seed, models.dev), models.calibrator(method, seed)
        for place, specificity in enumerate(SPECIFICITIES):
            found[place].append(
                compromise(Ranking.graded(similarities, models.dev, calibrator, specificity), models.dev)
            )
        found[-1].append(compromise(Ranking(similarities.s), models.dev))
    return found


def choose(subject: list[list[Figures]], base: list[Figures], split: Split) -> tuple[float, bool]:
    """The specificity by the rule above, and whether its condition is met there."""
    for specificity, found in zip(SPECIFICITIES, subject[:-1], strict=True):
        better = paired(found, base, "order", RANKED["order"], split)
        no_lower = mean(found, "rsum") >= mean(base, "rsum")
        if better.p < CERTAIN and better.low > 0 and no_lower:
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
        similarities, calibrator, split = (
            models.similarities(method, seed, models.test),
            models.calibrator(method, seed),
            models.test,
        )
        zero = Ranking.graded(similarities, split, calibrator, 0.0)
        said.append(stated(np.exp(zero.pairs), split))
        for name, at in variants(chosen).items():
            ranking = Ranking(*similarities) if at is None else Ranking.graded(similarities, split, calibrator, at)
            figures = ranked(ranking, split)
            figures["counts"] = similarities.s.sum(axis=0) if at is None else said[-1]["counts"]
            rankings[name].append(figures)
    return rankings, said


def walks(models: Models) -> list[tuple[Figure, Comparison]]:
    """HierarCaps' walk through the embeddings, which has no grade: as the pipeline has measured it."""
    folder = models.project / "evaluations"
    rows = compare(folder / BASE, folder / SUBJECT, list(WALK))
    return [(WALK[row.metric], row.comparison) for row in rows]


def verdict(rows: Rows, rsum: Comparison, share: float, chosen: float, met: bool) -> list[str]:
    up, down, level = sides(rows)
    first = (
        f"better in {len(up)} of {len(rows)} graded figures with p < {CERTAIN} and an interval above 0"
        + (f"; worse in {', '.join(down)}" if down else "")
        + (f"; neither in {', '.join(level)}" if level else "")
    )
    held = {True: "**Holds**", False: "**Does not hold**"}
    recovered = f"{held[share >= SHARE]}: {share:.2f}" if np.isfinite(share) else "Not to be said: it gains nothing"
    return [
        f"- *At a single specificity chosen on dev, {SUBJECT} with the grade beats {BASE} in every graded figure, "
        f"order τ among them, p < {CERTAIN}.* {held[not down and not level]}: at {chosen:g} (on dev "
        f"{'the condition is met' if met else 'no specificity meets the condition'}) it is {first}.",
        f"- *It loses no RSUM.* {held[rsum.difference >= 0]}: {rsum.difference:+.1f} (p {rsum.p:.2g}, by seed).",
        f"- *At specificity 0 it recovers at least {SHARE} of the oracle's gain in image to text mAP@R*, the oracle "
        f"being a calibrator that is told which pairs of dev are true. {recovered}.",
    ]


ABLATED = {
    "i2t": Figure("i2t mAP@R", 100, 1),
    "ap": RANKED["ap"],
    "half": RANKED["half"],
    **STATED,
    "order": RANKED["order"],
    "rsum": RANKED["rsum"],
}


def parts_of(models: Models, method: str, chosen: float) -> dict[str, list[Figures]]:
    """Figures of other calibrators by seed."""
    found: dict[str, list[Figures]] = {}
    for seed in models.seeds:
        dev, test = (models.similarities(method, seed, split) for split in (models.dev, models.test))
        usual = models.calibrator(method, seed)
        for name, figures in ablation(dev, test, models.dev, models.test, models.anchor, usual, chosen).items():
            found.setdefault(name, []).append(figures)
    return found


def page(models: Models, opening: str) -> str:
    split, seeds = models.test, len(models.seeds)
    curves = {method: frontier(models, method) for method in models.methods}
    chosen, met = choose(curves[SUBJECT], curves[BASE][-1], models.dev)
    print(f"chosen on dev: {chosen:g} ({'met' if met else 'not met'})", flush=True)
    tests, said = {}, {}
    for method in models.methods:
        tests[method], said[method] = on_test(models, method, chosen)
        print(f"{method} measured", flush=True)
    at = f"specificity {chosen:g}"
    graded = {name: figure for name, figure in RANKED.items() if name != "rsum"}
    graded["counts"] = STATED["counts"]
    subject, base = tests[SUBJECT], tests[BASE]
    pairs = [
        (figure, paired(subject[at], base["similarity"], name, figure, split))
        for name, figure in graded.items()
        if name in base["similarity"][0]
    ]
    against_raw = corrected([*pairs, *walks(models)])
    rsum = paired(subject[at], base["similarity"], "rsum", RANKED["rsum"], split)
    columns = {
        f"`{SUBJECT}` at {chosen:g} − `{BASE}` similarity": against_raw,
        **{
            f"`{SUBJECT}` − `{BASE}`, both {name}": differences(subject[name], base[name], graded, split)
            for name in variants(chosen)
            if name != "similarity"
        },
    }
    parts = {method: parts_of(models, method, chosen) for method in (SUBJECT, BASE)}
    raw = {method: mean(tests[method]["similarity"], "i2t") for method in parts}
    gains = {
        method: {name: mean(runs, "i2t") - raw[method] for name, runs in found.items()}
        for method, found in parts.items()
    }
    shares = {
        method: found[USUAL] / most if (most := found[TOLD]) > 0 else float("nan") for method, found in gains.items()
    }
    no_better = float(split.truth.mean())
    missing = len(models.stated) - seeds
    rule = " ".join((__doc__ or "").split("The single specificity", 1)[1].split())
    lines = [
        "<!-- Written by benchmarks/grade.py. Do not edit. -->",
        "# The grade on scenes",
        "",
        *([opening, ""] if opening else []),
        f"Made by `python benchmarks/grade.py . --page docs/results/grade.md` at {commit()} on {machine()}, where",
        f"`{models.made_by()}` had run. {seeds} seeds"
        + (
            f" ({missing} of the {len(models.stated)} stated had not been evaluated for every method)"
            if missing
            else ""
        )
        + f", test split, {len(split.images)} images; means and sample standard deviations over seeds.",
        "",
        f"The single specificity{' ' + rule} Here it is **{chosen:g}**.",
        "",
        "## What was to be shown",
        "",
        *verdict(against_raw, rsum, shares[SUBJECT], chosen, met),
        "",
        "## Rankings",
        "",
        "mAP@R, half-truths and chains in per cent. Text to image does not depend on the specificity but for ties at "
        "the ends of the fitted range; RSUM has it, too. Ratings: Spearman with those of image and caption (exact). "
        "Chains: an image's own four texts among those of all images, and whether scores rise along them (strictly; "
        "mean correlation with the place).",
        "",
        *figure_table(
            "",
            {f"`{method}` {name}": runs for method, found in tests.items() for name, runs in found.items()},
            RANKED,
            split,
        ),
        "",
        "## What P(true) says",
        "",
        f"The specificity does not enter. {100 * no_better:.1f} % of the pairs are true: to say that of every pair has "
        f"a Brier score of {no_better * (1 - no_better):.3f}. The last column, of sums of similarities in place of P: "
        + ", ".join(
            f"`{m}` {cell(found['similarity'], 'counts', STATED['counts'], split)}" for m, found in tests.items()
        )
        + ".",
        "",
        *figure_table("", {f"`{method}`": runs for method, runs in said.items()}, STATED, split),
        "",
        "## Paired differences",
        "",
        "With 95 % intervals over images and seeds, and p after Holm's correction over a column's rows. AP and RSUM, "
        "which are no means over images, by seed (t-test). HierarCaps' walk is through embeddings and has no grade.",
        "",
        *difference_table(columns),
        "",
        f"P(true), `{SUBJECT}` against `{BASE}`:",
        "",
        *difference_table({"difference": differences(said[SUBJECT], said[BASE], STATED, split)}),
        "",
        "## The frontier on dev, where the specificity was chosen",
        "",
        "Image to text mAP@R in per cent; the area is that under order and mAP@R. Rows here are no test of a method: "
        "they say which is worth one.",
        "",
        *areas(curves, chosen),
        "",
        *frontier_table({method: curves[method] for method in (SUBJECT, BASE)}),
        "",
        "## What the calibrator needs",
        "",
        f"Fitted on dev, measured on test: truth at specificity 0, order and RSUM at {chosen:g}. Of the gain over the "
        "similarity in image to text mAP@R that a calibrator has which is told which pairs are true, the one from pair "
        "labels has: " + ", ".join(f"`{method}` {share:.2f}" for method, share in shares.items()) + ".",
        "",
    ]
    for method, found in parts.items():
        lines += [*figure_table(f"`{method}`", found, ABLATED, split), ""]
    return "\n".join(lines).rstrip() + "\n"


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("project", type=Path, help="folder in which the pipeline has run on scenes, dev embeddings too")
    found.add_argument("--page", type=Path, help="write the page here; else it is printed")
    return found


def main() -> None:
    given = smoke.read(parser(), "{run} --page {scratch}/grade.md")
    models = Models(given.project, LIFT if given.smoke else 0.0)
    for split in (models.dev, models.test):
        if not split.tables.has_truth:
            raise SystemExit(f"{given.project}: the truth of {split.name} is not known; run the preset `scenes`")
    text = page(models, remark("grade"))
    write_or_print(given.page, text)


if __name__ == "__main__":
    main()
