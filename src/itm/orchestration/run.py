"""One job of Snakemake, run and recorded as `dvc repro` would: `python -m itm.orchestration.run train@ditm-0 ...`.

- Results that DVC has in its cache for this command, parameters and inputs are taken from there. So a stage
  whose inputs were made anew with the same content does not run again under Snakemake either.
- Only this one stage is recorded. `dvc commit` of the whole pipeline would also declare stages up to date that
  did *not* run since their code or parameters changed.
- Nothing is recorded when the command, a parameter or an input changed while the stage ran: its results would
  be filed under values that did not make them.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from itm.errors import PipelineError, ProjectError, first_few
from itm.orchestration.dag import Job, read_pipeline

FORCE = "ITM_FORCE"
"""Environment variable: run the command even if DVC has its results (set by `snakemake --force...`)."""


def run(name: str, fingerprint: str, command: str, *, force: bool = False, root: str | Path = ".") -> int:
    """Bring one job up to date; returns the exit status of its command, 0 also when nothing had to run.

    `command` and `fingerprint` are those of the job when it was planned (`Job.command`, `Job.fingerprint`). DVC's
    lock is waited for, and not held while the command runs.

    Raises:
        PipelineError: dvc.yaml or params.yaml changed since the job was planned; they or an input changed while
            it ran; or DVC cannot record the stage (an output is missing, the disk is full).
    """
    root = Path(root)
    job = _as_planned(name, fingerprint, root, "since it was planned")
    recorder = _Recorder(job, root)
    if not force and recorder.restore():
        print(f"itm: {name}: the results are in DVC's cache; nothing was run")
        return 0
    before = _times(job, root)
    status = _execute(command, root)
    if status:
        return status
    _as_planned(name, fingerprint, root, "while it ran")
    changed = [path for path, time in _times(job, root).items() if time != before[path]]
    if changed:
        raise PipelineError(
            f"{name}: {len(changed)} input(s) changed while it ran ({first_few(changed)}), so its results are not "
            "kept; run again",
            reason="changed-while-running",
        )
    recorder.record()
    return 0


def _as_planned(name: str, fingerprint: str, root: Path, when: str) -> Job:
    job = read_pipeline(root).job(name)
    if job.fingerprint != fingerprint:
        raise PipelineError(
            f"{name}: dvc.yaml or params.yaml changed what this stage does {when}, so its results are not kept; "
            "run again",
            reason="changed-while-running",
        )
    return job


def _times(job: Job, root: Path) -> dict[str, tuple[int, int]]:
    """Time and size of each input, by which a change is noticed without reading it."""
    states = {path: (root / path).stat() for path in job.inputs}
    return {path: (state.st_mtime_ns, state.st_size) for path, state in states.items()}


class _Recorder:
    """DVC's view of one job; the steps are those of `dvc repro`, taken apart to leave its lock in between.

    dvc.lock is read and written under the lock only: DVC does not write it in one piece.
    """

    def __init__(self, job: Job, root: Path) -> None:
        from dvc.repo import Repo

        self._name = job.name
        with self._locked(Repo(str(root), _wait_for_lock=True)) as repo:
            self._repo = repo
            self._stage = repo.stage.load_one(str(Path(repo.root_dir) / "dvc.yaml"), job.name)

    def restore(self) -> bool:
        """Whether DVC had the results in its cache; they are in place and recorded then."""
        from dvc.stage.cache import RunCacheNotFoundError

        with self._locked(self._repo):
            try:
                self._repo.stage_cache.restore(self._stage)
            except RunCacheNotFoundError:
                return False
            self._write()
            return True

    def record(self) -> None:
        """Write the job to dvc.lock, and its outputs and the run to DVC's cache."""
        with self._locked(self._repo):
            self._write()

    def _write(self) -> None:
        self._stage.save()
        self._stage.commit()
        self._stage.dvcfile.dump_stages([self._stage], update_pipeline=False)

    @contextmanager
    def _locked(self, repo: Any) -> Iterator[Any]:
        from dvc.exceptions import DvcException
        from dvc.repo import lock_repo

        try:
            with lock_repo(repo):
                yield repo
        except (DvcException, OSError) as error:
            raise PipelineError(f"{self._name}: DVC cannot record it: {error}", reason="not-recorded") from error


def _execute(command: str, root: Path) -> int:
    """Run a shell command and pass a request to stop on to it; 128 + signal when it was killed, as in a shell."""
    with subprocess.Popen(["/bin/sh", "-c", command], cwd=root) as process:
        previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            status = process.wait()
        finally:
            signal.signal(signal.SIGTERM, previous)
    return 128 - status if status < 0 else status


def main() -> None:
    """Run the job that the command line names; a fault is one message and status 1."""
    parser = argparse.ArgumentParser(prog="python -m itm.orchestration.run", description="Run and record one job.")
    parser.add_argument("name", help="the job, e.g. train@ditm-0")
    parser.add_argument("command", help="its shell command")
    parser.add_argument("--fingerprint", required=True, help="what the job was told to do when it was planned")
    options = parser.parse_args()
    try:
        sys.exit(run(options.name, options.fingerprint, options.command, force=bool(os.environ.get(FORCE))))
    except ProjectError as error:
        sys.exit(f"itm: {error}")


if __name__ == "__main__":
    main()
