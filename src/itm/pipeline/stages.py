"""dvc.yaml and params.yaml read without DVC, whose import takes as long as a short stage.

`itm.pipeline.dag` has DVC's own reading; tests/orchestration/test_stages.py compares the two, job by job.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itm.errors import PipelineError, nearest
from itm.parse import beginning, parse_keys

PARAMETERS = "params.yaml"
Entries = Iterable[str | Mapping[str, Any]]
"""A list of dvc.yaml: names, each alone or as the one key of its options."""


@dataclass(frozen=True)
class JobEntry:
    """A stage of dvc.yaml with the values of one job in place of its templates."""

    name: str
    command: str
    dependencies: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    """(file, dotted key) of each tracked parameter."""
    outputs: tuple[str, ...]
    """Without metrics and plots."""
    metrics: tuple[str, ...]
    """Metrics files: those of dvc.yaml's `metrics`, and the JSON files of its `plots`."""
    plots: tuple[str, ...]
    """Its other plots."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words of the command after the stage's name."""
        words, stage = shlex.split(self.command), self.name.split("@")[0]
        start = next((place for place, word in enumerate(words) if word.endswith(f".{stage}")), len(words))
        return tuple(words[start + 1 :])


class Files:
    """The YAML files of a project, each read once."""

    def __init__(self, root: Path, known: Mapping[str, Any] | None = None) -> None:
        """`known`: values in place of those of files, by name."""
        self.root = root
        self._known = dict(known or {})

    def read(self, name: str) -> Any:
        """The values of one file.

        Raises:
            PipelineError: it is missing or not YAML.
        """
        if name not in self._known:
            self._known[name] = read_yaml(self.root / name)
        return self._known[name]

    def value(self, name: str, key: str, stage: str) -> Any:
        """What the dotted key of a file holds, for a stage that names it.

        Raises:
            PipelineError: the file is missing, not YAML, or lacks the key.
        """
        return _look_up(key, self.read(name), stage, name)


class Stages:
    """The stages of a project's dvc.yaml and their jobs, with the present values of its params.yaml."""

    def __init__(self, root: Path, parameters: Mapping[str, Any] | None = None) -> None:
        """`parameters`: values in place of those of params.yaml."""
        self.files = Files(root, None if parameters is None else {PARAMETERS: parameters})
        dvc = self.files.read("dvc.yaml")
        self._stages: Mapping[str, Any] = dvc.get("stages") or {}
        self._values: dict[str, Any] = dict(self.files.read(PARAMETERS))
        for entry in dvc.get("vars") or []:
            self._values |= entry if isinstance(entry, Mapping) else {}

    @property
    def names(self) -> list[str]:
        """The stages, in their order."""
        return list(self._stages)

    def job(self, stage: str, item: Mapping[str, object]) -> JobEntry:
        """One job of a stage; `item` holds the value of each axis of its matrix, and may hold more.

        Raises:
            PipelineError: no such stage, or a template names no parameter.
        """
        if stage not in self._stages:
            raise PipelineError(f"dvc.yaml: no stage '{stage}'; {nearest(stage, self._stages)}", reason="unknown-stage")
        entry = self._stages[stage]
        axes = {axis: str(item[axis]) for axis in entry.get("matrix") or {}}
        values = self._values | {"item": axes}
        name = f"{stage}@{'-'.join(axes.values())}" if axes else stage

        def filled(text: str) -> str:
            return re.sub(r"\$\{([^}]+)\}", lambda found: _written(_look_up(found[1], values, name, PARAMETERS)), text)

        def paths(kind: str) -> tuple[str, ...]:
            return tuple(filled(path) for path in names_in(entry.get(kind) or ()))

        plots = paths("plots")
        figures = tuple(path for path in plots if path.endswith(".json"))
        return JobEntry(
            name,
            filled(entry["cmd"]),
            paths("deps"),
            tuple(sorted((file, filled(key)) for file, key in keys_in(entry.get("params") or ()))),
            paths("outs"),
            (*paths("metrics"), *figures),
            tuple(path for path in plots if path not in figures),
        )

    def jobs(self, stage: str) -> Iterator[JobEntry]:
        """All jobs of a stage, in the order of its matrix."""
        items: list[dict[str, object]] = [{}]
        for axis, given in (self._stages[stage].get("matrix") or {}).items():
            listed = _look_up(given[2:-1], self._values, stage, PARAMETERS) if isinstance(given, str) else given
            items = [{**item, axis: value} for item in items for value in listed]
        for item in items:
            yield self.job(stage, item)


def names_in(entries: Entries) -> list[str]:
    """The names of a list of dvc.yaml without their options.

    >>> names_in(["a.csv", {"b.json": {"cache": False}}])
    ['a.csv', 'b.json']
    """
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def keys_in(entries: Entries) -> list[tuple[str, str]]:
    """The tracked parameters of a stage as (file, dotted key).

    >>> keys_in(["train", {"data/catalogue.yaml": ["scenes.title"]}])
    [('params.yaml', 'train'), ('data/catalogue.yaml', 'scenes.title')]
    """
    by_file = [{PARAMETERS: [entry]} if isinstance(entry, str) else entry for entry in entries]
    return [(file, key) for each in by_file for file, keys in each.items() for key in keys]


def read_yaml(path: Path) -> dict[str, Any]:
    """The plain values of a YAML file.

    Raises:
        PipelineError: it is missing, not YAML, or holds no keys.
    """
    try:
        content = beginning(path)
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; run in the root of the repository", reason="missing-file") from None
    return parse_keys(content, str(path), PipelineError)


def _written(value: Any) -> str:
    """A value as DVC writes it into a command: a mapping as options, quoted for the shell."""
    if isinstance(value, Mapping):
        return " ".join(f"--{key} {shlex.quote(str(each))}" for key, each in value.items())
    return str(value)


def _look_up(key: str, values: Any, stage: str, file: str) -> Any:
    found = values
    for part in key.strip().split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise PipelineError(
                f"dvc.yaml: stage {stage} names the parameter {key}, which {file} lacks", reason="missing-parameter"
            )
        found = found[part]
    return found
