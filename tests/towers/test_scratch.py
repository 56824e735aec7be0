"""The small towers: padding and neighbours change nothing, the vocabulary is the training captions'."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from itm.config.model import TowersParameters
from itm.errors import ModelError
from itm.towers import base
from itm.towers.base import small_ids, wide_ids
from itm.towers.build import build_towers, check_same
from itm.towers.scratch import UNKNOWN, ScratchTowers, build_vocabulary

SIZES = {
    "image_size": 32, "context_length": 12, "image_width": 8, "text_width": 16, "text_layers": 2, "text_heads": 2
}  # fmt: skip


@pytest.fixture
def towers() -> ScratchTowers:
    torch.manual_seed(0)
    return ScratchTowers(["red", "square", "a", "blue"], **SIZES).eval()


def test_vocabulary_is_sorted_by_count_then_alphabet() -> None:
    assert build_vocabulary(["b a", "a b", "A c", "d"], 2) == ["a", "b"]


def test_unknown_words_share_an_id_and_long_texts_are_cut(towers: ScratchTowers) -> None:
    ids = towers.tokenize(["a purple square", "red " * 50, ""])
    assert ids.shape == (3, 12)
    assert ids[0, 2] == UNKNOWN
    assert (ids[1] != 0).all()
    assert (ids[2] != 0).sum() == 1  # the start token: an empty text has an embedding too


def test_ids_of_many_texts_are_made_in_parts_and_held_in_few_bytes(towers: ScratchTowers, monkeypatch) -> None:
    texts = [f"{'red ' * (row % 5)}square" for row in range(10)]
    whole, asked = towers.tokenize(texts), []
    monkeypatch.setattr(base, "_PART", 4)
    tokenize = towers.tokenize
    monkeypatch.setattr(towers, "tokenize", lambda some: asked.append(len(some)) or tokenize(some))
    found = towers.token_ids(texts)
    assert (found.dtype, asked) == (np.uint16, [4, 4, 2])
    assert np.array_equal(found, whole)
    assert wide_ids(found).dtype == torch.int64
    assert torch.equal(wide_ids(found), torch.from_numpy(whole))
    assert towers.token_ids([]).shape == (0, 12)


@pytest.mark.parametrize(("largest", "kind"), [(2**16 - 1, np.uint16), (2**16, np.int32), (0, np.uint16)])
def test_ids_keep_their_values_in_few_bytes(largest: int, kind: type) -> None:
    ids = np.array([[largest, 0]])
    assert small_ids(ids).dtype == kind
    assert wide_ids(small_ids(ids)).tolist() == ids.tolist()


def test_a_text_does_not_depend_on_its_neighbours_padding(towers: ScratchTowers) -> None:
    ids = torch.from_numpy(towers.tokenize(["a red square", "red " * 9]))
    alone = towers.text(ids[:1]).pooled[0]
    torch.testing.assert_close(towers.text(ids).pooled[0], alone, atol=1e-6, rtol=1e-5)


def test_captions_of_like_length_go_together_and_come_back_in_order(towers: ScratchTowers) -> None:
    texts = [" ".join(["red"] * (1 + 7 * row % 6) + ["circle"]) for row in range(150)]
    together = towers.text(torch.from_numpy(towers.tokenize(texts)))
    assert together.tokens is not None
    assert together.mask is not None
    for row in (0, 1, 77, 149):
        alone = towers.text(torch.from_numpy(towers.tokenize([texts[row]])))
        assert alone.tokens is not None
        length = alone.tokens.shape[1]
        torch.testing.assert_close(together.pooled[row], alone.pooled[0])
        torch.testing.assert_close(together.tokens[row, :length], alone.tokens[0])
        assert together.mask[row].sum() == length


def test_an_image_does_not_depend_on_its_neighbours(towers: ScratchTowers) -> None:
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    whole = towers.image(towers.preprocess(images)).pooled
    torch.testing.assert_close(towers.image(towers.preprocess(images[1:2])).pooled[0], whole[1], atol=1e-5, rtol=1e-4)
    assert whole.shape == (3, towers.image_width)


def test_other_towers_than_those_of_training_are_refused(towers: ScratchTowers) -> None:
    saved = json.loads(json.dumps(towers.describe()))
    check_same(saved, towers.describe())
    saved["activation"]["text"] = "quick_gelu"
    with pytest.raises(ModelError, match="trained with other towers \\(1 differences: activation"):
        check_same(saved, towers.describe())
    with pytest.raises(ModelError, match=r"1 differences: regions: saved .*, now None"):
        check_same(towers.describe() | {"regions": {"width": 4}}, towers.describe())


def open_clip(model: str, weights: str) -> TowersParameters:
    return TowersParameters.model_construct(
        **{"kind": "open_clip", "open_clip_model": model, "open_clip_weights": weights, "image_size": 32,
           "tokens": False, "token_grid": 0,
           "context_length": 77, "frozen": False}
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        ("ViT-B-23", "", "open_clip has no model 'ViT-B-23'; did you mean"),
        (
            "ViT-B-32",
            "laion2b_s34b_b97k",
            "neither a file nor a pretrained tag of ViT-B-32; did you mean 'laion2b_s34b",
        ),
    ],
)
def test_unknown_open_clip_names_are_explained(model: str, weights: str, message: str) -> None:
    with pytest.raises(ModelError) as error:
        build_towers(open_clip(model, weights))
    assert message in str(error.value)


@pytest.mark.slow
def test_weights_that_need_a_network_fail_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    # as HF_HUB_OFFLINE does, which is read once only, at the import; else the hub is tried again and again
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="could not be fetched or read"):
        build_towers(open_clip("ViT-B-32", "laion2b_s34b_b79k"))


@pytest.mark.slow
def test_offline_towers_load_and_repeat_themselves() -> None:
    parameters = TowersParameters.model_construct(
        kind="offline", image_size=224, context_length=48, frozen=True, tokens=True, token_grid=0
    )
    towers = build_towers(parameters).eval()
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8))
    with torch.inference_mode():
        image, text = (
            towers.image(towers.preprocess(images)),
            towers.text(torch.from_numpy(towers.tokenize(["a dog", ""]))),
        )
    assert image.pooled.shape == (2, 1280)
    assert text.pooled.shape == (2, 384)
    check_same(towers.describe(), build_towers(parameters).describe())
