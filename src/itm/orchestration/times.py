"""Times of files that lie in the future, as after a clock that went back: brought to the present, in their order."""

from __future__ import annotations

import os
import time
from pathlib import Path

from itm.orchestration.dag import Pipeline

TOLERANCE = 1_000_000_000
"""Nanoseconds by which the clocks of two machines may differ without that anything is done about it."""
SPACE = 1_000_000


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
