"""Effects of a family of methods, over seeds, with paired tests: the pages ditm.md, esl.md, vsd.md, aahr.md,
flickr8k-trained.md of results.

    itm preset scenes 'methods=[clip,vse,ditm,ditm-order,ditm-gate-only,ditm-shuffled]' 'seeds=[0,1,2,3,4]' && dvc repro
    python benchmarks/evidence.py ditm Scenes=. "Flickr8k=../other clone" --page

Each NAME=FOLDER is a clone in which the pipeline has run; its results/ and evaluations/ are read. Differences are
paired query by query, resampled image by image and over seeds (`itm compare`), with Holm's correction over the rows of
a column; that of RSUM, which is no mean over queries, is paired by seed (t-test). What the figures mean is written by
hand in benchmarks/remarks/ and comes first. --oracle adds what benchmarks/oracle.py wrote with --out, --transfer what
`itm transfer --out` wrote of another data set:

    itm transfer models/*/seed? --data "../other clone/data" --benchmark retrieval --out photos.json
    python benchmarks/evidence.py vsd Flickr8k=. --transfer "COCO photos=photos.json" --page
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import smoke
import yaml
from results_page import ROOT, git, machine, remark, write_or_print
from scipy.stats import ttest_rel

from itm.evaluation.compare import Row, compare

SAMPLES, CERTAIN, RSUM_LOSS = 10_000, 0.01, 0.5
FALSE, FOUND = "false_negatives", "unlabelled_recall"
SMALLEST = "ditm Scenes={run} --oracle {run}/oracle.json --transfer Photos={run}/transfer.json --page --out {scratch}"


@dataclass(frozen=True)
class Family:
    """A page: its title, the methods it shows, in this order, and which is set against which."""

    title: str
    methods: tuple[str, ...]
    against: tuple[tuple[str, str], ...]


FAMILIES = {
    "ditm": Family(
        "What descriptiveness does",
        ("clip", "vse", "ditm", "ditm-order", "ditm-gate-only", "ditm-shuffled"),
        (("ditm", "clip"), ("ditm", "vse"), ("ditm", "ditm-gate-only"), ("ditm-order", "clip")),
    ),
    "esl": Family(
        "What the pyramids of ESL do",
        ("clip", "vse", "esl-global", "esl-token", "token-attention", "ditm", "ditm-esl-global"),
        (
            ("esl-global", "clip"),
            ("esl-token", "vse"),
            ("esl-token", "token-attention"),
            ("ditm-esl-global", "ditm"),
        ),
    ),
    "vsd": Family(
        "What descriptions do",
        ("clip", "vsd-only", "vsd", "vse-inf", "vse-inf-vsd"),
        (("vsd-only", "clip"), ("vsd", "clip"), ("vsd", "vsd-only"), ("vse-inf-vsd", "vse-inf")),
    ),
    "aahr": Family(
        "What the aids of AAHR do",
        ("clip", "aahr-base", "aahr", "aahr-no-prototypes", "aahr-no-graph", "aahr-no-queue", "ditm", "ditm-aahr"),
        (
            ("aahr", "aahr-base"),
            ("aahr", "aahr-no-prototypes"),
            ("aahr", "aahr-no-graph"),
            ("aahr", "aahr-no-queue"),
            ("ditm-aahr", "aahr"),
            ("ditm-aahr", "ditm"),
        ),
    ),
    "flickr8k-trained": Family("Flickr8k with trained towers", ("clip", "ditm"), (("ditm", "clip"),)),
}


@dataclass(frozen=True)
class Figure:
    """One line: what it is called, where results/ and `itm compare` have it, and what it is multiplied by."""

    title: str
    path: tuple[str, ...]
    query: str
    times: float = 100.0
    graded: bool = True


FIGURES = (
    Figure("RSUM", ("retrieval", "rsum"), "", 1, False),
    Figure("image to text R@1", ("retrieval", "i2t", "r1"), "retrieval/i2t/r1", graded=False),
    Figure("text to image R@1", ("retrieval", "t2i", "r1"), "retrieval/t2i/r1", graded=False),
    Figure(
        "all true pairs: image to text mAP@R", ("false_negatives", "i2t", "map_at_r"), "false_negatives/i2t/map_at_r"
    ),
    Figure(
        "all true pairs: text to image mAP@R", ("false_negatives", "t2i", "map_at_r"), "false_negatives/t2i/map_at_r"
    ),
    Figure("unlabelled true pairs found, image to text", (FALSE, "i2t", FOUND), f"{FALSE}/i2t/{FOUND}"),
    Figure("unlabelled true pairs found, text to image", (FALSE, "t2i", FOUND), f"{FALSE}/t2i/{FOUND}"),
    Figure("order τ within an image", (FALSE, "order", "level"), f"{FALSE}/order/level", 1),
    Figure("ratings of image and caption (SITS) ρ", ("cxc", "sits", "spearman_all_pairs"), "cxc/sits/spearman*", 1),
    Figure("Expert ρ", ("judgements", "expert", "spearman"), "judgements/expert/spearman*", 1),
    Figure("CrowdFlower ρ", ("judgements", "crowdflower", "spearman"), "judgements/crowdflower/spearman*", 1),
    Figure("HierarCaps precision", ("hierarcaps", "radius_levels", "precision"), "hierarcaps/radius_levels/precision"),
    Figure("HierarCaps recall", ("hierarcaps", "radius_levels", "recall"), "hierarcaps/radius_levels/recall"),
    Figure("HierarCaps τd", ("hierarcaps", "tau_d"), "hierarcaps/tau_d", 1),
)


class Run:
    """The results of one clone, of the methods that a page shows."""

    def __init__(self, name: str, folder: Path, family: Family) -> None:
        self.name, self.folder, self.family = name, folder, family
        # by YAML alone: the clone may be at a commit whose parameters were others
        values = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
        self.methods = [method for method in family.methods if method in values["methods"]]
        self.seeds: list[int] = values["seeds"]
        if not self.methods:
            raise SystemExit(
                f"{folder}/params.yaml: none of its {len(values['methods'])} methods is one of this page "
                f"({', '.join(family.methods)}); run the pipeline there with some of them"
            )

    def values(self, method: str, figure: Figure) -> np.ndarray[Any, Any] | None:
        """The figure for each seed, times its factor."""
        runs = self.folder / "results/runs" / method
        return _values([_file(runs / f"seed{seed}" / f"{figure.path[0]}.json") for seed in self.seeds], figure)

    def figures(self) -> list[Figure]:
        return [figure for figure in FIGURES if self.values(self.methods[0], figure) is not None]

    def rows(self, method: str, base: str) -> dict[str, Row]:
        """The paired comparison with `base`, by the figure's title."""
        figures = [figure for figure in self.figures() if figure.query]
        evaluations = self.folder / "evaluations"
        rows = compare(evaluations / base, evaluations / method, [f.query for f in figures], samples=SAMPLES)
        found = {}
        for figure in figures:
            matching = [row for row in rows if _matches(row.metric, figure.query)]
            if matching:
                found[figure.title] = matching[0]
        return found


@cache
def _file(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _values(benchmarks: list[Any], figure: Figure) -> np.ndarray[Any, Any] | None:
    """A figure of the metrics of its benchmark, one for each seed, times its factor; None where one lacks it."""
    found = []
    for value in benchmarks:
        for key in figure.path[1:]:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            return None
        found.append(float(value))
    return figure.times * np.array(found)


def _matches(metric: str, query: str) -> bool:
    return metric.startswith(query[:-1]) if query.endswith("*") else metric == query


def means(
    methods: Sequence[str],
    figures: Sequence[Figure],
    values_of: Callable[[str, Figure], np.ndarray[Any, Any] | None],
) -> list[str]:
    lines = ["| | " + " | ".join(f"`{name}`" for name in methods) + " |", "|:--|" + "--:|" * len(methods)]
    for figure in figures:
        digits = 1 if figure.times == 100 or figure.title == "RSUM" else 3
        cells = []
        for name in methods:
            values = values_of(name, figure)
            spread = "" if values is None or len(values) < 2 else f" ±{values.std(ddof=1):.{digits}f}"
            cells.append("" if values is None else f"{values.mean():.{digits}f}{spread}")
        lines.append(f"| {figure.title} | " + " | ".join(cells) + " |")
    return lines


def transferred(name: str, path: Path, family: Family) -> list[str]:
    """The table of what `itm transfer` measured on another data set."""
    found = json.loads(path.read_text(encoding="utf-8"))
    runs: dict[str, list[Any]] = {}
    for model, benchmarks in found["runs"].items():
        runs.setdefault(Path(model).parent.name, []).append(benchmarks)

    def values(method: str, figure: Figure) -> np.ndarray[Any, Any] | None:
        return _values([benchmarks.get(figure.path[0]) for benchmarks in runs[method]], figure)

    methods = [method for method in family.methods if method in runs]
    if not methods:
        raise SystemExit(f"{path}: no model of one of this page's methods ({', '.join(family.methods)})")
    figures = [figure for figure in FIGURES if values(methods[0], figure) is not None]
    seen = "not known" if found["seen_in_training"] is None else f"{found['seen_in_training']:,}"
    return [
        f"### {name}",
        "",
        f"{found['images']:,} images, {found['captions']:,} captions, split {found['split']}; seen in training, byte "
        f"for byte: {seen}; seeds: {len(runs[methods[0]])}.",
        "",
        *means(methods, figures, values),
        "",
    ]


def differences(run: Run) -> tuple[list[str], list[str]]:
    """The table of paired differences, and in words what the bounds of the project make of it."""
    pairs = [pair for pair in run.family.against if set(pair) <= set(run.methods)]
    rows = {pair: run.rows(*pair) for pair in pairs}
    lines = ["| | " + " | ".join(f"`{a}` − `{b}`" for a, b in pairs) + " |", "|:--|" + "--:|" * len(pairs)]
    rsum = FIGURES[0]
    cells, said = [], []
    for a, b in pairs:
        gain = _known(run, a, rsum) - _known(run, b, rsum)
        p = float(ttest_rel(_known(run, a, rsum), _known(run, b, rsum)).pvalue)
        cells.append(f"{gain.mean():+.1f} (p {p:.2g})")
        graded = {f.title: rows[a, b][f.title] for f in run.figures() if f.graded and f.title in rows[a, b]}
        # both: p is of these trained models and knows no spread of seeds, the interval has it
        certain = {title: row.comparison for title, row in graded.items() if row.holm_p < CERTAIN}
        up = [title for title, found in certain.items() if found.low > 0]
        down = [title for title, found in certain.items() if found.high < 0]
        level = [title for title in graded if title not in up + down]
        said.append(
            f"- `{a}` against `{b}`: better in {len(up)} of {len(graded)} graded figures with p < {CERTAIN} and an "
            "interval above 0"
            + (f"; worse in {', '.join(down)}" if down else "")
            + (f"; neither in {', '.join(level)}" if level else "")
            + f". RSUM {gain.mean():+.1f}"
            + (f", within the {RSUM_LOSS} allowed." if gain.mean() >= -RSUM_LOSS else f", more than {RSUM_LOSS} lost.")
        )
    lines.append("| RSUM (by seed) | " + " | ".join(cells) + " |")
    for figure in run.figures()[1:]:
        digits = 1 if figure.times == 100 else 3
        cells = []
        for pair in pairs:
            row = rows[pair].get(figure.title)
            cells.append("" if row is None else _cell(row, figure.times, digits))
        lines.append(f"| {figure.title} | " + " | ".join(cells) + " |")
    return lines, said


def _known(run: Run, method: str, figure: Figure) -> np.ndarray[Any, Any]:
    values = run.values(method, figure)
    if values is None:
        raise SystemExit(
            f"{run.folder}: {method} has no {figure.title} for each of its seeds; run `dvc repro` there first"
        )
    return values


def _cell(row: Row, times: float, digits: int) -> str:
    found = row.comparison
    low, high = times * found.low, times * found.high
    p = f"p {row.holm_p:.2g}" if row.holm_p >= 0.001 else "p < 0.001"
    return f"{times * found.difference:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}] {p}"


def oracle_table(path: Path) -> list[str]:
    found = json.loads(path.read_text(encoding="utf-8"))
    keys = ("rsum", "i2t_map_at_r", "t2i_map_at_r", "order_tau")
    mean = {name: {key: float(np.mean([run[key] for run in runs])) for key in keys} for name, runs in found.items()}
    top = next(values["i2t_map_at_r"] for name, values in mean.items() if name.startswith("oracle"))
    base = mean["clip"]["i2t_map_at_r"]
    lines = ["| | RSUM | i2t mAP@R | t2i mAP@R | share of the oracle's gain | order τ |", "|:--|--:|--:|--:|--:|--:|"]
    for name, values in mean.items():
        share = (values["i2t_map_at_r"] - base) / (top - base)
        lines.append(
            f"| {name} | {values['rsum']:.1f} | {100 * values['i2t_map_at_r']:.1f} | "
            f"{100 * values['t2i_map_at_r']:.1f} | {share:.2f} | {values['order_tau']:.3f} |"
        )
    return [f"Dev split, {len(next(iter(found.values())))} seeds, means.", "", *lines]


def _command(folder: Path) -> str:
    """The command that makes the results in a clone, told by the clone's own code: its parameters may be others."""
    path = os.pathsep.join([str(folder / "src"), str(ROOT / "benchmarks")])
    script = "from results_page import command; print(command())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def page(family: Family, runs: list[Run], oracle: Path | None, transfers: list[tuple[str, Path]], opening: str) -> str:
    lines = ["<!-- Written by benchmarks/evidence.py. Do not edit. -->", f"# {family.title}", ""]
    lines += [opening, ""] if opening else []
    for run in runs:
        seeds = len(run.seeds)
        table, said = differences(run)
        lines += [
            f"## {run.name}",
            "",
            f"{seeds} seeds, test split, commit {git('rev-parse', '--short', 'HEAD', folder=run.folder)}, {machine()}; "
            f"`{_command(run.folder)}` (or `snakemake --cores 2`). Means and sample standard deviations over seeds; "
            "R@K, mAP and HierarCaps' precision and recall in per cent.",
            "",
            *said,
            "",
            *means(run.methods, run.figures(), run.values),
            "",
            "Differences, with 95 % intervals over images and seeds, and p of these trained models over images after "
            f"Holm's correction ({SAMPLES:,} resamples):",
            "",
            *table,
            "",
        ]
    if oracle:
        lines += ["## Against an oracle that is told the true relation", "", *oracle_table(oracle), ""]
    if transfers:
        lines += ["## Zero-shot: the models of the last section on other data, by `itm transfer`", ""]
        for name, path in transfers:
            lines += transferred(name, path, family)
    return "\n".join(lines).rstrip() + "\n"


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("family", choices=FAMILIES)
    found.add_argument("runs", nargs="+", metavar="NAME=FOLDER")
    found.add_argument("--oracle", type=Path, help="JSON of benchmarks/oracle.py --out")
    found.add_argument("--transfer", action="append", default=[], metavar="NAME=FILE", help="JSON of `itm transfer`")
    found.add_argument("--page", action="store_true", help="write FAMILY.md, not the terminal")
    found.add_argument("--out", type=Path, default=ROOT / "docs/results", help="folder of the page")
    return found


def main() -> None:
    given = smoke.read(parser(), SMALLEST)
    family = FAMILIES[given.family]
    runs = [Run(name, Path(folder), family) for name, folder in (each.split("=", 1) for each in given.runs)]
    transfers = [(name, Path(file)) for name, file in (each.split("=", 1) for each in given.transfer)]
    text = page(family, runs, given.oracle, transfers, remark(given.family))
    write_or_print(given.out / f"{given.family}.md" if given.page else None, text)


if __name__ == "__main__":
    main()
