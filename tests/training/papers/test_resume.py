"""Each entry of `flickr30k-butd` trained for two epochs in small, all that is random on; killed once and resumed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from presets import preset
from scipy import sparse
from tiny_bert import tiny_bert

from itm.config.methods import MethodParameters
from itm.features import TokenRows
from itm.methods.build import build_method
from itm.methods.method import Widths
from itm.towers.word_ids import word_ids
from itm.training.checkpoint import Checkpoint
from itm.training.figures import dev_figures
from itm.training.inputs import Encoder, Inputs, Split
from itm.training.loop import Trainer, seed_everything
from itm.training.relations import Relations

sys.path.insert(0, str(Path(__file__).parents[1]))
from small import Stop

IMAGES, EACH, WIDTH, DIMENSION = 16, 5, 12, 32
OWNER = np.repeat(np.arange(IMAGES), EACH)
TEXTS = [f"thing{i // EACH} " * (1 + i % EACH) + f"word{i}" for i in range(len(OWNER))]
SMALL = {"hidden": 16, "image_hidden": 16, "heads": 4, "guided_heads": 2, "feedforward": 24, "position_width": 8}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("bert"), TEXTS, dropout=0.1)


def trainer(name: str, bert: str, checkpoint: Checkpoint | None = None, progress: Any = None) -> Trainer:
    whole = preset("flickr30k-butd").of(name)
    options = whole.method[name].model_dump()
    if options["add"]["words"]:
        options["add"]["words"]["model"] = bert
    options["similarity"] |= {key: value for key, value in SMALL.items() if key in options["similarity"]}
    if options["add"]["graph"]:
        options["add"]["graph"] |= {"heads": 4, "feedforward": 24}
        options["add"]["queue"] |= {"size": 16, "start": 4}
    train = whole.train.model_copy(update={"batch_images": 8, "epochs": 2, "decay_epochs": [1]})
    entry = MethodParameters.model_validate(options)
    seed_everything(0, 1)
    text_width = 16 if entry.add.words else 9
    widths = Widths(10, 10, WIDTH, text_width, description_width=DIMENSION, prototypes=6)
    method = build_method(entry, whole.embedding.model_copy(update={"dimension": DIMENSION}), widths)
    generator = torch.Generator().manual_seed(2)
    for addition in method.added.values():
        addition.start({"prototypes": torch.randn(6, DIMENSION, generator=generator)})
    regions = TokenRows.join([np.random.default_rng(row).normal(size=(36, WIDTH)) for row in range(IMAGES)], WIDTH)
    pooled = torch.randn(IMAGES, 10, generator=generator), torch.randn(len(TEXTS), 10, generator=generator)

    def split(seed: int | None) -> Split:
        images = Inputs(pooled[0], tokens=regions, token_rows=np.arange(IMAGES))
        texts, root = Inputs(pooled[1]), Inputs(torch.zeros(1, 10))
        if entry.add.words is not None:
            texts.words, root.words = word_ids(entry.add.words, TEXTS, seed), word_ids(entry.add.words, [""])
        if entry.add.descriptions is not None:
            images.description_vectors = {"description": torch.ones(IMAGES, DIMENSION)}
            texts.description_vectors = {"caption": torch.ones(len(TEXTS), DIMENSION)}
        return Split(images, texts, OWNER, root)

    keywords = sparse.csr_array(np.random.default_rng(3).integers(0, 2, (len(OWNER), 6)).astype(float))
    relations = Relations(OWNER, np.arange(IMAGES), np.linspace(0, 1, len(OWNER)), "maximum", keywords)
    encoder = Encoder(method, None, torch.device("cpu"))
    return Trainer(encoder, split(7), split(None), relations, train, 0, dev_figures(OWNER), 16, checkpoint, progress)


@pytest.mark.parametrize("name", preset("flickr30k-butd").methods)
def test_two_epochs_killed_and_resumed(name: str, bert: str, tmp_path: Path) -> None:
    whole = trainer(name, bert)
    steps = 2 * (len(OWNER) // (8 * whole.parameters.captions_per_image))
    assert whole.steps == steps
    outcome = whole.run()
    assert len(outcome.history) == 2
    rates = [record["learning_rate"] for record in outcome.history]
    assert rates == pytest.approx([0.0005, 0.00005])

    def kill(done: int, total: int, note: str) -> None:
        if done == total // 2 + 2:
            raise Stop

    checkpoint = Checkpoint("papers", tmp_path)
    with pytest.raises(Stop):
        trainer(name, bert, checkpoint, kill).run()
    resumed = trainer(name, bert, checkpoint)
    assert resumed.run() == outcome
    for key, value in resumed.encoder.method.state_dict().items():
        assert torch.equal(value, whole.encoder.method.state_dict()[key]), key
