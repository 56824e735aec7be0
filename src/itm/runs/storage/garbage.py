"""Users of disk space, and files that nothing needs, with the reason (docs/storage.md states the retention)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from itm.pipeline.provenance import md5_of
from itm.pipeline.stages import Stages
from itm.runs.storage.cache import Cache, read_cache

RUN_FOLDERS = ("data/descriptions", "models", "embeddings")
"""Folders of outputs by method, in which a method that no longer runs leaves its files. Not `evaluations`: the
report depends on the folder as a whole, and would have to run again."""
DAY = 86400.0


@dataclass(frozen=True)
class Garbage:
    """What can be deleted together. why: why nothing needs it."""

    name: str
    size: int
    files: int
    why: str
    delete: Callable[[], None] = field(repr=False)
    examples: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "size": self.size,
            "files": self.files,
            "why": self.why,
            "examples": list(self.examples),
        }


@dataclass(frozen=True)
class Area:
    """One kind of file. unused: bytes that nothing needs, None where that cannot be told."""

    name: str
    path: str
    size: int
    files: int
    unused: int | None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def survey(root: Path, days: int | None) -> tuple[list[Area], list[Garbage]]:
    """The areas, and what can be deleted of them; `days`: files of logs and resume states older than this count as
    unneeded (None: those are left out).

    Raises:
        PipelineError: there is no DVC project, or git lacks objects of its commits.
    """
    cache = read_cache(root)
    garbage = all_garbage(root, cache, days)
    by_name: dict[str, int] = {}
    for item in garbage:
        by_name[item.name] = by_name.get(item.name, 0) + item.size
    runs_size = sum(size for size, _ in cache.runs.values())
    areas = [
        Area(
            "DVC's cache",
            cache.place,
            sum(cache.objects.values()),
            len(cache.objects),
            None if cache.shared else by_name.get("cache", 0),
            "shared with other projects: they may need what this one does not" if cache.shared else "",
        ),
        Area("DVC's run-cache", cache.runs_place, runs_size, len(cache.runs), by_name.get("run-cache", 0)),
    ]
    for folder in ("data/raw", "data/clean", "data/scored", "data/features", *RUN_FOLDERS, "evaluations"):
        size, files = measure(root / folder)
        unused = by_name.get(f"leftovers in {folder}", 0)
        areas.append(Area("workspace", folder, size, files, unused))
    for name, folder, note in (
        ("resume states", ".itm/checkpoints", "of trainings that did not end; `itm gc` takes old ones"),
        ("answers of language models", ".itm/descriptions", "never deleted here: they may have cost money"),
        ("graphs of frozen towers", ".itm/graphs", "of towers.backend; made anew when they are needed"),
        ("logs", "logs", "`itm gc` takes old ones"),
        ("Snakemake", ".snakemake", "its memory is needed; `itm gc` takes old logs"),
        ("temporary experiments", ".dvc/tmp/exps", "copies made by `dvc exp run --queue`; `dvc queue remove --all`"),
    ):
        size, files = measure(root / folder)
        areas.append(Area(name, folder, size, files, by_name.get(name) if days is not None else None, note))
    return [area for area in areas if area.files or area.name.startswith("DVC")], garbage


def all_garbage(root: Path, cache: Cache, days: int | None) -> list[Garbage]:
    """All that can be deleted; logs and resume states only with `days`, the age from which they count."""
    found = [*_unused_objects(cache), *_orphans(cache), *_leftovers(root, cache)]
    return found if days is None else [*found, *_old(root, days)]


def _unused_objects(cache: Cache) -> Iterator[Garbage]:
    unused = {name: size for name, size in cache.objects.items() if name not in cache.used}
    if unused and not cache.shared:
        why = "no commit, experiment or the workspace names them"
        yield Garbage("cache", sum(unused.values()), len(unused), why, cache.collect, tuple(sorted(unused)[:3]))


def _orphans(cache: Cache) -> Iterator[Garbage]:
    """Entries of the run-cache whose results are gone, or go now; with a remote they may come back."""
    if cache.remote or cache.shared:
        return
    kept = cache.objects.keys() & cache.used
    gone = [path for path, (_, outs) in cache.runs.items() if any(md5 not in kept for md5 in outs)]
    if gone:

        def delete() -> None:
            for path in gone:
                path.unlink(missing_ok=True)
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()

        why = "their results are not in the cache, and there is no remote to ask"
        yield Garbage("run-cache", sum(cache.runs[path][0] for path in gone), len(gone), why, delete)


def _leftovers(root: Path, cache: Cache) -> Iterator[Garbage]:
    """Files of methods and seeds that params.yaml no longer names, where the cache holds them for a commit."""
    for folder in RUN_FOLDERS:
        safe = [path for path in _stale(root, folder) if md5_of(path) in cache.used & cache.objects.keys()]
        if safe and not cache.shared:
            delete = _deleter(safe, root / folder)
            size = sum(path.stat().st_size for path in safe)
            why = "params.yaml does not name their runs; DVC's cache keeps them for a commit or experiment"
            names = tuple(path.relative_to(root).as_posix() for path in safe[:3])
            yield Garbage(f"leftovers in {folder}", size, len(safe), why, delete, names)


def only_copies(root: Path, cache: Cache) -> list[str]:
    """Files that look unneeded and stay: nothing else holds them."""
    safe = cache.used & cache.objects.keys()
    stale = [path for folder in RUN_FOLDERS for path in _stale(root, folder)]
    return [path.relative_to(root).as_posix() for path in stale if cache.shared or md5_of(path) not in safe]


def _stale(root: Path, folder: str) -> list[Path]:
    """Files in a folder of outputs that are no output of the present pipeline."""
    stages = Stages(root)
    known = {path for stage in stages.names for job in stages.jobs(stage) for path in (*job.outputs, *job.metrics)}
    files = [path for path in sorted((root / folder).rglob("*")) if path.is_file()]
    return [
        path
        for path in files
        if path.relative_to(root).as_posix() not in known and path.name not in (".gitignore", ".snakemake_timestamp")
    ]


def _old(root: Path, days: int) -> Iterator[Garbage]:
    """Logs and resume states that were not written for some days."""
    limit = time.time() - days * DAY
    states = [
        folder
        for folder in sorted((root / ".itm/checkpoints").glob("*"))
        if folder.is_dir() and _newest(folder) < limit
    ]
    if states:

        def delete() -> None:
            for folder in states:
                shutil.rmtree(folder)

        sizes = [measure(folder) for folder in states]
        why = f"trainings that did not go on for {days} days"
        yield Garbage("resume states", sum(s for s, _ in sizes), sum(n for _, n in sizes), why, delete)
    for name, folder in (("logs", root / "logs"), ("Snakemake", root / ".snakemake/log")):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_mtime < limit]
        if files:
            size = sum(path.stat().st_size for path in files)
            yield Garbage(name, size, len(files), f"not written for {days} days", _deleter(files, folder))


def _deleter(files: list[Path], top: Path) -> Callable[[], None]:
    """Deletes files, and the folders below `top` that are empty then."""

    def delete() -> None:
        for path in files:
            path.unlink(missing_ok=True)
            folder = path.parent
            while folder != top and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent

    return delete


def _newest(folder: Path) -> float:
    return max((path.stat().st_mtime for path in [folder, *folder.rglob("*")]), default=0.0)


def measure(folder: Path) -> tuple[int, int]:
    """Bytes and number of the files below a folder; links count as nothing."""
    size = files = 0
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            size += path.stat().st_size
            files += 1
    return size, files
