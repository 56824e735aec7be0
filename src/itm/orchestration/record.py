"""Tell DVC of a stage that Snakemake has just run: `python -m itm.orchestration.record train@ditm-0 ...`.

Only the one stage is recorded. `dvc commit` of the whole pipeline would also declare every stage up to date
that has *not* run since its code or parameters changed. For the same reason nothing is recorded when the
stage's command, parameters or input files changed while it ran: the results would be filed under values
that did not make them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from itm.errors import PipelineError, ProjectError, first_few
from itm.orchestration.dag import read_pipeline


def record(name: str, fingerprint: str, since: str | Path, root: str | Path = ".") -> None:
    """Write one finished stage to dvc.lock and its outputs to the DVC cache; waits for DVC's lock.

    `fingerprint` is `Job.fingerprint` as it was when the job was planned, `since` a file made when it started
    (removed at the end).

    Raises:
        PipelineError: the command or a tracked parameter is no longer what it was, an input is newer than
            `since`, or DVC cannot record the stage (an output is missing, the disk is full).
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    root, since = Path(root), Path(since)
    job = read_pipeline(root).job(name)
    if job.fingerprint != fingerprint:
        raise PipelineError(
            f"{name}: dvc.yaml or params.yaml changed what this stage does while it ran, so its results are not kept; "
            "run again",
            reason="changed-while-running",
        )
    started = since.stat().st_mtime_ns
    newer = [path for path in job.inputs if (root / path).stat().st_mtime_ns > started]
    if newer:
        raise PipelineError(
            f"{name}: {len(newer)} input(s) changed while it ran ({first_few(newer)}), so its results are not kept; "
            "run again",
            reason="changed-while-running",
        )
    try:
        with Repo(str(root), _wait_for_lock=True) as repo:
            repo.commit(target=name, force=True)
    except (DvcException, OSError) as error:
        raise PipelineError(f"{name}: DVC cannot record the stage: {error}", reason="not-recorded") from error
    since.unlink(missing_ok=True)


def main() -> None:
    """Record the stage that the command line names; a fault is one message and status 1."""
    parser = argparse.ArgumentParser(
        prog="python -m itm.orchestration.record", description="Record one finished stage."
    )
    parser.add_argument("name", help="the job, e.g. train@ditm-0")
    parser.add_argument("--fingerprint", required=True, help="what the job was told to do when it was planned")
    parser.add_argument("--since", required=True, help="a file that was made when the job started")
    options = parser.parse_args()
    try:
        record(options.name, options.fingerprint, options.since)
    except ProjectError as error:
        print(f"itm: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
