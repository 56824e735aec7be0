"""dvc.yaml as facts for Snakemake's rules, so that no rule restates a path, a command or a parameter.

DVC itself resolves the templates. A matrix stage is resolved twice: with its values (one `Job` each, as
`dvc repro` would run it), and with Snakemake's wildcards in their place (the paths of one rule for all).
DVC's loader is no published API; the version is pinned and tests/orchestration compares both runners. What needs no
DVC reads the same file in `itm.pipeline.stages`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itm.errors import PipelineError, nearest
from itm.parse import flatten
from itm.pipeline.stages import PARAMETERS, Files, keys_in, names_in

Wildcards = Any
"""Snakemake's wildcards: one attribute a matrix axis."""


@dataclass(frozen=True)
class Job:
    """One stage as DVC would run it, e.g. train@ditm-0."""

    name: str
    command: str
    inputs: tuple[str, ...]
    own: tuple[str, ...]
    """The user's own photos, where it reads them."""
    outputs: tuple[str, ...]
    tracked: tuple[str, ...]
    """The tracked parameters as "section.key = JSON value", one an entry."""
    code: str
    """A short hash of the inputs that no job writes: code, data that git keeps, the user's own photos."""

    @property
    def stage(self) -> str:
        """The name of the job's stage."""
        return self.name.split("@")[0]

    @property
    def fingerprint(self) -> str:
        """A short hash of the command and the tracked parameters: what a finished job was told to do."""
        return hashlib.sha256("\n".join([self.command, *self.tracked]).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Stage:
    """One entry of dvc.yaml; its paths hold the matrix axes as wildcards: models/{method}/seed{seed}/model.json."""

    name: str
    axes: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def job_name(self, wildcards: Wildcards) -> str:
        """The name of the job for one value of each axis, as DVC builds it."""
        if not self.axes:
            return self.name
        return f"{self.name}@" + "-".join(str(getattr(wildcards, axis)) for axis in self.axes)


@dataclass(frozen=True)
class Pipeline:
    """All stages of a dvc.yaml, and the small functions that Snakemake's rules ask for their facts."""

    stages: Mapping[str, Stage]
    jobs: Mapping[str, Job]

    def stage(self, name: str) -> Stage:
        """The stage of that name.

        Raises:
            PipelineError: dvc.yaml has no such stage.
        """
        if name not in self.stages:
            raise PipelineError(f"dvc.yaml: no stage '{name}'; {nearest(name, self.stages)}", reason="unknown-stage")
        return self.stages[name]

    def job(self, name: str) -> Job:
        """The job of that name, e.g. train@ditm-0.

        Raises:
            PipelineError: dvc.yaml with the present params.yaml gives no such job.
        """
        if name not in self.jobs:
            raise PipelineError(
                f"dvc.yaml and params.yaml give no job '{name}'; {nearest(name, self.jobs)}", reason="unknown-job"
            )
        return self.jobs[name]

    def inputs(self, stage: str) -> list[str]:
        """The input paths of a rule, with wildcards."""
        return list(self.stage(stage).inputs)

    def outputs(self, stage: str) -> list[str]:
        """The output paths of a rule, with wildcards."""
        return list(self.stage(stage).outputs)

    def facts(self, stage: str) -> dict[str, Callable[[Wildcards], str]]:
        """What a rule hands to its shell command, and what Snakemake remembers to notice a change.

        Name, command and fingerprint of the job, its code and, as parameter_1, parameter_2, ..., its tracked
        parameters; each a function from wildcards. One entry a parameter, so that Snakemake's reason for a re-run
        names the one that changed. The code by its content: Snakemake takes a file for changed only when it is newer
        than what was made from it, which an edit is not after the clock went back.
        """
        name = self.stage(stage).job_name

        def job(wildcards: Wildcards) -> Job:
            return self.job(name(wildcards))

        def tracked(position: int) -> Callable[[Wildcards], str]:
            return lambda wildcards: next(iter(job(wildcards).tracked[position:]), "")

        longest = max(len(job.tracked) for job in self.jobs.values() if job.stage == stage)
        return {
            "name": name,
            "command": lambda wildcards: job(wildcards).command,
            "fingerprint": lambda wildcards: job(wildcards).fingerprint,
            "code": lambda wildcards: job(wildcards).code,
            **{f"parameter_{position + 1}": tracked(position) for position in range(longest)},
        }

    def constraints(self) -> dict[str, str]:
        """The regular expression of each wildcard: exactly the values that the matrix holds."""
        values: dict[str, set[str]] = {}
        for stage in self.stages.values():
            for axis, known in stage.values.items():
                values.setdefault(axis, set()).update(known)
        return {axis: "|".join(re.escape(value) for value in sorted(known)) for axis, known in values.items()}

    def targets(self) -> list[str]:
        """The outputs of the jobs on which no other job depends: asking for them runs the whole pipeline."""
        used = {path for job in self.jobs.values() for path in job.inputs}
        return [path for job in self.jobs.values() if not used.intersection(job.outputs) for path in job.outputs]


def read_pipeline(root: str | Path = ".") -> Pipeline:
    """The pipeline of the project at `root`, with the present values of its params.yaml.

    Raises:
        PipelineError: there is no DVC project, dvc.yaml is invalid, or a parameter that it names is missing.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            return _read(repo)
    except DvcException as error:
        raise PipelineError(f"dvc.yaml: {_causes(error)}", reason="invalid-pipeline") from None


def _read(repo: Any) -> Pipeline:
    from dvc.dvcfile import load_file
    from dvc.parsing import DataResolver

    folder = Path(repo.root_dir)
    text = load_file(repo, str(folder / "dvc.yaml")).load()
    files = Files(folder)
    resolver = DataResolver(repo, repo.root_dir, text)
    resolved = resolver.resolve()["stages"]
    axes = {
        name: {axis: _values(resolver, values) for axis, values in entry.get("matrix", {}).items()}
        for name, entry in text["stages"].items()
    }
    for name, entry in text["stages"].items():
        if axes[name]:
            entry["matrix"] = {axis: [f"{{{axis}}}"] for axis in axes[name]}
    templates = DataResolver(repo, repo.root_dir, text).resolve()["stages"]

    own = own_photos(files)
    expand = _Expansion(repo, own, [path for entry in resolved.values() for path in _outputs(entry)])
    code = _Contents(folder, {path for entry in resolved.values() for path in _outputs(entry)})
    jobs = {
        name: Job(
            name=name,
            command=entry["cmd"] if isinstance(entry["cmd"], str) else " && ".join(entry["cmd"]),
            inputs=expand(entry.get("deps", ())),
            outputs=_outputs(entry),
            tracked=_tracked(files, name, entry),
            own=(mine := tuple(path for path in entry.get("deps", ()) if path == own)),
            code=code([*expand(entry.get("deps", ())), *mine]),
        )
        for name, entry in resolved.items()
    }
    stages = {}
    for key, entry in templates.items():
        name = key.split("@")[0]
        stages[name] = Stage(name, tuple(axes[name]), axes[name], expand(entry.get("deps", ())), _outputs(entry))
    return Pipeline(stages, jobs)


def _values(resolver: Any, values: Any) -> tuple[str, ...]:
    """The values of a matrix axis, which dvc.yaml states as a list or as a reference to one in params.yaml."""
    return tuple(str(value) for value in (resolver.context.resolve(values) if isinstance(values, str) else values))


def _outputs(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for kind in ("outs", "metrics", "plots") for name in names_in(entry.get(kind, ())))


def _tracked(files: Files, name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Each parameter that a job tracks as "key = JSON value"; a key that is a whole section gives all in it."""
    values: dict[str, Any] = {}
    for file, key in keys_in(entry.get("params", ())):
        prefix = "" if file == PARAMETERS else f"{file}: "
        values.update(flatten({prefix + key: files.value(file, key, name)}, keep_empty=True))
    return tuple(f"{key} = {json.dumps(value)}" for key, value in sorted(values.items()))


class _Expansion:
    """Directories as the files that Snakemake can follow.

    Snakemake neither sees a change inside a directory nor links a directory to what other rules write into
    it. So a directory stands for the outputs below it, or, when it holds code, for the files that DVC sees.
    The user's own photos are none of its inputs: they may be many, with names that mean something to it. `Job.code`
    tells when they change.
    """

    def __init__(self, repo: Any, own: str, outputs: Iterable[str]) -> None:
        self._repo = repo
        self._own = own
        self._outputs = sorted(outputs)
        self._known: dict[str, list[str]] = {}

    def __call__(self, paths: Iterable[str]) -> tuple[str, ...]:
        return tuple(file for path in paths if path != self._own for file in self._files(path))

    def _files(self, path: str) -> list[str]:
        if path not in self._known:
            below = [output for output in self._outputs if output.startswith(path.rstrip("/") + "/")]
            self._known[path] = below or self._on_disk(path)
        return self._known[path]

    def _on_disk(self, path: str) -> list[str]:
        root = Path(self._repo.root_dir)
        if not (root / path).is_dir():
            return [path]
        found = self._repo.dvcignore.find(self._repo.fs, str(root / path))
        return sorted(str(Path(file).relative_to(root)) for file in found)


class _Contents:
    """A short hash of the contents of several files, those apart that jobs write."""

    def __init__(self, folder: Path, outputs: set[str]) -> None:
        self._folder = folder
        self._outputs = outputs
        self._known: dict[str, str] = {}

    def __call__(self, paths: Iterable[str]) -> str:
        facts = [f"{path} {self._content(path)}" for path in paths if path not in self._outputs]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]

    def _content(self, path: str) -> str:
        if path not in self._known:
            file = self._folder / path  # a missing one is for the runner to complain of
            if file.is_dir():
                self._known[path] = photo_times(file)
            else:
                self._known[path] = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
        return self._known[path]


def own_photos(files: Files) -> str:
    """The path of the user's own photos, "" where another data set runs."""
    data = files.read(PARAMETERS).get("data")
    return str(data["path"]) if isinstance(data, Mapping) and data.get("name") == "folder" and "path" in data else ""


def photo_times(path: Path) -> str:
    """A hash of the names, sizes and times of a file, or of all in a folder: a change is noticed without reading it."""
    facts = []
    if path.is_file():
        facts.append(f"{path.stat().st_size} {path.stat().st_mtime_ns}")
    for where, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            with suppress(OSError):  # a link that leads nowhere
                state = (Path(where) / name).stat()
                facts.append(f"{os.path.relpath(where, path)}/{name} {state.st_size} {state.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest()


def _causes(error: BaseException) -> str:
    """The messages of an error and of what caused it, one a line."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines.append(str(cause))
        cause = cause.__cause__
    return "\n  ".join(lines)
