"""One job of Snakemake, run and recorded as `dvc repro` would: `python -m itm.pipeline.run train@ditm-0 ...`.

- Results that DVC has in its cache for this command, parameters and inputs are taken from there. So a stage
  whose inputs were made anew with the same content does not run again under Snakemake either.
- Only this one stage is recorded. `dvc commit` of the whole pipeline would also declare stages up to date that
  did *not* run since their code or parameters changed.
- Nothing is recorded when the command, a parameter or an input changed while the stage ran: its results would
  be filed under values that did not make them.
- While it runs, `dvc repro` keeps away from its files, and the other way round: both go by DVC's record of paths in
  use, and the second stops with a message.
- What DVC holds is trusted only as far as its checksum: a damaged result in the cache is made anew, and inputs that
  are not what DVC recorded of the stage before (damaged, edited, left by a killed run) stop the job.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from itm.errors import PipelineError, ProjectError, first_few
from itm.pipeline.dag import Job, Pipeline, photo_times, read_pipeline
from itm.pipeline.lockfile import replace_as_a_whole, with_entry
from itm.pipeline.presence import present

FORCE = "ITM_FORCE"
"""Environment variable: run the command even if DVC has its results (set by `snakemake --force...`)."""


def run(name: str, fingerprint: str, command: str, *, force: bool = False, root: str | Path = ".") -> int:
    """Bring one job up to date; returns the exit status of its command, 0 also when nothing had to run.

    `command` and `fingerprint` are those of the job when it was planned (`Job.command`, `Job.fingerprint`). DVC's
    lock is waited for, and not held while the command runs.

    Raises:
        PipelineError: dvc.yaml or params.yaml changed since the job was planned; they or an input changed while
            it ran; an input is not what DVC recorded; another run is at work on its files; or DVC cannot record the
            stage (an output is missing, the disk is full).
    """
    root = Path(root)
    pipeline = _as_planned(name, fingerprint, root, "since it was planned")
    job = pipeline.job(name)
    recorder = _Recorder(job, pipeline, root)
    with present(root, name), recorder.claim():
        recorder.check_inputs()
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


def _as_planned(name: str, fingerprint: str, root: Path, when: str) -> Pipeline:
    pipeline = read_pipeline(root)
    job = pipeline.job(name)
    if job.fingerprint != fingerprint:
        raise PipelineError(
            f"{name}: dvc.yaml or params.yaml changed what this stage does {when}, so its results are not kept; "
            "run again",
            reason="changed-while-running",
        )
    return pipeline


def _times(job: Job, root: Path) -> dict[str, object]:
    """Time and size of each input, by which a change is noticed without reading it."""
    states = {path: (root / path).stat() for path in job.inputs}
    times: dict[str, object] = {path: (state.st_mtime_ns, state.st_size) for path, state in states.items()}
    return times | {path: photo_times(root / path) for path in job.own}


class _Recorder:
    """DVC's view of one job; the steps are those of `dvc repro`, taken apart to leave its lock in between.

    dvc.lock is read and written under the lock only: DVC itself does not write it in one piece.
    """

    def __init__(self, job: Job, pipeline: Pipeline, root: Path) -> None:
        from dvc.repo import Repo

        replace_as_a_whole()
        self._name = job.name
        self._job = job
        self._pipeline = pipeline
        self._root = root
        with self._locked(Repo(str(root), _wait_for_lock=True)) as repo:
            self._repo = repo
            self._stage = repo.stage.load_one(str(Path(repo.root_dir) / "dvc.yaml"), job.name)

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Enter the job's files in DVC's record of paths in use, as `dvc repro` does for a stage that it runs."""
        from dvc.rwlock import rwlock

        with self._locked(self._repo) as repo:
            reads, writes = [dep.fs_path for dep in self._stage.deps], [out.fs_path for out in self._stage.outs]
            hardlink = repo.config["core"].get("hardlink_lock", False)
            # entered under the same name as by the steps below (dvc.stage.decorators), so that these may pass
            entry = rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), reads, writes, hardlink)
            entry.__enter__()
        try:
            yield
        finally:
            with self._locked(self._repo):
                entry.__exit__(None, None, None)

    def check_inputs(self) -> None:
        """Check that each input that a stage writes is what DVC recorded when the stage wrote it.

        Raises:
            PipelineError: some are something else, or are not recorded.
        """
        with self._locked(self._repo):
            recorded = {
                out["path"]: out.get("md5")
                for entry in self._stage.dvcfile.lockfile_contents.get("stages", {}).values()
                for out in entry.get("outs", ())
            }
            outputs = {path for job in self._pipeline.jobs.values() for path in job.outputs}
            made = [path for path in self._job.inputs if path in outputs]
            different = [path for path in made if recorded.get(path) != self._checksum(path)]
        if different:
            raise PipelineError(
                f"{self._name}: {len(different)} input(s) are not what dvc.lock says of them ({first_few(different)}): "
                "damaged, edited by hand, or made by a run that recorded nothing; `dvc repro` brings them back, then "
                "`itm sync`",
                reason="input-not-recorded",
            )

    def _checksum(self, path: str) -> str | None:
        """DVC's checksum of a file in the workspace; quick for files that it has seen, None for a missing one."""
        from dvc_data.hashfile.hash import hash_file

        file = str((self._root / path).resolve())
        if not Path(file).is_file():
            return None
        _, found = hash_file(file, self._repo.cache.local.fs, "md5", self._repo.state)
        return str(found.value)

    def restore(self) -> bool:
        """Whether DVC had the results in its cache; they are in place and recorded then."""
        from dvc.stage.cache import RunCacheNotFoundError

        with self._locked(self._repo):
            try:
                self._repo.stage_cache.restore(self._stage)
            except RunCacheNotFoundError:
                return False
            self._stage.save()
            damaged = self._drop_damaged()
            if damaged:
                print(f"itm: {self._name}: damaged in DVC's cache, so made anew: {first_few(damaged)}")
                return False
            self._write()
            return True

    def _drop_damaged(self) -> list[str]:
        """The outputs that came from the cache with other content than their checksum says; they are removed there.

        DVC itself reads no object of its cache again once it is write-protected.
        """
        from dvc_data.hashfile.hash import file_md5

        cache = self._repo.cache.local
        damaged = []
        for out in self._stage.outs:
            if file_md5(out.fs_path, out.fs) != out.hash_info.value:
                damaged.append(str(out))
                for path in (cache.oid_to_path(out.hash_info.value), out.fs_path):
                    with suppress(FileNotFoundError):
                        cache.fs.remove(path)
        return damaged

    def record(self) -> None:
        """Write the job to dvc.lock, and its outputs and the run to DVC's cache."""
        with self._locked(self._repo):
            self._write()

    def _write(self) -> None:
        self._stage.save()
        self._stage.commit()
        # into a copy that takes the place of dvc.lock: a process killed here leaves the old one whole
        from dvc.dvcfile import Lockfile

        lock, copy = Path(self._repo.root_dir) / "dvc.lock", Path(self._repo.tmp_dir) / "dvc.lock"
        copy.unlink(missing_ok=True)
        Lockfile(self._repo, str(copy)).dump_stages([self._stage])
        if lock.exists():
            text = with_entry(lock.read_bytes().decode(), copy.read_bytes().decode())
            if text is None:
                shutil.copy(lock, copy)
                Lockfile(self._repo, str(copy)).dump_stages([self._stage])
            else:
                copy.write_bytes(text.encode())
        copy.replace(lock)

    @contextmanager
    def _locked(self, repo: Any) -> Iterator[Any]:
        from dvc.exceptions import DvcException
        from dvc.lock import LockError
        from dvc.repo import lock_repo

        try:
            with lock_repo(repo):
                yield repo
        except LockError as error:
            raise PipelineError(
                f"{self._name}: another run is at work on its files: {error}; wait for it to end, and run again",
                reason="busy",
            ) from error
        except (DvcException, OSError) as error:
            raise PipelineError(
                f"{self._name}: DVC cannot record it: {error}; mend that and run again (`itm doctor` names what a "
                "crash left behind)",
                reason="not-recorded",
            ) from error


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
    parser = argparse.ArgumentParser(prog="python -m itm.pipeline.run", description="Run and record one job.")
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
