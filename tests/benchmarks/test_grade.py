"""What the pages of the grade decide by themselves: the specificity, other calibrators, agreement with people."""

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from itm.grading import fit_calibrator
from itm.metrics import kendall

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import grade
import grade_fits
import grade_judged
import grade_parts
import grade_tables
from grade_tables import Figure, corrected, paired, sides

SEEDS, IMAGES = 3, 60


def runs(order, rsum, i2t=0.5):
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.01, IMAGES) for _ in range(SEEDS)]
    return [{"order": order + each, "rsum": np.array(rsum), "i2t": np.full(IMAGES, i2t)} for each in noise]


def rising(top):
    """Order and RSUM rise with the specificity, mAP@R falls."""
    steps = np.linspace(0, 1, len(grade.SPECIFICITIES))
    return [*(runs(top * step, 300 + 10 * step, 1 - step) for step in steps), runs(0.5, 300.0)]


@pytest.mark.slow
def test_the_smallest_specificity_that_costs_neither_order_nor_rsum(monkeypatch):
    monkeypatch.setattr(grade_tables, "compare_paired", partial(grade_tables.compare_paired, samples=1000))
    assert grade.choose(rising(1.0), runs(0.5, 300.0), None) == (
        pytest.approx(0.8),
        True,
    )  # 8 of 15 steps are above 0.5
    assert grade.choose(rising(1.0), runs(0.5, 307.0), None) == (pytest.approx(1.1), True)  # the RSUM asks for more
    chosen, met = grade.choose(rising(1.0), runs(2.0, 300.0), None)
    assert not met
    assert chosen in grade.SPECIFICITIES


def world(images=200, captions=400):
    """P(true | s, d) is a logit of s and d, and known."""
    rng = np.random.default_rng(1)
    d = rng.uniform(1, 4, captions)
    truth = rng.random((images, captions)) < np.exp(-d)
    s = truth + 0.4 * rng.standard_normal(truth.shape)
    owners = np.array([rng.choice(np.flatnonzero(column)) if column.any() else 0 for column in truth.T])
    split = SimpleNamespace(d=d, truth=truth, owners=owners, images=np.arange(images))
    return SimpleNamespace(s=s), split


def test_told_which_pairs_are_true_it_finds_the_known_probability():
    similarities, split = world()
    usual = fit_calibrator(similarities.s, split.owners, split.d, model="", idf="")
    found = grade_fits.told(similarities, split, usual).probability(similarities.s, split.d)
    ratio = np.exp((2 * similarities.s - 1) / (2 * 0.4**2))  # of two normal densities
    known = np.exp(-split.d) * ratio / (1 - np.exp(-split.d) + np.exp(-split.d) * ratio)
    assert np.abs(found - known).mean() < 0.01
    assert found.sum() == pytest.approx(known.sum(), rel=0.03)


def test_the_plain_logit_is_straight_and_anchored_where_the_other_is():
    similarities, split = world()
    usual = fit_calibrator(similarities.s, split.owners, split.d, model="", idf="")
    found = grade_fits.plain(similarities, split, usual)
    assert np.abs(np.diff(found.ratio, n=2, axis=0)).max() < 1e-9
    grid = np.linspace(usual.low, usual.high, len(usual.ratio))
    for knot, ratio, prior in zip(usual.knots, usual.ratio.T, usual.log_prior, strict=True):
        anchor = np.interp(-prior, ratio, grid)
        assert found.probability(anchor, knot) == pytest.approx(usual.probability(anchor, knot), abs=0.02)


SIGNS = {"error": -1, "share": 1}


def test_a_figure_of_which_less_is_better_is_better_when_it_falls():
    low, high = ([{"x": level + np.arange(40.0) / 1000}] for level in (0.1, 0.2))
    rows = corrected(
        [(Figure(name, sign=sign), paired(low, high, "x", Figure(name), None)) for name, sign in SIGNS.items()]
    )
    assert sides(rows) == (["error"], ["share"], [])


def judgements(kind="crowdflower", pairs=300, seed=0):
    """Votes of 0, 1/3, 2/3 or 1 on pairs of 40 images, and a score that follows them."""
    rng = np.random.default_rng(seed)
    votes = rng.integers(0, 4, pairs)
    rating = votes + 1.0 if kind == "expert" else votes / 3
    among = grade_judged.Judged(
        grade_judged.KINDS[kind], rng.integers(0, 40, pairs), np.arange(pairs), rating, rng.uniform(1, 5, pairs)
    )
    return among, votes + rng.normal(0, 2, pairs).round(1)


@pytest.mark.parametrize(("kind", "variant"), [("expert", "c"), ("crowdflower", "b")])
def test_tau_of_a_sample_is_that_of_the_pairs_it_holds(kind, variant):
    among, scores = judgements(kind)
    assert grade_judged.taus([scores], among)[0] == pytest.approx(kendall(scores, among.rating, variant))
    weight = np.random.default_rng(1).integers(0, 4, len(scores))
    cells = grade_judged._cells(scores, among.rating)
    held = np.repeat(np.arange(len(scores)), weight)
    assert grade_judged.weighted_tau(*cells, weight.astype(float), variant) == pytest.approx(
        kendall(scores[held], among.rating[held], variant)
    )


def test_a_score_that_follows_people_better_is_found_better_and_an_equal_one_is_not():
    among, scores = judgements()
    noise = [np.random.default_rng(seed).normal(0, 0.1, len(scores)) for seed in range(SEEDS)]
    worse = [scores + each for each in noise]
    better = [scores + among.rating + each for each in noise]
    found = grade_judged.compare_taus(better, worse, among)
    assert found.low > 0
    assert found.p < 0.01
    same = grade_judged.compare_taus(worse, worse, among)
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_groups_hold_the_mean_probability_and_what_people_say():
    among, _ = judgements("expert")
    assert set(among.true) == {0.0, 1.0}  # only a 4 says that nothing is wrong
    groups = grade_judged.reliability_by([np.full(300, 0.25), np.full(300, 0.75)], among)
    assert len(groups) == 1 + grade_judged.GROUPS
    assert groups[0].stated.tolist() == [0.25, 0.75]
    assert groups[0].ece == pytest.approx(np.abs(np.array([0.25, 0.75]) - among.true.mean()))
    assert [each.d for each in groups[1:]] == sorted(each.d for each in groups[1:])


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("A dog runs across a field with a ball .", ["dog", "A dog", "A dog runs", "A dog runs across a field"]),
        ("Two dogs , one of them white, are playing", ["dogs", "Two dogs", "Two dogs one of them white"]),
        ("A big, black dog in snow", ["dog", "A big black dog"]),
        ("A group of kids sat in a bus", ["sat", "A group of kids sat"]),  # no rule knows verbs of the past
        ("A building", []),
        ("A man in the rain", ["man", "A man"]),
        ("dogs", []),
        ("", []),
    ],
)
def test_parts_of_a_caption(caption, found):
    assert grade_parts.parts(caption) == found


def test_a_calibrator_that_has_seen_parts_tells_parts_better():
    """Parts, of d 1, are far more similar to all images than captions, of d 5: without them that is not known."""
    rng = np.random.default_rng(0)
    images = 80
    owners = np.repeat(np.arange(images), 4)
    own = np.zeros((images, len(owners)), dtype=bool)
    own[owners, np.arange(len(owners))] = True
    captions = own * 2.0 + rng.normal(0, 0.5, own.shape)
    parts = 3 + own * 0.5 + rng.normal(0, 0.5, own.shape)
    found = grade_parts.Parts.__new__(grade_parts.Parts)
    found.dev = SimpleNamespace(images=np.arange(images), owners=owners, d=rng.normal(5, 0.3, len(owners)))
    found.owners, found.d, found.words = owners, rng.normal(1, 0.1, len(owners)), np.ones(len(owners))
    losses = found.held_out(SimpleNamespace(s=captions), parts, 0.9)
    assert losses.keys() == {"captions", "parts of 1 word"}
    without, both = losses["parts of 1 word"]
    assert both < 0.693 < without
    assert losses["captions"][1] == pytest.approx(losses["captions"][0], abs=0.01)
    assert grade_parts.better([losses])
    assert not grade_parts.better([losses, {"captions": (0.2, 0.22)}])
    assert not grade_parts.better([losses, {"of 2 and 3": (0.4, 0.4)}])
