"""Time of a sweep by either runner, side by side from nothing.

    python benchmarks/overhead.py [--epochs N] [--page docs/results/overhead.md]

Two clones of the last commit run the preset scenes with three methods, three seeds and one benchmark: `dvc repro`, one
job after the other, and `snakemake --cores 2`. Both have the same parameters, a training with one thread, so that their
results can be, and are, compared byte for byte. Run it on a machine that does nothing else. --epochs makes the
trainings shorter, and so the share of what both runners do alike larger. What they take with nothing to do:
benchmarks/idle.py.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import smoke
from clone import Clone, source
from results_page import ROOT, commit, machine

sys.path.insert(0, str(ROOT / "tests"))

from pipeline_project import written

SWEEP = [
    "scenes",
    "device=cpu",
    "train.threads=1",
    "methods=[clip,vse,ditm]",
    "seeds=[0,1,2]",
    "benchmarks=[retrieval]",
]
SMALLER = ("methods=[clip]", "seeds=[0]")
"""For --smoke, after these."""
FIRST = (["--", "results/quality.json"], ["clean"])
"""For --smoke the first stages alone, as Snakemake and DVC are asked for them."""
GAIN = 1.7
"""How much faster the project wants two cores to be."""
KEPT = ("models", "results", "report.md", "report.html")


def sweep(serial: Clone, parallel: Clone, arguments: list[str], small: bool) -> str:
    """Runs both from nothing; what came of it, in Markdown."""
    for clone in (serial, parallel):
        clone.preset(*arguments)
    for_snakemake, for_dvc = FIRST if small else ([], [])
    by_snakemake = parallel.timed("snakemake", "--cores", "2", "--quiet", "all", *for_snakemake)
    by_dvc = serial.timed("dvc", "repro", "--quiet", *for_dvc)
    one, other = written(serial.root, *KEPT), written(parallel.root, *KEPT)
    different = sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
    return (
        f"`itm preset {' '.join(arguments)}`, from an empty cache to the report, nine trainings, {serial.stages()} "
        "stages:\n\n"
        "| `dvc repro` | `snakemake --cores 2` | times as fast | bound |\n|---|---|---|---|\n"
        f"| {by_dvc:.0f} s | {by_snakemake:.0f} s | **{by_dvc / by_snakemake:.2f}** | {GAIN} |\n\n"
        f"Files of models, results and report that differ between the two: {len(different)} of {len(one)}"
        + (f" ({', '.join(different[:3])})." if different else ".")
    )


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--epochs", type=int, help="in place of the preset's train.epochs")
    found.add_argument("--page", type=Path, help="write the results there, too")
    return found


def main() -> None:
    given = smoke.read(parser(), "--epochs 1 --page {scratch}/page.md")
    shorter = [f"train.epochs={given.epochs}"] if given.epochs else []
    load, made_at = os.getloadavg()[0], commit()
    with tempfile.TemporaryDirectory(prefix="itm-overhead-") as name:
        repository = source(given.smoke)
        serial, parallel = (Clone(repository, Path(name) / which) for which in ("serial", "parallel"))
        found = sweep(serial, parallel, [*SWEEP, *shorter, *(SMALLER if given.smoke else ())], given.smoke)
    options = " ".join([*(["--epochs", str(given.epochs)] if given.epochs else []), "--page docs/results/overhead.md"])
    head = [
        "<!-- Written by benchmarks/overhead.py. Do not edit. -->",
        "# What a sweep takes by either runner",
        f"Made at commit {made_at} on {machine()}, load {load:.1f} before, by\n\n"
        f"```\npython benchmarks/overhead.py {options}\n```",
    ]
    text = "\n\n".join([*head, found]) + "\n"
    print(text)
    if given.page:
        given.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
