"""What takes disk space, what still needs it, and how the rest is deleted (docs/storage.md states the retention).

An object of DVC's cache is in use if the workspace, any commit that git knows, or any DVC experiment names it; so are
the small results that DVC's run-cache keeps beside such objects. DVC's own collector deletes the others.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from itm.comparison.revisions import git
from itm.data.files import alive
from itm.errors import PipelineError, first_few
from itm.orchestration.processes import recorded
from itm.runs.provenance import Stages, md5_of, read_yaml

RUNNING = ".itm/running"
RUN_FOLDERS = ("data/descriptions", "models", "embeddings")
"""Folders of outputs by method, in which a method that no longer runs leaves its files. Not `evaluations`: the
report depends on the folder as a whole, and would have to run again."""
DAY = 86400.0
_TRACKING = ("dvc.lock", "*/dvc.lock", "*.dvc")
_MD5 = re.compile(rb"\bmd5: ['\"]?([0-9a-f]{32}(?:\.dir)?)\b")


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


@dataclass
class _Cache:
    """DVC's cache as it is. used: names of objects in use; shared: it lies outside of the project."""

    objects: dict[str, int]
    used: set[str]
    runs: dict[Path, tuple[int, list[str]]]
    shared: bool
    remote: bool
    place: str
    runs_place: str
    collect: Callable[[], None]


def survey(root: Path, days: int | None) -> tuple[list[Area], list[Garbage]]:
    """The areas, and what can be deleted of them; `days`: files of logs and resume states older than this count as
    unneeded (None: those are left out).

    Raises:
        PipelineError: there is no DVC project, or git lacks objects of its commits.
    """
    cache = _read_cache(root)
    garbage = _garbage(root, cache, days)
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
        size, files = _measure(root / folder)
        unused = by_name.get(f"leftovers in {folder}", 0)
        areas.append(Area("workspace", folder, size, files, unused))
    for name, folder, note in (
        ("resume states", ".itm/checkpoints", "of trainings that did not end; `itm gc` takes old ones"),
        ("answers of language models", ".itm/descriptions", "never deleted here: they may have cost money"),
        ("logs", "logs", "`itm gc` takes old ones"),
        ("Snakemake", ".snakemake", "its memory is needed; `itm gc` takes old logs"),
        ("temporary experiments", ".dvc/tmp/exps", "copies made by `dvc exp run --queue`; `dvc queue remove --all`"),
    ):
        size, files = _measure(root / folder)
        areas.append(Area(name, folder, size, files, by_name.get(name) if days is not None else None, note))
    return [area for area in areas if area.files or area.name.startswith("DVC")], garbage


def _garbage(root: Path, cache: _Cache, days: int | None) -> list[Garbage]:
    found = [*_unused_objects(cache), *_orphans(cache), *_leftovers(root, cache)]
    return found if days is None else [*found, *_old(root, days)]


def clear(root: Path, *, days: int, apply: bool) -> tuple[list[Garbage], list[str]]:
    """What can be deleted; deleted if `apply`. Also remarks on what stays although it looks unneeded.

    Raises:
        PipelineError: `apply`, and a stage, DVC or Snakemake is at work here (nothing is deleted then).
    """
    if not apply:
        cache = _read_cache(root)
        return _garbage(root, cache, days), _notes(root, cache)
    with _alone(root):
        cache = _read_cache(root)
        found, notes = _garbage(root, cache, days), _notes(root, cache)
        for item in found:
            try:
                item.delete()
            except OSError as error:
                raise PipelineError(
                    f"{item.name}: could not be deleted ({error}); what came before it in the list is gone",
                    reason="not-deleted",
                ) from error
    return found, notes


def _notes(root: Path, cache: _Cache) -> list[str]:
    notes = []
    if cache.shared:
        notes.append(
            f"{cache.place} lies outside of this project, and others may use it: nothing of it is deleted here; "
            "use `dvc gc --projects` with all of them"
        )
    kept = _only_copies(root, cache)
    if kept:
        notes.append(
            f"{len(kept)} files of methods or seeds that params.yaml no longer names are kept: no commit, experiment "
            f"or cache holds them ({first_few(kept)}); delete them yourself if they are of no use"
        )
    return notes


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the locks of stages here and in DVC's temporary copies, so that none runs and none starts."""
    with ExitStack() as stack:
        copies = sorted((root / ".dvc/tmp/exps").glob("*/"))
        for folder in (root, *copies):
            path = folder / RUNNING
            if folder != root and not path.is_file():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise PipelineError(
                    f"a stage is running in {folder.resolve()}; wait for it to end: nothing was deleted",
                    reason="running",
                ) from None
        held = [path.name for path in (root / ".snakemake/locks").glob("*")]
        if held:
            raise PipelineError(
                f".snakemake/locks holds {len(held)} locks ({first_few(sorted(held))}): Snakemake is at work, or was "
                "killed (then `snakemake --unlock`); nothing was deleted",
                reason="running",
            )
        users = [pid for pid, _ in recorded(root) if alive(pid)]
        if users:
            raise PipelineError(
                f"DVC is at work here (process {first_few(users)}); wait for it to end: nothing was deleted",
                reason="running",
            )
        yield


def _read_cache(root: Path) -> _Cache:
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo
    from dvc_data.hashfile.gc import gc as collect_objects

    try:
        with Repo(str(root)) as repo:
            odb = repo.cache.local
            folder = Path(odb.path)
            objects = {
                path.parent.name + path.name: path.stat().st_size
                for path in folder.glob("[0-9a-f][0-9a-f]/*")
                if path.is_file()
            }
            runs_folder = Path(repo.stage_cache.cache_dir)
            runs = {path: _run_outputs(path) for path in sorted(runs_folder.glob("*/*/*")) if path.is_file()}
            used = _named_objects(root, folder)
            kept = set(used)
            for _, outs in runs.values():
                if any(md5 in used for md5 in outs):
                    kept |= set(outs)

            def collect() -> None:
                from dvc_data.hashfile.hash_info import HashInfo

                with repo.lock:
                    collect_objects(odb, {HashInfo("md5", name) for name in kept})

            shared = not folder.resolve().is_relative_to(root.resolve())
            place = str(folder) if shared else folder.relative_to(root.resolve()).as_posix()
            runs_place = os.path.relpath(runs_folder, root.resolve())
            return _Cache(objects, kept, runs, shared, bool(repo.config["remote"]), place, runs_place, collect)
    except LockError as error:
        raise PipelineError("another DVC command is at work here; wait for it to end", reason="locked") from error
    except DvcException as error:
        cause = error.__cause__
        raise PipelineError(
            f"dvc: {error}{f': {cause}' if cause else ''}; nothing was deleted", reason="dvc"
        ) from error


def _named_objects(root: Path, cache: Path) -> set[str]:
    """The objects that dvc.lock or a .dvc file names: in the workspace, and in any commit or experiment git has.

    Read from git's objects and not commit by commit through DVC, which takes half a second for each. Hashes of inputs
    are among them: more is kept than needed, never less.
    """
    named = {root / "dvc.lock"}
    texts: list[bytes] = []
    if git(root, "rev-parse", "--git-dir").returncode == 0:
        listed = _lines(root, "ls-files", "--cached", "--others", "--exclude-standard", "--", *_TRACKING)
        named |= {root / name for name in listed}
        head = ["HEAD"] if git(root, "rev-parse", "--verify", "--quiet", "HEAD").returncode == 0 else []
        changes = ["--all", *head, "--full-history", "-m", "--format=", "--raw", "--no-abbrev", "--", *_TRACKING]
        blobs = {each for line in _lines(root, "log", *changes) for each in line.split()[2:4] if each.strip("0")}
        texts += _blobs(root, sorted(blobs))
    texts += [path.read_bytes() for path in named if path.is_file()]
    found = {md5.decode() for text in texts for md5 in _MD5.findall(text)}
    for name in [name for name in found if name.endswith(".dir")]:
        try:
            entries = json.loads((cache / name[:2] / name[2:]).read_text(encoding="utf-8"))
            found |= {entry["md5"] for entry in entries}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a folder that is not in the cache keeps nothing there
    return found


def _lines(root: Path, *arguments: str) -> list[str]:
    done = git(root, *arguments)
    if done.returncode:
        raise PipelineError(
            f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}; nothing was deleted", reason="git"
        )
    return [line for line in done.stdout.decode().split("\n") if line]


def _blobs(root: Path, names: list[str]) -> list[bytes]:
    """The contents of git's objects, one after the other in one text (their hashes are all that is looked for)."""
    if not names:
        return []
    asked = "".join(f"{name}\n" for name in names).encode()
    done = subprocess.run(["git", "cat-file", "--batch"], cwd=root, input=asked, capture_output=True, check=False)
    if done.returncode or b" missing\n" in done.stdout:
        raise PipelineError(
            "git cat-file: some versions of dvc.lock are missing here (a partial clone?), so what they need is not "
            "known; fetch them: nothing was deleted",
            reason="git",
        )
    return [done.stdout]


def _run_outputs(path: Path) -> tuple[int, list[str]]:
    """The size of an entry of the run-cache, and the objects that it needs."""
    try:
        outs = [out["md5"] for out in read_yaml(path).get("outs") or [] if "md5" in out]
    except (PipelineError, TypeError):
        outs = []
    return path.stat().st_size, outs


def _unused_objects(cache: _Cache) -> Iterator[Garbage]:
    unused = {name: size for name, size in cache.objects.items() if name not in cache.used}
    if unused and not cache.shared:
        why = "no commit, experiment or the workspace names them"
        yield Garbage("cache", sum(unused.values()), len(unused), why, cache.collect, tuple(sorted(unused)[:3]))


def _orphans(cache: _Cache) -> Iterator[Garbage]:
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


def _leftovers(root: Path, cache: _Cache) -> Iterator[Garbage]:
    """Files of methods and seeds that params.yaml no longer names, where the cache holds them for a commit."""
    for folder in RUN_FOLDERS:
        safe = [path for path in _stale(root, folder) if md5_of(path) in cache.used & cache.objects.keys()]
        if safe and not cache.shared:
            delete = _deleter(safe, root / folder)
            size = sum(path.stat().st_size for path in safe)
            why = "params.yaml does not name their runs; DVC's cache keeps them for a commit or experiment"
            names = tuple(path.relative_to(root).as_posix() for path in safe[:3])
            yield Garbage(f"leftovers in {folder}", size, len(safe), why, delete, names)


def _only_copies(root: Path, cache: _Cache) -> list[str]:
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

        sizes = [_measure(folder) for folder in states]
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


def _measure(folder: Path) -> tuple[int, int]:
    """Bytes and number of the files below a folder; links count as nothing."""
    size = files = 0
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            size += path.stat().st_size
            files += 1
    return size, files
