"""Times, coverage and planted faults of the test suite, in one checkout or in two side by side.

    python benchmarks/test_suite.py time before=OLD after=. --commands "make test" "make fast" "make lint" .ci/run
    python benchmarks/test_suite.py busy after=.
    python benchmarks/test_suite.py coverage before=OLD after=.
    python benchmarks/test_suite.py faults before=OLD after=.
    python benchmarks/test_suite.py page

Each checkout needs its environment (`make environment`). `time` runs one command after the other on a machine that
should have nothing else to do; `busy` runs `make test` in three clones at once, so that each run has the four busy
workers of the two others beside it on two cores; `coverage` follows every process that a test starts; `faults` plants
each fault of tests/mutants in both checkouts. What was measured is kept in --records until `page` writes it down.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import smoke
from results_page import ROOT, git, machine, remark

COUNTED = re.compile(r"(\d+) (passed|failed|skipped|error)")
SUBPROCESSES = "import coverage; coverage.process_startup()\n"
MEASURED = """\
[run]
branch = True
parallel = True
source_pkgs = itm
data_file = {data}
sigterm = True
[paths]
itm =
    {source}
    */src/itm
"""


def environment(**more: str) -> dict[str, str]:
    left_out = ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "PYTEST_ADDOPTS")
    return {name: value for name, value in os.environ.items() if name not in left_out} | more


def measured(command: str, folder: Path, log: Path, **more: str) -> dict[str, Any]:
    """Seconds on the clock and of processors, the exit status, and what a test runner counted, of a shell command."""
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command], cwd=folder, env=environment(**more), stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
    counts: dict[str, int] = {}
    for line in log.read_text(errors="replace").splitlines():
        if re.search(r"\d+ passed.* in [\d.]+s", line):
            for number, word in COUNTED.findall(line):
                counts[word] = counts.get(word, 0) + int(number)
    return {
        "wall": time.monotonic() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "status": os.waitstatus_to_exitcode(status),
        "load": os.getloadavg()[0],
        **counts,
    }


def clone(checkout: Path, folder: Path) -> Path:
    """A clone of the last commit with an environment of its own."""
    subprocess.run(["git", "clone", "--quiet", checkout, folder], check=True)
    subprocess.run(["make", "environment"], cwd=folder, check=True, capture_output=True, env=environment())
    return folder


def busy(name: str, checkout: Path, command: str, folder: Path, count: int) -> list[dict[str, Any]]:
    """So many runs of a command at once, each in a clone of its own."""
    from concurrent.futures import ThreadPoolExecutor

    clones = [clone(checkout, folder / f"busy{number}") for number in range(count)]
    with ThreadPoolExecutor(count) as pool:
        runs = pool.map(lambda each: measured(command, each, folder / f"{each.name}.log"), clones)
        return [{"what": "busy", "name": name, "command": command, **run} for run in runs]


def coverage(name: str, checkout: Path, command: str, folder: Path) -> dict[str, Any]:
    """Lines and branches of src/itm that a command's processes pass through; `coverage` is installed for it."""
    own = clone(checkout, folder / f"{name}-coverage")
    subprocess.run(
        ["uv", "pip", "install", "--quiet", "--python", ".venv/bin/python", "coverage>=7.10"],
        cwd=own,
        env=environment(PATH=f"{own / '.tools/bin'}{os.pathsep}{os.environ['PATH']}"),
        check=True,
    )
    next(own.glob(".venv/lib/python*/site-packages")).joinpath("follow.pth").write_text(SUBPROCESSES)
    settings = folder / f"{name}.coveragerc"
    data = folder / f"{name}-data/data"
    data.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(MEASURED.format(data=data, source=own / "src/itm"))
    run = measured(command, own, folder / f"{name}-coverage.log", COVERAGE_PROCESS_START=str(settings))
    return {
        "what": "coverage",
        "name": name,
        "command": command,
        **run,
        **covered(own, settings, folder / f"{name}.json"),
    }


def covered(checkout: Path, settings: Path, report: Path) -> dict[str, Any]:
    """The totals of the data that the processes left, and the lines that no test passes through, by file."""
    own = [str(checkout / ".venv/bin/python"), "-m", "coverage"]
    for words in (["combine", "--quiet", "--keep"], ["json", "--quiet", "-o", str(report)]):
        subprocess.run([*own, *words, f"--rcfile={settings}"], cwd=checkout, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(report.read_text())
    totals = found["totals"]
    return {
        **{key: totals[key] for key in ("covered_lines", "num_statements", "covered_branches", "num_branches")},
        "missing": {name: each["missing_lines"] for name, each in found["files"].items() if each["missing_lines"]},
    }


def faults(name: str, checkout: Path, folder: Path) -> dict[str, Any]:
    """The faults of tests/mutants planted in a checkout, and how many its tests catch."""
    log = folder / f"{name}-faults.log"
    python = checkout.resolve() / ".venv/bin/python"
    run = measured(f"{python} {ROOT / 'tests/mutants'} --checkout {shlex.quote(str(checkout.resolve()))}", ROOT, log)
    text = log.read_text()
    verdicts = re.findall(r"^ *\d+  (caught|NOT CAUGHT|STATUS)", text, re.M)
    return {"what": "faults", "name": name, **run, "caught": verdicts.count("caught"), "planted": len(verdicts)}


def table(head: str, rows: list[str]) -> str:
    names = head.split(" | ")
    return "\n".join([f"| {head} |", "|---|" + "---:|" * (len(names) - 1), *(f"| {row} |" for row in rows)])


def span(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def counts(run: dict[str, Any]) -> str:
    found = [f"{run[word]} {word}" for word in ("passed", "failed", "error", "skipped") if run.get(word)]
    return ", ".join(found) or ("done" if run["status"] == 0 else f"status {run['status']}")


def timed_rows(records: list[dict[str, Any]], what: str) -> list[str]:
    """Rows of a table: a command, its checkout, time on the clock, processor time, what was counted."""
    return [
        f"`{run['command']}` | {run['name']} ({run['commit']}) | "
        f"{span(run['wall'])} | {span(run['cpu'])} | {counts(run)}"
        for run in records
        if run["what"] == what
    ]


def lost(records: list[dict[str, Any]]) -> list[str]:
    """Lines of src/itm that the first coverage run passed through and the last one does not."""
    runs = [run for run in records if run["what"] == "coverage"]
    if len(runs) < 2:
        return []
    before, after = runs[0]["missing"], runs[-1]["missing"]
    new = {file: sorted(set(lines) - set(before.get(file, ()))) for file, lines in after.items()}
    return [f"{file} {', '.join(map(str, lines))}" for file, lines in new.items() if lines]


def page(records: list[dict[str, Any]]) -> str:
    head = "command | checkout | minutes | processor minutes | result"
    covered_rows = [
        f"{run['name']} ({run['commit']}) | {run['covered_lines']} of {run['num_statements']} | "
        f"{run['covered_branches']} of {run['num_branches']}"
        for run in records
        if run["what"] == "coverage"
    ]
    fault_rows = [
        f"{run['name']} ({run['commit']}) | {run['planted']} | {run['caught']} | {span(run['wall'])}"
        for run in records
        if run["what"] == "faults"
    ]
    gone = lost(records)
    commands = "\n".join(line.strip() for line in (__doc__ or "").splitlines() if line.startswith("    "))
    return f"""\
<!-- Written by benchmarks/test_suite.py. Do not edit. -->

# What the tests take, and what they notice

Made on {machine()} by

```
{commands}
```

{remark("tests")}

## Time

One after the other, with nothing else to do.

{table(head, timed_rows(records, "time"))}

## A busy machine

Several runs at once on two cores: each has the workers of the others, and what they start, beside it. Bound: four times
that of a quiet machine, and no failure.

{table(head, timed_rows(records, "busy"))}

## Coverage of src/itm

Lines and branches that a test passes through, in any process that it starts.

{table("checkout | lines | branches", covered_rows)}

Lines that only the first passes through: {"; ".join(f"`{each}`" for each in gone) if gone else "none"}.

## Planted faults

Small edits of real lines in every package, one at a time ([the list](../../tests/mutants/faults.yaml); `make mutants`
plants them): does a test notice?

{table("checkout | planted | noticed | minutes", fault_rows)}
"""


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("what", choices=["time", "busy", "coverage", "faults", "page"])
    found.add_argument("checkouts", nargs="*", metavar="NAME=CHECKOUT")
    found.add_argument("--commands", nargs="+", default=["make test"], help="time: what to run")
    found.add_argument("--runs", type=int, default=3, help="busy: how many at once")
    found.add_argument("--records", type=Path, default=ROOT / ".test-suite", help="folder for measurements and logs")
    found.add_argument("--out", type=Path, default=ROOT / "docs/results/tests.md")
    return found


def main() -> None:
    given = smoke.read(parser(), "--records {scratch} --out {scratch}/tests.md time now=. --commands 'make help'")
    file = given.records / "records.jsonl"
    given.records.mkdir(parents=True, exist_ok=True)
    for each in given.checkouts:
        name, _, place = each.partition("=")
        folder = Path(place).resolve()
        if given.what == "time":
            logs = given.records / name
            runs = [
                {"what": "time", "name": name, "command": command} | measured(command, folder, logs / f"{number}.log")
                for number, command in enumerate(given.commands)
            ]
        elif given.what == "busy":
            runs = busy(name, folder, given.commands[0], given.records.resolve(), given.runs)
        elif given.what == "coverage":
            runs = [coverage(name, folder, given.commands[0], given.records.resolve())]
        else:
            runs = [faults(name, folder, given.records)]
        with file.open("a") as records:
            for run in runs:
                print({key: value for key, value in run.items() if key != "missing"})
                records.write(json.dumps({**run, "commit": git("rev-parse", "--short", "HEAD", folder=folder)}) + "\n")
    if given.what == "page" or given.smoke:
        given.out.write_text(page([json.loads(line) for line in file.read_text().splitlines()]))


if __name__ == "__main__":
    main()
