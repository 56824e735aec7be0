"""A log beside the history: it has the same numbers, in a place that nobody tracks, and changes nothing else."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from itm.errors import InstallError, TrainingError
from itm.pipeline.provenance import LIBRARIES
from itm.stages.train import logger
from itm.training.checkpoint import Checkpoint

sys.path.insert(0, str(Path(__file__).parent))
from small import Stop, trainer


class Stand:
    """Stands for dvclive: keeps what it is told."""

    made: ClassVar[list] = []

    def __init__(self, folder, **options):
        self.folder, self.options, self.step, self.rows = folder, options, 0, []
        self.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended = True

    def log_metric(self, name, value):
        self.rows.append((self.step, name, value))

    def sync(self):
        self.rows.append((self.step, "", None))


@pytest.fixture
def stand(monkeypatch):
    monkeypatch.setitem(sys.modules, "dvclive", Stand)
    monkeypatch.setattr(Stand, "Live", Stand, raising=False)
    monkeypatch.setattr(Stand, "made", [])
    return Stand.made


RECORDS = [{"epoch": 1.0, "train_loss": 0.5, "dev_rsum": 100.0}, {"epoch": 2.0, "train_loss": 0.25, "late": 1.0}]


def test_without_it_nothing_is_imported_or_written(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dvclive", None)
    with logger("none", tmp_path / "log") as told:
        told(RECORDS[0])
    assert not (tmp_path / "log").exists()


def test_each_epoch_is_a_step_and_nothing_of_dvc_is_asked_for(stand, tmp_path):
    with logger("dvclive", tmp_path / "log") as told:
        for record in RECORDS:
            told(record)
    (made,) = stand
    assert (made.folder, made.options) == (str(tmp_path / "log"), {"save_dvc_exp": False, "dvcyaml": None})
    assert made.rows == [
        (1, "train_loss", 0.5), (1, "dev_rsum", 100.0), (1, "", None), (2, "train_loss", 0.25), (2, "late", 1.0),
        (2, "", None),
    ]  # fmt: skip
    assert made.ended


def test_a_package_that_is_not_there_is_said_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dvclive", None)
    with (
        pytest.raises(InstallError, match=r"pip install 'graded-itm\[log\]', or set logger: none in params.yaml"),
        logger("dvclive", tmp_path),
    ):
        pass


def test_where_it_does_not_start_is_said_with_why(stand, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise KeyError("a long\n" + 2000 * "story")

    monkeypatch.setattr(Stand, "__init__", fail)
    with pytest.raises(TrainingError, match="does not start here") as said, logger("dvclive", tmp_path):
        pass
    assert len(str(said.value)) < 1000
    assert "\n" not in str(said.value)


def test_a_package_that_it_needs_and_lacks_is_its_own_fault(monkeypatch, tmp_path):
    (tmp_path / "dvclive.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "dvclive", raising=False)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), logger("dvclive", tmp_path):
        pass


def test_a_training_tells_its_history_once_also_when_it_is_resumed(tmp_path):
    told: list = []
    whole = trainer("clip", epochs=3, told=told.append).run()
    assert told == whole.history
    assert [record["epoch"] for record in told] == [1, 2, 3]
    assert trainer("clip", epochs=3).run() == whole

    def stop(done, total, note):
        if note.startswith("epoch 3"):
            raise Stop

    first: list = []
    with pytest.raises(Stop):
        trainer("clip", epochs=3, checkpoint=Checkpoint("run", tmp_path), progress=stop, told=first.append).run()
    assert first == whole.history[:2]
    again: list = []
    resumed = trainer("clip", epochs=3, checkpoint=Checkpoint("run", tmp_path), told=again.append).run()
    assert again == resumed.history == whole.history


@pytest.mark.slow
def test_dvclive_itself_writes_tables_there_and_leaves_git_and_dvc_alone(tmp_path):
    """In a process of its own: what it loads must show in no record of a training."""
    pytest.importorskip("dvclive")
    code = f"""
import sys
from pathlib import Path
from itm.stages.train import logger
for _ in range(2):
    with logger("dvclive", Path("logs/dvclive/clip/seed0")) as told:
        for record in {RECORDS}:
            told(record)
print(*[name for name in {list(LIBRARIES)} if name in sys.modules])
"""
    (tmp_path / ".gitignore").write_text("/logs/\n")
    for words in (
        ("git", "init", "--quiet"), (sys.executable, "-m", "dvc", "init", "--quiet"), ("git", "add", "."),
    ):  # fmt: skip
        subprocess.run(words, cwd=tmp_path, check=True)
    without = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "TrainingError: logger: dvclive does not start here (Empty git repo)" in without.stderr
    person = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *person, "commit", "--quiet", "--message", "a"], cwd=tmp_path, check=True)
    status = ("git", "status", "--porcelain", "--untracked-files=all")
    before = subprocess.run(status, cwd=tmp_path, capture_output=True, check=True).stdout
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert subprocess.run(status, cwd=tmp_path, capture_output=True, check=True).stdout == before
    # which every training loads: no other would be new in its record
    assert set(done.stdout.split()) <= {"numpy", "pandas", "pyarrow"}
    folder = tmp_path / "logs/dvclive/clip/seed0"
    assert json.loads((folder / "metrics.json").read_text()) == {
        "train_loss": 0.25, "dev_rsum": 100.0, "late": 1.0, "step": 2
    }  # fmt: skip
    rows = list(csv.DictReader((folder / "plots/metrics/train_loss.tsv").open(), delimiter="\t"))
    assert rows == [{"step": "1", "train_loss": "0.5"}, {"step": "2", "train_loss": "0.25"}]
    assert {file.name for file in Path(folder).rglob("*") if file.is_file()} == {
        "metrics.json", "train_loss.tsv", "dev_rsum.tsv", "late.tsv"
    }  # fmt: skip
