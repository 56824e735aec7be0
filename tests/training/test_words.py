"""A text encoder that is trained beside cached features: exact when cut, resumed to the same bits, saved and read."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from presets import preset
from tiny_bert import tiny_bert

from itm.encode import encode_split
from itm.errors import ConfigError
from itm.features import FeatureRows, write_features
from itm.methods.saved import load_model, save_model
from itm.training.checkpoint import Checkpoint
from itm.training.figures import dev_figures
from itm.training.inputs import Encoder
from itm.training.loop import Trainer, seed_everything

sys.path.insert(0, str(Path(__file__).parent))
from small import OWNER, Stop, assert_same, relations, train_parameters
from words import EMBEDDING, METHODS, TEXTS, WIDTHS, entry, gradients, made


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("bert"), TEXTS)


@pytest.mark.parametrize("name", METHODS)
def test_gradients_of_chunks_are_those_of_the_batch(name: str, bert: str) -> None:
    whole, cut = gradients(name, bert), gradients(name, bert, chunk=3)
    reached = [key for key in whole if key.startswith("additions.words.encoder.model")]
    assert len(reached) > 20
    assert_same(cut, whole)


def trainer(bert: str, checkpoint: Checkpoint | None = None, progress: Any = None, name: str = "aahr") -> Trainer:
    method, data = made(name, bert, changed=0.2)
    _, plain = made(name, bert)
    seed_everything(0, 1)
    encoder = Encoder(method, None, torch.device("cpu"))
    parameters = train_parameters(epochs=3)
    return Trainer(encoder, data, plain, relations(), parameters, 0, dev_figures(OWNER), 16, checkpoint, progress)


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(bert: str, tmp_path: Path) -> None:
    whole = trainer(bert)
    before = {key: value.clone() for key, value in whole.encoder.method.words.state_dict().items()}  # type: ignore[union-attr]
    outcome = whole.run()
    after = whole.encoder.method.state_dict()
    assert any(not torch.equal(after[f"additions.words.{key}"], value) for key, value in before.items())

    def stop(done: int, total: int, note: str) -> None:
        if done == total // 3 + 1:  # in the second epoch
            raise Stop

    checkpoint = Checkpoint("words", tmp_path)
    with pytest.raises(Stop):
        trainer(bert, checkpoint, stop).run()
    resumed = trainer(bert, checkpoint)
    assert resumed.run() == outcome
    for key, value in resumed.encoder.method.state_dict().items():
        assert torch.equal(value, after[key]), key


def test_the_encoder_has_a_rate_of_its_own_and_the_twin_one_of_it(bert: str) -> None:
    given = trainer(bert)
    method = given.encoder.method
    rates = {id(each): group["peak"] for group in given.optimiser.param_groups for each in group["params"]}
    for key, value in method.named_parameters():
        if key.startswith("additions.words."):
            assert rates[id(value)] == pytest.approx(0.001)
        elif value.requires_grad:
            assert rates[id(value)] == pytest.approx(0.01)
        else:
            assert id(value) not in rates
    assert any(key.startswith("additions.queue.towers.module.encoder.") for key in method.state_dict())


def test_a_saved_model_gives_the_same_scores(bert: str, tmp_path: Path) -> None:
    given = trainer(bert, name="esl-token")
    given.run()
    method, options = given.encoder.method, entry("esl-token", bert)
    towers = preset("flickr8k").towers
    save_model(
        tmp_path, method, None, name="x", seed=0, method_parameters=options, embedding=EMBEDDING,
        towers_parameters=towers, towers_description={}, widths=WIDTHS, training={},
    )  # fmt: skip
    again, _, card = load_model(tmp_path, with_towers=False)
    assert card["widths"] == asdict(WIDTHS)
    rows = np.arange(6)
    encoders = Encoder(method, None, torch.device("cpu")), Encoder(again, None, torch.device("cpu"))
    scores = []
    for encoder in encoders:
        encoder.train(False)
        with torch.no_grad():
            images, texts = (inputs.batch(rows, torch.device("cpu")) for inputs in (given.dev.images, given.dev.texts))
            scores.append(encoder.method.score(encoder.images(images), encoder.texts(texts)))
    assert torch.equal(*scores)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("flickr8k", {"methods": ["clip"]}, "method.clip.add.words are tokens, and similarity 'heads' looks at none"),
        ("scenes", {"methods": ["vse-inf"]}, "words are trained beside frozen towers; set towers.frozen to true"),
    ],
)
def test_where_words_do_not_go(name: str, changes: dict[str, Any], message: str) -> None:
    words = {"model": "x", "length": 8, "rate": 0.1, "masked": 0.1, "replaced": 0.0, "dropped": 0.0}
    with pytest.raises(ConfigError, match=message):
        preset(name, changes={**changes, f"method.{changes['methods'][0]}.add.words": words})


def test_the_stages_read_and_encode_what_training_saw(bert: str, tmp_path: Path) -> None:
    """Tables, cached features without the texts' tokens, a saved model: the same vectors as of the model at hand."""
    given = trainer(bert, name="vse-inf")
    method, dev = given.encoder.method, given.dev
    texts = [*TEXTS, ""]
    ids = [f"i{row}" for row in range(len(dev.images))]
    owners = [ids[row] for row in OWNER]
    number = np.arange(len(texts))
    images = {"image_id": ids, "split": "test", "sha256": ids, "shard": "", "offset": 0, "size": 0}
    pd.DataFrame(images).to_parquet(tmp_path / "images.parquet")
    captions = {"caption_id": number[:-1], "image_id": owners, "split": "test", "text": TEXTS, "position": 0}
    pd.DataFrame(captions).to_parquet(tmp_path / "captions.parquet")
    pd.DataFrame({"text_id": number, "text": texts}).to_parquet(tmp_path / "texts.parquet")
    described = {"kind": "offline"}
    assert dev.images.features is not None
    assert dev.texts.features is not None
    write_features(
        tmp_path / "images.safetensors", FeatureRows(dev.images.features.numpy(), dev.images.tokens, described)
    )
    pooled = torch.cat([dev.texts.features, torch.zeros(1, 9)]).numpy()
    write_features(tmp_path / "texts.safetensors", FeatureRows(pooled, None, described))
    model = tmp_path / "model"
    save_model(
        model, method, None, name="x", seed=0, method_parameters=entry("vse-inf", bert), embedding=EMBEDDING,
        towers_parameters=preset("flickr8k").towers, towers_description=described, widths=WIDTHS, training={},
    )  # fmt: skip
    options = preset("flickr8k").encode.model_copy(update={"batch_size": 7, "split": "test"})
    found = encode_split(model, tmp_path, tmp_path, tmp_path, options, 1, "cpu")
    assert found.text_ids.tolist() == number.tolist()
    expected = given.encoder.index(dev.texts, "text", 11)
    np.testing.assert_allclose(found.text[:-1], expected, atol=1e-6)
    np.testing.assert_allclose(found.image, given.encoder.index(dev.images, "image", 11), atol=1e-6)
    root = given.encoder.index(dev.root, "text", 1)
    np.testing.assert_allclose(found.text[-1:], root, atol=1e-6)
