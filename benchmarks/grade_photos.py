"""Effects of the grade on real photos: human judgements, reliability, and texts of four levels, over seeds.

    itm preset flickr8k 'seeds=[0,1,2,3,4]' 'methods=["clip","ditm"]' && dvc repro
    python benchmarks/grade_photos.py . --coco captions_val2017.json.gz --page docs/results/grade-flickr8k.md

PROJECT is a folder in which the pipeline has run; --coco COCO's own file of captions (data/README.md), which says more
of HierarCaps' photos, and may be left out. Calibrators are fitted anew on the embeddings of its dev split, by
its own `grade.anchor`; all else is measured on test. Which pairs are true nobody knows of photos: retrieval counts
each image's own captions, and people's judgements stand for the truth.

The single specificity ("chosen") is found on dev by the rule of benchmarks/grade.py: the smallest of 0, 0.1 ... 1.5 at
which `ditm` orders an image's captions (here by descriptiveness, for lack of levels) better than `clip` as it is (p <
.01, and an interval over images and seeds above 0), and has no lower RSUM; where none does, the largest mean of mAP@R
of own captions, order and RSUM, each from 0 to 1 over the range.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import smoke
from grade import BASE, LIFT, SUBJECT, Models, choose, frontier, variants
from grade_figures import Doubles, Figures, Ranking, chained, compromise
from grade_judged import Judged, compare_taus, curve, judged, reliability_by, taus
from grade_parts import LEVELS, RISE, SHORT, Parts, better, by_level, mean_levels, said_of
from grade_tables import Figure, difference_table, differences, figure_table
from numpy.typing import NDArray
from results_page import commit, machine, remark, write_or_print

from itm.metrics import Comparison, holm

OWN = {
    "i2t": Figure("image to text mAP@R", 100, 1),
    "order": Figure("order τ"),
    "rsum": Figure("RSUM", digits=1, by="seed"),
}
CHAINS = {
    "chain_map": Figure("mAP@R", 100, 1),
    **{f"chain_{level}": Figure(f"level {level} in 10", 100, 1) for level in (1, 2, 3, 4)},
    "chain_rising": Figure("rising", 100, 1),
    "chain_pearson": Figure("Pearson"),
}


class Method:
    """One method's figures on test: of each ranking, of each kind of judgement similarity and P(true), of levels P."""

    def __init__(self, models: Models, name: str, chosen: float, known: Known, parts: Parts | None = None) -> None:
        self.rankings: dict[str, list[Figures]] = {variant: [] for variant in variants(chosen)}
        self.s: dict[str, list[Doubles]] = {kind: [] for kind in known.judgements}
        self.p: dict[str, list[Doubles]] = {kind: [] for kind in known.judgements}
        levels: list[list[dict[str, float]]] = []
        self.priors: list[Doubles] = []
        split = models.test
        for seed in models.seeds:
            similarities, calibrator = models.similarities(name, seed, split), models.calibrator(name, seed)
            if parts is not None:
                of_parts = parts.similarities(f"{name}/seed{seed}", models.lift)
                calibrator = parts.fit(models.similarities(name, seed, models.dev), of_parts, models.anchor)
            for variant, at in variants(chosen).items():
                ranking = Ranking(*similarities) if at is None else Ranking.graded(similarities, split, calibrator, at)
                self.rankings[variant].append(compromise(ranking, split) | chained(ranking, split))
            for kind, among in known.judgements.items():
                s = similarities.s[among.images, among.captions]
                self.s[kind].append(s)
                self.p[kind].append(calibrator.probability(s, among.d))
            assert similarities.chains is not None
            levels.append(by_level(calibrator.probability(similarities.chains, split.chains[3]), known.said, split))
            self.priors.append(calibrator.prior(ENDS))
        self.levels = mean_levels(levels)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of test beside its captions: judgements, and which texts of chains are said of which photos."""

    judgements: dict[str, Judged]
    said: NDArray[np.bool_]


def spread(values: Doubles, digits: int = 3) -> str:
    deviation = f" ±{values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{deviation}"


def shown(found: Comparison, p: float) -> str:
    values = " ".join([f"{found.difference:+.4f}", f"[{found.low:+.4f}, {found.high:+.4f}]"])
    return f"{values} p {p:.2g}" if p >= 0.001 else f"{values} p < 0.001"


def agreement(methods: dict[str, Method], judgements: dict[str, Judged]) -> list[str]:
    """Kendall's tau of similarity and of P(true), and their difference."""
    rows: list[tuple[str, str, str, str]] = []
    compared: list[Comparison] = []
    for kind, among in judgements.items():
        title = f"{among.kind.title} τ{among.kind.variant}"
        for name, method in methods.items():
            s, p = method.s[kind], method.p[kind]
            compared.append(compare_taus(p, s, among))
            rows.append((title, f"`{name}`", spread(taus(s, among)), spread(taus(p, among))))
        for what, values in (("similarity", "s"), ("P(true)", "p")):
            first, second = (getattr(methods[name], values)[kind] for name in (BASE, SUBJECT))
            compared.append(compare_taus(second, first, among))
            cells = [f"{what}: {spread(taus(each, among))}" for each in (first, second)]
            rows.append((title, f"`{BASE}` and `{SUBJECT}`", *cells))  # type: ignore[arg-type]
    lines = ["| | | similarity | P(true) | difference |", "|:--|:--|--:|--:|--:|"]
    for row, found, p in zip(rows, compared, holm([one.p for one in compared]), strict=True):
        lines.append(f"| {' | '.join(row)} | {shown(found, float(p))} |")
    return lines


def reliability(methods: dict[str, Method], kind: str, among: Judged) -> list[str]:
    """ECE and Brier of P(true) against people, of all pairs and by descriptiveness."""
    lines = [
        "| | d | said true by people | mean P | ECE | Brier |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for name, method in methods.items():
        for place, group in enumerate(reliability_by(method.p[kind], among)):
            cells = [f"{group.d:.2f}", f"{group.true:.3f}", *map(spread, (group.stated, group.ece, group.brier))]
            lines.append(f"| {name} {f'quarter {place}' if place else 'all pairs'} | {' | '.join(cells)} |")
    return lines


def curves(methods: dict[str, Method], kind: str, among: Judged) -> list[str]:
    """How true people say the pairs of each tenth of P are."""
    lines = ["| | mean P | said true by people | share of pairs |", "|:--|--:|--:|--:|"]
    for name, method in methods.items():
        for p, true, share in curve(method.p[kind], among):
            lines.append(f"| `{name}` | {p:.3f} | {true:.3f} | {100 * share:.1f} % |")
    return lines


def loss_table(models: Models, parts: Parts) -> list[str]:
    """Log loss on the other half of dev, fitted without parts and with them; means over seeds."""
    lines: list[str] = []
    every = []
    for name in models.methods:
        runs = []
        for seed in models.seeds:
            of_parts = parts.similarities(f"{name}/seed{seed}", models.lift)
            runs.append(parts.held_out(models.similarities(name, seed, models.dev), of_parts, models.anchor))
        every += runs
        if not lines:
            lines = ["| | " + " | ".join(runs[0]) + " |", "|:--|" + "--:|" * len(runs[0])]
        for place, how in enumerate(("captions", "captions and parts")):
            cells = [spread(np.array([one[group][place] for one in runs])) for group in runs[0]]
            lines.append(f"| `{name}` fitted on {how} | {' | '.join(cells)} |")
    proved = "**It proves better**" if better(every) else "**It does not prove better**"
    rule = f"that is, of every model and seed short parts are told better, and captions by less than {RISE} worse"
    return [*lines, "", f"{proved} on dev; {rule}."]


def level_table(methods: dict[str, Method]) -> list[str]:
    lines = ["| | level | said of | P of all, mean | P of own texts | ECE | Brier |", "|:--|--:|--:|--:|--:|--:|--:|"]
    for name, method in methods.items():
        for level, found in enumerate(method.levels, start=1):
            cells = [f"{found[each]:.3f}" for each in LEVELS]
            lines.append(f"| {name} | {level} | {' | '.join(cells)} |")
    return lines


def generic(models: Models, methods: dict[str, Method], chosen: float, known: Known, coco: Path | None) -> list[str]:
    """What fitting on parts of captions does for texts shorter than captions."""
    parts = Parts(models.project, models.dev)
    both = {}
    for name, method in methods.items():
        both[f"`{name}`"] = method
        both[f"`{name}`, parts too"] = Method(models, name, chosen, known, parts)
        print(f"{name} fitted on parts", flush=True)
    kind = next(each for each in ("crowdflower", "sits") if each in known.judgements)
    among = known.judgements[kind]
    differences_of = {
        f"{kind_title} τ{each.kind.variant}, `{name}`": compare_taus(
            both[f"`{name}`, parts too"].p[one], both[f"`{name}`"].p[one], each
        )
        for one, each in known.judgements.items()
        for kind_title in (each.kind.title,)
        for name in methods
    }
    priors = "; ".join(
        f"{name} {', '.join(f'{100 * at:.1f} %' for at in np.mean(method.priors, axis=0))}"
        for name, method in both.items()
    )
    short = parts.words <= SHORT
    ends = ", ".join(f"{value:.1f}" for value in np.quantile(parts.d[short], [0.01, 0.5, 0.99]))
    source = "by its own four texts and COCO's captions" if coco else "by its own four texts"
    return [
        "## Generic texts",
        "",
        f"Calibrators fitted on dev's captions and on {short.sum():,} parts of them of up to {SHORT} words "
        f"(benchmarks/grade_parts.py; {(parts.words == 1).sum():,} are one word), d {ends} (1st, 50th, 99th per cent). "
        "Does that tell own pairs from random ones better on the images of dev that a "
        "calibrator was not fitted on? Log loss, 0.693 where nothing is told:",
        "",
        *loss_table(models, parts),
        "",
        f"The share of images that a text of d = {', '.join(f'{value:g}' for value in ENDS)} fits: {priors}.",
        "",
        f"**HierarCaps.** A text counts as true of a photo if all its keywords are said of the photo {source}: less "
        "than what is true, most of all for level 1. Its own text is true. P should be near 1 for own texts, and on "
        "average no less than the share that is said.",
        "",
        *level_table(both),
        "",
        f"**{among.kind.title}** ({among.kind.says_true}):",
        "",
        *reliability(both, kind, among),
        "",
        "| P(true), parts too − captions alone | difference |",
        "|:--|--:|",
        *(f"| {title} | {shown(found, found.p)} |" for title, found in differences_of.items()),
        "",
        *figure_table(
            "HierarCaps",
            {f"{name} {variant}": runs for name, method in both.items() for variant, runs in method.rankings.items()},
            CHAINS,
            models.test,
        ),
    ]


def page(models: Models, coco: Path | None, opening: str) -> str:
    split, made_by = models.test, models.made_by()
    both = {method: frontier(models, method) for method in (SUBJECT, BASE)}
    chosen, met = choose(both[SUBJECT], both[BASE][-1], models.dev)
    print(f"chosen on dev: {chosen:g} ({'met' if met else 'not met'})", flush=True)
    known = Known(judged(split), said_of(split, coco))
    methods = {}
    for name in models.methods:
        methods[name] = Method(models, name, chosen, known)
        print(f"{name} measured", flush=True)
    rankings = {
        f"`{name}` {variant}": runs for name, method in methods.items() for variant, runs in method.rankings.items()
    }
    against = {
        f"`{name}` at {at:g} − similarity": differences(
            method.rankings[variant], method.rankings["similarity"], {**OWN, **CHAINS}, split
        )
        for name, method in methods.items()
        for variant, at in variants(chosen).items()
        if at is not None
    }
    between = {
        f"`{SUBJECT}` − `{BASE}`, {variant}": differences(
            methods[SUBJECT].rankings[variant], methods[BASE].rankings[variant], {**OWN, **CHAINS}, split
        )
        for variant in variants(chosen)
    }
    rule = " ".join((__doc__ or "").split("The single specificity", 1)[1].split())
    _, chains, _, d = split.chains
    ends = ", ".join(f"{value:.1f}" for value in np.quantile(models.dev.d, [0.01, 0.5, 0.99]))
    lines = [
        "<!-- Written by benchmarks/grade_photos.py. Do not edit. -->",
        "# The grade on real photos",
        "",
        *([opening, ""] if opening else []),
        f"Made by `python benchmarks/grade_photos.py .{' --coco captions_val2017.json.gz' if coco else ''} --page "
        f"docs/results/grade-flickr8k.md` at {commit()} on {machine()}, where",
        f"`{made_by}` had run. {len(models.seeds)} seeds, test split, {len(split.images)} images; means and "
        "sample standard deviations over seeds.",
        "",
        f"The single specificity{' ' + rule} Here it is **{chosen:g}** (the rule's condition is "
        f"{'met' if met else 'met nowhere'}).",
        "",
        f"Captions of dev have a d of {ends} (1st, 50th and 99th per cent), the texts of HierarCaps' four levels "
        f"{', '.join(f'{value:.1f}' for value in d[chains].mean(axis=0))} on average: the generic ones lie outside "
        "the range of the fit.",
        "",
        "## Do people agree?",
        "",
        "Kendall's τ with people's judgements, as `itm evaluate` has it (Expert: single judgements, without pairs of "
        "an image and its own caption). Differences are P(true) less similarity of the same model, and in the last "
        f"rows `{SUBJECT}` less `{BASE}`; with 95 % intervals of a bootstrap over images and seeds, p after Holm's "
        "correction over all rows.",
        "",
        *agreement(methods, known.judgements),
        "",
        "## Does P(true) come true?",
        "",
        "People's judgements as probabilities. Quarters are of the judged pairs by their caption's descriptiveness d, "
        "the generic ones first.",
    ]
    for kind, among in known.judgements.items():
        lines += [
            "",
            f"**{among.kind.title}**: {among.kind.says_true}, {len(among.rating):,} rows. To say their mean of every "
            f"pair has a Brier score of {among.base:.3f}.",
            "",
            *reliability({f"`{name}`": method for name, method in methods.items()}, kind, among),
            "",
            *curves(methods, kind, among),
        ]
    lines += [
        "",
        "## Flickr8k's own captions",
        "",
        "Only an image's own captions count as right. Order: of an image's captions by descriptiveness. Text to image "
        "does not depend on the specificity.",
        "",
        *figure_table("", rankings, OWN, split),
        "",
        "## HierarCaps: texts of four levels",
        "",
        "Each image's four texts among those of all images, in per cent: mAP@R of the four; images with their own "
        "text of a level among the first 10; whether scores rise along the four (strictly; mean correlation with the "
        "place).",
        "",
        *figure_table("", rankings, CHAINS, split),
        "",
        "## Paired differences",
        "",
        "With 95 % intervals over images and seeds, and p after Holm's correction over a column's rows (RSUM by seed).",
        "",
        *difference_table(against),
        "",
        *difference_table(between),
        "",
        *generic(models, methods, chosen, known, coco),
    ]
    return "\n".join(lines).rstrip() + "\n"


ENDS = np.array([1.0, 5.0, 10.0, 20.0])
"""Descriptivenesses whose priors are shown."""


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("project", type=Path, help="folder in which the pipeline has run on photos with judgements")
    found.add_argument("--coco", type=Path, help="captions_val2017.json(.gz), for what is said of HierarCaps' photos")
    found.add_argument("--page", type=Path, help="write the page here; else it is printed")
    return found


def main() -> None:
    given = smoke.read(parser(), "{run} --page {scratch}/grade-flickr8k.md")
    text = page(Models(given.project, LIFT if given.smoke else 0.0), given.coco, remark("grade-flickr8k"))
    write_or_print(given.page, text)


if __name__ == "__main__":
    main()
