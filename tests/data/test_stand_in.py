"""The presets of data whose photos are not here, end to end on a stand-in with exactly their file layout."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tiny_bert import tiny_bert

sys.path.insert(0, str(Path(__file__).parent))  # tests are no package
import stand_in
import warm
from presets import ROOT, preset

from itm.config.parameters import Parameters
from itm.config.presets import in_use
from itm.config.render import render
from itm.data.clean.run import clean_data_set
from itm.data.tables import read_captions, read_hierarchies, read_images, read_quarantine, read_ratings
from itm.errors import DataError

pytestmark = pytest.mark.slow

WRITE = {"coco": stand_in.write_coco, "flickr30k": stand_in.write_flickr30k}
SMALL = {
    "methods": ["clip"],
    "train.epochs": 1,
    "train.batch_images": 20,
    "train.threads": 1,
    "towers.image_size": 32,
    "evaluate.bootstrap_samples": 10,
    "score.minimum_document_frequency": 1,
    "device": "cpu",
}


def parameters(name: str, **options: object) -> Parameters:
    """The parameters of a preset at a small size, with other options of its data set."""
    own = {f"datasets.{name}.{key}": value for key, value in ({"check_protocol": False} | options).items()}
    return preset(name, "model=scratch", changes=SMALL | own)


@pytest.fixture
def raw(request, tmp_path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    WRITE[request.param](folder)
    return folder


def run_clean(parameters: Parameters, raw: Path, tmp_path: Path) -> dict:
    return clean_data_set(parameters, raw, tmp_path / "clean", tmp_path / "q.json", lambda *_: None)


@pytest.mark.parametrize("raw", ["coco"], indirect=True)
def test_coco_tables(raw, tmp_path):
    report = run_clean(parameters("coco"), raw, tmp_path)
    clean = tmp_path / "clean"
    images, captions = read_images(clean), read_captions(clean)
    assert images["split"].value_counts().to_dict() == {"train": 72, "test": 16, "hierarcaps": 16, "dev": 12}
    counts = {split: found["captions"] for split, found in report["after"].items()}
    assert counts == {"train": 360 + 8, "dev": 60, "test": 80, "hierarcaps": 0}
    assert (captions[captions["split"] != "train"].groupby("image_id").size() == 5).all()
    first = captions.iloc[0]
    assert (first["image_id"], first["raw_text"]) == ("COCO_train2014_000000001000", "A red dog on the grass.")
    assert read_quarantine(clean)["reason"].value_counts()["extra-caption"] == report["quarantine"]["extra-caption"] > 0
    assert len(read_hierarchies(clean)) == 64
    ratings = read_ratings(clean)
    assert ratings["kind"].value_counts().to_dict() == {"sits": 120 + 80 + 66 + 60, "sts": 186, "sis": 186}
    assert report["images"]["modes"]["L"] > 0
    assert report["duplicates"]["leaks_by_name"] == {"hierarcaps": 4}
    assert "exact train-hierarcaps" in report["duplicates"]["same_images"]


@pytest.mark.parametrize("raw", ["coco"], indirect=True)
def test_strict_leaks_stop_the_stage(raw, tmp_path):
    strict = preset("coco", changes={"datasets.coco.check_protocol": False, "clean.strict_leaks": True})
    with pytest.raises(DataError, match=r"4 images of hierarcaps are in the training split") as caught:
        run_clean(strict, raw, tmp_path)
    assert caught.value.reason == "leak"


@pytest.mark.parametrize("raw", ["coco"], indirect=True)
def test_without_restval_and_with_all_captions(raw, tmp_path):
    report = run_clean(parameters("coco", restval=False, captions="all"), raw, tmp_path)
    assert report["after"]["train"]["images"] == 60
    assert report["notes"]["restval_images_not_used"] == 12
    assert report["after"]["test"]["captions"] == 80 + 1
    assert "extra-caption" not in report["quarantine"]


@pytest.mark.parametrize("raw", ["flickr30k"], indirect=True)
def test_flickr30k_tables(raw, tmp_path):
    report = run_clean(parameters("flickr30k"), raw, tmp_path)
    assert {split: counts["images"] for split, counts in report["after"].items()} == {
        "train": 60,
        "dev": 12,
        "test": 16,
    }
    assert read_images(tmp_path / "clean")["image_id"].iloc[0] == "1000000"


@pytest.mark.parametrize("raw", ["coco", "flickr30k"], indirect=True)
def test_a_stand_in_is_not_taken_for_the_real_thing(raw, tmp_path, request, monkeypatch):
    name = request.node.callspec.params["raw"]
    monkeypatch.setenv("ITM_LOGS", str(tmp_path))
    with pytest.raises(DataError, match=r"16 images instead of") as caught:
        run_clean(parameters(name, check_protocol=True), raw, tmp_path)
    assert caught.value.reason == "size"
    found = json.loads((tmp_path / "clean-faults.json").read_text())
    assert {fault["reason"] for fault in found} == ({"size", "identity"} if name == "coco" else {"size"})


def pipeline_of_data() -> dict[str, Any]:
    """dvc.yaml without the code and the catalogue that stages depend on: DVC takes a second a stage to note them."""
    pipeline = YAML(typ="safe").load(ROOT / "dvc.yaml")
    for stage in pipeline["stages"].values():
        stage["deps"] = [path for path in stage["deps"] if not path.startswith("src/")]
        stage["params"] = [key for key in stage["params"] if isinstance(key, str)]
    return pipeline


@contextmanager
def served_project(name: str, tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A project whose source files come from 127.0.0.1, and the environment for its commands."""
    served, project = tmp_path / "served", tmp_path / "project"
    served.mkdir()
    project.mkdir()
    WRITE[name](served)
    for part in ("src", "conf"):
        (project / part).symlink_to(ROOT / part)
    (project / ".dvc").mkdir()
    (project / ".dvc/config").write_text("[core]\n    no_scm = True\n")
    (project / "dvc.yaml").write_text(json.dumps(pipeline_of_data()))
    (project / "data/regions").mkdir(parents=True)
    for part in ("catalogue.yaml", "subsets"):
        (project / "data" / part).symlink_to(ROOT / "data" / part)
    environment = {name: value for name, value in os.environ.items() if name != "ITM_MIRROR"}
    environment |= {
        "PATH": os.pathsep.join([warm.commands(), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": "src",
        "ITM_CATALOGUE": str(tmp_path / "override.json"),
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
        "DVC_NO_ANALYTICS": "1",
    }
    with stand_in.serve_folder(served) as url:
        stand_in.override(name, served, url, tmp_path / "override.json")
        yield project, environment


# with Flickr30K `make paper` runs below
@pytest.mark.slow
@pytest.mark.parametrize("name", ["coco", pytest.param("flickr30k", marks=pytest.mark.long)])
def test_preset_runs_from_download_to_report(name, tmp_path):
    """`dvc repro` with the preset: three training steps, all benchmarks, the report."""
    chosen = in_use(parameters(name))
    with served_project(name, tmp_path) as (project, environment):
        (project / "params.yaml").write_text(render(chosen, name), encoding="utf-8")
        done = subprocess.run(["dvc", "repro"], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    history = (project / "results/runs/clip/seed0/history.csv").read_text().splitlines()
    assert len(history) == 2
    figures = json.loads((project / "results/metrics.json").read_text())["clip"]
    assert {key.split("/")[0] for key in figures} == set(chosen.benchmarks)
    assert (project / "report.html").stat().st_size > 10_000
    record = json.loads((project / "data/catalogue.lock.json").read_text())
    assert 0 < len(record) < len(chosen.data.files)
    assert all(key.startswith(f"{name}/") for key in record)


PAPER = {
    "datasets.flickr30k.check_protocol": "false",
    "towers.kind": "offline",  # in the place of CLIP, whose weights are on a hub
    "towers.image_size": "32",
    "towers.context_length": "16",
    "score.minimum_document_frequency": "1",
    "embedding.dimension": "32",
    "train.batch_images": "20",
    "train.epochs": "1",
    "train.threads": "1",
    "train.decay_epochs": "[]",
    "method.vse-inf.recipe.batch_images": "20",
}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")
def test_make_paper_trains_a_method_and_shows_its_figure_beside_the_papers(tmp_path):
    with served_project("flickr30k", tmp_path) as (project, environment):
        stand_in.write_regions(project / "data/regions", "flickr30k", tmp_path / "served")
        bert = tiny_bert(
            tmp_path / "bert", [text for photo in map(stand_in.Photo, range(88)) for text in photo.captions]
        )
        shutil.copy(ROOT / "Makefile", project)
        (project / ".venv").mkdir()
        for name in ("requirements.lock", "pyproject.toml", ".venv/.synced"):
            (project / name).touch()
        changes = [f"{key}={value}" for key, value in (PAPER | {"method.vse-inf.add.words.model": bert}).items()]
        words = ["DATA=flickr30k", "METHOD=vse-inf", f"WITH={shlex.join(changes)}", f"BIN={warm.commands()}"]
        done = subprocess.run(["make", "paper", *words], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "513.5" in done.stdout  # what itm plan expects
    assert "embedding.dimension 32, there 1024" in done.stdout
    figure = json.loads((project / "results/runs/vse-inf/seed0/retrieval.json").read_text())["rsum"]
    last = done.stdout.splitlines()[-3:]
    assert any(f"{figure:g}" in line for line in last), last
