"""The pipeline through a real Slurm that ends two of its jobs, and its results through three kinds of remotes.

    python benchmarks/clusters.py [--page docs/results/clusters.md]

Needs Debian's slurm-wlm and munge, and root to start them. Two clones of the last commit run the preset scenes-smoke
with four epochs: one by `dvc repro`, the other by Snakemake with the Slurm profile, on a cluster of one node that is
started for it. While they train, the job of one method hangs and reaches its time limit, that of the other is
cancelled. What both clones wrote is compared byte for byte. Then the second clone's results are pushed to a folder, an
SSH server and an S3-compatible server, and pulled into fresh clones, where both runners are asked what is left to do.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import smoke
from clone import Clone
from results_page import commit, machine, write_or_print

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "tests/orchestration", "tests/orchestration/slurm")]

from cluster import running, unavailable  # noqa: E402
from pipeline_project import written  # noqa: E402
from remotes import KINDS, Remote  # noqa: E402
from runs import MADE, Run, fill_in_profile, run, scancel, time_limit  # noqa: E402

PRESET = ["scenes-smoke", "device=cpu", "train.epochs=4"]
SMALLER = ("benchmarks=[retrieval]", "evaluate.bootstrap_samples=10")
"""For --smoke. Not fewer images: a training must still run when Slurm ends it."""
KEPT = re.compile(
    r"^(Job \d+ has been submitted|Finished jobid|Trying to restart|SLURM-job|\d+ of \d+ steps)|SLURM status"
)
UP_TO_DATE = {"dvc repro": "Data and pipelines are up to date.", "snakemake -n": "Nothing to be done"}


def through_slurm(there: Clone) -> tuple[Run, list[tuple[str, str, str]], list[str]]:
    fill_in_profile(there.root)
    with running() as slurm:
        seen = run(there.root, slurm, there.environment, [time_limit("clip"), scancel("ditm")])
        if seen.status:
            sys.exit(f"{seen.output}\n{slurm.logs()}")
        history, requests = slurm.history(), slurm.requests()
    there.run("git", "checkout", "--quiet", "workflow")
    return seen, history, requests


def slurm_section(here: Clone, there: Clone) -> list[str]:
    with ThreadPoolExecutor(1) as pool:
        alone = pool.submit(here.run, "dvc", "repro")
        seen, history, requests = through_slurm(there)
        alone.result()
    expected, found = written(here.root, *MADE), written(there.root, *MADE)
    different = sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))
    clean = there.run("dvc", "status").strip()
    left = next(line for line in there.run("snakemake", "-n").splitlines() if line.startswith("Nothing"))
    logs = {method: (there.root / f"logs/train/{method}-0.log").read_text() for method in ("clip", "ditm")}
    epochs = {method: re.findall(r"resuming after epoch (.*)", log)[0] for method, log in logs.items()}
    resumed = [f"| {method} | {epoch} |" for method, epoch in epochs.items()]
    request = next(line for line in requests if "rule_train" in line)
    request = re.sub(r"--(job-name|output|comment) \S+ | -D \S+", "", request)
    log = [
        re.sub(r"\(log: .*?\)", "", line).strip().rstrip(".") for line in seen.output.splitlines() if KEPT.search(line)
    ]
    states = [
        f"| {job} | {name.removeprefix('rule_').replace('_wildcards_', ': ')} | {state} |"
        for job, name, state in history
    ]
    events = [f"| {seconds:.0f} s | {what} |" for seconds, what in seen.events]
    return [
        "## A run through Slurm",
        f"{len(history)} jobs in {seen.seconds:.0f} s, two trainings ended on the way and tried again; `dvc repro` ran "
        f"beside it, and the load of the machine was {os.getloadavg()[2]:.1f}. The cluster is this machine; its node "
        "claims 8 cores and 2 GPUs, which are only counted. Snakemake first looked at a job after 5 s.",
        f"Files that differ between the two: **{len(different)} of {len(expected)}**"
        + (f" ({', '.join(different[:5])})" if different else "")
        + f'. Afterwards `dvc status`: "{clean}"; `snakemake -n`: "{left}".',
        "What was done to the jobs, after so many seconds:\n\n| | |\n|---|---|\n" + "\n".join(events),
        "Where the second attempts of these trainings went on:\n\n| method | resumed after epoch |\n|---|---|\n"
        + "\n".join(resumed),
        "All jobs, as Slurm lists them:\n\n| job | of | ended as |\n|---|---|---|\n" + "\n".join(states),
        f"What a training asks for:\n\n```\nsbatch {request.strip()}\n```",
        "Snakemake's log, without rules and commands:\n\n```\n" + "\n".join(log) + "\n```",
    ]


def round_trip(name: str, there: Clone, remote: Remote, folder: Path) -> str:
    (there.root / ".dvc/config.local").unlink(missing_ok=True)  # what the remote before needed
    for command in remote.commands():
        there.run(*command)
    push = there.timed("dvc", "push", "--quiet", **remote.environment)
    fresh = Clone(there.root, folder)
    for command in remote.commands():
        fresh.run(*command)
    pull = fresh.timed("dvc", "pull", "--quiet", **remote.environment)
    sync = fresh.timed(sys.executable, "-m", "itm.cli", "sync")
    objects = [file for file in (fresh.root / ".dvc/cache/files").rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in objects)
    same = written(fresh.root, *MADE) == written(there.root, *MADE)
    said = [text if text in fresh.run(*command.split()) else "something to do" for command, text in UP_TO_DATE.items()]
    return (
        f"| {name} | {len(objects)} | {size / 1e6:.1f} MB | {push:.1f} s | {pull:.1f} s | {sync:.1f} s | "
        f"{'the same' if same else 'different'} | {said[0]} | {said[1]} |"
    )


def remotes_section(there: Clone, folder: Path) -> list[str]:
    there.commit()
    rows = []
    for name, serve in KINDS.items():
        with serve(folder / f"remote-{name}") as remote:
            rows.append(round_trip(name, there, remote, folder / f"pulled-{name}"))
    return [
        "## Round trips",
        "The results of that run, pushed, then pulled into a fresh clone. SSH is asyncssh's server, S3 is moto's, both "
        "on the same machine: the times are those of the protocols and of starting DVC, not of a network.",
        "| remote | objects | bytes | `dvc push` | `dvc pull` | `itm sync` | files | `dvc repro` | `snakemake -n` |\n"
        "|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows),
    ]


def parser() -> argparse.ArgumentParser:
    found = smoke.parser(__doc__)
    found.add_argument("--page", type=Path, help="write the results there instead of printing them")
    return found


def main() -> None:
    given = smoke.read(parser(), "--page {scratch}/page.md")
    if reason := unavailable():
        smoke.absent(reason)
    preset = [*PRESET, *(SMALLER if given.smoke else ())]
    made_at = commit()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here, there = Clone(ROOT, folder / "here"), Clone(ROOT, folder / "there")
        for clone in (here, there):
            clone.preset(*preset)
        sections = [*slurm_section(here, there), *remotes_section(there, folder)]
    command = "python benchmarks/clusters.py --page docs/results/clusters.md"
    head = [
        "<!-- Written by benchmarks/clusters.py. Do not edit. -->",
        "# Through a cluster, and through remotes",
        f"Made at commit {made_at} on {machine()} by\n\n```\n{command}\n```",
        f"The preset is `{' '.join(preset)}`: the whole pipeline, on a few hundred scenes. What a user types is in "
        "[clusters.md](../clusters.md) and [remotes.md](../remotes.md).",
    ]
    text = "\n\n".join([*head, *sections]) + "\n"
    write_or_print(given.page, text)


if __name__ == "__main__":
    main()
