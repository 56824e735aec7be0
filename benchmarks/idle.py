"""Time that both runners take to find nothing to do, beside DVC in a project of copied files.

    python benchmarks/idle.py [--page docs/results/idle.md]

A clone of the last commit runs a small preset with the default's stages, then with 31, and both runners are asked
what is left to do. By turns DVC is asked the same of as many stages that copy one small file each and have no
parameters. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import tempfile
from pathlib import Path

import smoke
from clone import Clone, source
from results_page import commit, machine

PIPELINES = (
    ("methods=[clip,vse,ditm]", "benchmarks=[retrieval,cxc,hierarcaps,false_negatives]"),
    ("methods=[clip,vse,ditm,ditm-order,ditm-margin]", "benchmarks=[retrieval,hierarcaps]"),
)
"""The default's stages, and 31."""
SMALLEST = [("methods=[clip]", "benchmarks=[retrieval]")]
BOUNDS = {"dvc repro": 2.5, "snakemake -n": 3.0}
"""Seconds at 31 stages, the project's own."""


def idle(clone: Clone, repeat: int, *overrides: str) -> list[str]:
    """Rows of a table: times of commands with nothing to do."""
    clone.preset("scenes-smoke", "device=cpu", *overrides)
    clone.run("dvc", "repro", "--quiet")
    clone.run("itm", "sync")
    count = clone.stages()
    plain = copying(clone, clone.root.with_name(f"copying-{count}"), count)
    times: dict[str, list[float]] = {command: [] for command in [*BOUNDS, "copies"]}
    for _ in range(repeat):
        for command in BOUNDS:
            times[command].append(clone.timed(*command.split()))
        times["copies"].append(plain.timed("dvc", "repro"))
    alone = statistics.median(times["copies"])
    names = {command: f"`{command}`" for command in BOUNDS} | {"copies": "`dvc repro`, copied files"}
    return [
        f"| {count} | {names[command]} | {statistics.median(found):.2f} | {min(found):.2f}, {max(found):.2f} "
        f"| {statistics.median(found) / alone:.2f} | {BOUNDS.get(command, '')} |"
        for command, found in times.items()
    ]


def copying(clone: Clone, folder: Path, count: int) -> Clone:
    """A project of DVC alone, with everything done: a chain of so many stages that copy a file."""
    folder.mkdir()
    plain = copy.copy(clone)
    plain.root = folder
    steps = [f"  copy{n}:\n    cmd: cp {n} {n + 1}\n    deps: ['{n}']\n    outs: ['{n + 1}']\n" for n in range(count)]
    (folder / "dvc.yaml").write_text("stages:\n" + "".join(steps), encoding="utf-8")
    (folder / "0").write_text("anything", encoding="utf-8")
    plain.run("git", "init", "--quiet")
    plain.run("dvc", "init", "--quiet")
    plain.run("dvc", "config", "core.analytics", "false")
    plain.run("dvc", "repro", "--quiet")
    return plain


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--repeat", type=int, default=7, help="times of each command")
    found.add_argument("--page", type=Path, help="write the results there, too")
    return found


def main() -> None:
    given = smoke.read(parser(), "--repeat 1 --page {scratch}/page.md")
    load, made_at = os.getloadavg()[0], commit()
    with tempfile.TemporaryDirectory(prefix="itm-idle-") as name:
        clone = Clone(source(given.smoke), Path(name) / "clone")
        pipelines = SMALLEST if given.smoke else PIPELINES
        rows = [row for overrides in pipelines for row in idle(clone, given.repeat, *overrides)]
    text = f"""\
<!-- Written by benchmarks/idle.py. Do not edit. -->

# What the runners take with nothing to do

Made at commit {made_at} on {machine()}, load {load:.1f} before, by

```
python benchmarks/idle.py --page docs/results/idle.md
```

The preset `scenes-smoke` with the stages of the default, then with five methods and two benchmarks; {given.repeat}
times each, by turns. Beside it as many stages that copy one small file each: what DVC takes beyond that goes into
params.yaml, which it reads once for each stage, and into dvc.lock.

| stages | | seconds, median | least, most | ratio to copied files | bound at 31 stages |
|--:|---|--:|---|--:|--:|
""" + "\n".join(rows)
    print(text)
    if given.page:
        given.page.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
