"""Processes that run the pipeline: those that DVC's record of paths in use names, and those that started this one."""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

RUNNERS = ("dvc", "snakemake")
JOB = "itm.pipeline.run"
USE = Path(".dvc/tmp/rwlock")
"""DVC's record of the paths that stages at work read and write: {"read"|"write": {path: process or processes}}."""


def is_runner(pid: int) -> bool:
    """Whether a process runs the pipeline: dvc, snakemake, or one job of Snakemake. False where there is no /proc."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:
        return False
    if words[1:2] == ["-m"]:
        return words[2] in (*RUNNERS, JOB)
    return any(Path(word).name in RUNNERS for word in words[:2])


def recorded(root: str | Path = ".") -> list[tuple[int, str]]:
    """The other processes, as (process, command line), that DVC's record of paths in use names, if it is whole."""
    try:
        record = json.loads((Path(root) / USE).read_text(encoding="utf-8"))
        entries = [
            *record.get("write", {}).values(),
            *(one for many in record.get("read", {}).values() for one in many),
        ]
        found = {(int(entry["pid"]), str(entry["cmd"])) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return sorted(entry for entry in found if entry[0] != os.getpid())


def at_work(root: str | Path = ".") -> list[tuple[int, str]]:
    """The runners, as (process, command line), whose stages are at work in the project at `root`.

    Processes that DVC's record names but that are gone (killed), or are another program by now, do not count.
    """
    return [entry for entry in recorded(root) if is_runner(entry[0])]


def runners_in(root: str | Path) -> list[int]:
    """The processes of runners that were started in the project at `root`, other than those that started this one."""
    above = {os.getpid(), *_ancestors(os.getpid())}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            here = (folder / "cwd").resolve() == Path(root).resolve()
        except OSError:
            continue
        if here and int(folder.name) not in above and is_runner(int(folder.name)):
            found.append(int(folder.name))
    return sorted(found)


def end_with_runner(say: Callable[[str], None]) -> None:
    """End this process as soon as a runner that started it is gone.

    A runner that is killed leaves its stage behind, which would write its results over those of the next run. Linux
    only: elsewhere, and for a stage that was started by hand, nothing is watched.
    """
    if not hasattr(os, "pidfd_open"):
        return
    watched = {}
    for pid in _ancestors(os.getpid()):
        if is_runner(pid):
            try:
                watched[os.pidfd_open(pid)] = pid
            except OSError:  # gone between the two looks, or not allowed to watch
                continue
    if not watched:
        return

    def watch() -> None:
        poll = select.poll()
        for descriptor in watched:
            poll.register(descriptor, select.POLLIN)
        descriptor, _ = poll.poll()[0]
        say(f"the runner (process {watched[descriptor]}) is gone; stopping, the next run begins this stage again")
        os._exit(143)

    threading.Thread(target=watch, name="runner", daemon=True).start()


def _ancestors(pid: int) -> Iterator[int]:
    """The processes that started this one, the nearest first."""
    while pid > 1:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        pid = int(state.rpartition(")")[2].split()[1])
        if pid > 1:
            yield pid
