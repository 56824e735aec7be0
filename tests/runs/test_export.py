"""ONNX graphs of a trained model: equal to it on other batches, refused where they would not be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import itm
from itm.data.files import read_json
from itm.errors import ConfigError, ModelError
from itm.runs import export
from itm.runs.export import export_onnx

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(small: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "graphs"
    differences = export_onnx(small.models[0], out)
    assert set(differences) == {"image.onnx", "text.onnx"}
    assert max(differences.values()) <= 1e-5
    return out


def test_the_graphs_give_the_model_s_vectors_for_any_number_of_photos_and_texts(
    small: SimpleNamespace, exported: Path
) -> None:
    import onnxruntime

    model = itm.load(small.models[0])
    facts = read_json(exported / "export.json")
    assert facts["hash"] == model.hash
    size = model.towers.image_size
    pixels = np.random.default_rng(1).integers(0, 256, (7, size, size, 3), np.uint8)
    texts = ["", "a dog", *[f"a {word} square left of a small red circle" for word in ("blue", "green", "big")] * 3]
    for graph, given, expected in (
        (facts["image"], pixels, model.encode_images(list(pixels)).vectors),
        (facts["text"], model.towers.tokenize(texts), model.encode_texts(texts).vectors),
    ):
        session = onnxruntime.InferenceSession(exported / graph["file"])
        (found,) = session.run(None, {graph["input"]: given})
        assert given.shape[1:] == tuple(graph["shape"][1:])
        np.testing.assert_allclose(found, expected, atol=1e-5)
        (one,) = session.run(None, {graph["input"]: given[:1]})
        np.testing.assert_allclose(one, expected[:1], atol=1e-5)


def test_a_graph_that_computes_something_else_is_not_written(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match=r"image\.onnx: its vectors differ by up to .*nothing was written"):
        export_onnx(small.models[0], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(small: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match="not an empty folder"):
        export_onnx(small.models[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
