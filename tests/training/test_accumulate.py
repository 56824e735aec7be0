"""Gradients of a batch in chunks are those of the whole batch, for every method, with dropout too."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from itm.errors import TrainingError
from itm.methods.method import Embedded
from itm.methods.scoring import concatenate
from itm.training import steps
from itm.training.distributed import Group, synchronise_norms

sys.path.insert(0, str(Path(__file__).parent))
from small import CUT, assert_same, gradients, of_whole_batch, small_towers, trainer

pytestmark = pytest.mark.slow


class Whole:
    """Stands for a chunk that keeps its graph: many of them are one pass that draws its random numbers by chunks."""

    def __init__(self, encode: Callable[[], Embedded], device: torch.device) -> None:
        self.embedded = encode()

    def backward(self) -> None:
        pass


@pytest.mark.parametrize("kind", ["features", "plain"])
@pytest.mark.parametrize("name", CUT)
def test_chunks_give_the_gradients_of_the_whole_batch(name: str, kind: str) -> None:
    assert_same(gradients(name, kind, chunk_images=3), of_whole_batch(name, kind))


@pytest.mark.parametrize("name", CUT)
def test_chunks_do_so_in_the_first_epoch_too(name: str) -> None:
    assert_same(gradients(name, epoch=0, chunk_images=2), gradients(name, epoch=0))


@pytest.mark.parametrize("name", ["clip", "ditm-aahr", "tokens"])
def test_a_chunk_may_be_the_whole_batch(name: str) -> None:
    assert_same(gradients(name, "plain", chunk_images=8), of_whole_batch(name, "plain"))


@pytest.mark.parametrize("name", CUT)
def test_the_second_pass_draws_the_numbers_of_the_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = gradients(name, "plain", dropout=0.3, chunk_images=3)
    monkeypatch.setattr(steps, "Chunk", Whole)
    expected = gradients(name, "plain", dropout=0.3, chunk_images=3)
    assert_same(found, expected)
    assert torch.equal(found["random"], expected["random"])


def test_small_batches_would_not_have_the_same_gradients() -> None:
    whole, half = gradients("clip"), gradients("clip", batch_images=4)
    assert not torch.allclose(
        whole["method.similarity.image_head.1.weight"], half["method.similarity.image_head.1.weight"], rtol=0.1
    )


def test_training_in_chunks_ends_where_training_whole_ends() -> None:
    whole, chunks = trainer("ditm", epochs=3), trainer("ditm", epochs=3, chunk_images=3)
    for a, b in zip(whole.run().history, chunks.run().history, strict=True):
        assert a == pytest.approx(b, rel=1e-3)


def test_batch_normalisation_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"6 layers normalise over the batch \(towers\.image_tower\.stages\.1,"):
        trainer("clip", "norms", chunk_images=4)


def test_pretrained_towers_keep_the_statistics_of_batch_norms_so_that_chunks_are_the_whole() -> None:
    whole, chunks = trainer("clip", "kept"), trainer("clip", "kept", chunk_images=3)
    for engine in (whole, chunks):
        towers = engine.encoder.towers
        assert towers is not None
        before = {name: value.clone() for name, value in towers.state_dict().items()}
        engine.run()
        moved = {name for name, value in towers.state_dict().items() if not torch.equal(value, before[name])}
        assert not [name for name in moved if "running" in name]
        assert {"image_tower.stages.0.weight", "image_tower.stages.1.weight", "image_tower.stages.1.bias"} <= moved
    for ours, theirs in zip(whole.stepper.trained, chunks.stepper.trained, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_their_statistics_are_not_taken_over_processes_either() -> None:
    towers = small_towers("kept", 0.0)
    assert towers is not None
    synchronise_norms(towers.train(), Group(0, 2))
    pixels = towers.preprocess(torch.zeros(2, towers.image_size, towers.image_size, 3, dtype=torch.uint8))
    assert torch.equal(towers.image(pixels).pooled, towers.eval().image(pixels).pooled)  # nobody was asked for a sum


def test_parts_of_different_width_are_padded() -> None:
    parts = [
        Embedded(torch.ones(1, 2), torch.ones(1, width, 3), torch.ones(1, width, dtype=torch.bool)) for width in (1, 2)
    ]
    found = concatenate(parts)
    assert found.tokens is not None
    assert found.mask is not None
    assert found.tokens[:, :, 0].tolist() == [[1, 0], [1, 1]]
    assert found.mask.tolist() == [[True, False], [True, True]]
    assert concatenate(parts[:1]) is parts[0]
    assert concatenate([Embedded(torch.ones(1, 2))] * 2).tokens is None
