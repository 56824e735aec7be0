"""The results of all runs that this repository knows: the workspace's, those of commits, those of DVC experiments."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from itm.errors import ConfigError, DataError
from itm.evaluation.keys import chosen_keys, flat_metrics, meant
from itm.parse import flatten
from itm.pipeline.git import git, last_commits, unknown_history
from itm.pipeline.revisions import (
    RUNS,
    WORKSPACE,
    cache_folder,
    experiments_of,
    read_held,
    resolve,
)
from itm.runs.plan.published import published_of

HERE, LOCAL, REMOTE, TRAIN = "here", "cache", "remote", "train"
STATES = {
    HERE: "its files are in the workspace",
    LOCAL: "its files are in DVC's cache",
    REMOTE: "files are not in the cache: the command asks the remote for them",
    TRAIN: "files are in no cache here and there is no remote: the command trains anew",
}
NOT_COMPARED = ("methods", "seeds", "benchmarks", "device", "logger", "report.", "method.", "datasets.")
"""Parameters that are no part of what one run is (its own method's and data set's are)."""


@dataclass(frozen=True)
class Place:
    """Where results lie. name: as shown. commit: '' for the workspace. experiment: its name, '' for a commit."""

    name: str
    commit: str
    experiment: str = ""


@dataclass(frozen=True)
class Run:
    """One method with one seed at one place; equal results of several places are one run.

    parameters: those that differ between the runs of the method. restore: the command that brings the run back.
    published: the figures of its paper, where the run has that one's setting.
    """

    where: tuple[str, ...]
    commit: str
    method: str
    seed: int
    metrics: Mapping[str, float]
    parameters: Mapping[str, Any]
    state: str
    restore: str
    missing: int = 0
    published: Mapping[str, float] = field(default_factory=dict)


def places(root: Path, revisions: Sequence[str], commits: int) -> list[Place]:
    """The workspace, the tips of branches and tags, `revisions`, the last `commits` that changed results, experiments.

    Raises:
        ConfigError: a revision is unknown.
    """
    found = [Place(WORKSPACE, "")]
    pattern = "--format=%(refname:short) %(objectname) %(*objectname)"  # the last: what an annotated tag points to
    for line in git(root, "for-each-ref", pattern, "refs/heads", "refs/tags").stdout.decode().splitlines():
        name, *objects = line.split()
        found.append(Place(name, objects[-1]))
    found += [Place(name, resolve(root, name)) for name in revisions]
    if commits:
        listed = last_commits(root, RUNS, commits)
        if not listed and (why := unknown_history(root)):
            raise ConfigError(f"--commits {commits}: {why}", reason="no-commits")
        found += [Place(commit[:9], commit) for commit in listed]
    for name, each in experiments_of(root).items():
        found += [Place(name if len(each) == 1 else f"{name} ({commit[:9]})", commit, name) for commit in each]
    return found


def read_runs(root: Path, found: Iterable[Place]) -> list[Run]:
    """The runs of all places. Equal ones (figures and parameters of the run) are one, named after all their places.

    Raises:
        DataError: there is none.
    """
    cache = cache_folder(root)
    remote = bool(cache) and _has_remote(root)
    states: dict[str, list[Run]] = {}
    runs: dict[str, Run] = {}
    for place in found:
        if place.commit not in states:
            states[place.commit] = list(_runs(root, place, cache, remote))
        for run in states[place.commit]:
            key = json.dumps([run.method, run.seed, run.metrics, run.parameters], sort_keys=True, default=str)
            known = runs.get(key)
            if known is None:
                runs[key] = replace(run, where=(place.name,))
            elif place.name not in known.where:
                # the workspace is restored by nothing; a copy that a commit holds survives it
                better = run if known.state == HERE and run.commit else known
                runs[key] = replace(better, where=(*known.where, place.name), state=known.state)
    if not runs:
        raise DataError("no results here or in any branch, tag or experiment; run `dvc repro`", reason="no-runs")
    return _with_differences(list(runs.values()))


def chosen_metrics(runs: Sequence[Run], asked: Sequence[str]) -> list[str]:
    """The metric keys to show: those asked for (see `chosen_keys`), else the first of each benchmark.

    Raises:
        ConfigError: no run has such a metric.
    """
    known = list(dict.fromkeys(key for run in runs for key in run.metrics))
    if not asked:
        return [key for key in DEFAULT_METRICS if key in known] or known[:4]
    return chosen_keys(asked, known)


DEFAULT_METRICS = (
    "retrieval/rsum",
    "retrieval/i2t/r1",
    "retrieval/t2i/r1",
    "cxc/sits/spearman",
    "hierarcaps/tau_d",
)


def sort_runs(runs: Sequence[Run], key: str) -> list[Run]:
    """Runs in the order of a column: where, method, seed, or a metric (largest first; those without it last).

    Raises:
        ConfigError: no such column.
    """
    columns: dict[str, Callable[[Run], Any]] = {
        "where": lambda run: run.where,
        "method": lambda run: (run.method, run.seed),
        "seed": lambda run: (run.seed, run.method),
    }
    if key in columns:
        return sorted(runs, key=columns[key])
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    if key not in metrics:
        raise ConfigError(f"--sort {key}: no such column; {meant(key, [*columns, *metrics])}", reason="unknown-column")

    def value(run: Run) -> float:
        found = run.metrics.get(key, math.nan)
        return math.inf if math.isnan(found) else -found

    return sorted(runs, key=value)


def as_records(runs: Sequence[Run], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Runs as plain values for JSON; a metric that is undefined or absent is null."""
    found = []
    for run in runs:
        values = {key: run.metrics.get(key, math.nan) for key in metrics}
        found.append(
            {
                "where": list(run.where),
                "commit": run.commit,
                "method": run.method,
                "seed": run.seed,
                "metrics": {key: None if math.isnan(value) else value for key, value in values.items()},
                "published": {key: run.published[key] for key in metrics if key in run.published},
                "parameters": dict(run.parameters),
                "state": run.state,
                "missing": run.missing,
                "restore": run.restore,
            }
        )
    return found


def _runs(root: Path, place: Place, cache: Path | None, remote: bool) -> Iterable[Run]:
    held = read_held(root, place.commit, place.name)
    benchmarks = ["train", *held.benchmarks]
    found: dict[tuple[str, int], dict[str, float]] = {}
    for (method, seed, name), values in held.metrics(benchmarks).items():
        found.setdefault((method, seed), {}).update(flat_metrics({name: values}))
    published = published_of(held.parameters)
    for (method, number), metrics in found.items():
        state, restore, missing = _restore(
            root, place, _needed(held.outputs, method, number, benchmarks), cache, remote
        )
        own = _own(held.parameters, method)
        yield Run(
            (place.name,),
            place.commit,
            method,
            number,
            metrics,
            own,
            state,
            restore,
            missing,
            published.get(method, {}),
        )


def _needed(hashes: Mapping[str, str], method: str, seed: int, benchmarks: Sequence[str]) -> dict[str, str]:
    """The run's own files that DVC keeps; dvc.lock also remembers those of benchmarks that no longer run."""
    folders = tuple(f"{name}/{method}/seed{seed}/" for name in ("models", "embeddings"))
    measured = {f"evaluations/{method}/seed{seed}/{name}.npz" for name in benchmarks}
    return {path: md5 for path, md5 in hashes.items() if path.startswith(folders) or path in measured}


def _restore(
    root: Path, place: Place, needed: Mapping[str, str], cache: Path | None, remote: bool
) -> tuple[str, str, int]:
    """Where the files of a run are, the command that brings it back, and how many files the cache lacks."""
    if not place.commit:
        lost = [path for path in needed if not (root / path).exists()]
        return (LOCAL, "dvc checkout", len(lost)) if lost else (HERE, "", 0)
    lost = [md5 for md5 in needed.values() if cache is None or not (cache / md5[:2] / md5[2:]).is_file()]
    # an experiment that is no name of its own among several is applied by its commit
    named = place.commit[:9] if place.experiment and place.experiment != place.name else place.experiment
    first = f"dvc exp apply {named}" if named else f"git checkout {place.name}"
    if needed and not lost:
        return LOCAL, first if named else f"{first} && dvc checkout", 0
    if needed and remote:
        return REMOTE, f"{first} && dvc pull", len(lost)
    return TRAIN, f"{first} && dvc repro", len(lost)


def _own(parameters: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The parameters that one run of a method depends on, by dotted key; its method's without the method's name."""
    flat = flatten(parameters)
    own = {key: value for key, value in flat.items() if not key.startswith(NOT_COMPARED)}
    data = parameters.get("data", {}).get("name")
    for prefix in (f"method.{method}.", f"datasets.{data}."):
        own |= {key: value for key, value in flat.items() if key.startswith(prefix)}
    return own


def _with_differences(runs: list[Run]) -> list[Run]:
    """Runs whose `parameters` are only those that differ within the method."""
    shown = {}
    for method in {run.method for run in runs}:
        own = [run.parameters for run in runs if run.method == method]
        keys = dict.fromkeys(key for each in own for key in each)
        shown[method] = [key for key in keys if len({json.dumps(each.get(key), sort_keys=True) for each in own}) > 1]
    return [replace(run, parameters={key: run.parameters.get(key) for key in shown[run.method]}) for run in runs]


def _has_remote(root: Path) -> bool:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            return bool(repo.config["remote"])
    except DvcException:
        return False
