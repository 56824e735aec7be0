"""Remains of kills, full disks and damaged files that the runners do not clear themselves, found and cleared.

DVC and Snakemake repair most by running again. Left are locks of processes that are gone, a dvc.lock that DVC was
writing when it was killed, and content that changed without its time or mode: DVC reads neither an object of its cache
nor a file of the workspace again that looks unchanged.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itm.errors import PipelineError, first_few
from itm.pipeline.presence import RECORDS, Presence, others
from itm.pipeline.processes import USE, at_work, runners_in

LOCK = "dvc.lock"
SNAKEMAKE_LOCKS = Path(".snakemake/locks")


@dataclass(frozen=True)
class Finding:
    """One fault, and how it is cleared: `remedy` says it, `repair` does it."""

    what: str
    remedy: str
    repair: Callable[[], object]


def examine(root: str | Path = ".") -> list[Finding]:
    """The faults of the project at `root`; every result in DVC's cache and in the workspace is read.

    Raises:
        PipelineError: a runner is at work in the project, or may be, where that cannot be known from here.
    """
    root = Path(root).resolve()
    busy = sorted({*(pid for pid, _ in at_work(root)), *runners_in(root)})
    if busy:
        raise PipelineError(
            f"{len(busy)} process(es) of dvc or snakemake at work in this folder ({first_few(busy)}); wait for them "
            "to end, or end them",
            reason="busy",
        )
    working, left = others(root)
    if working:
        raise PipelineError(
            f"{len(working)} run(s) are or may be at work in this folder ({first_few(working)}); wait for them to end, "
            "or run `itm doctor` on the host that is named. Where that host is gone for good, delete its file in "
            f"{RECORDS}",
            reason="busy",
        )
    return [*_records(root, left), *_locks(root), *_lock_file(root), *_cache(root), *_outputs(root)]


def _records(root: Path, left: list[tuple[Path, Presence]]) -> Iterator[Finding]:
    for path, who in left:
        yield Finding(f"{path.relative_to(root)}: left by {who}, which is gone", "remove it", path.unlink)


def _locks(root: Path) -> Iterator[Finding]:
    use = root / USE
    if use.exists():
        try:
            record = json.loads(use.read_text(encoding="utf-8"))
            stale = len({*record.get("read", {}), *record.get("write", {})})
        except (ValueError, AttributeError):
            yield Finding(f"{USE}: DVC was killed while it wrote it", "remove it", use.unlink)
        else:
            if stale:
                yield Finding(f"{USE}: {stale} path(s) in use by processes that are gone", "remove it", use.unlink)
    locks = sorted((root / SNAKEMAKE_LOCKS).glob("*")) if (root / SNAKEMAKE_LOCKS).is_dir() else []
    if locks:
        yield Finding(
            f"{SNAKEMAKE_LOCKS}: Snakemake was killed and left {len(locks)} lock(s)",
            "remove them, as `snakemake --unlock` does",
            lambda: _remove(locks),
        )


def _remove(files: list[Path]) -> None:
    for file in files:
        file.unlink()


def _read_lock(root: Path) -> dict[str, Any]:
    """The stages of dvc.lock.

    Raises:
        ValueError: it is not what DVC writes.
    """
    from dvc.exceptions import DvcException
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import load_yaml
    from voluptuous import Invalid

    if not (root / LOCK).exists():
        return {}
    try:
        stages: dict[str, Any] = COMPILED_LOCKFILE_SCHEMA(load_yaml(str(root / LOCK))).get("stages", {})
    except (DvcException, Invalid) as error:
        raise ValueError(str(error)) from error
    return stages


def _lock_file(root: Path) -> Iterator[Finding]:
    try:
        _read_lock(root)
        return
    except ValueError:
        pass
    kept = subprocess.run(["git", "show", f"HEAD:./{LOCK}"], cwd=root, capture_output=True, check=False)
    what = f"{LOCK}: DVC was killed while it wrote it"
    if kept.returncode == 0:
        remedy = f"take the committed one, as `git checkout {LOCK}` does; DVC's cache holds what ran since"
        yield Finding(what, remedy, lambda: (root / LOCK).write_bytes(kept.stdout))
    else:
        yield Finding(what, "remove it; DVC's cache holds what ran", (root / LOCK).unlink)


def _cache(root: Path) -> Iterator[Finding]:
    from dvc_data.hashfile.hash import file_md5

    for path in sorted((root / ".dvc/cache/files/md5").glob("??/*")):
        name = f"{path.parent.name}{path.name}"
        where = path.relative_to(root)
        if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", name):
            yield Finding(f"{where}: left by a process that was killed", "remove it", path.unlink)
        elif file_md5(str(path)) != name.removesuffix(".dir"):
            remedy = "remove it; `dvc repro` makes it anew (or `dvc pull`, where a remote has it)"
            yield Finding(f"{where}: damaged, its content has another checksum", remedy, path.unlink)


def _outputs(root: Path) -> Iterator[Finding]:
    from dvc_data.hashfile.hash import file_md5

    try:
        stages = _read_lock(root)
    except ValueError:
        return
    for name, stage in stages.items():
        for out in stage.get("outs", ()):
            path = root / out["path"]
            if path.is_file() and "md5" in out and file_md5(str(path)) != out["md5"]:
                yield Finding(
                    f"{out['path']}: not what {name} wrote, by {LOCK}",
                    "give it a new time, so that DVC reads it again and `dvc repro` replaces it",
                    lambda path=path: os.utime(path),  # type: ignore[misc]
                )
