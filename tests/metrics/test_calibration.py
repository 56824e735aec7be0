import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from itm.errors import MetricError
from itm.metrics import reliability, threshold_curve


@given(hnp.arrays(np.float64, 15, elements=st.integers(0, 4).map(float)), hnp.arrays(bool, 15))
def test_average_precision_equals_scikit_learn(scores, truth):
    from sklearn.metrics import average_precision_score

    assume(truth.any())
    curve = threshold_curve(scores, truth)
    assert curve.average_precision == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
    best = 0.0
    for threshold in np.unique(scores):
        said = scores >= threshold
        best = max(best, 2 * np.sum(said & truth) / (said.sum() + truth.sum()))
    assert curve.best_f1 == pytest.approx(best, abs=1e-12)


def test_a_constant_score_has_the_base_rate():
    assert threshold_curve(np.zeros(10), np.arange(10) < 3).average_precision == pytest.approx(0.3)


def test_reliability_counts_every_pair_once():
    table = reliability(np.arange(10), np.arange(10) * 2, bins=3)
    assert table[:, 2].tolist() == [4, 3, 3]
    assert (np.diff(table[:, 1]) > 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: threshold_curve([1.0], [True, False]), "1 scores for 2 truths"),
        (lambda: threshold_curve([1.0, np.inf], [True, False]), "1 scores not finite"),
        (lambda: threshold_curve([1.0], [False]), "no pair is true"),
        (lambda: reliability([1.0], [1.0], bins=2), "1 scores, 1 grades, 2 bins"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(MetricError, match=message):
        call()
