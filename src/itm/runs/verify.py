"""A check of one run from the bottom: the files here against the figures that are recorded for it.

1. provenance: parameters, code, inputs, metrics files and library versions against the record beside each figure;
2. pipeline: the run's stages and all before them against dvc.lock, file by file, as `dvc status` does;
3. evaluation: the benchmarks are measured again from the stored embeddings, in a temporary folder, and every figure
   and every per-query value compared.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from itm.data.files import read_json
from itm.errors import ConfigError, DataError, PipelineError, ProjectError, first_few, nearest
from itm.evaluation.keys import flat_metrics
from itm.pipeline.git import dvc_words, git, last_commits, unknown_history
from itm.pipeline.provenance import FOLDER, installed, md5_of, record_of, record_path
from itm.pipeline.stages import PARAMETERS, JobEntry, Stages, read_yaml

RUNS = "results/runs"
EQUAL, DIFFERENT, MISSING = "equal", "different", "missing"


@dataclass(frozen=True)
class Item:
    """One thing compared. verdict: equal, different or missing. note: of how many things, or the first that differ."""

    group: str
    name: str
    verdict: str
    note: str = ""


@dataclass(frozen=True)
class Target:
    """A run, and those of its benchmarks that are to be checked."""

    method: str
    seed: int
    benchmarks: tuple[str, ...]
    train: bool


def find_target(root: Path, text: str) -> Target:
    """The run that METHOD/seedN, METHOD/seedN/BENCHMARK, or the path of a run's folder or metrics file names.

    Raises:
        ConfigError: params.yaml asks for no such method, seed or benchmark.
    """
    parameters = read_yaml(root / PARAMETERS)
    path = Path(text)
    if path.is_absolute() and path.is_relative_to(root.resolve()):
        path = path.relative_to(root.resolve())
    parts = PurePosixPath(path.as_posix().removeprefix(f"{RUNS}/").removesuffix(".json")).parts
    runs = [f"{method}/seed{seed}" for method in parameters["methods"] for seed in parameters["seeds"]]
    name = "/".join(parts[:2])
    if len(parts) not in (2, 3) or name not in runs:
        raise ConfigError(f"no run '{text}' in params.yaml; {nearest(name, runs)}", reason="unknown-run")
    method, seed = parts[0], int(parts[1].removeprefix("seed"))
    known = list(parameters["benchmarks"])
    if len(parts) == 2:
        return Target(method, seed, tuple(known), train=True)
    if parts[2] == "train":
        return Target(method, seed, (), train=True)
    if parts[2] not in known:
        raise ConfigError(
            f"params.yaml has no benchmark '{parts[2]}'; {nearest(parts[2], known)}", reason="unknown-benchmark"
        )
    return Target(method, seed, (parts[2],), train=False)


def verify(root: Path, target: Target, *, evaluate: bool = True) -> Iterator[Item]:
    """Each thing compared, as it is done.

    Raises:
        PipelineError: dvc.yaml, params.yaml or DVC's project cannot be read.
    """
    stages = Stages(root)
    item = {"method": target.method, "seed": target.seed}
    jobs = [stages.job("train", item)] if target.train else []
    measured = [stages.job("evaluate", {**item, "benchmark": name}) for name in target.benchmarks]
    for job in [*jobs, *measured]:
        yield from _provenance(job, stages)
    yield from _pipeline(root, [job.name for job in [*jobs, *measured]])
    if evaluate:
        for job in measured:
            yield from _evaluation(root, job)


def commit_of(root: Path, path: str) -> str:
    """The commit that brought the present content of a file, or why there is none."""
    try:
        done = git(root, "status", "--porcelain", "--", path)
    except ConfigError:
        return "no git"
    if done.returncode:
        return "no git repository"
    if done.stdout.strip():
        return "not committed as it is"
    listed = last_commits(root, path, 1)
    if not listed:
        return unknown_history(root) or "not in git"
    return git(root, "show", "-s", "--format=%h %cs %s", listed[0]).stdout.decode("utf-8", "replace").strip()


def _provenance(job: JobEntry, stages: Stages) -> Iterator[Item]:
    group = f"provenance of {job.name}"
    name = record_path(job)
    path = stages.files.root / name
    if not name or not path.is_file():
        yield Item(group, name or FOLDER, MISSING, f"`dvc checkout`, `dvc pull`, or `dvc repro {job.name}`")
        return
    try:
        stored = read_json(path)
        now = record_of(job, stages)
        parameters, code = stored["parameters"], stored["code"]["sha256"]
        inputs, metrics, versions = (dict(stored[key]) for key in ("inputs", "metrics", "versions"))
        same = parameters["sha256"] == now["parameters"]["sha256"]
    except (DataError, KeyError, TypeError, ValueError) as error:
        yield Item(group, name, DIFFERENT, f"not a provenance file ({error}); run `dvc repro -f -s {job.name}`")
        return
    tracked = len(now["parameters"]["tracked"])
    yield _item(group, "parameters", [] if same else ["their hash"], f"{tracked} sections")
    yield _item(group, "code", [] if code == now["code"]["sha256"] else ["its hash"], f"{len(job.dependencies)} paths")
    yield _hashes(group, "inputs", inputs, now["inputs"])
    made = {name: md5_of(stages.files.root / name) for name in job.metrics}
    yield _hashes(group, "metrics file", metrics, made)
    now_installed = installed(versions)
    changed = [
        f"{name} {old}, now {now_installed[name]}" for name, old in versions.items() if now_installed[name] != old
    ]
    yield _item(group, "versions", changed, f"{len(versions)} packages")


def _hashes(group: str, name: str, before: Mapping[str, str], now: Mapping[str, str]) -> Item:
    lost = [path for path, md5 in now.items() if md5 == "missing"]
    changed = [path for path in [*before, *(now.keys() - before.keys())] if before.get(path) != now.get(path)]
    if lost:
        return Item(group, name, MISSING, f"{len(lost)} not here ({first_few(lost)}); `dvc checkout` or `dvc pull`")
    return _item(group, name, changed, f"{len(now)} files")


def _item(group: str, name: str, changed: list[str], note: str) -> Item:
    if changed:
        return Item(group, name, DIFFERENT, f"{len(changed)}: {first_few(changed)}")
    return Item(group, name, EQUAL, note)


def _pipeline(root: Path, names: list[str]) -> Iterator[Item]:
    """The run's stages and those before them, against dvc.lock."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        # DVC looks for a stage by its name in the present folder
        with chdir(root), Repo() as repo:
            every = {stage.addressing for name in names for stage in repo.stage.collect(name, with_deps=True)}
            found = repo.status(targets=names, with_deps=True)
    except LockError as error:
        raise PipelineError("another DVC command is at work here; wait for it to end", reason="locked") from error
    except DvcException as error:
        raise PipelineError(f"dvc status: {dvc_words(error)}", reason="dvc") from error
    for name in sorted(every):
        faults = list(_faults(found.get(name) or []))
        verdict = EQUAL if not faults else MISSING if all("deleted" in fault for fault in faults) else DIFFERENT
        note = f"{len(faults)}: {first_few(faults)}" if faults else ""
        yield Item("pipeline (dvc.lock)", name, verdict, note)


def _faults(found: list[Any]) -> Iterator[str]:
    for each in found:
        if isinstance(each, str):
            yield each
            continue
        for what, changes in each.items():
            for path, change in changes.items():
                if isinstance(change, Mapping):
                    yield from (f"{key} {state}" for key, state in change.items())
                else:
                    yield f"{path} {change}" if what != "changed outs" else f"output {path} {change}"


def _evaluation(root: Path, job: JobEntry) -> Iterator[Item]:
    """Measure again in a temporary folder and compare."""
    group = f"measured again: {job.name}"
    options = dict(zip(job.arguments[::2], job.arguments[1::2], strict=True))
    benchmark = options["--benchmark"]
    metrics = root / job.metrics[0]
    named = {name.removeprefix("--"): value for name, value in options.items()}
    per_query = root / options["--per-query"].format_map(named) / f"{benchmark}.npz"
    with tempfile.TemporaryDirectory(prefix="itm-verify-") as folder:
        again = {**options, "--metrics": folder, "--per-query": folder}
        command = [sys.executable, "-m", "itm.stages.evaluate", *(word for pair in again.items() for word in pair)]
        environment = {**os.environ, "ITM_LOGS": folder, "PYTHONHASHSEED": "0"}
        for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[threads] = "1"
        source = str((root / "src").resolve())
        if (root / "src/itm").is_dir():
            environment["PYTHONPATH"] = os.pathsep.join([source, *filter(None, [environment.get("PYTHONPATH")])])
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [shlex.join(command)])[-1]
            yield Item(group, "evaluate", MISSING, f"it failed: {last}")
            return
        yield _figures(group, metrics, Path(folder) / f"{benchmark}.json")
        yield _arrays(group, per_query, Path(folder) / f"{benchmark}.npz")


def _figures(group: str, stored: Path, again: Path) -> Item:
    try:
        before, now = flat_metrics(read_json(stored)), flat_metrics(read_json(again))
    except ProjectError as error:
        return Item(group, "figures", MISSING, str(error))
    changed = [
        f"{key} {_shown(before.get(key))}, now {_shown(now.get(key))}"
        for key in [*before, *(key for key in now if key not in before)]
        if not _same(before.get(key), now.get(key))
    ]
    return _item(group, "figures", changed, f"{len(now)} figures")


def _arrays(group: str, stored: Path, again: Path) -> Item:
    if not stored.is_file():
        return Item(group, "per-query values", MISSING, f"{stored.name} is not here; `dvc checkout` or `dvc pull`")
    try:
        with np.load(stored, allow_pickle=False) as before, np.load(again, allow_pickle=False) as now:
            names = sorted({*before.files, *now.files})
            changed = [name for name in names if not _same_array(before, now, name)]
    except Exception as error:  # damaged bytes raise what zipfile, zlib and numpy happen to meet
        return Item(group, "per-query values", DIFFERENT, f"{stored}: cannot be read ({error})")
    return _item(group, "per-query values", changed, f"{len(names)} arrays")


def _same_array(before: Any, now: Any, name: str) -> bool:
    if name not in before.files or name not in now.files:
        return False
    first, second = before[name], now[name]
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    if name == "protocol":
        return bool(json.loads(str(first)) == json.loads(str(second)))
    return bool(np.array_equal(first, second, equal_nan=first.dtype.kind == "f"))


def _same(before: float | None, now: float | None) -> bool:
    if before is None or now is None:
        return before is now
    return before == now or (math.isnan(before) and math.isnan(now))


def _shown(value: float | None) -> str:
    return "absent" if value is None else f"{value:g}"
