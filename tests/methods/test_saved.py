"""Save, load, embed: the same bits; and what does not fit is refused with its reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from presets import preset
from safetensors.torch import load_file, save_file

import itm
from itm.data.layout import MODEL_CARD, MODEL_WEIGHTS
from itm.errors import DataError, ModelError
from itm.methods.build import build_method
from itm.methods.saved import load_model, save_model
from itm.towers.build import build_towers
from itm.towers.scratch import ScratchTowers
from itm.training.card import write_card
from itm.training.dataset import tower_widths

PARAMETERS = preset("scenes")


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, ScratchTowers, torch.nn.Module]:
    torch.manual_seed(3)
    towers = build_towers(PARAMETERS.towers, ["a red square", "a red circle", "a blue square"])
    assert isinstance(towers, ScratchTowers)
    options = PARAMETERS.method["ditm"]
    method = build_method(options, PARAMETERS.embedding, tower_widths(towers))
    save_model(
        tmp_path,
        method,
        towers,
        name="ditm",
        seed=3,
        method_parameters=options,
        embedding=PARAMETERS.embedding,
        towers_parameters=PARAMETERS.towers,
        towers_description=towers.describe(),
        widths=tower_widths(towers),
        training={"epoch": 1},
    )
    return tmp_path, towers.eval(), method.eval()


def test_a_loaded_model_gives_the_same_embeddings(saved: tuple[Path, ScratchTowers, torch.nn.Module]) -> None:
    folder, towers, method = saved
    loaded, loaded_towers, card = load_model(folder)
    assert loaded_towers is not None
    assert card["name"] == "ditm"
    size = PARAMETERS.towers.image_size
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    texts = ["a red square", "an unseen word"]
    with torch.inference_mode():
        for one, other in ((method, loaded), (loaded, method)):
            source = (towers, loaded_towers) if one is method else (loaded_towers, towers)
            first = one.encode_image(source[0].image(source[0].preprocess(images))).embedding  # type: ignore[operator]
            second = other.encode_image(source[1].image(source[1].preprocess(images))).embedding  # type: ignore[operator]
            assert torch.equal(first, second)
        ids = torch.from_numpy(towers.tokenize(texts))
        assert torch.equal(ids, torch.from_numpy(loaded_towers.tokenize(texts)))
        assert torch.equal(
            method.encode_text(towers.text(ids)).embedding,  # type: ignore[operator]
            loaded.encode_text(loaded_towers.text(ids)).embedding,
        )


def test_other_facts_than_at_training_are_refused(saved: tuple[Path, ScratchTowers, torch.nn.Module]) -> None:
    folder = saved[0]
    card = json.loads((folder / MODEL_CARD).read_text())
    card["towers_description"]["activation"]["image"] = "quick_gelu"
    (folder / MODEL_CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError) as error:
        load_model(folder)
    assert error.value.reason == "towers-differ"


def test_a_card_with_the_older_name_of_a_width_is_read(saved: tuple[Path, ScratchTowers, torch.nn.Module]) -> None:
    card = json.loads((saved[0] / MODEL_CARD).read_text())
    card["widths"]["side"] = card["widths"].pop("description_width")
    (saved[0] / MODEL_CARD).write_text(json.dumps(card))
    assert load_model(saved[0])[2] == card


def test_weights_of_another_model_are_refused(saved: tuple[Path, ScratchTowers, torch.nn.Module]) -> None:
    folder = saved[0]
    tensors = load_file(folder / MODEL_WEIGHTS)
    tensors.pop("method.similarity.image_head.1.bias")
    save_file(tensors, folder / MODEL_WEIGHTS)
    with pytest.raises(ModelError, match="does not fit"):
        load_model(folder)
    (folder / MODEL_WEIGHTS).write_bytes(b"cut")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        load_model(folder)
    (folder / MODEL_CARD).unlink()
    with pytest.raises(DataError, match="no such file"):
        load_model(folder)


def test_a_flipped_bit_of_the_weights_is_noticed(saved: tuple[Path, ScratchTowers, torch.nn.Module]) -> None:
    folder = saved[0]
    content = bytearray((folder / MODEL_WEIGHTS).read_bytes())
    content[-2] ^= 1
    (folder / MODEL_WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match=r"its bytes are not those that model\.json tells of"):
        load_model(folder)
    card = json.loads((folder / MODEL_CARD).read_text())
    del card["weights"]  # as models of before have it
    (folder / MODEL_CARD).write_text(json.dumps(card))
    load_model(folder)


@pytest.mark.slow
def test_loading_imports_no_compiler(saved: tuple[Path, ScratchTowers, torch.nn.Module]) -> None:
    """PyTorch's takes a second; each command that opens a model would wait for it."""
    program = f"from itm.methods.saved import load_model; load_model({str(saved[0])!r})"
    program += "; import sys; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_opened_model_encodes_photos_and_texts(saved: tuple[Path, ScratchTowers, torch.nn.Module]) -> None:
    folder, towers, method = saved
    model = itm.load(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a photo's.png")
    images = model.encode_images([pixels, folder / "a photo's.png", (folder / "a photo's.png").read_bytes()])
    texts = model.encode_texts(["a red square", "a blue circle"])
    assert images.vectors.shape == (3, PARAMETERS.embedding.dimension)
    assert np.array_equal(images.vectors[0], images.vectors[1])
    assert np.array_equal(images.vectors[0], images.vectors[2])
    with torch.inference_mode():
        expected = method.encode_text(towers.text(torch.from_numpy(towers.tokenize(["a red square"])))).embedding  # type: ignore[operator]
    np.testing.assert_allclose(texts.vectors[:1], expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(model.similarity(images, texts), images.vectors @ texts.vectors.T)
    assert model.encode_texts([]).vectors.shape[0] == 0
    for given, message in (
        ([np.zeros((2, 2))], "image 0: pixels of shape"),
        ([b"no photo"], "image 0: "),
        ([pixels, folder / "absent.jpg"], "absent.jpg: cannot be read"),
    ):
        with pytest.raises(DataError, match=message):
            model.encode_images(given)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="expected a list"):
        model.encode_texts("a red square")


def test_the_card_says_what_the_model_is(saved: tuple[Path, ScratchTowers, torch.nn.Module]) -> None:
    card = json.loads((saved[0] / MODEL_CARD).read_text())
    card["training"] |= {"epochs": 3, "dev_rsum": 123.45}
    data = {"name": "scenes", "title": "Scenes", "licence": "free | open", "citation": "one\n  two"}
    write_card(saved[0], card, data)
    text = (saved[0] / "README.md").read_text()
    for line in (
        "# ditm, seed 3",
        "| kept epoch | 1 of 3 |",
        "| licence of the data | free / open |",
        "| citation of the data | one two |",
        "| additions | none |",
        "| `soft_weight` | `0.5` |",
    ):
        assert line in text.splitlines()
