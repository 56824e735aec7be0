"""`itm plan`: counts that can be checked by hand, and "unknown" where nothing is known."""

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from presets import hydra_once, preset, write_small_conf
from typer.testing import CliRunner

from itm import cli
from itm.errors import size_text
from itm.methods.method import step_of
from itm.runs.commands import _csv
from itm.runs.plan import Line, make, make_plan
from itm.runs.plan.models import Models, count_parameters
from itm.runs.plan.published import differences, expected, published_of, setting
from itm.runs.plan.stages import DISK, LIBRARIES, MEMORY, SECONDS, TEXT, Counts, Formula
from itm.runs.table import Run, as_records
from itm.towers.build import build_towers

ROOT = Path(__file__).parents[2]
PAPERS = ("coco-vitb32", "flickr30k-vitb32", "coco-butd", "flickr30k-butd")


def planned(monkeypatch, name: str, root: Path = ROOT, models: Models | None = None, **changes: object) -> dict:
    """The lines by section and name; models are not built, but for the test that is about them."""
    if models is not None:
        monkeypatch.setattr(make, "count_parameters", lambda _: models)
    made = make_plan(root, name, preset(name, changes=changes))
    return {title: {line.name: line for line in lines} for title, lines in made.sections()}


@pytest.fixture
def fake():
    names = preset("scenes").method
    return Models(1000, dict.fromkeys(names, 10), dict.fromkeys(names, 0), (512, 512, 768, 512), 49)


def test_jobs_are_those_of_the_matrix(monkeypatch, fake) -> None:
    found = planned(monkeypatch, "scenes", models=fake, methods=["clip", "vse"], seeds=[0, 1, 2])["Stages"]
    counts = {name: line.value for name, line in found.items()}
    assert counts == {
        **{"download": 2, "clean": 1, "score": 1, "features": 1, "describe": 2, "train": 6, "encode": 6},
        **{"grade": 6, "evaluate": 30, "report": 1, "in all": 56},
    }


@pytest.mark.slow
def test_sizes_by_hand(monkeypatch, fake) -> None:
    found = planned(monkeypatch, "flickr30k-butd", models=fake, methods=["clip", "esl-token"], seeds=[0, 1])
    images = 29000 + 1014 + 1000
    texts = 5 * images
    assert found["Downloads"]["region features"].value == images * 36 * 2048 * 4
    tokens = 2 * (images * 36 * 2048 + texts * 77 * 512)
    assert found["Disk"]["data/features"].value == 4 * (images + texts) * 512 + tokens
    assert found["Disk"]["models"].value == 4 * 2 * 20  # frozen towers are not stored
    test, dev = (1000, 5 * 1000), (1014, 5 * 1014)
    rows, pairs = sum(test) + sum(dev), test[0] * test[1] + dev[0] * dev[1]
    assert found["Disk"]["embeddings"].value == 4 * 4 * rows * 1024 + 4 * 2 * pairs
    assert found["Time"]["steps of a training, clip"].value == 25 * 1132
    assert found["Time"]["steps of a training, esl-token"].value == 30 * 1132
    host = found["Memory of the host"]
    assert host["features of a training"].value == 4 * (images + texts) * 512
    assert host["tokens of all trainings"].value == 2 * images * 36 * 2048
    memory = found["Memory of the GPU, or of the CPU without one"]
    assert (memory["parameters trained"].value, memory["weights and AdamW"].value) == (10, 160)
    assert memory["activations"].value is None
    trained = planned(monkeypatch, "flickr30k-vitb32", models=fake, methods=["clip"])
    assert trained["Disk"]["data/features"].value == 0
    assert trained["Disk"]["models"].value == 4 * 1010


@pytest.mark.slow
def test_what_is_here_need_not_be_fetched(monkeypatch, fake, tmp_path) -> None:
    for name in ("conf", "data/subsets"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("dvc.yaml", "params.yaml", "data/catalogue.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.delenv("ITM_MIRROR", raising=False)
    before = planned(monkeypatch, "coco-vitb32", models=fake, root=tmp_path)["Downloads"]
    place = tmp_path / "data/raw/coco"
    place.mkdir(parents=True)
    (place / "train2014.zip").touch()
    (tmp_path / "mirror/cxc").mkdir(parents=True)
    (tmp_path / "mirror/cxc/sts_val.csv.gz").touch()
    monkeypatch.setenv("ITM_MIRROR", str(tmp_path / "mirror"))
    after = planned(monkeypatch, "coco-vitb32", models=fake, root=tmp_path)["Downloads"]
    assert after["still to fetch"].value == before["still to fetch"].value - before["train2014.zip"].value
    assert after["train2014.zip"].basis == "is in data/raw"
    assert (before["sts_val.csv"].shown, after["sts_val.csv"].basis) == ("unknown", "is in the mirror (ITM_MIRROR)")
    assert before["weights of the towers"].value is None
    assert planned(monkeypatch, "scenes", models=fake, root=tmp_path)["Downloads"]["still to fetch"].value == 0
    by_hand = planned(monkeypatch, "flickr30k-vitb32", models=fake, root=tmp_path)["Downloads"]
    assert by_hand["flickr30k-images.tar.gz"].basis.startswith("by hand: fill in the form")


def test_times_are_those_of_jobs_that_ran_here(monkeypatch, fake, tmp_path) -> None:
    for name in ("conf", "data/subsets"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("dvc.yaml", "params.yaml", "data/catalogue.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    assert planned(monkeypatch, "scenes", models=fake, root=tmp_path)["Time"]["one job of train"].shown == "unknown"
    for name, text in {"a": "s\th:m:s\n90.0\t0:01:30\n", "b": "s\n30.0\n", "c": "damaged", "d": "s\nNA\n"}.items():
        path = tmp_path / f"logs/train/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    line = planned(monkeypatch, "scenes", models=fake, root=tmp_path)["Time"]["one job of train"]
    assert (line.shown, line.basis.split(" that")[0]) == ("60 s", "mean of 2 jobs")


@pytest.mark.slow
def test_towers_that_cannot_be_built_leave_sizes_unknown(monkeypatch) -> None:
    lost = Models(None, {}, {}, None, None, "the towers cannot be built here: no package")
    found = planned(monkeypatch, "flickr30k-butd", models=lost)
    assert {found["Disk"][name].shown for name in ("models", "data/features")} == {"unknown"}
    assert "no package" in found["Memory of the GPU, or of the CPU without one"]["parameters"].basis


def test_models_are_counted_by_building_them(monkeypatch) -> None:
    found = planned(monkeypatch, "scenes", methods=["clip", "esl-global"])
    memory = found["Memory of the GPU, or of the CPU without one"]
    assert memory["parameters trained"].basis.startswith("esl-global")
    assert memory["parameters trained"].value > 128 * 128
    assert memory["weights and AdamW"].value == 16 * memory["parameters trained"].value


def test_a_queue_keeps_a_twin_of_the_towers_that_are_trained() -> None:
    parameters = preset("scenes", changes={"methods": ["clip", "aahr"]})
    frozen = parameters.model_copy(update={"towers": parameters.towers.model_copy(update={"frozen": True})})
    trained, still = count_parameters(parameters), count_parameters(frozen)
    assert (trained.kept["clip"], still.kept["clip"]) == (0, 0)
    towers = build_towers(parameters.towers, ["a"])
    assert trained.towers is not None
    buffers = sum(each.numel() for each in towers.buffers())
    assert trained.kept["aahr"] - still.kept["aahr"] == trained.towers + buffers
    assert trained.heads == still.heads
    queue = parameters.method["aahr"].add.queue
    assert queue is not None
    assert still.kept["aahr"] > 2 * queue.size * parameters.embedding.dimension


def test_what_is_kept_counts_with_the_method_that_takes_most(monkeypatch, fake) -> None:
    more = replace(fake, kept={**fake.kept, "clip": 41})
    found = planned(monkeypatch, "scenes", models=more, methods=["vse", "clip"])
    memory = found["Memory of the GPU, or of the CPU without one"]
    assert memory["parameters trained"].basis.startswith("clip")
    assert (memory["weights and AdamW"].value, memory["kept beside"].value) == (16 * 1010, 4 * 41)
    without = planned(monkeypatch, "scenes", models=more, methods=["vse"])
    assert "kept beside" not in without["Memory of the GPU, or of the CPU without one"]


@pytest.mark.slow
def test_published_figures_are_those_of_the_same_setting_only() -> None:
    for name in PAPERS:
        parameters = preset(name)
        assert setting(parameters) == ("regions" if name.endswith("butd") else "fine-tuned")
        rows = expected(parameters)
        assert set(rows) == set(parameters.methods)
        assert rows["ditm"] is None, "DITM has published no figures"
        named = {method for method, row in rows.items() if row is not None}
        regions = {"esl-token", "esl-token-adaptive", "vse", "vse-inf", "vsd-faithful", "aahr-faithful"}
        assert named == (regions if name.endswith("butd") else {"clip", "vsd"})
        assert all(row.benchmark == parameters.data.name for row in rows.values() if row is not None)
    assert set(expected(preset("flickr8k")).values()) == {None}


@pytest.mark.parametrize(
    ("name", "changes", "found"),
    [
        ("coco-butd", {}, {"esl-token": 446.9, "aahr-faithful": 463.4}),
        ("flickr30k-butd", {}, {"esl-token": 523.7, "aahr-faithful": 548.1}),
        ("flickr30k-butd", {"datasets.flickr30k.check_protocol": False}, {}),
        ("flickr30k-butd", {"datasets.flickr30k.captions": "all"}, {}),
        ("flickr30k-butd", {"encode.split": "dev"}, {}),
        ("flickr30k-butd", {"seeds": []}, {}),  # no params.yaml of this version
        ("scenes", {}, {}),
    ],
)
def test_a_runs_figures_stand_beside_the_papers(name: str, changes: dict, found: dict) -> None:
    stated = preset(name).model_dump()
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = stated
        for section in sections:
            place = place[section]
        place[last] = value
    published = published_of(stated)
    assert "ditm" not in published
    assert {method: published[method]["retrieval/rsum"] for method in found} == found
    assert bool(published) == bool(found)
    if found:
        keys = ["retrieval/rsum", "retrieval/medr"]
        metrics = dict.fromkeys(keys, 400.0)
        given = [
            Run(("workspace",), "", method, 0, metrics, {}, "here", "", published=published.get(method, {}))
            for method in ("esl-token", "ditm")
        ]
        rows = list(csv.DictReader(io.StringIO(_csv(as_records(given, keys), keys))))
        quoted = "published retrieval/rsum"
        assert [key for key in rows[0] if "retrieval" in key] == ["retrieval/rsum", quoted, "retrieval/medr"]
        assert [row[quoted] for row in rows] == [f"{found['esl-token']}", ""]


def test_presets_of_the_papers_run_every_kind_of_method() -> None:
    for name in PAPERS:
        parameters = preset(name)
        assert {"clip", "vse", "ditm", "esl-global", "esl-token"} <= set(parameters.methods)
        assert {"vsd", "vsd-faithful"} & set(parameters.methods)
        batch = {"coco-butd": 256}.get(name, 128)
        assert (parameters.train.batch_images, parameters.train.learning_rate) == (batch, 0.0005)
        images = {"coco": 113287, "flickr30k": 29000}[parameters.data.name]
        published = {"coco": 8000 / (40 * 2212), "flickr30k": 8000 / (40 * 1132)}[parameters.data.name]
        steps = parameters.train.epochs * (images // batch)
        if name.endswith("butd"):
            steps = parameters.of("aahr-faithful").train.epochs * (5 * images // batch)
        graph = parameters.method["aahr-faithful" if name.endswith("butd") else "aahr"].add.graph
        assert graph is not None
        first = step_of(graph.start, steps)
        assert first / steps == pytest.approx(published, rel=0.02)
        if name.endswith("butd"):
            assert first == 8000
            assert all(not differences(parameters, each) for each in expected(parameters) if expected(parameters)[each])


@pytest.mark.slow
def test_the_command_prints_and_writes_nothing(monkeypatch, fake) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("hydra.compose", hydra_once)
    monkeypatch.setattr(make, "count_parameters", lambda _: fake)
    before = (ROOT / "params.yaml").read_bytes()
    from itm.runs.commands import plan_app

    text = CliRunner().invoke(plan_app, ["coco-butd"])
    assert text.exit_code == 0
    assert "unknown" in text.output
    assert "quoted from README of CrossmodalGroup/ESL" in text.output
    made = json.loads(CliRunner().invoke(plan_app, ["coco-butd", "seeds=[0,1]", "--json"]).output)
    train = next(line for line in made["sections"]["Stages"] if line["name"] == "train")
    assert train["value"] == 18
    assert (ROOT / "params.yaml").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["coco-butt"], "no preset 'coco-butt'; did you mean 'coco-butd'?"),
        (["scenes", "train.epohs=3"], "did you mean 'train.epochs'?"),
        (["scenes", "regions.use=true"], "regions.use: regions are tokens beside frozen towers"),
        (["scenes", "seeds=[]"], "seeds"),
    ],
)
def test_bad_arguments(monkeypatch, capsys, tmp_path, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(write_small_conf(tmp_path))
    monkeypatch.setattr("sys.argv", ["itm", "plan", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert message in capsys.readouterr().err


def test_what_the_first_stages_take_by_hand(monkeypatch, fake) -> None:
    formula = Formula(100, 3, 2, 0.5)
    assert formula(Counts(10, 50, 1000.0)) == 100 + 3 * 10 + 2 * 50 + 500
    assert formula(Counts(10, 50, None)) is None
    assert formula(None) is None
    assert Formula(100, 3)(Counts(10, 50, None)) == 130
    assert Formula(205e6, 2000, 1020, 1).text("B") == "205 MB + 2,000 B an image + 1,020 B a caption + the photos"
    assert Formula(1.4, 0, 2e-3, 2.4e-8).text("s") == "1.4 s + 2 ms a caption + 24 s a GB of photos"
    found = planned(monkeypatch, "coco", models=replace(fake, rates=(0.01, 0.001)))
    host, time = found["Memory of the host"], found["Time"]
    images, texts = 113287 + 5000 + 5000 + 1000, 5 * (113287 + 5000 + 5000 + 1000)
    features = found["Disk"]["data/features"].value
    assert features == 4 * 512 * (images + texts)
    assert host["features"].value == LIBRARIES + 4 * 1000 + features + texts * (TEXT + 2 * 48)
    assert host["clean"].value == MEMORY["clean"](Counts(images, texts, None))
    photos = time["clean"].value - SECONDS["clean"](Counts(images, texts, 0.0))
    assert photos / SECONDS["clean"].byte == pytest.approx(13510573713 + 6645013297, rel=0.01)
    assert found["Disk"]["data/scored"].value == DISK["score"](Counts(images, texts, None))
    assert time["features"].value > 0.01 * images + 0.001 * texts
    assert "of one core" in time["features"].basis


def test_what_is_unknown_of_the_first_stages_is_said(monkeypatch, fake) -> None:
    found = planned(monkeypatch, "scenes", models=fake)
    assert found["Disk"]["data/clean"].value is None  # nobody has published the size of photos that are generated
    assert found["Memory of the host"]["clean"].value is not None
    found = planned(monkeypatch, "folder", models=fake)
    assert {found["Time"][name].shown for name in ("download", "clean", "score")} == {"unknown"}
    lost = Models(None, {}, {}, None, None, "the towers cannot be built here: no package")
    found = planned(monkeypatch, "coco", models=lost)
    assert found["Memory of the host"]["features"].shown == found["Time"]["features"].shown == "unknown"
    assert "no package" in found["Time"]["features"].basis


def test_figures_are_shown_by_their_unit() -> None:
    assert [Line("x", value, "", unit).shown for value, unit in ((7200, "seconds"), (3, "jobs"), (446.9, "rsum"))] == [
        "2.0 h",
        "3",
        "446.9",
    ]
    assert size_text(2_500_000) == "2.5 MB"
