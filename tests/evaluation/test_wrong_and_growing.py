"""SugarCrepe and HiMo-Docci, read from files of a few made-up rows in the published form."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from small_model import save_small_grade, save_small_model
from typer.testing import CliRunner

import itm
from itm.errors import ConfigError, DataError
from itm.evaluation.commands import evaluate_app
from itm.evaluation.published import AssumedWarning, evaluate_file
from itm.evaluation.published.himo_docci import read_chains
from itm.evaluation.published.sugarcrepe import read_foils
from itm.grading.texts import describe
from itm.text.tables import read_idf

FIRST, SECOND = "000000000139.jpg", "000000002431.jpg"
ADDED = {
    "0": {"filename": SECOND, "caption": "a dog", "negative_caption": "a dog and a cat"},
    "1": {"filename": FIRST, "caption": "a red car", "negative_caption": "a red car and a bus"},
}
ATTRIBUTES = {"0": {"filename": SECOND, "caption": "a dog", "negative_caption": "a blue dog"}}
REPLACED = {"4": {"filename": FIRST, "caption": "a car ", "negative_caption": "a boat"}}
GROWING = [
    {"img_path": "test_00003.jpg", "caption": ["a dog", "a dog. It runs.", "a dog. It runs. It rains."]},
    {"img_path": "test_00001.jpg", "caption": ["a cat", "a cat. It sleeps."], "raw_caption": "a cat. It sleeps."},
]


@pytest.fixture
def files(tmp_path):
    """Three parts of SugarCrepe in a folder of that name, and HiMo-Docci beside them."""
    (tmp_path / "sugarcrepe").mkdir()
    for name, rows in (("add_obj", ADDED), ("add_att", ATTRIBUTES), ("replace_obj", REPLACED)):
        (tmp_path / f"sugarcrepe/{name}.json").write_text(json.dumps(rows, indent=4))
    (tmp_path / "himo_docci_data.json").write_text("".join(f"{json.dumps(row)}\n" for row in GROWING))
    return tmp_path


def scores(file: Path, image_ids, caption_ids, values) -> Path:
    arrays = {"image_ids": np.array(image_ids), "caption_ids": np.array(caption_ids), "scores": np.array(values)}
    save_file(arrays, file)
    return file


def test_true_captions_against_wrong_ones_by_hand(files):
    ids = [0, 1, 2, 3, 100_000, 100_001, 200_008, 200_009]
    foils = read_foils(files)
    assert foils.gallery.caption_ids.tolist() == ids
    assert foils.gallery.image_ids.tolist() == [2431, 139]
    assert [foils.gallery.texts[at] for at in foils.wrong] == [
        "a dog and a cat", "a red car and a bus", "a blue dog", "a boat"
    ]  # fmt: skip
    of_second = [0.9, 0.8, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0]  # right; a tie is wrong
    of_first = [0.0, 0.0, 0.3, 0.4, 0.0, 0.0, 0.7, 0.1]  # wrong; right
    file = scores(files / "x.safetensors", [139, 2431], ids, [of_first, of_second])
    with pytest.warns(AssumedWarning, match=r"sugarcrepe \(replace_att, replace_rel, swap_obj, swap_att\): left out"):
        report = evaluate_file(file, ["sugarcrepe"], annotations=files)
    assert report.metrics == {"sugarcrepe": {"add_obj": 0.5, "add_att": 0.0, "replace_obj": 1.0, "add": 0.25}}
    assert report.protocol["sugarcrepe"]["rows"] == {"add_obj": 2, "add_att": 1, "replace_obj": 1}
    rows = [(task, ids.tolist(), images.tolist(), v.tolist()) for _, task, _, ids, images, v in report.columns]
    assert rows[0] == ("add_obj", [0, 2], [2431, 139], [1.0, 0.0])


def test_growing_texts_by_hand(files):
    ids = [0, 1, 2, 100, 101]
    chains = read_chains(files)
    assert chains.gallery.caption_ids.tolist() == ids
    assert chains.gallery.photos == ["test_00003.jpg", "test_00001.jpg"]
    values = [[0.1, 0.2, 0.2, 0.9, 0.9], [0.0, 0.0, 0.0, 0.3, 0.4]]
    report = evaluate_file(scores(files / "x.safetensors", [0, 1], ids, values), ["himo-docci"], annotations=files)
    assert report.metrics["himo-docci"]["rising"] == 0.5
    assert report.metrics["himo-docci"]["pearson"] == pytest.approx((np.sqrt(3) / 2 + 1) / 2)
    assert report.protocol["himo-docci"]["chains"] == {"of 2": 1, "of 3": 1}
    flat = scores(files / "flat.safetensors", [0, 1], ids, np.zeros((2, 5)))
    assert evaluate_file(flat, ["himo-docci"], annotations=files).metrics["himo-docci"] == {"rising": 0, "pearson": 0}


def command(*words):
    return CliRunner().invoke(evaluate_app, [str(word) for word in words])


def test_items_are_listed_and_a_trained_model_ranks_them_by_its_grades(files, small):
    done = command("--items", "--benchmark", "himo-docci", "--benchmark", "sugarcrepe", "--annotations", files)
    rows = list(csv.reader(io.StringIO(done.output)))
    assert ["himo-docci", "text", "101", "a cat. It sleeps."] in rows
    assert ["sugarcrepe", "image", "139", FIRST] in rows
    for number, name in enumerate((FIRST, SECOND, "test_00003.jpg", "test_00001.jpg")):
        Image.new("RGB", (40, 30), (60 * number, 90, 200)).save(files / name)
    folder = save_small_model(files / "model")
    calibrator = save_small_grade(folder, small.idf)
    how = ["--model", folder, "--images", files, "--annotations", files, "--keep", files / "kept"]
    model = itm.load(folder)
    texts = GROWING[0]["caption"]
    s = model.similarity(model.encode_images([files / "test_00003.jpg"]), model.encode_texts(texts))[0]
    for at in (0.0, 5.0):
        words = [*how, "--benchmark", "himo-docci", "--specificity", at, "--out", files / "m.json"]
        done = command(*words, "--ranks", files / "ranks.parquet")
        assert done.exit_code == 0, done.output
        found = json.loads((files / "m.json").read_text())
        assert found["protocol"]["grade"] == {"file": "grade.json", "specificity": at}
        grades = calibrator.grade(s, describe(texts, read_idf(small.idf)), at)
        import pyarrow.parquet as pq

        table = pq.read_table(files / "ranks.parquet").to_pandas()
        pearson = table[(table["metric"] == "pearson") & (table["query_id"] == 0)]["value"].item()
        assert pearson == pytest.approx(np.corrcoef(np.arange(3), grades)[0, 1], abs=1e-4)


def row(**changes):
    return json.dumps({"0": ADDED["0"] | changes})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", r"add_obj.json: is a list; expected rows by number, with filename, caption, negative_caption"),
        ("{}", "add_obj.json: empty; expected rows by number"),
        ("<html>", "add_obj.json: not valid JSON"),
        ('{"0": 3, "1": 4}', "2 rows are not of the published form: row '0': is int, not an object, row '1'"),
        ('{"x": {}}', "1 rows .* row 'x': is no number of a row"),
        ('{"00": {}}', "is no number of a row"),
        ('{"0": {"caption": "a"}}', "row '0': has no filename, negative_caption; fetch the file again"),
        (row(negative_caption=" "), "row '0': negative_caption ' ' is no text"),
        (row(caption=["a"]), r"row '0': caption \['a'\] is no text"),
        (row(filename="../x.jpg"), "row '0': filename '../x.jpg' is no COCO photo's"),
    ],
)
def test_a_part_of_another_form_is_refused(tmp_path, content, message):
    (tmp_path / "add_obj.json").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_foils(tmp_path)
    assert len(str(caught.value).encode()) < 1000


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "himo_docci_data.json: empty"),
        ("<html>\n[1]", "2 lines .*: line 1 is not JSON, line 2: is list, not an object"),
        ('{"caption": ["a", "b"]}', "line 1: has no img_path"),
        ('{"img_path": 4, "caption": ["a", "b"]}', "img_path 4 is no name"),
        ('{"img_path": "x.jpg", "caption": ["a"]}', r"line 1: caption \['a'\] is no list of 2 to 99 texts"),
        ('{"img_path": "x.jpg", "caption": "ab"}', "caption 'ab' is no list"),
        ('{"img_path": "x.jpg", "caption": ["a", " "]}', "line 1: text 2 of caption ' ' is no text"),
    ],
)
def test_chains_of_another_form_are_refused(tmp_path, lines, message):
    (tmp_path / "himo_docci_data.json").write_text(lines)
    with pytest.raises(DataError, match=message) as caught:
        read_chains(tmp_path)
    assert len(str(caught.value).encode()) < 1000


def test_files_that_are_not_there_are_named(tmp_path):
    for read, name in ((read_foils, "add_obj.json"), (read_chains, "himo_docci_data.json")):
        with pytest.raises(DataError, match=f"{name}: not found below .*; name its folder with --annotations"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--embeddings", "x.npz"], "--specificity needs --grade FILE, or a trained model's folder"),
        (["--model", "open_clip:x:y"], "open_clip:x:y is no trained model's folder"),
        (["--model", "{model}", "--normalize"], "--specificity: --normalize has no grades"),
        (["--model", "{model}", "--benchmark", "hierarcaps"], "hierarcaps, which walks .* has no grades"),
    ],
)
def test_grades_are_asked_for_only_where_there_are_some(small, words, message):
    given = [word.format(model=small.models[0]) for word in words]
    done = command("--benchmark", "sugarcrepe", "--specificity", "1", *given)
    assert isinstance(done.exception, ConfigError)
    with pytest.raises(ConfigError, match=message):
        raise done.exception
