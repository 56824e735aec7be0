"""The finished pages: complete, self-contained, safe with any caption, and the same bytes every time."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from itm.errors import DataError
from itm.report.compare import SAMPLES
from itm.report.page import build_page
from itm.report.render import to_html, to_markdown
from itm.report.results import collect
from itm.stages.report import report

SRC = Path(__file__).parents[2] / "src"
VOID = {"meta", "input", "br", "link", "img", "path", "circle", "rect", "use", "image"}


@pytest.fixture(scope="module", autouse=True)
def few_samples():
    """Significance is tested in test_compare.py; here it may be rough."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("itm.report.compare.SAMPLES", 100)
        yield


@pytest.fixture(scope="module")
def page(finished):
    """The page of the finished workspace as it is. Read only."""
    return page_of(finished)


def page_of(space, **keys):
    parameters = space.changed(**keys)
    lists = parameters.methods, parameters.seeds, parameters.benchmarks
    results = collect(space.runs, space.evaluations, *lists)
    return build_page(results, parameters, space.clean, space.scored, space.root)


PATHS = {
    "runs": "results/runs",
    "evaluations": "evaluations",
    "clean": "data/clean",
    "scored": "data/scored",
    "out": ".",
}


def stage(space):
    """Run the stage as both runners do, in the workspace, with relative paths."""
    YAML().dump(space.parameters.model_dump(mode="json"), space.root / "params.yaml")
    options = [word for name, path in PATHS.items() for word in (f"--{name}", path)]
    environment = {**os.environ, "PYTHONPATH": str(SRC), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "itm.stages.report", *options]
    return subprocess.run(command, cwd=space.root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def written(copied, tmp_path_factory):
    """A workspace with what the stage wrote. Read only."""
    space = copied(tmp_path_factory.mktemp("written") / "work")
    done = stage(space)
    assert done.returncode == 0, done.stderr
    return space


class Reader(HTMLParser):
    """Collects ids, links, attributes and text, and checks that tags nest."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.attributes, self.text = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.append((tag, name, value))
            if name == "id":
                self.ids.append(value)
            if name == "href":
                self.links.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(html):
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.slow
def test_the_stage_writes_page_twin_and_metrics(written):
    metrics = json.loads((written.root / "results/metrics.json").read_text())
    assert set(metrics) == {"clip", "ditm"}
    runs = [json.loads((written.runs / f"ditm/seed{s}/retrieval.json").read_text()) for s in (0, 1)]
    shown = metrics["ditm"]["retrieval/i2t/r1"]
    assert shown == pytest.approx(np.mean([run["i2t"]["r1"] for run in runs]), abs=1e-4)
    html = (written.root / "report.html").read_text(encoding="utf-8")
    assert len(html) < 1_500_000
    reader = read(html)
    assert len(set(reader.ids)) == len(reader.ids)
    assert {link for link in reader.links if link.startswith("#")} <= {f"#{name}" for name in reader.ids}
    for section in ("results", "retrieval", "cxc", "hierarcaps", "false_negatives", "changes", "gallery", "training"):
        assert section in reader.ids


@pytest.mark.slow
def test_equal_results_give_equal_bytes_and_stale_runs_change_nothing(written, workspace, monkeypatch, caplog):
    monkeypatch.setattr("itm.report.compare.SAMPLES", SAMPLES)  # as the stage took, in a process with other hashes
    monkeypatch.chdir(workspace.root)
    shutil.copy(written.root / "params.yaml", "params.yaml")
    shutil.copytree(workspace.runs / "clip", workspace.runs / "gone")
    with caplog.at_level("INFO"):
        report(**{name: Path(path) for name, path in PATHS.items()})
    for name in ("report.html", "report.md", "results/metrics.json"):
        assert Path(name).read_bytes() == (written.root / name).read_bytes(), name
    assert "are left out: clip/seed0/judgements.json" in caplog.text
    assert "gone" not in Path("report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_missing_run_stops_the_stage_with_the_command(workspace):
    (workspace.runs / "ditm" / "seed1" / "cxc.json").unlink()
    done = stage(workspace)
    assert done.returncode == 1
    assert "results/runs/ditm/seed1/cxc.json" in done.stderr
    assert "`dvc repro`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workspace.root / "report.html").exists()


def test_nothing_comes_from_outside(page):
    html = to_html(page)
    assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"base64,[\w+/=]+", "", html), re.IGNORECASE)
    reader = read(html)
    assert all(link.startswith(("#", "data:image/webp;base64,")) for link in reader.links)
    assert not [a for a in reader.attributes if a[1] == "src" or a[1].startswith("on")]
    assert "<script" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_captions_are_shown_and_never_run(workspace):
    page = page_of(workspace)
    row = page.data.captions.texts.index(workspace.nasty)
    for example in page.image_to_text:
        for items in example.found.values():
            items[0] = type(items[0])(row, "false")
    html, twin = to_html(page), to_markdown(page)
    assert "<script" not in html
    assert workspace.nasty in "".join(read(html).text)
    assert "<script" not in twin
    assert "<script" not in str(page.pictures.draw(workspace.image_ids[0], workspace.nasty))


def test_photos_of_public_data_sets_stay_out_unless_asked_for(workspace):
    np.savez(workspace.clean / "truth.npz")
    files = ["flickr8k-images.zip", "flickr8k-text.zip", "hierarcaps.csv", "hierarcaps-images.zip"]
    data = {"name": "flickr8k", "path": "data/subsets", "files": files}
    keys = {"data": data, "benchmarks": ["retrieval", "judgements", "hierarcaps"]}
    page = page_of(workspace, **keys)
    html = to_html(page)
    assert "data:image" not in html
    assert page.text_to_image[0].found["ditm"]
    assert workspace.image_ids[page.text_to_image[0].found["ditm"][0].row] in html
    assert "embed_photos" in html
    assert page.shares["ditm"].keys() == {"labelled", "unlabelled"}
    assert page.threshold == ""
    report = {"examples": 2, "title": "With photos", "embed_photos": True}
    assert "data:image" in to_html(page_of(workspace, **keys, report=report))


def test_one_seed_one_method_without_retrieval(workspace):
    html = to_html(page_of(workspace, methods=["clip"], seeds=[1], benchmarks=["cxc"]))
    reader = read(html)
    text = " ".join(reader.text)
    assert "clip trained for" in text
    assert "(one seed each" in text
    assert "±" not in re.sub(r"One seed: no spread\.", "", text)
    assert "gallery" not in reader.ids
    assert 'class="best' not in html


def test_the_twin_has_the_numbers_of_the_page(page):
    twin = to_markdown(page)
    for part in page.parts:
        for row in part.table.rows:
            cells = [f"{'**' if c.best else ''}{c.text}{'**' if c.best else ''}" for c in row.cells]
            line = next(line for line in twin.splitlines() if line.startswith(f"| {row.name} | {cells[0]}"))
            assert line.count("|") == len(cells) + 2
            for cell in cells:
                assert f" {cell} " in line
    widths = [line.count("|") for line in twin.splitlines() if line.startswith("|")]
    assert min(widths) >= 3


def test_the_headline_follows_from_the_figures(page):
    assert page.headline.startswith("clip and ditm trained for 10 epochs on 1 image with 3 captions of scenes (2 seeds")
    assert "36 test images with 144 captions" in page.headline
    leaders, chance, order, found = page.claims
    best = {row.name: sum(cell.best for cell in row.cells) for row in page.summary.rows}
    assert f"ditm in {best['ditm']}" in leaders
    assert chance.startswith(("Every method is above chance", "Not above chance: "))
    assert f"{100 * dict(page.order.agreement)['ditm'].mean:.1f} %" in order
    assert f"{100 * page.shares['ditm']['labelled']:.1f} % carry" in found


def test_parameters_of_other_methods_and_data_sets_are_not_told(page):
    values = YAML(typ="safe").load(page.parameters)
    assert set(values["method"]) == {"clip", "ditm"}
    assert set(values["datasets"]) == {"scenes"}
    assert not {"device", "logger"} & values.keys()


@pytest.mark.slow
def test_source_hashes_come_from_the_lock(workspace):
    lock = {
        "schema": "2.0",
        "stages": {
            "download@a": {"outs": [{"path": "data/raw/scenes/scenes.jsonl", "md5": "aa11" * 8}]},
            "download@b": {"outs": [{"path": "data/raw/flickr8k/text.zip", "md5": "bb22" * 8}]},
        },
    }
    YAML().dump(lock, workspace.root / "dvc.lock")
    sections = dict(page_of(workspace).provenance)
    (sources,) = (lines for title, lines in sections.items() if title.startswith("Source files"))
    assert sources == [("data/raw/scenes/scenes.jsonl", "aa11" * 8)]
    (workspace.root / "dvc.lock").write_text("not: [yaml")
    assert not any(title.startswith("Source files") for title, _ in page_of(workspace).provenance)


def test_a_damaged_picture_is_named(workspace):
    tar = workspace.clean / "images-test.tar"
    tar.write_bytes(b"\0" * tar.stat().st_size)
    with pytest.raises(DataError, match=r"images-test\.tar: image test-\d\d cannot be read"):
        to_html(page_of(workspace))


def test_scores_of_other_captions_are_refused(workspace):
    import pyarrow.parquet as pq

    path = workspace.scored / "captions.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(DataError, match="dvc repro score"):
        page_of(workspace)


def test_quality_files_are_shown_where_they_exist(workspace):
    folder = workspace.root / "results"
    (folder / "quality.json").write_text('{"captions": {"train_kept": 29000}, "leaks": []}')
    page = page_of(workspace)
    assert page.quality == [("Data quality", [("captions · train kept", "29,000"), ("leaks", "")])]


QUALITY = {
    "before": {"train": {"images": 12, "captions": 60}},
    "after": {"train": {"images": 11, "captions": 50}, "test": {"images": 3, "captions": 15}},
    "quarantine": {"repeated": 5, "too-short": 5},
    "quarantine_examples": {"repeated": ["captions.txt:7 dog.jpg: <script>alert('x')</script>"]},
    "captions": {"evaluation_flags": {"placeholder": 2}},
    "duplicates": {
        "leaks": 1,
        "leaks_by_name": {"hierarcaps": 4},
        "same_images": {"perceptual train-test": 1},
        "same_images_listed": ["perceptual: a (train) = b (test)"],
    },
}


def test_data_quality_and_leaks_are_told(workspace):
    path = workspace.root / "results" / "quality.json"
    path.write_text(json.dumps(QUALITY))
    page = page_of(workspace)
    html, twin = to_html(page), to_markdown(page)
    text = " ".join(" ".join(read(html).text).split())
    assert "repeated 5, too-short 5." in text
    assert "captions.txt:7 dog.jpg: <script>alert('x')</script>" in text
    assert "<script" not in html
    assert "placeholder 2." in text
    verdict = "1 pair of a training and an evaluation image are equal or look the same; 4 evaluation images are in the"
    assert verdict in text
    assert "perceptual: a (train) = b (test)" in text
    assert [(s.name, s.images_before, s.images, s.captions_before, s.captions) for s in page.cleaning.splits] == [
        ("train", 12, 11, 60, 50),
        ("test", 0, 3, 0, 15),
    ]
    assert verdict in twin
    path.write_text(json.dumps(QUALITY | {"duplicates": {"leaks": 0}}))
    assert "No evaluation image was found in the training split." in to_html(page_of(workspace))


def test_training_runs_and_learning_rates_are_shown(workspace):
    for method in ("clip", "ditm"):
        for seed in (0, 1):
            folder = workspace.runs / method / f"seed{seed}"
            (folder / "train.json").write_text(f'{{"epoch": {seed + 7}, "epochs": 10, "dev_rsum": 123.45}}')
            lines = (folder / "history.csv").read_text().splitlines()
            rows = [f"{lines[0]},learning_rate", *(f"{line},{0.001 / n:.4g}" for n, line in enumerate(lines[1:], 1))]
            (folder / "history.csv").write_text("\n".join(rows) + "\n")
    page = page_of(workspace)
    assert [(run.method, run.seed, run.kept) for run in page.training_runs] == [
        ("clip", 0, 7),
        ("clip", 1, 8),
        ("ditm", 0, 7),
        ("ditm", 1, 8),
    ]
    assert any("Learning rate by epoch" in chart for chart in page.training)
    assert not any("learning_rate" in chart for chart in page.training_by_method)
    assert "| ditm | 1 | 10 | 8 |" in to_markdown(page)


@pytest.mark.slow
def test_plot_files_hold_the_figures_of_the_charts(written):
    folder = written.root / "results" / "plots"
    tables = {path.stem: [line.split(",") for line in path.read_text().splitlines()] for path in folder.glob("*.csv")}
    assert {name: rows[0] for name, rows in tables.items()} == {
        "order": ["method", "descriptiveness", "similarity"],
        "threshold": ["method", "recall", "precision"],
        "descriptiveness": ["level", "descriptiveness", "captions"],
    }
    assert sum(int(row[2]) for row in tables["descriptiveness"][1:]) == len(written.captions)
    stored = [
        np.load(written.evaluations / f"ditm/seed{seed}/false_negatives.npz")["threshold_precision"] for seed in (0, 1)
    ]
    (last,) = (row for row in tables["threshold"] if row[0] == "ditm" and float(row[1]) == 1.0)
    assert float(last[2]) == pytest.approx(np.mean(stored, axis=0)[-1], abs=1e-4)


def test_plot_templates_name_the_columns():
    root = Path(__file__).parents[2]
    plots = YAML(typ="safe").load(root / "dvc.yaml")["stages"]["report"]["plots"]
    columns = {"by_method": "method", "by_level": "level"}
    for plot in plots:
        ((_, options),) = plot.items()
        template = json.loads((root / f".dvc/plots/{options['template']}.json").read_text(encoding="utf-8"))
        assert template["encoding"]["color"]["field"] == columns[options["template"]]
        assert options["x"]
        assert options["y"]


def test_measures_of_descriptiveness_are_compared(workspace):
    score = {"scores": {"word_count": {"chains": {"chain_tau": 0.97}, "test": {"level_tau": -0.5}}, "empty": {}}}
    (workspace.root / "results" / "score.json").write_text(json.dumps(score))
    page = page_of(workspace)
    assert page.measures == [("word count", ["0.970", "–", "−0.500", "–"])]
    assert "multiplicity ρ" in to_html(page)


@pytest.mark.slow
def test_the_stage_is_light():
    code = "import sys, itm.stages.report, itm.report.page, itm.report.render, itm.evaluation.benchmarks.hierarcaps;"
    code += "print([m for m in ('torch', 'pandas', 'matplotlib', 'sklearn', 'PIL') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(SRC), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
