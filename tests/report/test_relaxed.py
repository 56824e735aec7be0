"""What ditm methods relax: the numpy rule is that of training, its counts are plain, its examples are spread."""

import copy
from pathlib import Path

import numpy as np
import pytest

from itm.config.losses import DitmParameters
from itm.config.methods import MethodParameters
from itm.evaluation.tables import Tables
from itm.report.dataset import load_dataset
from itm.report.relaxed import _measure, _Part, _spread, paired_descriptiveness, relaxed_pairs, rule
from itm.text.controls import caption_descriptiveness


def options(space, **keys) -> DitmParameters:
    return DitmParameters(**(space.parameters.method["ditm"].loss.model_dump() | keys))


def entry(space, **keys) -> MethodParameters:
    return space.parameters.method["ditm"].model_copy(update={"loss": options(space, **keys)})


@pytest.fixture(scope="module")
def part(finished) -> _Part:
    return _Part(load_dataset("scenes", Tables(finished.clean, finished.scored, "test")), finished.scored)


KINDS = [
    {},
    {"direction": False},
    {"gate": "none"},
    {"score": "word_count"},
    {"score": "shuffled"},
    {"score": "random"},
    {"refinement": "masked"},
    {"refinement": "pseudo_positives"},
    {"base": "hinge", "refinement": "relative_margin", "margin_width": 0.5, "margin_floor": 0.2},
    {"base": "hinge", "refinement": "relative_margin", "direction": False},
    {"base": "hinge", "refinement": "absolute_margin"},
    {"base": "hinge", "refinement": "absolute_margin", "direction": False, "margin_floor": 0.3},
    {"refinement": "triplet_weight"},
    {"image_score": "mean"},
    {"image_score": "maximum", "refinement": "triplet_weight", "margin_width": 0.3},
]


@pytest.mark.parametrize("keys", KINDS, ids=lambda keys: " ".join(map(str, keys.values())) or "default")
def test_the_rule_is_that_of_training(finished, part, keys):
    """Every caption of an image is once the one it is paired with, as `itm.training.batches` draws it."""
    import torch

    from itm.methods.losses.ditm.relaxation import evidence, refine
    from itm.methods.method import Requirements
    from itm.training.batches import BatchRows
    from itm.training.relations import Relations

    method = options(finished, **keys)
    descriptiveness = caption_descriptiveness(method.score, part.normalised, part.words, 0)
    known = Relations(part.owner, part.content, descriptiveness, method.image_score, part.keywords)
    images, captions = np.arange(part.images), len(part.owner)
    strength, chance = np.zeros((part.images, captions)), np.zeros((part.images, captions))
    turns = 4 if method.image_score == "paired" else 1
    for turn in range(turns):
        # caption `turn` of each image comes first, so that it is the paired one
        order = np.argsort(part.owner * 4 + (np.arange(captions) % 4 - turn) % 4, kind="stable")
        rows = BatchRows(images, order, part.owner[order])
        labels = known.labels(rows, Requirements(containment=True), torch.device("cpu"))
        made = refine(method, labels, evidence(method, labels, None), 0)
        if made.relevance is not None:
            far = made.relevance
        elif made.margin is not None:
            far = 1 - made.margin / method.margin
        elif made.weight is not None:
            far = 1 - made.weight
        else:
            far = made.pseudo.float()
        # of labelled pairs the refinement says nothing, or leaves them as they are
        unlabelled = ~labels.positives.numpy()
        strength[:, order] += far.numpy() * unlabelled
        chance[:, order] += made.relaxed.numpy() * unlabelled
    found = rule(method, part)
    unlabelled = part.content[:, None] != part.content[part.owner][None, :]
    assert (found.strength * unlabelled)[...] == pytest.approx(strength / turns, abs=1e-6)
    # a margin that is smaller by rounding alone is no statement
    clear = np.abs(strength / turns) > 1e-6
    assert (found.chance * unlabelled)[clear] == pytest.approx((chance / turns)[clear], abs=1e-6)
    assert strength.max() > 0


def test_counts_against_plain_loops(finished, part):
    method = options(finished)
    (found,) = relaxed_pairs(
        part.data, finished.scored, {"ditm": entry(finished), "clip": finished.parameters.method["clip"]}, 3
    )
    chance, truth = rule(method, part).chance, part.data.tables.truth
    total = relaxed = true = right = 0
    for image in range(part.images):
        for caption, owner in enumerate(part.owner):
            if owner != image:
                total += 1
                relaxed += chance[image, caption]
                true += truth[image, caption]
                right += chance[image, caption] * truth[image, caption]
    whole = found.levels[0]
    assert (whole.level, whole.pairs) == (0, total)
    assert whole.relaxed == pytest.approx(relaxed / total)
    assert whole.true == pytest.approx(true / total)
    assert whole.precision == pytest.approx(right / relaxed)
    assert whole.recall == pytest.approx(right / true)
    assert [level.level for level in found.levels[1:]] == [1, 2, 3, 4]
    assert sum(level.pairs for level in found.levels[1:]) == total
    assert 0 < found.average_precision <= 1


def test_examples_are_of_their_kind_and_differ(finished, part):
    method = options(finished)
    (found,) = relaxed_pairs(part.data, finished.scored, {"ditm": entry(finished)}, 3)
    strength = rule(method, part).strength
    for kind, pairs in found.examples.items():
        assert len({pair.image for pair in pairs}) == len(pairs) == 3
        assert len({part.data.captions.texts[pair.caption] for pair in pairs}) == 3
        for pair in pairs:
            assert part.data.captions.owner[pair.caption] != pair.image
            assert part.data.tables.truth[pair.image, pair.caption] == (kind in ("true", "missed"))
            assert (pair.strength > 0) == (kind != "missed")
            assert pair.strength == pytest.approx(float(strength[pair.image, pair.caption]))


def test_methods_that_relax_nothing_or_need_a_model_are_left_out(finished, part):
    methods = {
        "none": entry(finished, refinement="none"),
        "off": entry(finished, soft_weight=0.0),
        "cosine": entry(finished, gate="text_cosine"),
        "vse": finished.parameters.method["vse"],
    }
    assert relaxed_pairs(part.data, finished.scored, methods, 2) == []


def test_without_truth_only_relaxed_pairs_are_shown(workspace):
    np.savez(workspace.clean / "truth.npz")
    data = load_dataset("scenes", Tables(workspace.clean, workspace.scored, "test"))
    (found,) = relaxed_pairs(data, workspace.scored, {"ditm": entry(workspace)}, 2)
    assert found.examples.keys() == {"unknown"}
    assert found.average_precision is None
    assert found.curve is None
    assert found.levels[0].precision is None


def test_images_with_fewer_captions_take_them_in_turn():
    descriptiveness, owner = np.array([0.1, 0.2, 0.3, 0.9]), np.array([0, 0, 0, 1])
    drawn = paired_descriptiveness(descriptiveness, owner, 2)
    assert np.array(drawn).T.tolist() == [[0.1, 0.2, 0.3], [0.9, 0.9, 0.9]]


def test_places_are_spread():
    mask, value = np.ones((3, 3), bool), np.zeros((3, 3), np.float32)
    places = _spread(mask, value, np.array([0, 0, 1]), 3)
    assert len(places) == 2  # two wordings
    assert len({image for image, _ in places}) == 2
    assert _spread(~mask, value, np.arange(3), 2) == []


def test_the_module_needs_no_torch():
    source = (Path(__file__).parents[2] / "src/itm/report/relaxed.py").read_text(encoding="utf-8")
    assert "import torch" not in source


def test_copies_of_an_image_are_no_unlabelled_pairs(finished, part):
    copied = copy.copy(part)
    copied.content = np.where(np.arange(part.images) == 1, part.content[0], part.content)
    found = rule(options(finished), part)
    before, after = (_measure("ditm", each, found, 0).levels[0].pairs for each in (part, copied))
    assert before - after == np.isin(part.owner, [0, 1]).sum()
