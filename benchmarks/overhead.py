"""What the two runners cost: a sweep by each from nothing, and how long they take to find that nothing is to be done.

    python benchmarks/overhead.py [--epochs N] [--page docs/results/overhead.md]

Two clones of the last commit run the preset scenes with three methods, three seeds and one benchmark: `dvc repro`, one
job after the other, and `snakemake --cores 2`. Both have the same parameters, a training with one thread, so that their
results can be, and are, compared byte for byte. Then one of them gets the preset's four benchmarks and a single seed,
which is the default pipeline, runs what is missing, and both runners are asked what is left to do. Beside it DVC is asked
the same of as many stages that copy one small file each and have no parameters. Run it on a machine that does nothing
else. --epochs makes the trainings shorter, and so the share of what both runners do alike larger.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import tempfile
from pathlib import Path

from clone import Clone
from results_page import ROOT, commit, machine

sys.path.insert(0, str(ROOT / "tests"))

from pipeline_project import written

SWEEP = ["scenes", "device=cpu", "train.threads=1", "methods=[clip,vse,ditm]"]
NINE = ["seeds=[0,1,2]", "benchmarks=[retrieval]"]
REPEAT = 5
BOUNDS = {"dvc repro": 2.5, "snakemake -n": 3.0}
"""Seconds, the project's own."""
GAIN = 1.7
KEPT = ("models", "results", "report.md", "report.html")


def sweep(serial: Clone, parallel: Clone, arguments: list[str]) -> str:
    """Runs both from nothing; what came of it, in Markdown."""
    for clone in (serial, parallel):
        clone.preset(*arguments)
    by_snakemake = parallel.timed("snakemake", "--cores", "2", "--quiet", "all")
    by_dvc = serial.timed("dvc", "repro", "--quiet")
    one, other = written(serial.root, *KEPT), written(parallel.root, *KEPT)
    different = sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
    return (
        f"`itm preset {' '.join(arguments)}`, from an empty cache to the report, nine trainings, {stages(serial)} "
        "stages:\n\n"
        "| `dvc repro` | `snakemake --cores 2` | times as fast | bound |\n|---|---|---|---|\n"
        f"| {by_dvc:.0f} s | {by_snakemake:.0f} s | **{by_dvc / by_snakemake:.2f}** | {GAIN} |\n\n"
        f"Files of models, results and report that differ between the two: {len(different)} of {len(one)}"
        + (f" ({', '.join(different[:3])})." if different else ".")
    )


def idle(clone: Clone, arguments: list[str]) -> str:
    """Times of commands with nothing to do, in Markdown."""
    clone.preset(*arguments)
    clone.run("dvc", "repro", "--quiet")
    clone.run("itm", "sync")
    count = stages(clone)
    plain = copying(clone, clone.root.with_name("copying"), count)
    found: dict[str, list[float]] = {command: [] for command in BOUNDS}
    alone: list[float] = []
    for _ in range(REPEAT):
        for command, times in found.items():
            times.append(clone.timed(*command.split()))
        alone.append(plain.timed("dvc", "repro"))
    rows = [
        f"| `{command}` | {statistics.median(times):.2f} | {min(times):.2f}, {max(times):.2f} | {BOUNDS[command]} |"
        for command, times in found.items()
    ]
    rows.append(
        f"| `dvc repro`, {count} stages that copy a file | {statistics.median(alone):.2f} | {min(alone):.2f}, "
        f"{max(alone):.2f} | |"
    )
    return (
        f"Nothing to do, {count} stages, {REPEAT} times each, by turns:\n\n"
        "| seconds | median | least, most | bound |\n|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        "What DVC takes beyond a bare project goes into reading params.yaml, once for each stage, and dvc.lock. Entries of "
        "`method` that are not in use may be deleted from params.yaml."
    )


def copying(clone: Clone, folder: Path, count: int) -> Clone:
    """A project of DVC alone, with everything done: a chain of so many stages that copy a file."""
    folder.mkdir()
    plain = copy.copy(clone)
    plain.root = folder
    written_stages = [
        f"  copy{row}:\n    cmd: cp {row} {row + 1}\n    deps: ['{row}']\n    outs: ['{row + 1}']\n"
        for row in range(count)
    ]
    (folder / "dvc.yaml").write_text("stages:\n" + "".join(written_stages), encoding="utf-8")
    (folder / "0").write_text("anything", encoding="utf-8")
    plain.run("git", "init", "--quiet")
    plain.run("dvc", "init", "--quiet")
    plain.run("dvc", "config", "core.analytics", "false")
    plain.run("dvc", "repro", "--quiet")
    return plain


def stages(clone: Clone) -> int:
    """How many stages the pipeline has with its present parameters."""
    return len([line for line in clone.run("dvc", "stage", "list", "--name-only").splitlines() if line.strip()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, help="in place of the preset's train.epochs")
    parser.add_argument("--page", type=Path, help="write the results there, too")
    given = parser.parse_args()
    shorter = [f"train.epochs={given.epochs}"] if given.epochs else []
    load, made_at = os.getloadavg()[0], commit()
    with tempfile.TemporaryDirectory(prefix="itm-overhead-") as name:
        serial, parallel = Clone(ROOT, Path(name) / "serial"), Clone(ROOT, Path(name) / "parallel")
        sections = [
            sweep(serial, parallel, [*SWEEP, *NINE, *shorter]),
            idle(parallel, [*SWEEP, "seeds=[0]", *shorter]),
        ]
    options = " ".join([*(["--epochs", str(given.epochs)] if given.epochs else []), "--page docs/results/overhead.md"])
    head = [
        "<!-- Written by benchmarks/overhead.py. Do not edit. -->",
        "# What the runners cost",
        f"Made at commit {made_at} on {machine()}, load {load:.1f} before, by\n\n"
        f"```\npython benchmarks/overhead.py {options}\n```",
    ]
    text = "\n\n".join([*head, *sections]) + "\n"
    print(text)
    if given.page:
        given.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
