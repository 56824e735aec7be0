"""File times, by which Snakemake goes, brought in line with what is true.

`sync`, after `dvc repro`, `dvc pull` or `dvc checkout`, which go by content: gives every output a fresh time, in the
order of the pipeline, and renews Snakemake's memory of its own runs. Done while a stage is out of date, that would hide
the fact from Snakemake for good; hence the guard.

`settle`, after a clock that went back: brings times that lie in the future to the present, in their order.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from itm.errors import PipelineError, first_few
from itm.pipeline.dag import Pipeline
from itm.pipeline.git import dvc_words

TOLERANCE = 1_000_000_000
"""Nanoseconds by which the clocks of two machines may differ without that anything is done about it."""
SPACE = 1_000_000


def sync(root: str | Path = ".") -> int:
    """Make Snakemake see that everything is up to date; returns the number of stages that DVC vouches for.

    Raises:
        PipelineError: `dvc status` is not clean (nothing is touched then), DVC's or Snakemake's lock is held,
            or Snakemake fails.
    """
    root = Path(root)
    stages, changed = _status(root)
    if changed:
        raise PipelineError(
            f"{len(changed)} of {stages} stages are not up to date ({first_few(changed)}); "
            "run `dvc repro` first, see `dvc status` for the reasons",
            reason="not-up-to-date",
        )
    command = [sys.executable, "-m", "snakemake", "--touch", "--forceall", "--cores", "1", "--quiet", "all"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PipelineError(f"snakemake --touch failed:\n{_tail(done.stderr or done.stdout)}", reason="snakemake")
    return stages


def settle(pipeline: Pipeline, root: str | Path = ".", now: int | None = None) -> int:
    """Give files of the pipeline whose time is in the future a time before `now`; returns how many there were.

    Snakemake goes by times: it refuses the results of a job that are older than its inputs, and takes results that
    are newer than what they were made from for current. So which file is older than which stays as it is.

    `now`: nanoseconds since 1970, the clock's by default.
    """
    now = time.time_ns() if now is None else now
    paths = {Path(root) / path for job in pipeline.jobs.values() for path in (*job.inputs, *job.outputs)}
    times = {path: path.stat().st_mtime_ns for path in paths if path.exists()}
    late = sorted({found for found in times.values() if found > now + TOLERANCE})
    if not late:
        return 0
    last = max((found for found in times.values() if found <= now + TOLERANCE), default=0)
    begin = max(last, now - SPACE * len(late))
    step = max(1, (now - begin) // len(late))
    moved = {found: begin + step * rank for rank, found in enumerate(late, 1)}
    changed = [path for path, found in times.items() if found in moved]
    for path in changed:
        os.utime(path, ns=(moved[times[path]], moved[times[path]]))
    return len(changed)


def _status(root: Path) -> tuple[int, list[str]]:
    """How many stages there are, and the names of those that DVC would run or complain about."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            names = [stage.addressing for stage in repo.index.stages]
            return len(names), list(repo.status())
    except LockError as error:
        raise PipelineError("another DVC command is at work here; wait for it to end", reason="locked") from error
    except DvcException as error:
        raise PipelineError(f"dvc status: {dvc_words(error)}", reason="dvc") from error


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-lines:])
