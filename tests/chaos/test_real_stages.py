"""The real stages killed, each in turn, on the smallest pipeline: the same results and report, byte for byte."""

import random
import subprocess
import sys
import time

import psutil
import pytest
from chaos.project import PATIENCE, RUNNERS, kill, kill_tree, recover
from pipeline_project import Project, unstubbed_project, written

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("chaos-real")]
SMALL = [
    "device=cpu",
    "methods=[ditm]",
    "benchmarks=[retrieval,hierarcaps]",
    "datasets.scenes.train_images=96",
    "datasets.scenes.dev_images=40",
    "datasets.scenes.test_images=20",
    "datasets.scenes.image_size=32",
    "towers.image_size=32",
    "towers.image_width=8",
    "towers.text_width=16",
    "train.batch_images=16",
    "train.epochs=2",
]
KEPT = ("results", "models", "report.md", "report.html")
"""The results that git keeps, and the weights."""
VICTIMS = {
    "dvc": [("download", "stage"), ("score", "all"), ("encode", "runner")],
    "snakemake": [("clean", "runner"), ("features", "all"), ("evaluate", "stage"), ("report", "all")],
}
"""The stages that are killed in one run after the other, and what is killed with them. Training has its own test."""


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Project:
    project = unstubbed_project(tmp_path_factory.mktemp("chaos-real") / "small")
    project.run(sys.executable, "-m", "itm.cli", "preset", "scenes-smoke", *SMALL)
    project.commit()
    return project


@pytest.fixture(scope="module")
def undisturbed(small: Project, tmp_path_factory) -> dict[str, bytes]:
    project = small.copy(tmp_path_factory.mktemp("chaos-real") / "undisturbed")
    project.repro()
    return written(project.root, *KEPT)


def process_of(stage: str, above: int) -> psutil.Process | None:
    """The process of a real stage below another one."""
    for process in psutil.Process(above).children(recursive=True):
        try:
            if f"itm.stages.{stage}" in process.cmdline()[1:3]:
                return process
        except psutil.Error:
            continue
    return None


@pytest.mark.parametrize("runner", RUNNERS)
def test_killed_again_and_again_it_ends_with_the_same_bytes(runner: str, small, undisturbed, tmp_path) -> None:
    draw = random.Random(runner)
    project = small.copy(tmp_path / runner)
    for stage, what in VICTIMS[runner]:
        if runner == "snakemake":
            project.run("snakemake", "--unlock")
        with (project.root / "logs/runner.txt").open("a") as output:
            process = subprocess.Popen(
                RUNNERS[runner], cwd=project.root, env=project.environment, stdout=output, stderr=output
            )
        while process.poll() is None and (victim := process_of(stage, process.pid)) is None:
            time.sleep(0.01)
        assert process.returncode is None, f"the run ended before {stage}\n{project.read('logs/runner.txt')}"
        time.sleep(draw.uniform(0, 1))
        {"stage": kill, "runner": kill, "all": kill_tree}[what](victim.pid if what == "stage" else process.pid)
        process.wait(PATIENCE)
        psutil.wait_procs([victim], timeout=20)
        assert not victim.is_running(), f"{stage} outlived its runner"
    recover(project, runner)
    assert written(project.root, *KEPT) == undisturbed
    assert project.dvc_status() == {}
