"""Deletion of what nothing needs, while nobody works here."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from itm.data.files import alive
from itm.errors import PipelineError, first_few
from itm.pipeline.presence import RECORDS, RUNNING, others
from itm.pipeline.processes import recorded
from itm.runs.storage.cache import Cache, read_cache
from itm.runs.storage.garbage import Garbage, all_garbage, only_copies


def clear(root: Path, *, days: int, apply: bool) -> tuple[list[Garbage], list[str]]:
    """What can be deleted; deleted if `apply`. Also remarks on what stays although it looks unneeded.

    Raises:
        PipelineError: `apply`, and a stage, DVC or Snakemake is at work here (nothing is deleted then).
    """
    if not apply:
        cache = read_cache(root)
        return all_garbage(root, cache, days), _notes(root, cache)
    with _alone(root):
        cache = read_cache(root)
        found, notes = all_garbage(root, cache, days), _notes(root, cache)
        for item in found:
            try:
                item.delete()
            except OSError as error:
                raise PipelineError(
                    f"{item.name}: could not be deleted ({error}); what came before it in the list is gone",
                    reason="not-deleted",
                ) from error
    return found, notes


def _notes(root: Path, cache: Cache) -> list[str]:
    notes = []
    if cache.shared:
        notes.append(
            f"{cache.place} lies outside of this project, and others may use it: nothing of it is deleted here; "
            "use `dvc gc --projects` with all of them"
        )
    kept = only_copies(root, cache)
    if kept:
        notes.append(
            f"{len(kept)} files of methods or seeds that params.yaml no longer names are kept: no commit, experiment "
            f"or cache holds them ({first_few(kept)}); delete them yourself if they are of no use"
        )
    return notes


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the lock of stages, so that none runs and none starts; refuse while experiments run in copies."""
    copies = sorted(path.parent for depth in ("*", "*/*") for path in (root / ".dvc/tmp/exps").glob(f"{depth}/.git"))
    if copies:
        raise PipelineError(
            f".dvc/tmp/exps holds {len(copies)} copies of this project ({first_few([path.name for path in copies])}): "
            "experiments run there, or were killed. What they need is not known here; wait for them, or delete the "
            "copies of those that were killed: nothing was deleted",
            reason="running",
        )
    seen, _ = others(root)  # before this process has the lock, which would be seen too
    path = root / RUNNING
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                raise PipelineError(
                    f"{path}: cannot be locked ({error.strerror}), so whether a stage is running is not known; work on "
                    "a file system with locks: nothing was deleted",
                    reason="no-locks",
                ) from None
            raise PipelineError(
                f"a stage is running in {root.resolve()}; wait for it to end: nothing was deleted", reason="running"
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
        if seen:
            raise PipelineError(
                f"{len(seen)} run(s) are or may be at work here ({first_few(seen)}); wait for them to end, or, where a "
                f"host that is named is gone for good, delete its file in {RECORDS}: nothing was deleted",
                reason="running",
            )
        yield
