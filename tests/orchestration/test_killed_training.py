"""Training killed with its runner, at any moment, ends with the same bytes when the runner is started again."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest

pytestmark = pytest.mark.slow
SMALL = [
    "device=cpu",
    "methods=[ditm]",
    "datasets.scenes.train_images=96",
    "datasets.scenes.dev_images=40",
    "datasets.scenes.test_images=20",
    "datasets.scenes.image_size=32",
    "towers.image_size=32",
    "towers.image_width=8",
    "towers.text_width=16",
    "train.batch_images=16",
    "train.epochs=16",
    "embedding.dropout=0.2",
]
OUTPUTS = ("models/ditm/seed0", "results/runs/ditm/seed0")
RUNNERS = {
    "dvc": ["dvc", "repro", "train@ditm-0"],
    "snakemake": ["snakemake", "--cores", "1", f"{OUTPUTS[0]}/model.safetensors"],
}


@pytest.fixture(scope="module")
def prepared(once, unstubbed):
    """A project whose data stages ran."""

    def make(root) -> None:
        project = unstubbed.copy(root)
        project.itm("preset", "scenes-smoke", *SMALL)
        project.snakemake("data/features/images.safetensors", "data/scored/captions.parquet")

    return once("prepared-for-training", make)


def trained(project):
    return {
        str(file.relative_to(project.root)): file.read_bytes()
        for folder in OUTPUTS
        for file in sorted((project.root / folder).iterdir())
    }


@pytest.fixture(scope="module")
def whole(once, prepared):
    """The files of a training that nobody disturbed."""
    return trained(once("trained", lambda root: prepared.copy(root).run(*RUNNERS["dvc"])))


def unlock(project, runner: str) -> None:
    """Snakemake leaves its lock behind when it is killed, and says so; DVC's goes with the process."""
    if runner == "snakemake":
        project.run("snakemake", "--unlock")


def kill_after(project, runner: str, epochs: int, delay: float) -> None:
    """Start the runner, and kill it and all that it started a moment after so many checkpoints were written."""
    process = subprocess.Popen(
        RUNNERS[runner],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    written: set[float] = set()
    before = {file.stat().st_mtime for file in (project.root / ".itm/checkpoints").rglob("*") if file.is_file()}
    while process.poll() is None and len(written) < epochs:
        for file in (project.root / ".itm/checkpoints").rglob("*"):
            try:
                written |= {file.stat().st_mtime} - before if file.is_file() else set()
            except FileNotFoundError:  # renamed meanwhile
                continue
        time.sleep(0.01)
    time.sleep(delay)
    kill_tree(process.pid)
    process.wait()


def kill_tree(pid: int) -> None:
    """kill -9 for a process and its descendants, which may lead sessions of their own."""
    import psutil

    found = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)] if psutil.pid_exists(pid) else []
    for process in found:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    psutil.wait_procs(found, timeout=600)


ONCE = [("dvc", (4,))]
AGAIN_AND_AGAIN = [pytest.param(runner, (2, 5, 3), marks=pytest.mark.long) for runner in RUNNERS]


@pytest.mark.parametrize(("runner", "kills"), [*ONCE, *AGAIN_AND_AGAIN])
def test_killed_with_its_runner_and_started_again_it_ends_with_the_same_bytes(runner, kills, prepared, whole, tmp_path):
    project = prepared.copy(tmp_path / runner, quick=False)
    generator = np.random.default_rng(len(runner))
    for epochs in kills:
        kill_after(project, runner, epochs, generator.uniform(0, 0.2))
        unlock(project, runner)
        assert not (project.root / OUTPUTS[0] / "model.safetensors").exists(), "it came to its end before it was killed"
    done = project.run(*RUNNERS[runner])
    assert "resuming after epoch" in done.stdout + done.stderr + project.logs()
    assert trained(project) == whole
    assert not list((project.root / ".itm/checkpoints").rglob("*.*"))
    assert project.run("dvc", "status", "train@ditm-0", "--json").stdout.strip() == "{}"
