"""What a result was made of: a small file beside each metrics file, written when its stage ends.

It holds hashes of the parameters, inputs and code that dvc.yaml names for the stage, and the versions of the libraries
that the stage loaded. All of it is the same wherever the same things run, so it is an output of the stage, kept by
DVC. The git commit cannot be in it: it would change with every commit, and with it everything that DVC has cached; the
commit that brought a file is git's own knowledge (`itm verify` and `itm runs` ask for it).
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from itm.data.files import write_json
from itm.errors import PipelineError, nearest

FOLDER = "provenance"
MODULE = "itm.stages."
FROM_LOCK = 256 << 20
"""Bytes from which on a file's hash is the one that DVC has just recorded, if the size agrees: reading 20 GB takes a
minute."""
LIBRARIES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "PIL": "pillow",
    "safetensors": "safetensors",
    "torch": "torch",
    "torchvision": "torchvision",
    "open_clip": "open_clip_torch",
    "timm": "timm",
    "transformers": "transformers",
}
"""Distribution by module, of the libraries whose version may show in a figure."""

Record = dict[str, Any]


@dataclass(frozen=True)
class JobEntry:
    """A stage of dvc.yaml with the values of one job in place of its templates."""

    name: str
    arguments: tuple[str, ...]
    """The words of its command after the stage's name."""
    dependencies: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    """(file, dotted key) of each tracked parameter."""
    metrics: tuple[str, ...]
    outputs: tuple[str, ...]
    record: str
    """Where the provenance is written; '' for a stage without."""


class Stages:
    """dvc.yaml and params.yaml of a project, read without DVC (which takes as long as a short stage)."""

    def __init__(self, root: Path, parameters: Mapping[str, Any] | None = None) -> None:
        """`parameters`: values in place of those of params.yaml."""
        self.root = root
        self._files: dict[str, Any] = {} if parameters is None else {"params.yaml": parameters}
        dvc = self.file("dvc.yaml")
        self._stages: Mapping[str, Any] = dvc.get("stages") or {}
        self._values: dict[str, Any] = dict(self.file("params.yaml"))
        for entry in dvc.get("vars") or []:
            self._values |= entry if isinstance(entry, Mapping) else {}

    def file(self, name: str) -> Any:
        """A YAML file of the project, read once.

        Raises:
            PipelineError: it is missing or not YAML.
        """
        if name not in self._files:
            self._files[name] = read_yaml(self.root / name)
        return self._files[name]

    def job(self, stage: str, item: Mapping[str, object]) -> JobEntry:
        """One job of a stage; `item` holds the value of each axis of its matrix, and may hold more.

        Raises:
            PipelineError: no such stage, or a template names no parameter.
        """
        if stage not in self._stages:
            raise PipelineError(f"dvc.yaml: no stage '{stage}'; {nearest(stage, self._stages)}", reason="unknown-stage")
        entry = self._stages[stage]
        axes = list(entry.get("matrix") or {})
        values = self._values | {"item": {axis: str(item[axis]) for axis in axes}}
        name = "@".join([stage, *(["-".join(values["item"].values())] if axes else [])])

        def resolved(key: str) -> tuple[str, ...]:
            found = [next(iter(each)) if isinstance(each, Mapping) else each for each in entry.get(key) or []]
            return tuple(_resolve(each, values, name) for each in found)

        words = shlex.split(_resolve(entry["cmd"], values, name))
        start = next((place for place, word in enumerate(words) if word.endswith(f".{stage}")), len(words))
        outputs = resolved("outs")
        parameters: list[tuple[str, str]] = []
        for each in entry.get("params") or []:
            for file, keys in ({"params.yaml": [each]} if isinstance(each, str) else each).items():
                parameters += [(file, _resolve(key, values, name)) for key in keys]
        return JobEntry(
            name,
            tuple(words[start + 1 :]),
            resolved("deps"),
            tuple(sorted(parameters)),
            resolved("metrics"),
            outputs,
            next((path for path in outputs if path.startswith(f"{FOLDER}/")), ""),
        )

    def jobs(self, stage: str) -> Iterator[JobEntry]:
        """All jobs of a stage, in the order of its matrix."""
        items: list[dict[str, object]] = [{}]
        for axis, given in (self._stages[stage].get("matrix") or {}).items():
            listed = _look_up(given[2:-1], self._values, stage) if isinstance(given, str) else given
            items = [{**item, axis: value} for item in items for value in listed]
        for item in items:
            yield self.job(stage, item)

    @property
    def names(self) -> list[str]:
        """The stages, in their order."""
        return list(self._stages)


def record_of(job: JobEntry, stages: Stages) -> Record:
    """What a job's results are made of, from what lies in the project now; without `versions` and `metrics`.

    A path that is missing has the hash "missing".
    """
    root, lock = stages.root, _Lock(stages.root)
    code = [path for path in job.dependencies if path.startswith("src/")]
    values = {
        (key if file == "params.yaml" else f"{file}: {key}"): _look_up(key, stages.file(file), job.name)
        for file, key in job.parameters
    }
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return {
        "job": job.name,
        "parameters": {"tracked": list(values), "sha256": hashlib.sha256(text.encode()).hexdigest()},
        "code": {"tracked": code, "sha256": _digest({path: _md5(root / path, path, lock) for path in code})},
        "inputs": {path: _md5(root / path, path, lock) for path in job.dependencies if path not in code},
    }


def versions() -> dict[str, str]:
    """The versions of Python and of those of `LIBRARIES` that this process has loaded."""
    found = {"python": platform.python_version()}
    for module, name in LIBRARIES.items():
        if module in sys.modules:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "not installed"
    return found


def installed(names: Mapping[str, str]) -> dict[str, str]:
    """The versions installed now of the packages that a record names."""
    found = {}
    for name in names:
        try:
            found[name] = platform.python_version() if name == "python" else version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_record(stage: str, item: Mapping[str, object], arguments: list[str], root: Path = Path()) -> bool:
    """Write the provenance of the job that has just run here; returns whether it was one.

    It was if dvc.yaml gives `stage` a provenance file and its command has exactly these arguments: the same module run
    by hand into other folders makes no result of the pipeline.
    """
    if not (root / "dvc.yaml").is_file() or os.environ.get("RANK", "0") != "0":
        return False
    stages = Stages(root)
    if stage not in stages.names:
        return False
    job = stages.job(stage, item)
    if not job.record or list(job.arguments) != arguments:
        return False
    made = {path: _md5(root / path, path, None) for path in job.metrics}
    write_json(root / job.record, {**record_of(job, stages), "metrics": made, "versions": versions()})
    return True


def read_yaml(path: Path) -> Any:
    """The plain values of a YAML file.

    Raises:
        PipelineError: it is missing, not YAML, or holds no keys.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; run in the root of the repository", reason="missing-file") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: not valid YAML: {error}", reason="not-yaml") from None
    if not isinstance(values, dict):
        raise PipelineError(f"{path}: expected keys with values, found {type(values).__name__}", reason="not-yaml")
    return values


def md5_of(path: Path) -> str:
    """The MD5 of a file, by which DVC names it; "missing" where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except FileNotFoundError:
        return "missing"


class _Lock:
    """The hashes and sizes of outputs in dvc.lock, read when first asked for."""

    def __init__(self, root: Path) -> None:
        self._path = root / "dvc.lock"
        self._known: dict[str, tuple[str, int]] | None = None

    def md5(self, path: str, size: int) -> str | None:
        if self._known is None:
            try:
                recorded = (read_yaml(self._path).get("stages") or {}).values()
            except PipelineError:  # none yet, or DVC is writing it
                recorded = []
            outs = [out for stage in recorded for out in stage.get("outs") or []]
            self._known = {out["path"]: (out["md5"], out.get("size", -1)) for out in outs if "md5" in out}
        md5, known = self._known.get(path, (None, -1))
        return md5 if known == size else None


def _md5(path: Path, name: str, lock: _Lock | None) -> str:
    """The MD5 of a file, as DVC has it; of a folder, a hash of its files' names and hashes."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        files = [file for file in files if file.suffix != ".pyc" and file.name != ".snakemake_timestamp"]
        each = {file.relative_to(path).as_posix(): file for file in files}
        return _digest({inner: _md5(file, f"{name.rstrip('/')}/{inner}", lock) for inner, file in each.items()})
    try:
        size = path.stat().st_size
        known = lock.md5(name, size) if lock is not None and size >= FROM_LOCK else None
    except FileNotFoundError:
        return "missing"
    return known or md5_of(path)


def _digest(hashes: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()


def _resolve(text: str, values: Mapping[str, Any], where: str) -> str:
    return re.sub(r"\$\{([^}]+)\}", lambda found: str(_look_up(found[1], values, where)), text)


def _look_up(key: str, values: Any, where: str) -> Any:
    found = values
    for part in key.strip().split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise PipelineError(f"{where}: no parameter {key} in params.yaml", reason="missing-parameter")
        found = found[part]
    return found
