"""Metrics of grades, against loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from itm.errors import MetricError
from itm.metrics import calibration_by, calibration_of, half_truth, monotonicity, set_f1

SHARES = hnp.arrays(np.float64, 24, elements=st.integers(0, 16).map(lambda n: n / 16))
TRUTH = hnp.arrays(bool, 24)


@given(SHARES, TRUTH, st.integers(1, 12))
def test_calibration_equals_loops_and_scikit_learn(probability, truth, bins):
    from sklearn.metrics import brier_score_loss

    found = calibration_of(probability, truth, bins)
    ece = 0.0
    for low in range(bins):
        inside = [
            (p, y)
            for p, y in zip(probability.tolist(), truth.tolist(), strict=True)
            if low / bins <= p < (low + 1) / bins or (low == bins - 1 and p == 1)
        ]
        if inside:
            p, y = np.mean(inside, axis=0)
            ece += abs(p - y) * len(inside) / 24
    assert found.ece == pytest.approx(ece, abs=1e-12)
    assert found.bins[:, 2].sum() == 24
    assert found.brier == pytest.approx(brier_score_loss(truth, probability, labels=[False, True]), abs=1e-12)


@given(SHARES, TRUTH)
def test_set_f1_equals_sets(probability, truth):
    found = set_f1(probability.reshape(4, 6), truth.reshape(4, 6))
    for row in range(4):
        said = {item for item in range(6) if probability[6 * row + item] >= 0.5}
        true = {item for item in range(6) if truth[6 * row + item]}
        f1 = 2 * len(said & true) / (len(said) + len(true)) if said or true else 1.0
        assert found[row] == pytest.approx(f1)


@given(hnp.arrays(np.float64, (5, 4), elements=st.integers(-3, 3).map(float)))
def test_monotonicity_equals_loops_and_numpy(scores):
    found = monotonicity(scores)
    for row, values in enumerate(scores.tolist()):
        assert found.rising[row] == all(b > a for a, b in itertools.pairwise(values))
        if len(set(values)) > 1:
            assert found.pearson[row] == pytest.approx(np.corrcoef(range(4), values)[0, 1])
        else:
            assert np.isnan(found.pearson[row])


def test_a_constant_that_rounding_makes_uneven_has_no_correlation():
    assert np.isnan(monotonicity(np.full((1, 3), 0.1)).pearson[0])


def test_a_perfect_forecast_and_the_base_rate():
    truth = np.arange(10) < 3
    assert (calibration_of(truth, truth).ece, calibration_of(truth, truth).brier) == (0, 0)
    constant = calibration_of(np.full(10, 0.3), truth)
    assert constant.ece == pytest.approx(0)
    assert constant.brier == pytest.approx(0.21)


def test_shares_of_votes_are_a_truth():
    found = calibration_of([0.25, 0.75], [1 / 3, 2 / 3], bins=2)
    assert found.ece == pytest.approx(1 / 12)


def test_groups_keep_equal_values_together():
    parts = calibration_by([1, 1, 1, 1, 5], np.full(5, 0.5), [0, 1, 0, 1, 1], groups=4)
    assert [(value, part.bins[0, 2]) for value, part in parts] == [(1.0, 4), (5.0, 1)]
    (one,) = calibration_by(np.zeros(3), np.full(3, 0.5), [0, 1, 0])
    assert one[1].bins[0, 2] == 3


def test_a_score_that_only_adds_detail_has_no_half_truth_accuracy():
    words = np.array([3.0, 4.0, 5.0])
    assert not half_truth(words, words + 2).any()
    assert not half_truth(np.ones(3), np.ones(3)).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration_of([0.5], [True, False]), "1 probabilities for 2 truths"),
        (lambda: calibration_of([], []), "0 probabilities for 0 truths"),
        (lambda: calibration_of([1.5, np.nan], [0, 1]), "2 of 2 probabilities are not in 0..1"),
        (lambda: calibration_of([0.5], [2]), "1 of 1 truths are not in 0..1"),
        (lambda: calibration_of([0.5], [1], bins=0), "0 bins; at least one"),
        (lambda: calibration_by([1, 2], [0.5], [1]), "2 values for 1 pairs in 4 groups"),
        (lambda: calibration_by([np.nan], [0.5], [1]), "one finite value a pair"),
        (lambda: calibration_by([1], [0.5], [1], groups=0), "at least one group"),
        (lambda: set_f1([0.5], [True]), r"probabilities \(1,\) and truth \(1,\); expected one matrix each"),
        (lambda: set_f1([[0.5]], [[True, False]]), r"\(1, 1\) and truth \(1, 2\)"),
        (lambda: set_f1([[-0.5]], [[True]]), "not in 0..1"),
        (lambda: half_truth([1.0], [1.0, 2.0]), r"scores \(1,\) and \(2,\); expected two equal lengths"),
        (lambda: half_truth([], []), r"scores \(0,\)"),
        (lambda: half_truth([np.nan], [1.0]), "1 of 2 scores are not finite"),
        (lambda: monotonicity([[1.0], [2.0]]), r"expected \[items, two or more texts\]"),
        (lambda: monotonicity(np.zeros((0, 3))), r"scores \(0, 3\)"),
        (lambda: monotonicity([[1.0, np.inf]]), "1 of 2 scores are not finite"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(MetricError, match=message):
        call()
