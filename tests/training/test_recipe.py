"""The schedule as published: tenths at epochs, decay of all weights, starts as shares, an entry's own recipe."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from presets import preset

from itm.config.methods import MethodParameters
from itm.errors import ConfigError, TrainingError
from itm.training.loop import check_starts
from itm.training.schedule import optimiser

sys.path.insert(0, str(Path(__file__).parent))
from small import build, train_parameters, trainer


def test_the_rate_falls_to_a_tenth_at_the_epochs_named() -> None:
    history = trainer("clip", epochs=5, decay_epochs=[2, 4], warmup_fraction=0.0).run().history
    assert [record["learning_rate"] for record in history] == pytest.approx([0.01, 0.01, 1e-3, 1e-3, 1e-4])


def test_an_epoch_over_captions_takes_a_step_for_each_batch_of_captions() -> None:
    for epoch, steps in (("images", 3), ("captions", 9)):
        assert trainer("clip", epochs=2, captions_per_image=1, epoch=epoch).steps == 2 * steps


def test_weight_decay_on_all() -> None:
    method = build("clip", None, 0.0)
    for chosen, decays in (("matrices", {0.05, 0.0}), ("all", {0.05})):
        groups = optimiser(method, None, train_parameters(weight_decay_on=chosen)).param_groups
        assert {group["weight_decay"] for group in groups} == decays
        assert sum(len(group["params"]) for group in groups) == len(list(method.parameters()))


@pytest.mark.parametrize(
    ("start", "steps", "refused"), [(9, 9, True), (8, 9, False), (0.99, 50, True), (0.9, 10, False), (0, 1, False)]
)
def test_a_start_after_the_end_is_refused(start: float, steps: int, refused: bool) -> None:
    options = preset("scenes").method["aahr"].model_dump()
    options["add"]["graph"]["start"] = start
    options["add"]["prototypes"]["start"] = options["add"]["queue"]["start"] = 0
    method = build("aahr", None, 0.0)
    method.additions["graph"].options = MethodParameters.model_validate(options).add.graph  # type: ignore[assignment]
    if refused:
        with pytest.raises(TrainingError, match=rf"has {steps} steps, and 1 additions begin .* \(graph at step "):
            check_starts(method, steps)
    else:
        check_starts(method, steps)


def test_a_share_counts_from_that_step_on() -> None:
    graph = build("aahr", None, 0.0).additions["graph"]
    graph.options = graph.options.model_copy(update={"start": 0.5})  # type: ignore[union-attr]
    assert [graph.first_step(steps) for steps in (10, 45_280)] == [5, 22_640]  # type: ignore[operator]
    given = trainer("aahr", epochs=2)
    given.encoder.method.additions["graph"].options = graph.options
    history = given.run().history
    assert ["graph" in record for record in history] == [False, True], history[0].keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.decay_epochs": [4, 2]}, r"decay_epochs: \[4, 2\] are not rising"),
        ({"train.decay_epochs": [0]}, r"decay_epochs: \[0\] are not rising"),
        ({"method.aahr.recipe": {"dimension": 30}, "methods": ["aahr"]}, "4 heads do not divide embedding.dimension"),
        ({"method.aahr.recipe": {"epoch": 3}}, "method.aahr.recipe.epoch: unknown key; did you mean 'epochs'"),
        ({"method.aahr.add.graph.start": 1.5}, "method.aahr.add.graph.start"),
    ],
)
def test_what_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        preset("scenes", changes=changes)


def test_an_entry_trains_with_its_own_recipe() -> None:
    own = {"dimension": 64, "epochs": 3, "batch_images": 32, "decay_epochs": [2], "select_by": "last"}
    whole = preset("scenes", changes={"method.aahr.recipe": own, "methods": ["clip", "aahr"]})
    found = whole.of("aahr")
    assert (found.embedding.dimension, found.train.epochs, found.train.batch_images) == (64, 3, 32)
    assert (found.train.decay_epochs, found.train.select_by) == ([2], "last")
    assert whole.of("clip") == whole
