"""The project that is disturbed, whole and before each of its stages; starting, killing and repairing runs in it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from pipeline_project import Project, stand_in, unstubbed_project

STAGES = {
    "download@scenes.jsonl": "data/raw/scenes/scenes.jsonl",
    "clean": "data/clean/captions.parquet",
    "score": "data/scored/captions.parquet",
    "features": "data/features/images.safetensors",
    "describe@ditm": "data/descriptions/ditm/vectors.safetensors",
    "train@ditm-0": "models/ditm/seed0/model.safetensors",
    "encode@ditm-0": "embeddings/ditm/seed0/embeddings.npz",
    "evaluate@ditm-0-retrieval": "results/runs/ditm/seed0/retrieval.json",
    "report": "report.md",
}
"""The jobs to disturb, in the order of the pipeline, and a file that each writes."""
RUNNERS = {"dvc": ("dvc", "repro"), "snakemake": ("snakemake", "--cores", "2")}
PATIENCE = 900
"""Seconds after which a run counts as hung; much for a loaded machine."""
REMEDIES = {
    "--unlock": ["snakemake --unlock"],
    "`itm doctor`": ["itm doctor --repair"],
    # DVC's own words name the file, not the remedy: docs/reliability.md does
    "RWLock-file": ["itm doctor --repair"],
    "dvc.lock' is invalid": ["itm doctor --repair"],
    "unable to read: 'dvc.lock'": ["itm doctor --repair"],
    "`dvc repro` brings them back, then `itm sync`": ["dvc repro", "itm sync"],
    "run again": [],
    "run the same command again": [],
}
"""What a message tells a user to do before the next run; the first that is found counts."""


@dataclass(frozen=True)
class Bases:
    """Copies to start from: the project before each stage, and when all is done."""

    before: dict[str, Project]
    whole: Project
    results: dict[str, str]
    lock: dict

    def fresh(self, stage: str | None, root: Path) -> Project:
        """A copy to disturb, in which everything before `stage` is done; all of it for None."""
        return (self.whole if stage is None else self.before[stage]).copy(root)


def prepare(root: Path) -> Bases:
    """Run the stand-in pipeline once, undisturbed, and keep a copy before each stage."""
    root.mkdir(parents=True, exist_ok=True)
    project = stand_in(unstubbed_project(root / "unstubbed"), root / "project", methods=("ditm",))
    before = {}
    for stage, output in STAGES.items():
        before[stage] = project.copy(root / "before" / stage)
        project.snakemake(output)
    project.snakemake()
    project.ran()
    return Bases(before, project, project.results(), lock(project))


def lock(project: Project) -> dict:
    """What DVC recorded of each stage."""
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(project.root / "dvc.lock")["stages"]


def start(project: Project, runner: str, **environment: str) -> subprocess.Popen:
    """A run of the pipeline that goes on in the background, each step of a stage taking a moment."""
    with (project.root / "logs/runner.txt").open("a") as output:
        return subprocess.Popen(
            RUNNERS[runner],
            cwd=project.root,
            env=project.environment | {"STUB_STEP": "0.15"} | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def steps(project: Project, stage: str) -> list[tuple[int, str]]:
    """The steps that a stage has begun: its process, and what."""
    file = project.root / "logs/steps.txt"
    lines = [line.split("\t") for line in file.read_text().splitlines()] if file.exists() else []
    return [(int(line[1]), line[2]) for line in lines if len(line) == 3 and line[0] == stage]


def wait_for_step(project: Project, process: subprocess.Popen, stage: str, count: int) -> tuple[int, str]:
    """The stage's process and its present step, once it has begun so many."""
    until = time.monotonic() + PATIENCE
    while len(found := steps(project, stage)) < count:
        assert process.poll() is None, f"the run ended before step {count} of {stage}\n{said(project)}"
        assert time.monotonic() < until, f"{stage} did not come to step {count}\n{said(project)}"
        time.sleep(0.01)
    return found[-1]


def said(project: Project) -> str:
    """What the runs in the background printed, and the logs."""
    return project.read("logs/runner.txt") + project.logs()


def kill(pid: int) -> None:
    if psutil.pid_exists(pid):
        psutil.Process(pid).kill()


def kill_tree(pid: int) -> None:
    """kill -9 for a process and its descendants, which may lead sessions of their own."""
    found = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)] if psutil.pid_exists(pid) else []
    for process in found:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(found, timeout=10)


def kill_group(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)


def job_of(pid: int) -> int:
    """The process that runs and records a job of Snakemake, given that of its stage."""
    for parent in psutil.Process(pid).parents():
        if "itm.pipeline.run" in parent.cmdline():
            return parent.pid
    raise AssertionError(f"process {pid} is no stage of Snakemake")


def recover(project: Project, runner: str) -> str:
    """Run until it is done, doing what the messages say; returns what that was.

    Raises:
        AssertionError: a run fails and does not say what to do, or shows a traceback.
    """
    done: list[str] = []
    for _ in range(5):
        run = project.run(*RUNNERS[runner], ok=False)
        output = run.stdout + run.stderr
        assert "Traceback" not in output, output
        if run.returncode == 0:
            return ", then ".join([*done, "ran to the end"])
        remedy = next((words for words in REMEDIES if words in output), None)
        assert remedy, f"no word of what to do:\n{output}\n{project.logs()}"
        for command in REMEDIES[remedy]:
            itm(project, *command.split()[1:]) if command.startswith("itm ") else project.run(*command.split())
        commands = " and ".join(f"`{command}`" for command in REMEDIES[remedy])
        done.append(f"said what to do: {commands}" if commands else "said to run again")
    raise AssertionError(f"never done: {done}\n{output}\n{project.logs()}")


def itm(project: Project, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """One `itm` command in the project."""
    return project.run(sys.executable, "-m", "itm.cli", *arguments, ok=ok)


@contextmanager
def small_disk(folder: Path, kilobytes: int = 256) -> Iterator[None]:
    """A file system of its own for a folder, with its present content; unmounted in the end, content kept.

    Raises:
        PermissionError: this process may not mount.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    options = f"size={kilobytes}k"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "chaos", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PermissionError(f"may not mount a small file system: {done.stderr.strip()}")
    try:
        for path, content in kept.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
