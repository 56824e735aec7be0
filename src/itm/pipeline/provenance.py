"""Records of what a result was made of: a small file beside each metrics file, written when its stage ends.

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
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from itm.data.files import whereabouts, write_json
from itm.errors import PipelineError
from itm.pipeline.stages import PARAMETERS, JobEntry, Stages, read_yaml

FOLDER = "provenance"
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


def record_path(job: JobEntry) -> str:
    """Where the provenance of a job is written; '' for a job without."""
    return next((path for path in job.outputs if path.startswith(f"{FOLDER}/")), "")


def record_of(job: JobEntry, stages: Stages) -> Record:
    """What a job's results are made of, from what lies in the project now; without `versions` and `metrics`.

    A path that is missing has the hash "missing".
    """
    root, lock = stages.files.root, _Lock(stages.files.root)
    code = [path for path in job.dependencies if path.startswith("src/")]
    values = {
        (key if file == PARAMETERS else f"{file}: {key}"): stages.files.value(file, key, job.name)
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
    record = record_path(job)
    if not record or list(job.arguments) != arguments:
        return False
    made = {path: md5_of(whereabouts(root / path)) for path in job.metrics}
    write_json(root / record, {**record_of(job, stages), "metrics": made, "versions": versions()})
    return True


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
