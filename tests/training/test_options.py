"""Options of the loop that are off by default: averages, early stopping, layer-wise rates, memory, precision."""

from __future__ import annotations

import functools
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from itm.config.parameters import validate
from itm.errors import ConfigError, ModelError, TrainingError
from itm.methods.method import Losses, Term
from itm.training.average import WeightAverage
from itm.training.checkpoint import Checkpoint
from itm.training.figures import EpochFigures
from itm.training.inputs import Encoder
from itm.training.schedule import heights, optimiser

sys.path.insert(0, str(Path(__file__).parent))
from small import PARAMETERS, Stop, build, small_towers, train_parameters, trainer


def weights(engine: Any) -> dict[str, torch.Tensor]:
    return {k: v.clone() for module in engine.modules.values() for k, v in module.state_dict().items()}


def test_the_average_follows_its_formula() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    average = WeightAverage({"layer": layer}, 0.2)
    expected = 1.0
    for step, value in ((1, 3.0), (2, 5.0), (3, 2.0)):
        layer.weight.data.fill_(value)
        average.update()
        decay = min(0.2, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with average.applied():
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 2.0


def test_the_average_is_evaluated_and_kept_and_the_steps_are_those_without_it() -> None:
    engine, plain = trainer("clip", epochs=1, weight_average=0.9), trainer("clip", epochs=1)
    seen: list[torch.Tensor] = []
    stepped: list[torch.Tensor] = []
    engine.progress = lambda *_: stepped.append(weights(engine)["similarity.image_head.1.weight"])
    figures = engine.dev_figures
    engine.dev_figures = lambda scorer: (
        seen.append(weights(engine)["similarity.image_head.1.weight"]) or figures(scorer)
    )
    engine.run()
    plain.run()
    assert engine.average is not None
    kept = weights(engine)["similarity.image_head.1.weight"]
    assert torch.equal(kept, seen[0])
    assert torch.equal(kept, engine.average.average["method.similarity.image_head.1.weight"])
    assert engine.average.steps == engine.steps
    # the weights themselves went the way they go without an average
    assert torch.equal(stepped[-1], weights(plain)["similarity.image_head.1.weight"])
    assert not torch.equal(kept, stepped[-1])


STOPPED: dict[str, dict[str, Any]] = {
    "average": {"weight_average": 0.9},
    "all": {"weight_average": 0.5, "patience": 2, "layer_decay": 0.5},
}


def with_options(name: str, **more: Any) -> Any:
    return trainer("ditm", "norms", dropout=0.2, epochs=4, **STOPPED[name], **more)


@functools.cache
def whole(name: str) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """History and weights of a run that nobody stopped. Read only."""
    engine = with_options(name)
    return engine.run().history, weights(engine)


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [1, 8])
@pytest.mark.parametrize("name", STOPPED)
def test_a_stopped_run_with_options_resumes_to_the_same_bits(tmp_path: Path, stop_after: int, name: str) -> None:
    done = 0

    def progress(*_: object) -> None:
        nonlocal done
        done += 1
        if done == stop_after:
            raise Stop

    history, expected = whole(name)
    with pytest.raises(Stop):
        with_options(name, checkpoint=Checkpoint("run", tmp_path), progress=progress).run()
    resumed = with_options(name, checkpoint=Checkpoint("run", tmp_path))
    assert resumed.run().history == history
    found = weights(resumed)
    assert all(torch.equal(value, found[key]) for key, value in expected.items())


@pytest.mark.slow
@pytest.mark.parametrize(("patience", "epochs"), [(0, 6), (2, 4), (1, 3), (3, 5)])
def test_patience_ends_training_and_keeps_the_best_epoch(tmp_path: Path, patience: int, epochs: int) -> None:
    figures = iter([10.0, 50.0, 30.0, 50.0, 20.0, 40.0])
    engine = trainer("clip", epochs=6, patience=patience, checkpoint=Checkpoint("run", tmp_path))
    engine.dev_figures = lambda scorer: {"rsum": next(figures)}
    outcome = engine.run()
    assert (outcome.epoch, len(outcome.history)) == (2, epochs)
    # started again after its end, it has nothing left to do
    again = trainer("clip", epochs=6, patience=patience, checkpoint=Checkpoint("run", tmp_path))
    again.dev_figures = engine.dev_figures
    assert len(again.run().history) == epochs


def tiny_clip(folder: Path) -> Any:
    """An open_clip model of a few thousand weights."""
    import open_clip

    from itm.towers.open_clip_model import OpenClipTowers

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "layers": 3, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 2},
    }
    (folder / "tiny-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "tiny-test.json")
    torch.manual_seed(0)
    return OpenClipTowers(model="tiny-test", weights="", image_size=16, context_length=8)


def test_layers_are_counted_from_the_top_of_each_tower(tmp_path: Path) -> None:
    found = heights(tiny_clip(tmp_path))
    expected = {
        "model.visual.proj": 0,
        "model.visual.ln_post.weight": 0,
        "model.visual.transformer.resblocks.2.mlp.c_fc.weight": 1,
        "model.visual.transformer.resblocks.0.ln_1.bias": 3,
        "model.visual.conv1.weight": 4,
        "model.visual.positional_embedding": 4,
        "model.text_projection": 0,
        "model.transformer.resblocks.1.ln_1.weight": 1,
        "model.token_embedding.weight": 3,
    }
    assert {name: found[name] for name in expected} == expected
    towers = small_towers("norms", 0.0)
    assert towers is not None
    own = heights(towers)
    convolutions = [own[f"image_tower.stages.{i}.weight"] for i in (0, 3, 6, 9, 12, 15)]
    norms = [own[f"image_tower.stages.{i}.weight"] for i in (1, 4, 7, 10, 13, 16)]
    assert convolutions == norms == [6, 5, 4, 3, 2, 1]
    assert [own[f"text_tower.{name}"] for name in ("norm.weight", "layers.1.norm1.weight", "position")] == [0, 1, 3]


def test_rates_fall_with_the_layers_and_all_weights_are_trained_once() -> None:
    towers = small_towers("norms", 0.0)
    assert towers is not None
    method = build("clip", towers, 0.0)
    made = optimiser(method, towers, train_parameters(layer_decay=0.5))
    rate = {id(p): group["peak"] for group in made.param_groups for p in group["params"]}
    own = heights(towers)
    assert all(rate[id(p)] == pytest.approx(0.01 * 0.5 ** own[name]) for name, p in towers.named_parameters())
    assert len(rate) == sum(len(group["params"]) for group in made.param_groups)
    assert rate.keys() == {id(p) for m in (method, towers) for p in m.parameters()}
    with pytest.raises(TrainingError, match="the image tower \\(Linear\\) has no stack of layers that is known"):
        heights(nn.Linear(1, 1))


@pytest.mark.slow
def test_gradient_checkpointing_changes_memory_only(tmp_path: Path) -> None:
    towers = tiny_clip(tmp_path).train()
    pixels, ids = torch.rand(2, 3, 16, 16), torch.from_numpy(towers.tokenize(["a dog", "two red cats"]))

    def gradient() -> list[torch.Tensor]:
        towers.zero_grad()
        (towers.image(pixels).pooled.square().sum() + towers.text(ids).pooled.square().sum()).backward()
        return [p.grad.clone() for p in towers.parameters() if p.grad is not None]

    plain = gradient()
    towers.checkpoint_gradients()
    assert towers.model.visual.transformer.grad_checkpointing
    assert towers.model.transformer.grad_checkpointing
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, gradient(), strict=True))


def test_towers_without_gradient_checkpointing_say_so() -> None:
    with pytest.raises(ModelError, match="ScratchTowers does not support it; set it to false"):
        trainer("clip", "norms", gradient_checkpointing=True)


def test_float16_needs_a_gpu_and_bfloat16_does_not() -> None:
    method = build("clip", None, 0.0)
    with pytest.raises(TrainingError, match="float16 needs a CUDA device"):
        Encoder(method, None, torch.device("cpu"), "float16")
    engine = trainer("clip", "norms", precision="bfloat16")
    assert engine.encoder.type == torch.bfloat16
    assert all(math.isfinite(record["train_loss"]) for record in engine.run().history)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_gpu_trains_in_every_precision_and_resumes(tmp_path: Path, precision: str) -> None:
    options = {"precision": precision, "device": "cuda", "epochs": 4, "chunk_images": 3}
    expected = trainer("ditm", "plain", **options).run().history
    assert expected[-1]["train_loss"] < expected[0]["train_loss"]
    half = trainer("ditm", "plain", **options, checkpoint=Checkpoint("run", tmp_path))
    half.progress = lambda done, total, note: (_ for _ in ()).throw(Stop) if done == total // 2 + 1 else None
    with pytest.raises(Stop):
        half.run()
    resumed = trainer("ditm", "plain", **options, checkpoint=Checkpoint("run", tmp_path)).run().history
    for found, record in zip(resumed, expected, strict=True):
        assert found == pytest.approx(record, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
def test_compiled_encoders_give_the_same_embeddings(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the backend that training takes, and by one that does all but compile C++, which takes half a minute."""
    compile_by = functools.partial(torch.compile, backend=backend)
    compiled_functions = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled_functions.append(function) or compile_by(function))
    plain = trainer("clip", epochs=1)
    expected = plain.run().history
    compiled = trainer("clip", epochs=1)
    encoder = compiled.encoder
    compiled.encoder = compiled.stepper.encoder = Encoder(
        encoder.method, None, encoder.device, "float32", compiled=True
    )
    assert len(compiled_functions) == 2
    assert compiled.run().history[0] == pytest.approx(expected[0], rel=1e-3)


def test_the_history_has_the_rate_and_the_norm_of_the_gradient() -> None:
    engine = trainer("ditm", epochs=3, gradient_clip=0.01)
    norms = []
    take = engine.stepper.take
    engine.stepper.take = lambda rows, context: norms.append(take(rows, context)) or norms[-1]  # type: ignore[method-assign]
    history = engine.run().history
    steps = engine.sampler.steps()
    assert history[0]["gradient_norm"] == pytest.approx(sum(t.gradient_norm.item() for t in norms[:steps]) / steps)
    assert history[0]["gradient_norm"] > 0.01  # the norm before clipping
    assert history[-1]["learning_rate"] == engine.optimiser.param_groups[0]["lr"]
    assert [record["learning_rate"] for record in history] == sorted(
        (r["learning_rate"] for r in history), reverse=True
    )
    unclipped = trainer("ditm", epochs=1, gradient_clip=0.0).run().history
    assert unclipped[0]["gradient_norm"] > 0


def test_figures_read_in_blocks_are_those_read_at_once() -> None:
    blocks, single = EpochFigures(4), EpochFigures(1)
    for step in range(10):
        value = torch.tensor(0.1 * step)
        norm = torch.tensor(math.inf if step == 3 else 2.0)
        for figures in (blocks, single):
            figures.add(step, Losses({"hinge": Term(value, 2.0)}, {"share": 0.5}), value * 2, norm)
    assert blocks.means() == single.means()
    assert single.means()["hinge"] == pytest.approx(0.45)
    late = EpochFigures(4)
    late.add(0, Losses({"hinge": Term(torch.tensor(1.0))}), torch.tensor(math.nan), torch.tensor(1.0))
    late.add(1, Losses({"hinge": Term(torch.tensor(1.0))}), torch.tensor(1.0), torch.tensor(1.0))
    with pytest.raises(TrainingError, match="not finite at step 0 \\(hinge 1\\)"):
        late.means()


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "select_by", "last", "patience stops by dev RSUM and keeps the best epoch: set select_by: rsum"),
        ("train", "layer_decay", 0.5, "train.layer_decay is for trained towers, and towers.frozen is true"),
        ("train", "gradient_checkpointing", True, "train.gradient_checkpointing is for trained towers"),
    ],
)
def test_options_that_contradict_each_other_are_refused(section: str, key: str, value: object, message: str) -> None:
    values = PARAMETERS.model_dump()
    values["towers"] |= {"kind": "offline", "frozen": True}
    values["train"] |= {"patience": 1}
    validate(values, "params.yaml")
    values[section][key] = value
    with pytest.raises(ConfigError, match=message):
        validate(values, "params.yaml")
