"""The rule that relaxes negatives: by a literal loop, alike in numpy and torch, and silent where nothing is relaxed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm.text.controls import image_descriptiveness
from itm.text.relaxation import relaxes, strength

RULE = {
    "refinement": "soft_targets",
    "direction": True,
    "soft_weight": 0.5,
    "soft_threshold": 0.5,
    "margin_width": 1.0,
    "margin_floor": 0.0,
}
KINDS = ("soft_targets", "masked", "pseudo_positives", "relative_margin", "absolute_margin", "triplet_weight")


def rule(**changes: Any) -> Any:
    return SimpleNamespace(**RULE | changes)


def literal(options: Any, gate: float, caption: float, image: float) -> float:
    """The rule for one pair, in words: see DITM in docs."""
    gap = caption - image if options.direction else None
    if options.refinement in ("soft_targets", "masked", "pseudo_positives"):
        relevant = gate * min(max(1 - (gap or 0), 0), 1)
        if relevant <= options.soft_threshold:
            return 0.0
        graded = (relevant - options.soft_threshold) / (1 - options.soft_threshold)
        return graded if options.refinement == "soft_targets" else 1.0
    if options.refinement == "absolute_margin":
        left = caption if options.direction else 0.0
    else:
        left = 1 + (-1 if gap is None else gap) / options.margin_width
    return gate * (1 - min(max(left, options.margin_floor), 1))


@given(
    kind=st.sampled_from(KINDS),
    direction=st.booleans(),
    gate=st.sampled_from([0.0, 0.3, 0.75, 1.0]),
    values=st.tuples(*[st.sampled_from([0.0, 0.125, 0.4, 0.9, 1.0])] * 3),
    threshold=st.sampled_from([0.0, 0.5, 0.7]),
    width=st.sampled_from([0.25, 1.0]),
    floor=st.sampled_from([0.0, 0.3]),
)
def test_the_rule_is_a_literal_loop_in_numpy_and_torch(kind, direction, gate, values, threshold, width, floor) -> None:
    import torch

    options = rule(
        refinement=kind, direction=direction, soft_threshold=threshold, margin_width=width, margin_floor=floor
    )
    captions, images, gates = np.array(values), np.array(values[:2]), np.full((2, 3), gate)
    expected = [[literal(options, gate, caption, image) for caption in values] for image in values[:2]]
    assert strength(options, gates, captions, images).astype(float) == pytest.approx(np.array(expected), abs=1e-12)
    tensors = [torch.from_numpy(each) for each in (gates, captions, images)]
    assert strength(options, *tensors).numpy().astype(float) == pytest.approx(np.array(expected), abs=1e-12)


@pytest.mark.parametrize("changes", [{"refinement": "none"}, {"soft_weight": 0.0}], ids=str)
def test_what_changes_no_negative_relaxes_none(changes: dict[str, object]) -> None:
    options = rule(**changes)
    assert not relaxes(options)
    assert not strength(options, np.ones((1, 1)), np.zeros(1), np.ones(1)).any()
    assert strength(rule(), np.ones((1, 1)), np.zeros(1), np.ones(1)).item() == 1


def test_an_image_takes_the_descriptiveness_of_its_captions() -> None:
    descriptiveness, owner = np.array([0.2, 0.6, 0.1]), np.array([0, 0, 2])
    assert image_descriptiveness("mean", descriptiveness, owner, 3).tolist() == pytest.approx([0.4, 0, 0.1])
    assert image_descriptiveness("maximum", descriptiveness, owner, 3).tolist() == [0.6, -np.inf, 0.1]
