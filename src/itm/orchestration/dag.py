"""dvc.yaml as facts for Snakemake's rules, so that no rule restates a path, a command or a parameter.

DVC itself resolves the templates. A matrix stage is resolved twice: with its values (one `Job` each, as
`dvc repro` would run it), and with Snakemake's wildcards in their place (the paths of one rule for all).
DVC's loader is no published API; the version is pinned and tests/orchestration compares both runners.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itm.errors import PipelineError, first_few, nearest

Wildcards = Any
"""Snakemake's wildcards: one attribute a matrix axis."""


@dataclass(frozen=True)
class Job:
    """One stage as DVC would run it, e.g. train@ditm-0."""

    name: str
    command: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tracked: str
    """The tracked parameters with their values, as JSON with sorted keys."""

    @property
    def fingerprint(self) -> str:
        """A short hash of the command and the tracked parameters: what a finished job was told to do."""
        return hashlib.sha256(f"{self.command}\n{self.tracked}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Stage:
    """One entry of dvc.yaml; its paths hold the matrix axes as wildcards, e.g. models/{method}/seed{seed}/model.json."""

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

        name, command and fingerprint of the job, and its tracked parameters; each a function from wildcards.
        """
        name = self.stage(stage).job_name
        return {
            "name": name,
            "command": lambda wildcards: self.job(name(wildcards)).command,
            "tracked": lambda wildcards: self.job(name(wildcards)).tracked,
            "fingerprint": lambda wildcards: self.job(name(wildcards)).fingerprint,
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
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            loaded = [stage for stage in repo.stage.load_all(str(Path(repo.root_dir) / "dvc.yaml")) if stage.cmd]
            templates = _templates(repo)
            files = {stage.name: [out.def_path for out in stage.outs] for stage in loaded}
            expand = _Expansion(repo, [path for paths in files.values() for path in paths])
            jobs = {}
            for stage in loaded:
                parameters: dict[str, Any] = {}
                inputs = []
                for dependency in stage.deps:
                    if isinstance(dependency, ParamsDependency):
                        values = dependency.read_params(flatten=True)
                        _all_known(stage.name, dependency.params, values)
                        parameters[dependency.def_path] = values
                    else:
                        inputs += expand(dependency.def_path)
                jobs[stage.name] = Job(
                    name=stage.name,
                    command=stage.cmd if isinstance(stage.cmd, str) else " && ".join(stage.cmd),
                    inputs=tuple(inputs),
                    outputs=tuple(files[stage.name]),
                    tracked=json.dumps(parameters, sort_keys=True),
                )
            stages = {name: _stage(name, template, expand) for name, template in templates.items()}
    except DvcException as error:
        raise PipelineError(f"dvc.yaml: {_causes(error)}", reason="invalid-pipeline") from None
    return Pipeline(stages, jobs)


def _templates(repo: Any) -> dict[str, dict[str, Any]]:
    """Each entry of dvc.yaml as DVC resolves it, with `{axis}` for the value of every matrix axis."""
    from dvc.parsing import DataResolver
    from dvc.utils.serialize import load_yaml

    text = load_yaml(str(Path(repo.root_dir) / "dvc.yaml"))
    resolver = DataResolver(repo, repo.root_dir, text)
    axes = {
        name: {axis: _axis(resolver, values) for axis, values in entry["matrix"].items()}
        for name, entry in text["stages"].items()
        if "matrix" in entry
    }
    for name in axes:
        text["stages"][name]["matrix"] = {axis: [f"{{{axis}}}"] for axis in axes[name]}
    resolved = DataResolver(repo, repo.root_dir, text).resolve()["stages"]
    return {key.split("@")[0]: {**entry, "matrix": axes.get(key.split("@")[0], {})} for key, entry in resolved.items()}


def _axis(resolver: Any, values: Any) -> tuple[str, ...]:
    if isinstance(values, str):
        values = resolver.context.resolve(values)
    return tuple(str(value) for value in values)


def _stage(name: str, template: Mapping[str, Any], expand: _Expansion) -> Stage:
    kinds = ("outs", "metrics", "plots")
    return Stage(
        name=name,
        axes=tuple(template["matrix"]),
        values=template["matrix"],
        inputs=tuple(path for entry in _paths(template.get("deps")) for path in expand(entry)),
        outputs=tuple(path for kind in kinds for path in _paths(template.get(kind))),
    )


def _paths(entries: Iterable[Any] | None) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries or ()]


class _Expansion:
    """A directory as the files that Snakemake can follow.

    Snakemake neither sees a change inside a directory nor links a directory to what other rules write into
    it. So a directory stands for the outputs below it, or, when it holds code, for the files that DVC sees.
    """

    def __init__(self, repo: Any, outputs: Iterable[str]) -> None:
        self._repo = repo
        self._outputs = sorted(outputs)

    def __call__(self, path: str) -> list[str]:
        folder = path.rstrip("/")
        below = [output for output in self._outputs if output.startswith(folder + "/")]
        if below:
            return below
        if "{" not in path and (Path(self._repo.root_dir) / path).is_dir():
            root = Path(self._repo.root_dir)
            found = self._repo.dvcignore.find(self._repo.fs, str(root / path))
            return sorted(str(Path(file).relative_to(root)) for file in found)
        return [path]


def _all_known(stage: str, wanted: Iterable[str], values: Mapping[str, Any]) -> None:
    missing = [key for key in wanted if key not in values]
    if missing:
        raise PipelineError(
            f"dvc.yaml: stage {stage} tracks {len(missing)} parameter(s) that params.yaml lacks: {first_few(missing)}",
            reason="missing-parameter",
        )


def _causes(error: BaseException) -> str:
    """The messages of an error and of what caused it, one a line."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines.append(str(cause))
        cause = cause.__cause__
    return "\n  ".join(lines)
