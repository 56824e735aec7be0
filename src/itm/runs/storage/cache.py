"""The content of DVC's cache, and the part of it in use.

An object is in use if the workspace, any commit that git knows, or any DVC experiment names it; so are the small
results that DVC's run-cache keeps beside such objects. DVC's own collector deletes the others.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from itm.errors import DataError, PipelineError
from itm.parse import parse_json
from itm.pipeline.git import dvc_words, git
from itm.pipeline.stages import read_yaml

_TRACKING = ("dvc.lock", "*/dvc.lock", "*.dvc")
LARGEST_FOLDER = 4 << 30
"""Bytes of DVC's list of a folder's files: 100 for each."""
_MD5 = re.compile(rb"\bmd5: ['\"]?([0-9a-f]{32}(?:\.dir)?)\b")


@dataclass
class Cache:
    """DVC's cache as it is. used: names of objects in use; shared: it lies outside of the project."""

    objects: dict[str, int]
    used: set[str]
    runs: dict[Path, tuple[int, list[str]]]
    shared: bool
    remote: bool
    place: str
    runs_place: str
    collect: Callable[[], None]


def read_cache(root: Path) -> Cache:
    """The cache of the project at `root`.

    Raises:
        PipelineError: another DVC command is at work; there is no DVC project; git lacks objects of its commits.
    """
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

                try:
                    with repo.lock:
                        collect_objects(odb, {HashInfo("md5", name) for name in kept})
                except LockError as error:
                    raise _busy() from error

            shared = not folder.resolve().is_relative_to(root.resolve())
            place = str(folder) if shared else folder.relative_to(root.resolve()).as_posix()
            runs_place = os.path.relpath(runs_folder, root.resolve())
            return Cache(objects, kept, runs, shared, bool(repo.config["remote"]), place, runs_place, collect)
    except LockError as error:
        raise _busy() from error
    except DvcException as error:
        cause = error.__cause__
        raise PipelineError(
            f"dvc: {dvc_words(error)}{f': {cause}' if cause else ''}; nothing was deleted", reason="dvc"
        ) from error


def _busy() -> PipelineError:
    return PipelineError(
        "another DVC command is at work here; wait for it to end; nothing was deleted", reason="locked"
    )


def _named_objects(root: Path, cache: Path) -> set[str]:
    """The objects that dvc.lock or a .dvc file names: in the workspaces, and in any commit or experiment git has.

    Read from git's objects and not commit by commit through DVC, which takes half a second for each. Hashes of inputs
    are among them: more is kept than needed, never less.
    """
    named = {root / "dvc.lock"}
    texts: list[bytes] = []
    if any((folder / ".git").exists() for folder in (root.resolve(), *root.resolve().parents)):
        place = "".join(_lines(root, "rev-parse", "--show-prefix"))
        trees = [line.removeprefix("worktree ") for line in _lines(root, "worktree", "list", "--porcelain")]
        for tree in [Path(line) / place for line in trees if line.startswith("/")]:
            if tree.is_dir():
                listed = _lines(tree, "ls-files", "--cached", "--others", "--exclude-standard", "--", *_TRACKING)
                named |= {tree / name for name in listed}
        head = ["HEAD"] if _lines(root, "rev-parse", "--verify", "--quiet", "HEAD", accepted=(0, 1)) else []
        stashes = [ref for ref in _lines(root, "for-each-ref", "--format=%(refname)", "refs/exps") if "stash" in ref]
        queued = [line for ref in stashes for line in _lines(root, "log", "--walk-reflogs", "--format=%H", ref)]
        changes = ["--all", *head, *queued, "--full-history", "-m", "--format=", "--raw", "--no-abbrev"]
        found = _lines(root, "log", *changes, "--", *_TRACKING)
        blobs = {each for line in found for each in line.split()[2:4] if each.strip("0")}
        texts += _blobs(root, sorted(blobs))
    texts += [path.read_bytes() for path in named if path.is_file()]
    objects = {md5.decode() for text in texts for md5 in _MD5.findall(text)}
    for name in [name for name in objects if name.endswith(".dir")]:
        try:
            entries = parse_json((cache / name[:2] / name[2:]).read_bytes(), name, largest=LARGEST_FOLDER)
            objects |= {entry["md5"] for entry in entries}
        except (OSError, DataError, KeyError, TypeError):
            continue  # a folder that is not in the cache keeps nothing there
    return objects


def _lines(folder: Path, *arguments: str, accepted: tuple[int, ...] = (0,)) -> list[str]:
    """What git answers. Any other status than `accepted` is a fault: it never means that there is nothing."""
    done = git(folder, *arguments)
    if done.returncode not in accepted:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise PipelineError(f"git {arguments[0]}: {said[:500]}; nothing was deleted", reason="git")
    return [line for line in done.stdout.decode(errors="surrogateescape").split("\n") if line]


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
