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

from itm.config.methods import MethodParameters
from itm.config.model import EmbeddingParameters
from itm.encode import encode_split
from itm.errors import ConfigError
from itm.features import FeatureRows, write_features
from itm.methods.build import build_method
from itm.methods.method import Context, Method, Widths
from itm.methods.saved import load_model, save_model
from itm.towers.word_ids import word_ids
from itm.training.checkpoint import Checkpoint
from itm.training.figures import dev_figures
from itm.training.inputs import Encoder, Split
from itm.training.loop import Trainer, seed_everything
from itm.training.schedule import optimiser
from itm.training.steps import Stepper

sys.path.insert(0, str(Path(__file__).parent))
from small import OWNER, PARAMETERS, Stop, fill_queues, reduced, relations, split, train_parameters
from small import Sampler as Batches

TEXTS = [f"word{i} " * (1 + i % 5) + f"thing{i // 3}" for i in range(len(OWNER))]
EMBEDDING = EmbeddingParameters(dimension=8, layers=1, hidden=8, dropout=0.0)
WIDTHS = Widths(12, 9, 12, 16, description_width=3, prototypes=4)
METHODS = ("aahr", "esl-token", "vse-inf")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("bert"), TEXTS)


def entry(name: str, bert: str, changed: float = 0.0) -> MethodParameters:
    words = {"model": bert, "length": 8, "rate": 0.1, "masked": changed, "replaced": changed / 5, "dropped": changed}
    options = reduced(PARAMETERS.method[name], 0.0).model_dump()
    options["add"]["words"] = words
    return MethodParameters.model_validate(options)


def made(name: str, bert: str, changed: float = 0.0) -> tuple[Method, Split]:
    seed_everything(0, 1)
    options = entry(name, bert, changed)
    method, data = build_method(options, EMBEDDING, WIDTHS), split(None)
    method.words.start({})  # type: ignore[union-attr]
    assert options.add.words is not None
    data.texts.tokens = data.root.tokens = None
    data.texts.words = word_ids(options.add.words, TEXTS, 5 if changed else None)
    data.root.words = word_ids(options.add.words, [""])
    return method, data


def gradients(name: str, bert: str, chunk: int) -> dict[str, torch.Tensor]:
    method, data = made(name, bert)
    parameters = train_parameters(chunk_images=chunk)
    encoder = Encoder(method, None, torch.device("cpu"))
    encoder.train()
    for addition in method.added.values():
        addition.watch(method.words)  # type: ignore[arg-type]
    fill_queues(method)
    stepper = Stepper(
        encoder, data, relations(), optimiser(method, None, parameters), {"method": method}, parameters, 0, _alone()
    )
    rows = next(Batches(OWNER, 8, 2, 0).epoch(0))
    losses, _ = stepper.gradients(rows, Context(epoch=50))
    found = {key: value.grad for key, value in method.named_parameters() if value.grad is not None}
    return {**found, **{f"loss {key}": term.value.detach() for key, term in losses.terms.items()}}


def _alone() -> Any:
    from itm.training.distributed import Group

    return Group()


@pytest.mark.parametrize("name", METHODS)
def test_gradients_of_chunks_are_those_of_the_batch(name: str, bert: str) -> None:
    whole, cut = gradients(name, bert, 0), gradients(name, bert, 3)
    assert whole.keys() == cut.keys()
    reached = [key for key in whole if key.startswith("additions.words.encoder.model")]
    assert len(reached) > 20
    for key, value in whole.items():
        torch.testing.assert_close(cut[key], value, rtol=1e-4, atol=1e-5, msg=key)


def trainer(bert: str, checkpoint: Checkpoint | None = None, progress: Any = None, name: str = "aahr") -> Trainer:
    method, data = made(name, bert, changed=0.2)
    _, plain = made(name, bert)
    seed_everything(0, 1)
    encoder = Encoder(method, None, torch.device("cpu"))
    parameters = train_parameters(epochs=3)
    return Trainer(encoder, data, plain, relations(), parameters, 0, dev_figures(OWNER), 16, checkpoint, progress)


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
