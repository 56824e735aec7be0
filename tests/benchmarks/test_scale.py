"""The stand-in of COCO, and what `itm plan` says of the stages before it, on a small one of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from presets import preset

from itm.data.catalogue import load_catalogue
from itm.data.clean.run import clean_data_set
from itm.runs.plan.models import Models
from itm.runs.plan.stages import Counts, needs
from itm.stages.score import score

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from results_page import write_section
from stand_in_coco import write_stand_in

ROOT = Path(__file__).parents[2]
FILES = ["train2014.zip", "val2014.zip", "caption_datasets.zip"]
CHANGES = {"data.files": FILES, "benchmarks": ["retrieval"], "datasets.coco.check_protocol": False}


@pytest.mark.slow
def test_clean_and_score_write_what_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = write_stand_in(tmp_path, 600, 3100, (64, 48))
    monkeypatch.setenv("ITM_CATALOGUE", str(tmp_path / "catalogue.yaml"))
    entries = load_catalogue(ROOT / "data/catalogue.yaml")["coco"].files
    assert {name: entries[name].mirror[0].bytes for name in FILES} == sizes
    parameters = preset("coco", changes=CHANGES)
    report = clean_data_set(
        parameters, tmp_path / "mirror", tmp_path / "data/clean", tmp_path / "quality.json", lambda *_: None
    )
    # shares of COCO's 113,287, 5,000 and 5,000; what five captions an image leave over is the first images'
    assert {split: counts["images"] for split, counts in report["before"].items()} == {
        "train": 551,
        "dev": 24,
        "test": 25,
    }
    assert sum(counts["captions"] for counts in report["before"].values()) == 3100
    assert report["quarantine"] == {}
    assert json.loads((tmp_path / "quality.json").read_text()) == report
    monkeypatch.setattr("itm.config.load", lambda *_: parameters)
    score(clean=tmp_path / "data/clean", out=tmp_path / "data/scored", metrics=tmp_path / "score.json")
    counts = Counts(600, 3100, sizes["train2014.zip"] + sizes["val2014.zip"])
    planned = needs(parameters, Models(None, {}, {}, None, None, "not built"), counts)
    for stage, folder in (("clean", "data/clean"), ("score", "data/scored")):
        written = sum(file.stat().st_size for file in (tmp_path / folder).iterdir())
        disk = planned[stage].disk
        assert disk is not None
        assert 1 / 1.5 < disk / written < 1.5, (stage, disk, written)
    assert planned["features"].memory is None
    assert "not built" in planned["features"].basis["memory"]


def test_sections_of_a_page_are_written_apart(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    write_section(page, "benchmarks/b.py", "Second", "two")
    write_section(page, "benchmarks/a.py", "First", "one")
    write_section(page, "benchmarks/b.py", "Second", "two\n\n## not a section\n")
    assert page.read_text() == (
        "# Scale\n\n"
        "<!-- Written by benchmarks/a.py. Do not edit. -->\n\n## First\n\none\n\n"
        "<!-- Written by benchmarks/b.py. Do not edit. -->\n\n## Second\n\ntwo\n\n## not a section\n"
    )
