"""The train stage as it is started: killed and started again, and by torchrun, it ends where it should."""

from __future__ import annotations

import csv
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import warm
from presets import preset

from itm.config.render import render
from itm.stages.clean import clean
from itm.stages.describe import describe
from itm.stages.download import download
from itm.stages.features import features
from itm.stages.score import score

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("train-stage")]  # the group shares costly fixtures
SMALL = {
    "device": "cpu",
    "datasets.scenes.train_images": 96,
    "datasets.scenes.dev_images": 40,
    "datasets.scenes.test_images": 20,
    "datasets.scenes.image_size": 32,
    "towers.image_size": 32,
    "towers.image_width": 8,
    "towers.text_width": 16,
    "train.batch_images": 16,  # six steps an epoch
    "train.epochs": 5,
    "train.weight_average": 0.9,
    "embedding.dropout": 0.2,
}
STAGE = ("-m", "itm.stages.train")


class Project:
    """A folder with the parameters and the tables that training reads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.quick = f"{warm.commands()}/python"
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "ITM_LOGS"},
            "PYTHONPATH": str(ROOT / "src"),
            "OMP_NUM_THREADS": "1",
        }
        (root / "params.yaml").write_text(render(preset("scenes-smoke", changes=SMALL), "scenes-smoke"))
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            self.make_data(Path("data"))

    def make_data(self, data: Path) -> None:
        """The stages before training, in this process."""
        raw, tables, cached = data / "raw", data / "clean", data / "features"
        data.mkdir()
        (data / "catalogue.yaml").symlink_to(ROOT / "data/catalogue.yaml")
        for file in ("scenes.jsonl", "scenes-images.tar"):
            download(file, raw, "scenes")
        clean(raw, tables, Path("quality.json"))
        score(tables, data / "scored", Path("score.json"))
        features(tables, data / "regions", cached)
        describe("ditm", tables, cached, data / "descriptions")

    def start(self, python: str, *command: str, out: str) -> subprocess.Popen[str]:
        """Start a training whose results go to `out`; the command is that before the stage's own options."""
        options = ["--method", "ditm", "--seed", "0", "--out", out, "--results", out]
        for name in ("clean", "scored", "features", "descriptions"):
            options += [f"--{name}", f"data/{name}"]
        return subprocess.Popen(
            [python, *command, *options],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def train(self, python: str, *command: str, out: str, status: int = 0) -> str:
        """The same to its end; gives back what it said."""
        process = self.start(python, *command, out=out)
        output, _ = process.communicate(timeout=900)
        assert process.returncode == status, output
        return output

    def bytes_of(self, out: str) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (self.root / out).iterdir()}

    def states(self) -> list[Path]:
        return list((self.root / ".itm/checkpoints").rglob("*"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def whole(project: Project) -> dict[str, bytes]:
    """The files of a training run that nobody disturbed."""
    project.train(project.quick, *STAGE, out="whole")
    assert project.states() == []
    return project.bytes_of("whole")


STAND_IN = """
from pathlib import Path
class Live:
    def __init__(self, folder, **options):
        self.file = Path(folder) / "seen"
        self.file.parent.mkdir(parents=True)
    __enter__ = lambda self: self
    __exit__ = lambda self, *_: None
    sync = lambda self: None
    def log_metric(self, name, value):
        with self.file.open("a") as file:
            print(self.step, name, value, file=file)
"""


def test_a_log_beside_the_results_changes_no_byte_of_them(project: Project, whole: dict[str, bytes]) -> None:
    parameters = project.root / "params.yaml"
    before = parameters.read_text()
    (project.root / "dvclive.py").write_text(STAND_IN)
    try:
        parameters.write_text(before.replace("logger: none", "logger: dvclive"))
        project.train(sys.executable, *STAGE, out="logged")
    finally:
        parameters.write_text(before)
        (project.root / "dvclive.py").unlink()
    assert project.bytes_of("logged") == whole
    rows = [line.split() for line in (project.root / "logs/dvclive/ditm/seed0/seen").read_text().splitlines()]
    history = list(csv.DictReader((project.root / "logged/history.csv").open()))
    assert len(history) == 5
    told = {(step, name): float(value) for step, name, value in rows}
    assert told.keys() == {(row["epoch"], name) for row in history for name in row if name != "epoch" and row[name]}
    assert all(told[row["epoch"], "dev_rsum"] == pytest.approx(float(row["dev_rsum"]), abs=1e-4) for row in history)


TAKE, RENAME = "itm.training.steps.Stepper.take", "pathlib.Path.replace"
MOMENTS = [
    ("at the first step", TAKE, 1, None),
    ("with the first state under its temporary name", RENAME, 2, None),
    ("within the third epoch", TAKE, 15, None),
    ("with the third state under its temporary name", RENAME, 2, 2),
    ("with three more states, and all results under their temporary names", RENAME, 5, 2),
    ("with all that it writes, and the last state still there", "itm.training.checkpoint.Checkpoint.delete", 1, 5),
]
"""When training is killed: at a call of a function (the first file renamed is the record of who is at work); and the
epoch after which it had gone on before."""


def resumed(output: str) -> int | None:
    found = re.search(r"resuming after epoch (\d+)", output)
    return int(found[1]) if found else None


def test_killed_at_any_moment_and_started_again_it_ends_with_the_same_bytes(
    project: Project, whole: dict[str, bytes]
) -> None:
    killed = str(Path(__file__).with_name("killed.py"))
    for moment, function, call, epoch in MOMENTS:
        output = project.train(project.quick, killed, function, str(call), out="killed", status=-signal.SIGKILL)
        assert resumed(output) == epoch, moment
    assert resumed(project.train(project.quick, *STAGE, out="killed")) == 5
    assert project.bytes_of("killed") == whole
    assert project.states() == []


LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def two(project: Project) -> str:
    """What torchrun says that trains with two processes here, which are quick forks."""
    return project.train(sys.executable, *LAUNCHER, "--no-python", project.quick, *STAGE, out="two")


def test_torchrun_writes_one_model_that_trained_as_one_process_does(
    project: Project, whole: dict[str, bytes], two: str
) -> None:
    assert two.count("epoch 5/5: gradient_norm") == 1  # the first process logs
    assert two.count("kept epoch") == 1
    assert project.bytes_of("two").keys() == whole.keys()
    losses = {
        out: [float(row["train_loss"]) for row in csv.DictReader((project.root / out / "history.csv").open())]
        for out in ("whole", "two")
    }
    # dropout differs between the two, the first steps and the course of training hardly do
    assert losses["two"] == pytest.approx(losses["whole"], rel=0.1)
    assert project.states() == []


@pytest.mark.long
def test_torchrun_with_processes_of_its_own_writes_the_same(project: Project, two: str) -> None:
    """The command of docs/training.md."""
    project.train(sys.executable, *LAUNCHER, *STAGE, out="own")
    assert project.bytes_of("own") == project.bytes_of("two")


def test_launchers_on_two_machines_write_the_model_that_one_launcher_writes(project: Project, two: str) -> None:
    """The commands of docs/clusters.md; both launchers see one folder, as the machines of a cluster do."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    place = ("--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port)
    command = ("-m", "torch.distributed.run", *place, "--no-python", "--node-rank")
    machines = [project.start(project.quick, *command, rank, project.quick, *STAGE, out="both") for rank in ("0", "1")]
    try:
        said = [machine.communicate(timeout=900)[0] for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [0, 0], "\n".join(said)
    assert [output.count("epoch 5/5: gradient_norm") for output in said] == [1, 0]  # the first process logs
    assert project.bytes_of("both") == project.bytes_of("two")
