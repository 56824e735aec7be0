"""Time to record one stage in dvc.lock: DVC's own way, and replacing the entry in the text, side by side.

    python benchmarks/lockfile.py [--page docs/results/lockfile.md]

The file is the committed one, with its stages repeated under other names as a sweep would have them. Both must write
the same bytes.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import smoke
from dvc.utils.serialize import dumps_yaml, loads_yaml, modify_yaml
from results_page import ROOT, commit, machine

from itm.pipeline.lockfile import with_entry

MINUTES = (1, 10, 60)


def rows(folder: Path, sizes: list[int], repeat: int) -> tuple[list[str], float]:
    """Rows of the table, one a size, and DVC's seconds at the last one."""
    committed = list(loads_yaml((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"].items())
    found, theirs = [], 0.0
    for size in sizes:
        # copies: of what is there twice YAML would write a reference
        stages = {f"{name}-{n}": copy.deepcopy(entry) for n, (name, entry) in zip(range(size), cycle(committed))}
        name = list(stages)[size // 2]
        changed: dict[str, object] = {name: {**stages[name], "cmd": "another command"}}
        path = folder / "dvc.lock"
        text = dumps_yaml({"schema": "2.0", "stages": stages})

        def by_dvc(path: Path = path, changed: dict[str, object] = changed) -> None:
            with modify_yaml(str(path)) as data:
                data["stages"].update(changed)

        def in_the_text(path: Path = path, changed: dict[str, object] = changed) -> None:
            entry = dumps_yaml({"schema": "2.0", "stages": changed})
            found = with_entry(path.read_text(encoding="utf-8"), entry)
            assert found is not None
            path.write_text(found, encoding="utf-8")

        (theirs, one), (ours, other) = timed(by_dvc, path, text, repeat), timed(in_the_text, path, text, repeat)
        assert one == other, "the two wrote different files"
        lines = text.count("\n")
        found.append(f"| {size} | {lines:,} | {theirs:.2f} | {ours:.3f} | {theirs / ours:.0f} |")
    return found, theirs


def sweeps(seconds: float, stages: int) -> str:
    """From how many runs on DVC's recording takes more than a tenth of the work, by stages and minutes a run.

    It takes c n seconds with n stages in the file, c = `seconds` / `stages`; c (R s)^2 / 2 for R runs of s stages from
    an empty file on, one after the other. That is a tenth of R t seconds of work at R = 0.2 t / (c s^2).

    >>> sweeps(4.0, 100).splitlines()[2]
    '| 4 | 19 | 188 | 1,126 |'
    """
    each = seconds / stages
    lines = [
        f"| {size} | " + " | ".join(f"{1 + int(0.2 * 60 * minutes / (each * size**2)):,}" for minutes in MINUTES) + " |"
        for size in (4, 6, 8)
    ]
    head = "| stages a run | " + " | ".join(f"{minutes} min a run" for minutes in MINUTES) + " |"
    return "\n".join([head, "|--:" * (1 + len(MINUTES)) + "|", *lines])


def timed(write: Callable[[], None], path: Path, text: str, repeat: int) -> tuple[float, str]:
    """The median of the seconds that it takes, and what is in the file then."""
    seconds = []
    for _ in range(repeat):
        path.write_text(text, encoding="utf-8")
        start = time.perf_counter()
        write()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), path.read_text(encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--sizes", type=int, nargs="+", default=[27, 100, 400], help="stages in the file")
    found.add_argument("--repeat", type=int, default=5)
    found.add_argument("--page", type=Path, help="write the results there, too")
    return found


def main() -> None:
    given = smoke.read(parser(), "--sizes 3 --repeat 1 --page {scratch}/page.md")
    with tempfile.TemporaryDirectory(prefix="itm-lockfile-") as name:
        found, theirs = rows(Path(name), given.sizes, given.repeat)
    table = "\n".join(found)
    text = f"""\
<!-- Written by benchmarks/lockfile.py. Do not edit. -->

# Recording one stage in dvc.lock

Made at commit {commit()} on {machine()} by

```
python benchmarks/lockfile.py --page docs/results/lockfile.md
```

The committed file, its stages repeated under other names; one entry in the middle changes. Median of {given.repeat};
both wrote the same bytes. While a job records its stage no other can: with DVC's own way the stages of a large sweep
wait for each other.

| stages | lines of dvc.lock | DVC, s | in the text, s | times as fast |
|--:|--:|--:|--:|--:|
{table}

## A whole sweep by `dvc repro`

DVC's seconds grow with the stages in the file, so that those of a sweep grow with the square: N stages from an empty
file on take N^2 / 2 times {theirs:.2f} / {given.sizes[-1]} s. A run has a training, encoding, a grade and its
benchmarks. From so many runs on, one after the other, recording takes more than a tenth of what the runs take:

{sweeps(theirs, given.sizes[-1])}
"""
    print(text)
    if given.page:
        given.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
