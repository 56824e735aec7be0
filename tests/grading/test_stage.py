"""The stage `grade`: a calibrator beside every model, or the reason why there is none."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from presets import preset

from itm.config.render import render
from itm.data.files import write_npz
from itm.errors import DataError, ModelError
from itm.grading import Calibrator, fit_calibrator
from itm.grading.texts import idf_hash
from itm.stages.grade import grade
from itm.text.counts import count_words, document_frequencies
from itm.text.idf import idf_table
from itm.text.tables import read_idf, write_idf
from itm.vectors.pipeline import model_hash

IMAGES = 40


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with dev data, a model's two files, and embeddings in which every caption is near its image."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(render(preset("scenes"), "scenes"))
    names = [f"dev-{n}" for n in range(IMAGES)]
    texts = [f"a {word} thing {n % 7}" for n in range(IMAGES) for word in ("red", "green")]
    owners = np.repeat(np.arange(IMAGES), 2)
    for folder in ("clean", "scored", "model", "embeddings"):
        Path(folder).mkdir()
    # two training captions come first: text ids are rows of the whole table
    images, ids = ["train-0", *names], np.arange(len(texts) + 2) + 100
    pq.write_table(pa.table({"image_id": images, "split": ["train"] + ["dev"] * IMAGES}), "clean/images.parquet")
    captions = {
        "caption_id": ids,
        "image_id": ["train-0"] * 2 + [names[owner] for owner in owners],
        "split": ["train"] * 2 + ["dev"] * len(texts),
        "level": np.ones(len(ids), np.int8),
    }
    pq.write_table(pa.table(captions), "clean/captions.parquet")
    counts = count_words(texts)
    write_idf(Path("scored/idf.parquet"), idf_table(document_frequencies(counts), preset("scenes").score), counts.words)
    rng = np.random.default_rng(0)
    scored = {"caption_id": ids, "descriptiveness": rng.random(len(ids))}
    pq.write_table(pa.table(scored), "scored/captions.parquet")
    for name in ("model.json", "model.safetensors"):
        Path("model", name).write_text(name)
    image = rng.standard_normal((IMAGES, 8)).astype(np.float32)
    text = image[owners] + 0.8 * rng.standard_normal((len(texts), 8)).astype(np.float32)
    write(image_ids=np.array(names), image=image, text_ids=np.arange(2, len(ids)), text=text)
    return tmp_path


def write(protocol: dict | None = None, **arrays) -> None:
    write_npz("embeddings/dev.npz", {**arrays, "protocol": json.dumps(protocol or {"split": "dev"})})


def stored() -> dict:
    with np.load("embeddings/dev.npz") as found:
        return {name: found[name] for name in found.files if name != "protocol"}


def run() -> Path:
    grade("clip", 0, Path("model"), Path("clean"), Path("scored"), Path("embeddings"), Path("model"))
    return Path("model/grade.json")


def test_the_calibrator_is_that_of_the_dev_pairs_and_knows_its_model_and_its_idf_table(project):
    path = run()
    words = idf_hash(read_idf(Path("model/grade.idf.parquet")))
    found = Calibrator.load(path, model_hash(Path("model")), words)
    arrays = stored()
    d = pq.read_table("scored/captions.parquet")["descriptiveness"].to_numpy()[2:]
    similarity = arrays["image"].astype(np.float64) @ arrays["text"].astype(np.float64).T
    expected = fit_calibrator(similarity, np.repeat(np.arange(IMAGES), 2), d, model=found.model, idf=words)
    np.testing.assert_allclose(found.ratio, expected.ratio, atol=1e-4)
    assert (found.facts["images"], found.facts["captions"]) == (IMAGES, 2 * IMAGES)
    before = path.read_bytes()
    assert run().read_bytes() == before
    Path("model/model.json").write_text("trained again")
    with pytest.raises(ModelError, match="was fitted for the model"):
        Calibrator.load(path, model_hash(Path("model")), words)


def test_scores_of_pairs_are_calibrated_as_they_are(project):
    arrays = stored()
    scores = 3 * arrays["image"] @ arrays["text"].T + 7  # nothing that the vectors give
    write(**arrays, scores=scores, scored_images=arrays["image_ids"], scored_texts=arrays["text_ids"])
    assert 7 < Calibrator.load(run()).high < scores.max() * 1.3


def collapse(arrays: dict) -> dict:
    return {**arrays, "text": np.ones_like(arrays["text"]), "image": np.ones_like(arrays["image"])}


def confuse(arrays: dict) -> dict:
    return {**arrays, "image": np.roll(arrays["image"], 1, axis=0)}


@pytest.mark.parametrize(
    ("change", "protocol", "why"),
    [
        (collapse, None, "all similarities are equal"),
        (confuse, None, "own image is more similar than a random one in"),
        (dict, {"shortlist": {"candidates": 5}}, r"encode\.shortlist leaves most pairs without a score"),
    ],
)
def test_a_model_that_cannot_be_calibrated_has_no_grade_and_says_why(project, change, protocol, why):
    write(protocol, **change(stored()))
    with pytest.raises(ModelError, match=rf"grade\.json: this model has no grade: .*{why}") as caught:
        Calibrator.load(run())
    assert caught.value.reason == "no-grade"
    assert len(str(caught.value)) < 1000


def test_damaged_embeddings_are_a_fault_of_the_run_and_leave_no_grade(project):
    Path("embeddings/dev.npz").write_bytes(b"")
    with pytest.raises(DataError, match=r"dev\.npz"):
        run()
    assert not Path("model/grade.json").exists()
