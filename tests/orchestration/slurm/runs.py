"""A run of the pipeline through a cluster with profiles/slurm, in which training jobs meet what Slurm does to jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from cluster import Slurm

PROFILE = "workflow/profiles/slurm"

AS_A_USER_WOULD = {
    "  slurm_account: YOUR_ACCOUNT\n": "",
    "YOUR_CPU_PARTITION": "cpu",
    "YOUR_GPU_PARTITION": "gpu",
    "    # gpu_model: a100": "    gpu_model: a100",
    "executor: slurm\n": "executor: slurm\nslurm-status-command: squeue\n",
}
"""What the profile's comments say to replace, for the cluster of cluster.py, which has no accounting."""

MADE = ("data", "models", "embeddings", "evaluations", "results", "report.md", "report.html")
"""Everything that the pipeline made, but for the records of who made it."""

SOON = ["--slurm-init-seconds-before-status-checks", "5"]
"""The first look at a job after 5 seconds; the executor's default is 40."""


def fill_in_profile(root: Path) -> None:
    """Replace the placeholders of the project's Slurm profile."""
    file = root / PROFILE / "config.yaml"
    text = file.read_text(encoding="utf-8")
    for old, new in AS_A_USER_WOULD.items():
        assert old in text, f"{file} holds no {old!r}"
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


@dataclass
class Run:
    """What was seen of one run: Snakemake's status and output, and what happened when (seconds since its start)."""

    status: int = -1
    output: str = ""
    seconds: float = 0
    events: list[tuple[float, str]] = field(default_factory=list)


@dataclass
class Disturbance:
    """Something that Slurm does once to the job of one method's training, after its first checkpoint."""

    method: str
    what: str
    act: Callable[[Slurm, str], None]
    freeze: bool
    """Whether the training stands still until Slurm ends it, as on a node that hangs."""
    done: bool = False

    def due(self, root: Path, slurm: Slurm) -> tuple[str, psutil.Process] | None:
        """The job and the process to disturb, once there are both and a checkpoint."""
        if not _has_checkpoint(root, self.method):
            return None
        job = next((id for id, name in slurm.jobs("RUNNING").items() if f"train_wildcards_{self.method}" in name), None)
        process = _training(root, self.method)
        return (job, process) if job and process else None


def time_limit(method: str) -> Disturbance:
    """A training that hangs until its job's time is up."""
    return Disturbance(method, "the time limit", Slurm.reach_time_limit, freeze=True)


def scancel(method: str) -> Disturbance:
    """A training whose job is cancelled."""
    return Disturbance(method, "scancel", Slurm.cancel, freeze=False)


def run(
    root: Path,
    slurm: Slurm,
    environment: dict[str, str],
    disturbances: list[Disturbance],
    jobs: int = 3,
    limit: float = 1800,
) -> Run:
    """Run `snakemake --workflow-profile workflow/profiles/slurm` in `root`, and disturb it."""
    seen = Run()
    start = time.monotonic()
    output = root / "logs" / "snakemake.txt"
    output.parent.mkdir(exist_ok=True)
    with output.open("w") as out:
        process = subprocess.Popen(
            ["snakemake", "--workflow-profile", PROFILE, "--jobs", str(jobs), *SOON],
            cwd=root,
            env={**environment, **slurm.environment, "PATH": f"{slurm.folder}/bin{os.pathsep}{environment['PATH']}"},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while process.poll() is None and time.monotonic() < start + limit:
                for disturbance in disturbances:
                    if not disturbance.done and (found := disturbance.due(root, slurm)):
                        _disturb(slurm, disturbance, *found)
                        seen.events.append(
                            (
                                time.monotonic() - start,
                                f"job {found[0]}, train {disturbance.method}: {disturbance.what}",
                            )
                        )
                time.sleep(0.05)
        finally:
            if process.poll() is None:  # it may wait for Slurm for ever, and then does not mind SIGTERM
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seen.status, seen.output, seen.seconds = process.returncode, output.read_text(), time.monotonic() - start
    return seen


def _disturb(slurm: Slurm, disturbance: Disturbance, job: str, process: psutil.Process) -> None:
    if disturbance.freeze:
        process.suspend()
    disturbance.act(slurm, job)
    disturbance.done = True


def _has_checkpoint(root: Path, method: str) -> bool:
    """Whether the second epoch is over, so that the first one's checkpoint is written."""
    log = root / f"logs/train/{method}-0.log"
    return log.exists() and "epoch 2/" in log.read_text()


def _training(root: Path, method: str) -> psutil.Process | None:
    """The process that trains a method in this project."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line = process.info["cmdline"] or []
        if "itm.stages.train" in line and method in line and process.info["cwd"] == str(root.resolve()):
            return process
    return None
