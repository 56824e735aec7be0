"""The queue where the towers are trained: its keys come from a twin of the towers too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from itm.methods.additions.queue import KEY, Queues
from itm.methods.method import Context
from itm.training.checkpoint import Checkpoint
from itm.training.loop import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from small import Stop, trainer

MOMENTUM = 0.9  # as in small.reduced


def queues(engine: Trainer) -> Queues:
    found = engine.encoder.method.additions["queue"]
    assert isinstance(found, Queues)
    return found


def towers(engine: Trainer) -> dict[str, Tensor]:
    assert engine.encoder.towers is not None
    return dict(engine.encoder.towers.named_parameters())


@pytest.mark.parametrize("kind", ["norms", "kept", "plain"])
def test_a_new_twin_gives_the_embeddings_themselves(kind: str) -> None:
    """Also with batch normalisation: the twin takes the batch's statistics, or keeps its own, as the towers do."""
    engine = trainer("aahr", kind)
    engine.encoder.train()
    rows = next(engine.sampler.epoch(0))
    for encode, inputs, chosen in (
        (engine.encoder.images, engine.train.images, rows.images),
        (engine.encoder.texts, engine.train.texts, rows.captions),
    ):
        found = encode(inputs.batch(chosen, torch.device("cpu")))
        torch.testing.assert_close(found.extra[KEY], found.embedding.detach())
        assert found.embedding.requires_grad
        assert not found.extra[KEY].requires_grad


def test_the_twin_follows_the_towers_and_gives_the_keys() -> None:
    engine = trainer("aahr", "norms")
    own, rows = queues(engine), next(engine.sampler.epoch(0))
    assert own.towers is not None
    before = {name: value.clone() for name, value in own.towers.module.named_parameters()}
    engine.encoder.train()
    with torch.no_grad():  # towers that have moved, and a twin that has not yet
        for value in towers(engine).values():
            value.add_(0.1 * torch.ones_like(value))
        expected = engine.encoder.images(engine.train.images.batch(rows.images, torch.device("cpu")))
    assert not torch.allclose(expected.extra[KEY], expected.embedding, atol=1e-3)
    engine.stepper.take(rows, Context())
    torch.testing.assert_close(own.images.vectors[: len(rows.images)], expected.extra[KEY])
    moved = towers(engine)
    for name, value in own.towers.module.named_parameters():
        torch.testing.assert_close(value.data, MOMENTUM * before[name] + (1 - MOMENTUM) * moved[name].data)


def test_the_towers_twin_is_neither_trained_nor_part_of_a_model() -> None:
    engine = trainer("aahr", "norms")
    method = engine.encoder.method
    assert any(name.startswith("additions.queue.towers.") for name in method.state_dict())
    assert not any(name.startswith("additions") for name in method.exported())
    assert not any(value.requires_grad for name, value in method.named_parameters() if ".towers." in name)
    trained = {id(value) for group in engine.optimiser.param_groups for value in group["params"]}
    assert {id(value) for value in towers(engine).values()} <= trained
    assert not {id(value) for name, value in method.named_parameters() if ".towers." in name} & trained


def test_frozen_towers_are_there_once() -> None:
    assert queues(trainer("aahr", "features")).towers is None


@pytest.mark.slow
def test_a_stopped_run_with_towers_resumes_to_the_same_bits(tmp_path: Path) -> None:
    def stop(done: int, total: int, note: str) -> None:
        if done == total - 1:
            raise Stop

    def run(**options: Any) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
        engine = trainer("aahr", "norms", epochs=3, **options)
        history = engine.run().history
        return history, {k: v.clone() for module in engine.modules.values() for k, v in module.state_dict().items()}

    history, weights = run()
    with pytest.raises(Stop):
        run(checkpoint=Checkpoint("run", tmp_path), progress=stop)
    again, same = run(checkpoint=Checkpoint("run", tmp_path))
    assert again == history
    assert all(torch.equal(weights[name], same[name]) for name in weights)
