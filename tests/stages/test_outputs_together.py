"""The outputs of a stage appear together or not at all: its last file fails, and what was there before is unchanged."""

from __future__ import annotations

import errno
import hashlib
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from presets import ROOT, preset

from itm.config.render import render
from itm.data.files import atomic_path, together, whereabouts, write_json
from itm.errors import DataError
from itm.stages.clean import clean
from itm.stages.describe import describe
from itm.stages.download import download
from itm.stages.encode import encode
from itm.stages.evaluate import evaluate
from itm.stages.features import features
from itm.stages.grade import grade
from itm.stages.harness import guarded
from itm.stages.report import report
from itm.stages.score import score
from itm.stages.train import train

SMALL = {
    "device": "cpu",
    "methods": ["clip"],
    "benchmarks": ["retrieval"],
    "datasets.scenes.train_images": 24,
    "datasets.scenes.dev_images": 20,
    "datasets.scenes.test_images": 20,
    "datasets.scenes.image_size": 32,
    "towers.image_size": 32,
    "towers.image_width": 8,
    "towers.text_width": 16,
    "train.batch_images": 12,
    "train.epochs": 1,
}
DATA, OUT = Path("data"), Path("out")
MODEL, VECTORS = DATA / "models/clip/seed0", DATA / "embeddings/clip/seed0"
TABLES = DATA / "clean", DATA / "scored", DATA / "features", DATA / "descriptions"
STAGES: dict[str, Callable[[Path], object]] = {
    "download": lambda out: download("scenes.jsonl", out, "scenes"),
    "clean": lambda out: clean(DATA / "raw", out, out / "quality.json"),
    "score": lambda out: score(TABLES[0], out, out / "score.json"),
    "features": lambda out: features(TABLES[0], DATA / "regions", out),
    "describe": lambda out: describe("clip", TABLES[0], TABLES[2], out),
    "train": lambda out: train("clip", 0, *TABLES, out, out),
    "encode": lambda out: encode("clip", 0, MODEL, TABLES[0], TABLES[2], TABLES[3], out),
    "grade": lambda out: grade("clip", 0, MODEL, *TABLES[:2], VECTORS, out),
    "evaluate": lambda out: evaluate("retrieval", "clip", 0, *TABLES[:2], VECTORS, MODEL / "grade.json", out, out),
    "report": lambda out: report(DATA / "results", DATA / "evaluations", *TABLES[:2], out),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder in which every stage has run once."""
    root = tmp_path_factory.mktemp("together")
    changes = {**SMALL, "method": {"clip": preset("scenes-smoke").method["clip"].model_dump()}}
    (root / "params.yaml").write_text(render(preset("scenes-smoke", changes=changes), "scenes-smoke"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        (DATA / "results").mkdir(parents=True)
        (DATA / "evaluations").symlink_to("results")
        (DATA / "catalogue.yaml").symlink_to(ROOT / "data/catalogue.yaml")
        download("scenes-images.tar", DATA / "raw", "scenes")
        places = dict(zip(("clean", "scored", "features", "descriptions"), TABLES, strict=True))
        places |= {"download": DATA / "raw", "score": TABLES[1], "describe": TABLES[3]}
        places |= {"train": MODEL, "encode": VECTORS, "grade": MODEL}
        places |= {"evaluate": DATA / "results/clip/seed0", "report": OUT}
        for name, stage in STAGES.items():
            stage(places[name])
        yield


def sums(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_fails_in_the_end_changes_nothing(name: str, project: None, tmp_path, monkeypatch) -> None:
    calls, last = [], []

    def full(size: int) -> str:
        calls.append(size)
        if last and len(calls) == last[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return f"{len(calls):0{2 * size}x}"

    monkeypatch.setattr(secrets, "token_hex", full)  # each file's temporary name asks for it once
    STAGES[name](tmp_path)
    for file in sums(tmp_path):
        (tmp_path / file).write_text(f"{file} as it was")
    before = sums(tmp_path)
    last.append(len(calls))
    calls.clear()
    with pytest.raises(OSError, match="No space left"):
        STAGES[name](tmp_path)
    assert sums(tmp_path) == before


def test_a_folder_in_the_place_of_a_file_is_met_before_any_file_changes(tmp_path) -> None:
    write_json(tmp_path / "a.json", 1)
    (tmp_path / "b.json").mkdir()

    @together()
    def write() -> None:
        for name in ("a", "b"):
            write_json(tmp_path / f"{name}.json", 2)

    with pytest.raises(DataError, match="it is a folder"):
        write()
    assert (tmp_path / "a.json").read_text() == "1\n"
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "b.json"}


def test_the_last_of_two_versions_counts_and_is_found_before_it_has_its_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with together():
        with together():
            for number in (1, 2):
                write_json("a.json", number)
        assert whereabouts(Path("a.json")).read_text() == "2\n"
        assert not Path("a.json").exists()
    assert whereabouts(Path("a.json")) == Path("a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert Path("a.json").read_text() == "2\n"


def test_a_stage_stopped_from_outside_leaves_nothing(tmp_path) -> None:
    def stop() -> None:
        with together(), atomic_path(tmp_path / "a") as temporary:
            temporary.touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (IsADirectoryError(21, "Is a directory", "out"), "itm x: out: is a directory"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "itm x: a text is not in the encoding"),
        (EOFError(), "itm x: a damaged file: it ends too soon"),
    ],
)
def test_no_stage_ends_in_a_traceback_that_no_change_of_code_would_mend(error, message, capsys) -> None:
    with pytest.raises(SystemExit), guarded("x"):
        raise error
    assert capsys.readouterr().err.startswith(message)
    assert sys.exc_info()[0] is None
