"""Save, load, embed: the same bits; and what does not fit is refused with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from itm.config import load
from itm.data.layout import MODEL_CARD, MODEL_WEIGHTS
from itm.errors import DataError, ModelError
from itm.methods.build import build_method
from itm.methods.saved import load_model, save_model
from itm.towers.build import build_towers
from itm.towers.scratch import ScratchTowers
from itm.training.dataset import tower_widths

PARAMETERS = load(Path(__file__).parents[2] / "params.yaml")


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
