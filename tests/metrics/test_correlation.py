import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from itm.errors import MetricError
from itm.metrics import average_ranks, kendall, spearman

small = hnp.arrays(np.float64, st.integers(2, 12), elements=st.integers(0, 3).map(float))


@given(st.data())
def test_kendall_equals_all_pairs_and_scipy(reference, data):
    from scipy.stats import kendalltau

    x = data.draw(small)
    y = data.draw(hnp.arrays(np.float64, len(x), elements=st.integers(0, 5).map(float)))
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    for variant in ("b", "c"):
        assert kendall(x, y, variant) == pytest.approx(reference.kendall(x, y, variant), abs=1e-12)
        assert kendall(x, y, variant) == pytest.approx(kendalltau(x, y, variant=variant).statistic, abs=1e-12)


@given(st.data())
def test_spearman_equals_scipy(data):
    from scipy.stats import rankdata, spearmanr

    x = data.draw(small)
    y = data.draw(hnp.arrays(np.float64, len(x), elements=st.floats(-5, 5)))
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    assert (average_ranks(x) == rankdata(x)).all()
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_large_input_agrees_with_scipy():
    from scipy.stats import kendalltau

    rng = np.random.default_rng(0)
    grade = rng.integers(0, 20, 20_000) / 20
    score = grade + rng.normal(size=20_000)
    for variant in ("b", "c"):
        assert kendall(score, grade, variant) == pytest.approx(
            kendalltau(score, grade, variant=variant).statistic, abs=1e-12
        )


def test_a_constant_has_no_correlation_and_says_so():
    for call in (spearman, kendall, lambda x, y: kendall(x, y, "c")):
        with pytest.warns(RuntimeWarning, match="correlation of a constant is undefined"):
            assert np.isnan(call([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]))


def test_perfect_and_reversed_orders():
    assert spearman([1, 2, 3], [10, 20, 30]) == kendall([1, 2, 3], [10, 20, 30]) == 1.0
    assert spearman([1, 2, 3], [3, 2, 1]) == kendall([1, 2, 3], [3, 2, 1], "c") == -1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spearman([1, 2], [1, 2, 3]), r"Spearman: shapes \(2,\) and \(3,\)"),
        (lambda: kendall([1], [1]), "Kendall: 1 pairs; at least two"),
        (lambda: kendall([1, 2], [1, np.nan]), "1 of 2 pairs hold NaN"),
        (lambda: kendall([1, 2], [1, 2], "a"), "unknown variant 'a'; known: b, c"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(MetricError, match=message):
        call()
