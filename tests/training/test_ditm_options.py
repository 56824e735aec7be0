"""Options of `ditm` that draw numbers, mine, or embed twice: resumed and accumulated runs agree with whole ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from itm.config.losses import DitmParameters
from itm.training.checkpoint import Checkpoint

sys.path.insert(0, str(Path(__file__).parent))
import small

OPTIONS: dict[str, dict[str, object]] = {
    "negative-sampling": {"refinement": "negative_sampling"},
    "mined": {"mined_captions": 3, "mined_threshold": 0.3, "order_form": "listmle"},
    "text-cosine": {"gate": "text_cosine", "refinement": "masked", "soft_threshold": 0.2},
    "sigmoid": {"base": "sigmoid", "refinement": "pseudo_positives", "soft_threshold": 0.4},
}


@pytest.fixture(params=sorted(OPTIONS))
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    ditm = small.PARAMETERS.method["ditm"]
    loss = DitmParameters.model_validate({**ditm.loss.model_dump(), **OPTIONS[request.param]})
    monkeypatch.setitem(small.PARAMETERS.method, "own", ditm.model_copy(update={"loss": loss}))
    return "own"


@pytest.mark.slow
def test_a_resumed_run_has_the_same_bits(name: str, tmp_path: Path) -> None:
    whole = small.trainer(name, epochs=3)
    expected = whole.run()

    def progress(done: int, total: int, note: str) -> None:
        if done == 5:
            raise small.Stop

    with pytest.raises(small.Stop):
        small.trainer(name, epochs=3, checkpoint=Checkpoint("run", tmp_path), progress=progress).run()
    resumed = small.trainer(name, epochs=3, checkpoint=Checkpoint("run", tmp_path))
    assert resumed.run().history == expected.history
    state = whole.encoder.method.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in resumed.encoder.method.state_dict().items())


def test_an_accumulated_batch_has_the_gradients_of_the_whole(name: str) -> None:
    small.assert_same(small.gradients(name, chunk_images=3), small.gradients(name))
