"""Trained models on another data set: the same numbers as the pipeline's, descriptions from training only, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from small_model import save_small_model
from typer.testing import CliRunner

import itm
from itm.cli import app
from itm.data.images import ImageStore
from itm.data.tables import read_captions, read_images, read_texts
from itm.errors import ConfigError, DataError, ModelError, ProjectError
from itm.evaluation.result import write_together
from itm.transfer.descriptions import evaluation_part, joined, seen_in_training, training_part
from itm.transfer.run import Transfer, transfer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("transfer")]  # the group shares costly fixtures
BENCHMARKS = ("retrieval", "hierarcaps", "false_negatives")


def run(trained, *models, target=None, benchmarks=("retrieval",), parameters=None, out=None, **options):
    target = target or trained.other
    source = options.pop("source", trained.data)
    found, results = transfer(models, target, source, parameters or trained.parameters, benchmarks, "cpu", **options)
    write_together(results if "evaluations" in options else {}, found, out)
    return found


def job_of(trained, target, work: Path, source=None) -> Transfer:
    return Transfer(target, source or trained.data, trained.parameters, "test", work, "cpu")


def test_the_data_of_the_training_give_the_numbers_of_the_pipeline(trained):
    models = list(trained.models.values())
    found = run(trained, *models, target=trained.data, benchmarks=BENCHMARKS)
    assert found["seen_in_training"] == 0
    for name, model in trained.models.items():
        assert found["runs"][str(model)] == trained.metrics(name)


def test_other_data_by_hand(trained, tmp_path):
    """R@1 of `clip` from single photos and texts, through another door: `itm.load`."""
    out, kept = tmp_path / "found.json", tmp_path / "evaluations"
    found = run(trained, trained.models["clip"], out=out, evaluations=kept)
    model = itm.load(trained.models["clip"])
    clean = trained.other / "clean"
    images, captions = read_images(clean), read_captions(clean)
    store = ImageStore(clean, images)
    images, captions = (table[table["split"] == "test"] for table in (images, captions))
    photos = [store.read(name) for name in images["image_id"]]
    scores = model.similarity(model.encode_images(photos), model.encode_texts(captions["text"].tolist()))
    own = captions["image_id"].to_numpy()[None, :] == images["image_id"].to_numpy()[:, None]
    i2t = np.mean([row[best] for row, best in zip(own, scores.argmax(1), strict=True)])
    t2i = np.mean([row[best] for row, best in zip(own.T, scores.argmax(0), strict=True)])
    metrics = found["runs"][str(trained.models["clip"])]["retrieval"]
    assert metrics["i2t"]["r1"] == pytest.approx(i2t, abs=1e-4)
    assert metrics["t2i"]["r1"] == pytest.approx(t2i, abs=1e-4)
    assert (found["images"], found["captions"]) == (8, len(captions))
    assert json.loads(out.read_text()) == found
    with np.load(kept / "clip/seed0/retrieval.npz") as stored:
        assert json.loads(str(stored["protocol"]))["target"] == str(trained.other)


@pytest.fixture(scope="module")
def described(trained, tmp_path_factory):
    """A job for the other data, and the embeddings that it has made of `vsd`."""
    job = job_of(trained, trained.other, tmp_path_factory.mktemp("described"))
    return SimpleNamespace(job=job, found=job.embed(trained.models["vsd"]))


def test_a_target_is_described_once_for_models_that_read_the_same_vectors(trained, described, monkeypatch):
    monkeypatch.setattr("itm.transfer.descriptions.describe_images", None)
    second = described.job.embed(trained.models["vsd"])
    np.testing.assert_array_equal(second.image, described.found.image)


def test_no_caption_of_the_target_reaches_a_description(trained, described, tmp_path):
    """Other captions in the target's tables, of all splits: what is known of its images stays."""
    changed = tmp_path / "changed"
    shutil.copytree(trained.other, changed)
    for name in ("captions", "texts"):
        table = pd.read_parquet(changed / f"clean/{name}.parquet")
        rows = np.arange(len(read_captions(changed / "clean")))
        table.loc[rows, "text"] = [f"nothing but words {row}" for row in rows]
        table.to_parquet(changed / f"clean/{name}.parquet")
    after = job_of(trained, changed, tmp_path / "work").embed(trained.models["vsd"])
    np.testing.assert_array_equal(after.image, described.found.image)
    assert not np.allclose(after.text, described.found.text)


def test_descriptions_say_what_training_captions_say(described):
    from itm.data.layout import DESCRIPTION_VECTORS
    from itm.descriptions.vectors import read_description_vectors

    evaluated = described.job.evaluated
    vectors = read_description_vectors(described.job.work / "vsd-0" / DESCRIPTION_VECTORS)
    assert vectors.image_rows.tolist() == list(range(len(evaluated.images)))
    assert len(vectors.captions) == len(evaluated.texts)
    assert vectors.prototypes is None


def test_parts(trained):
    training, evaluated = training_part(trained.data / "clean"), evaluation_part(trained.other / "clean", "test")
    assert set(training.images["split"]) == {"train"}
    assert "train" not in set(evaluated.images["split"])
    texts = read_texts(trained.other / "clean")
    assert (texts["text"].to_numpy()[evaluated.texts["text_id"]] == evaluated.texts["text"]).all()
    assert evaluated.texts["text"].tolist()[: len(evaluated.captions)] == evaluated.captions["text"].tolist()
    both = joined(training, evaluated)
    assert both.images["image_id"].is_unique
    assert len(both.texts) == len(training.captions) + len(evaluated.texts)
    assert ImageStore(".", both.images).read(len(training.images)) == ImageStore(
        trained.other / "clean", read_images(trained.other / "clean")
    ).read(str(evaluated.images["image_id"][0]))
    copy = evaluated.images.assign(sha256=training.images["sha256"][0])
    assert seen_in_training(training, evaluated) == 0
    assert seen_in_training(training, type(evaluated)(copy, evaluated.captions, evaluated.texts)) == len(copy)


def test_trained_towers_and_no_data_of_the_training(trained, tmp_path):
    """A model whose towers were trained brings them; without the training's tables nobody knows what it has seen."""
    model = save_small_model(tmp_path / "small")
    found = run(trained, model, source=tmp_path / "nowhere", benchmarks=BENCHMARKS)
    assert found["seen_in_training"] is None
    assert set(found["runs"][str(model)]) == set(BENCHMARKS)


def changed_card(trained, tmp_path, **changes) -> Path:
    model = tmp_path / "changed"
    shutil.copytree(trained.models["clip"], model)
    card = json.loads((model / "model.json").read_text())
    card["towers_description"] |= changes
    (model / "model.json").write_text(json.dumps(card))
    return model


def test_other_towers_are_refused(trained, tmp_path):
    model = changed_card(trained, tmp_path, preprocessing={"mean": [0, 0, 0], "resize": "squash"})
    with pytest.raises(ModelError, match=r"trained with other towers .1 differences: preprocessing") as caught:
        run(trained, model)
    assert caught.value.reason == "towers-differ"


def test_regions_are_refused(trained, tmp_path):
    model = changed_card(trained, tmp_path, regions={"width": 2048, "pooled": "towers"})
    with pytest.raises(ModelError, match="trained on region features"):
        run(trained, model)


def described_as(trained, **changes):
    return trained.parameters.model_copy(update={"describe": trained.parameters.describe.model_copy(update=changes)})


BAD = {
    "other options": ({"captions": 1}, ModelError, r"\d+ of 24 training images are described differently; data/clean"),
    "other encoder": ({"encoder": "tfidf", "encoder_width": 8}, ModelError, "vectors are 8 wide instead of 384"),
    "a file": ({"captioner": "file", "file": "d.jsonl"}, ConfigError, "describes the training data set only"),
}


@pytest.mark.parametrize(("changes", "kind", "message"), BAD.values(), ids=BAD.keys())
def test_descriptions_of_another_training_are_refused(changes, kind, message, trained):
    with pytest.raises(kind, match=message):
        run(trained, trained.models["vsd"], parameters=described_as(trained, **changes))


def without(trained, tmp_path, part: str) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in {"clean", "features", "descriptions"} - {part}:
        (folder / name).symlink_to(trained.data / name)
    return folder


MISSING = {
    "clean": (ModelError, "adds descriptions, which come from the training captions.*say where .* with --source"),
    "features": (DataError, "cannot be read .*run `dvc repro features`"),
    "descriptions": (DataError, "cannot be read .*run `dvc repro describe`"),
}


@pytest.mark.parametrize("part", MISSING)
def test_missing_data_of_the_training(part, trained, tmp_path):
    kind, message = MISSING[part]
    with pytest.raises(kind, match=message):
        run(trained, trained.models["vsd"], source=without(trained, tmp_path, part))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"benchmarks": ["retreival"]}, "no benchmark 'retreival'; did you mean 'retrieval'"),
        ({"target": Path("nowhere")}, "nowhere/clean/images.parquet: no such file"),
        ({"benchmarks": ["judgements"]}, "no judgement is about the split 'test'"),
    ],
)
def test_what_is_not_there(options, message, trained):
    with pytest.raises(ProjectError, match=message):
        run(trained, trained.models["clip"], **options)


def test_an_empty_split(trained, tmp_path):
    shutil.copytree(trained.other / "clean", tmp_path / "clean")
    table = pd.read_parquet(tmp_path / "clean/images.parquet")
    table[table["split"] != "dev"].to_parquet(tmp_path / "clean/images.parquet")
    with pytest.raises(DataError, match="no image of the split 'dev'"):
        run(trained, trained.models["clip"], target=tmp_path, split="dev")


def test_the_command(trained, monkeypatch, tmp_path):
    monkeypatch.chdir(trained.root)
    arguments = ["transfer", "models/clip/seed0", "--data", "other", "--out", str(tmp_path / "found.json")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output + repr(done.exception)
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["runs"]["models/clip/seed0"]["retrieval"]["rsum"] > 0


def test_images_seen_in_training_are_told(trained, tmp_path, caplog):
    shutil.copytree(trained.data / "clean", tmp_path / "clean")
    table = read_images(tmp_path / "clean")
    first = table[table["split"] == "train"].iloc[0]
    rows = table["split"] == "test"
    for name in ("shard", "offset", "size", "sha256"):
        table.loc[table.index[rows][0], name] = first[name]
    table.to_parquet(tmp_path / "clean/images.parquet")
    found = run(trained, trained.models["clip"], target=tmp_path)
    assert found["seen_in_training"] == 1
    assert "1 images of" in caplog.text
