"""The train stage as it is started: killed and started again, and by torchrun, it ends where it should."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from itm.config.presets import compose
from itm.config.render import render

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("train-stage")]  # the group shares costly fixtures
FOLDERS = ["--clean", "data/clean", "--scored", "data/scored", "--features", "data/features"]
FOLDERS += ["--descriptions", "data/descriptions"]
SMALL = [
    "device=cpu",
    "datasets.scenes.train_images=96",
    "datasets.scenes.dev_images=40",
    "datasets.scenes.test_images=20",
    "datasets.scenes.image_size=32",
    "towers.image_size=32",
    "towers.image_width=8",
    "towers.text_width=16",
    "train.batch_images=16",
    "train.epochs=14",
    "train.weight_average=0.9",
    "embedding.dropout=0.2",
]


class Project:
    """A folder with the parameters and the tables that training reads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "ITM_LOGS"},
            "PYTHONPATH": str(ROOT / "src"),
            "OMP_NUM_THREADS": "1",
        }
        (root / "params.yaml").write_text(render(compose("scenes-smoke", SMALL, root=ROOT), "scenes-smoke"))
        (root / "data").mkdir()
        (root / "data/catalogue.yaml").symlink_to(ROOT / "data/catalogue.yaml")
        for file in ("scenes.jsonl", "scenes-images.tar"):
            self.stage("download", "--name", "scenes", "--file", file, "--out", "data/raw")
        self.stage("clean", "--raw", "data/raw", "--out", "data/clean", "--quality", "quality.json")
        self.stage("score", "--clean", "data/clean", "--out", "data/scored", "--metrics", "score.json")
        self.stage("features", "--clean", "data/clean", "--regions", "data/regions", "--out", "data/features")
        folders = ["--clean", "data/clean", "--features", "data/features"]
        self.stage("describe", "--method", "ditm", *folders, "--out", "data/descriptions")

    def start(self, stage: str, *options: str, runner: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *runner, "-m", f"itm.stages.{stage}", *options],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def stage(self, stage: str, *options: str, runner: tuple[str, ...] = ()) -> str:
        process = self.start(stage, *options, runner=runner)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        return output

    def training(self, out: str) -> list[str]:
        return ["train", "--method", "ditm", "--seed", "0", *FOLDERS, "--out", out, "--results", out]

    def bytes_of(self, out: str) -> dict[str, bytes]:
        names = ("model.safetensors", "model.json", "README.md", "history.csv", "train.json")
        return {name: (self.root / out / name).read_bytes() for name in names}

    def states(self) -> list[Path]:
        return list((self.root / ".itm/checkpoints").rglob("*"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def whole(project: Project) -> dict[str, bytes]:
    """The files of a training run that nobody disturbed."""
    project.stage(*project.training("whole"))
    assert project.states() == []
    return project.bytes_of("whole")


def test_killed_at_any_moment_and_started_again_it_ends_with_the_same_bytes(
    project: Project, whole: dict[str, bytes]
) -> None:
    generator = np.random.default_rng(0)
    output, killed = "", 0
    for epochs in (3, 0, 1, 4):
        process = project.start(*project.training("killed"))
        assert process.stdout is not None
        # a moment after so many epochs; with 0 it falls into the start
        seen = 0
        while seen < epochs and (line := process.stdout.readline()):
            output += line
            seen += "dev_rsum" in line
        time.sleep(generator.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        output += process.stdout.read()
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 3  # the last may have come to its end
    output += project.stage(*project.training("killed"))
    assert output.count("resuming after epoch") >= 2
    assert project.bytes_of("killed") == whole
    assert project.states() == []


def test_torchrun_writes_one_model_that_trained_as_one_process_does(project: Project, whole: dict[str, bytes]) -> None:
    runner = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    output = project.stage(*project.training("two"), runner=runner)
    assert output.count("epoch 14/14: gradient_norm") == 1  # the first process logs
    assert output.count("kept epoch") == 1
    assert project.bytes_of("two").keys() == whole.keys()
    losses = {
        out: [float(row["train_loss"]) for row in csv.DictReader((project.root / out / "history.csv").open())]
        for out in ("whole", "two")
    }
    # dropout differs between the two, the first steps and the course of training hardly do
    assert losses["two"] == pytest.approx(losses["whole"], rel=0.1)
    assert project.states() == []


def test_launchers_on_two_machines_write_the_model_that_one_launcher_writes(project: Project) -> None:
    """The commands of docs/clusters.md; both launchers see one folder, as the machines of a cluster do."""
    runner = ("-m", "torch.distributed.run")
    project.stage(*project.training("one"), runner=(*runner, "--standalone", "--nproc-per-node", "2"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    place = ("--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port)
    machines = [
        project.start(*project.training("both"), runner=(*runner, *place, "--node-rank", rank)) for rank in ("0", "1")
    ]
    said = [machine.communicate(timeout=300)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], "\n".join(said)
    assert [output.count("epoch 14/14: gradient_norm") for output in said] == [1, 0]  # the first process logs
    assert project.bytes_of("both") == project.bytes_of("one")
