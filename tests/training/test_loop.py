"""The loop on a tiny problem: it learns, repeats itself bit by bit, resumes exactly, and stops with a reason."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from itm.config.model import EmbeddingParameters, TrainParameters
from itm.errors import TrainingError
from itm.features import TokenRows
from itm.methods.build import build_method
from itm.methods.method import Widths
from itm.training.checkpoint import Checkpoint
from itm.training.figures import dev_figures
from itm.training.inputs import Encoder, Inputs
from itm.training.loop import Outcome, Split, Trainer, seed_everything
from itm.training.relations import Relations

sys.path.insert(0, str(Path(__file__).parent))
from small import DESCRIPTION_WIDTH, PARAMETERS, Stop, beside, reduced, started

EMBEDDING = EmbeddingParameters(dimension=8, layers=2, hidden=16, dropout=0.2)
IMAGES, EACH = 48, 3
OWNER = np.repeat(np.arange(IMAGES), EACH)


def train_parameters(**changes: object) -> TrainParameters:
    changes = {"epochs": 4, "batch_images": 16, "captions_per_image": 2, "learning_rate": 0.01, **changes}
    return TrainParameters.model_validate({**PARAMETERS.train.model_dump(), **changes})


def split(seed: int) -> Split:
    generator = np.random.default_rng(seed)
    concept = generator.normal(size=(IMAGES, 6))
    image = concept @ generator.normal(size=(6, 12))
    text = concept[OWNER] @ generator.normal(size=(6, 9)) + 0.1 * generator.normal(size=(len(OWNER), 9))

    def inputs(values: np.ndarray) -> Inputs:
        parts = [
            row + 0.1 * generator.normal(size=(n, len(row))) for row, n in zip(values, lengths(values), strict=True)
        ]
        pooled = torch.from_numpy(values.astype(np.float32))
        return Inputs(pooled, tokens=TokenRows.join(parts, values.shape[1]), token_rows=np.arange(len(values)))

    def lengths(values: np.ndarray) -> np.ndarray:
        return generator.integers(1, 5, len(values))

    return beside(Split(inputs(image), inputs(text), OWNER, inputs(np.zeros((1, 9)))))


def trainer(
    name: str, seed: int = 0, folder: Path | None = None, stop_after: int | None = None, **changes: object
) -> Trainer:
    seed_everything(seed, 1)
    widths = Widths(12, 9, 12, 9, description_width=DESCRIPTION_WIDTH, prototypes=4)
    method = started(build_method(reduced(PARAMETERS.method[name], 0.1), EMBEDDING, widths))
    generator = np.random.default_rng(1)
    # a caption holds most of its image's words, and few of other images': else containment would call noise relevant
    words = generator.random((IMAGES, 60)) < 0.05
    keywords = sparse.csr_array((words[OWNER] & (generator.random((len(OWNER), 60)) < 0.7)).astype(float))
    relations = Relations(OWNER, np.arange(IMAGES), generator.random(len(OWNER)), "paired", keywords)
    data = split(5)
    steps = {"done": 0}

    def progress(done: int, total: int, note: str) -> None:
        steps["done"] += 1
        if stop_after is not None and steps["done"] == stop_after:
            raise Stop

    return Trainer(
        Encoder(method, None, torch.device("cpu")),
        data,
        data,
        relations,
        train_parameters(**changes),
        seed,
        dev_figures(OWNER),
        64,
        Checkpoint("run", folder) if folder else None,
        progress,
    )


def finish(engine: Trainer) -> tuple[Outcome, dict[str, torch.Tensor]]:
    outcome = engine.run()
    return outcome, {k: v.clone() for k, v in engine.encoder.method.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PARAMETERS.method) - {"vsd-only"}))  # that one learns nothing
def test_every_method_learns_and_repeats_itself(name: str) -> None:
    options = {"epochs": 2, "batch_images": 8, "learning_rate": 0.03}
    first, weights = finish(trainer(name, **options))
    again, same = finish(trainer(name, **options))
    assert first.history == again.history
    assert all(torch.equal(weights[k], same[k]) for k in weights)
    chance = 100 * (EACH + 1) * 16 / IMAGES  # two directions, K = 1, 5, 10, at most three right captions
    assert first.selected > chance


@functools.cache
def whole(name: str) -> tuple[Outcome, dict[str, torch.Tensor]]:
    """A run that nobody stopped. Read only."""
    return finish(trainer(name, epochs=3))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip", "ditm", "ditm-aahr"])
def test_another_seed_gives_another_model(name: str) -> None:
    assert finish(trainer(name, seed=1, epochs=3))[0].history != whole(name)[0].history


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ditm", "aahr", "ditm-aahr"])
@pytest.mark.parametrize("stop_after", [1, 8])
def test_a_stopped_run_resumes_to_the_same_bits(tmp_path: Path, stop_after: int, name: str) -> None:
    expected, weights = whole(name)
    with pytest.raises(Stop):
        trainer(name, epochs=3, folder=tmp_path, stop_after=stop_after).run()
    resumed, same = finish(trainer(name, epochs=3, folder=tmp_path))
    assert resumed.history == expected.history
    assert all(torch.equal(weights[k], same[k]) for k in weights)


def test_a_damaged_checkpoint_starts_over(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt").write_bytes(b"not a checkpoint")
    assert finish(trainer("clip", epochs=3, folder=tmp_path))[0].history == whole("clip")[0].history


def test_the_best_dev_epoch_is_kept() -> None:
    engine = trainer("clip", epochs=5)
    figures = iter([10.0, 50.0, 30.0, 50.0, 20.0])
    engine.dev_figures = lambda scorer: {"rsum": next(figures)}
    outcome = engine.run()
    assert (outcome.epoch, outcome.selected) == (2, 50.0)


def test_a_loss_that_is_not_finite_stops_with_its_terms() -> None:
    engine = trainer("clip")
    engine.train.images.features[:] = float("nan")  # type: ignore[index]
    with pytest.raises(TrainingError, match="the loss is not finite at step 0 \\(info_nce nan\\)"):
        engine.run()


def test_a_collapsed_model_stops_with_a_reason() -> None:
    engine = trainer("vse", learning_rate=1e-9)
    for parameter in engine.encoder.method.parameters():
        parameter.data.zero_()
    with pytest.raises(TrainingError) as error:
        engine.run()
    assert error.value.reason == "collapsed"
