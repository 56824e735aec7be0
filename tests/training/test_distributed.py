"""Two processes are one: the same loss and gradients as a single process with the whole batch, for every method."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import warm
from tiny_bert import tiny_bert

from itm.errors import TrainingError
from itm.training.distributed import Group, check_devices

sys.path.insert(0, str(Path(__file__).parent))
import words
from distributed_worker import CASES
from small import EACH_CUT, assert_same, gradients, of_whole_batch, trainer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("distributed")]  # the group shares a costly fixture


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes that torchrun started have found."""
    out = tmp_path_factory.mktemp("ranks")
    tiny_bert(out / "bert", words.TEXTS)
    python = f"{warm.commands()}/python"
    launcher = [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python", python]
    done = subprocess.run(
        [*launcher, str(Path(__file__).with_name("distributed_worker.py")), str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "0/run/state.pt").is_file()
    assert not (out / "1").exists()  # only the first process writes
    return [torch.load(out / f"rank{rank}.pt", weights_only=True) | {"bert": str(out / "bert")} for rank in (0, 1)]


GROWING = (1e-3, 5e-3)
"""Of the loss, by epoch, where towers normalise over small batches: roundings grow there from step to step (4e-5, then
1e-3 seen; 1e-7 without such layers), though gradients of a step are the same in float64."""


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_loss_and_gradients_are_those_of_one_process(ranks: list[dict[str, Any]], name: str, kind: str) -> None:
    expected = of_whole_batch(name, kind)
    for rank in ranks:
        assert_same(rank["gradients"][f"{name} {kind}"], expected)


@pytest.mark.parametrize("name", words.METHODS)
def test_a_text_encoder_beside_cached_features_too(ranks: list[dict[str, Any]], name: str) -> None:
    expected = words.gradients(name, ranks[0]["bert"])
    assert sum(key.startswith("additions.words.encoder.model") for key in expected) > 20
    for rank in ranks:
        assert_same(rank["words"][name], expected)


@pytest.mark.parametrize("name", EACH_CUT)
def test_chunks_and_processes_together(ranks: list[dict[str, Any]], name: str) -> None:
    for rank in ranks:
        assert_same(rank["gradients"][f"{name} chunks"], of_whole_batch(name, "plain"))


def test_dropout_differs_between_processes_and_the_common_numbers_do_not(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["gradients"]["dropout"] for rank in ranks)
    assert all(torch.equal(first[name], second[name]) for name in first)  # sums, and the state of random numbers
    assert first["loss"] != gradients("clip", "plain", dropout=0.5)["loss"]


def test_training_is_that_of_one_process_and_the_models_stay_equal(ranks: list[dict[str, Any]]) -> None:
    first, second = ranks
    assert first["history"] == second["history"]
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])
    expected = trainer("ditm", "norms", epochs=2).run().history
    for found, record, bound in zip(first["history"], expected, GROWING, strict=True):
        assert found["train_loss"] == pytest.approx(record["train_loss"], rel=bound)
        assert found["learning_rate"] == record["learning_rate"]


def test_queues_prototypes_and_twins_stay_equal(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["aahr"]["state"] for rank in ranks)
    assert all(torch.equal(first[name], second[name]) for name in first)
    engine = trainer("aahr", epochs=2)
    expected = engine.run().history
    for found, record in zip(ranks[0]["aahr"]["history"], expected, strict=True):
        assert found["train_loss"] == pytest.approx(record["train_loss"], rel=1e-3)
    state = engine.encoder.method.state_dict()
    for name in ("images.rows", "texts.rows", "images.same", "texts.score", "texts.pushed"):
        assert torch.equal(first[f"additions.queue.{name}"], state[f"additions.queue.{name}"]), name
    keys = first["additions.queue.texts.vectors"], state["additions.queue.texts.vectors"]
    torch.testing.assert_close(*keys, atol=1e-3, rtol=1e-3)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(TrainingError, match="8 images cannot be shared equally by 3 processes"):
        trainer("clip", group=Group(0, 3))


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(TrainingError, match="3 processes, but this machine has 2 GPUs; use --nproc-per-node 2"):
        check_devices("auto")
    check_devices("cpu")
