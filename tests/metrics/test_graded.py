import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from itm.errors import MetricError
from itm.metrics import Positives, ndcg, precision_at_r, precision_at_r_of_lists


def test_hand_example():
    # list: 2 0 3 1; answers 0, 3 and one outside the gallery: R = 3
    scores = np.array([[0.8, 0.1, 0.9, 0.7]])
    found = precision_at_r(scores, Positives.from_pairs([0, 0], [0, 3], (1, 4), missing=[1]))
    assert found.r_precision[0] == pytest.approx(2 / 3)
    assert found.map_at_r[0] == pytest.approx((1 / 2 + 2 / 3) / 3)


@given(
    hnp.arrays(np.float64, (4, 7), elements=st.integers(0, 3).map(float)),
    hnp.arrays(bool, (4, 7)),
    hnp.arrays(np.int64, 4, elements=st.integers(0, 2)),
)
def test_equals_the_definition_with_ties_and_missing_answers(reference, scores, mask, missing):
    positives = Positives.from_pairs(*np.nonzero(mask), (4, 7), missing=missing)
    if not positives.relevant.any():
        with pytest.raises(MetricError, match="no query has an answer"):
            precision_at_r(scores, positives)
        return
    found = precision_at_r(scores, positives)
    for query, order in enumerate(reference.ranked(scores).tolist()):
        if positives.relevant[query]:
            expected = reference.at_r(order, set(np.flatnonzero(mask[query])), int(missing[query]))
            assert (found.r_precision[query], found.map_at_r[query]) == pytest.approx(expected, abs=1e-15)
        else:
            assert np.isnan([found.r_precision[query], found.map_at_r[query]]).all()


def test_a_correct_ranking_of_negative_scores_is_perfect():
    found = precision_at_r(np.array([[-0.1, -0.2, -0.9]]), Positives.from_pairs([0, 0], [0, 1], (1, 3)))
    assert found.map_at_r[0] == found.r_precision[0] == 1.0


def test_short_lists_are_refused_because_they_would_raise_precision():
    positives = Positives.from_pairs([0, 0, 0], [0, 1, 2], (1, 9))
    with pytest.raises(MetricError, match=r"1 queries have more answers than the 2 items .* at least 3 items"):
        precision_at_r_of_lists(np.array([[0, 1]]), positives)
    with pytest.raises(MetricError, match="1 queries x 9 items, scores for 2 x 9"):
        precision_at_r(np.zeros((2, 9)), positives)


def test_ndcg_by_hand():
    # order 1 0 2; gains 1 3 0 at discounts 1, 1/log2(3), 1/2; the best order is 3 1 0
    third = 1 / np.log2(3)
    assert ndcg([0.5, 0.9, 0.1], [3, 1, 0]) == pytest.approx((1 + 3 * third) / (3 + third))
    assert ndcg([0.5, 0.9, 0.1], [3, 1, 0], gain="exponential") == pytest.approx((1 + 7 * third) / (7 + third))
    assert ndcg([0.5, 0.9, 0.1], [3, 1, 0], k=1) == pytest.approx(1 / 3)


def test_ndcg_of_tied_scores_is_the_mean_over_their_orders():
    tied = ndcg([1.0, 1.0], [1, 0])
    assert tied == pytest.approx((ndcg([2.0, 1.0], [1, 0]) + ndcg([1.0, 2.0], [1, 0])) / 2)


@given(
    hnp.arrays(np.float64, 6, elements=st.integers(0, 3).map(float)),
    hnp.arrays(np.float64, 6, elements=st.integers(0, 2).map(float)),
)
def test_ndcg_equals_scikit_learn(scores, grades):
    from sklearn.metrics import ndcg_score

    if grades.max() == 0:
        assert np.isnan(ndcg(scores, grades))
    else:
        assert ndcg(scores, grades) == pytest.approx(ndcg_score(grades[None], scores[None]), abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "grades", "options", "message"),
    [
        ([1.0], [1.0, 2.0], {}, r"\(1,\) scores for \(2,\) grades"),
        ([1.0, np.nan], [1.0, 2.0], {}, "1 scores are not finite"),
        ([1.0, 2.0], [1.0, -2.0], {}, "finite and not negative"),
        ([1.0, 2.0], [1.0, 2.0], {"gain": "square"}, "unknown gain 'square'; known: exponential, linear"),
    ],
)
def test_bad_ndcg_input_is_refused(scores, grades, options, message):
    with pytest.raises(MetricError, match=message):
        ndcg(scores, grades, **options)
