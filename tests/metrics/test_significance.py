import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from itm.errors import MetricError
from itm.metrics import bootstrap_interval, compare_correlations, compare_paired, holm, wilcoxon_p


def test_the_interval_of_a_share_is_the_binomial_one():
    values = np.repeat([1.0, 0.0], [300, 700])
    found = bootstrap_interval(values, samples=20_000)
    error = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert found.mean == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.3 - error, 0.3 + error), abs=0.002)


def test_counted_draws_have_the_spread_of_plain_draws():
    rng = np.random.default_rng(0)
    values, groups = rng.integers(0, 3, 400).astype(float), rng.integers(0, 90, 400)
    rows = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    plain = []
    for _ in range(4000):
        drawn = np.concatenate([rows[place] for place in rng.integers(0, len(rows), len(rows))])
        plain.append(values[drawn].mean())
    found = bootstrap_interval(values, groups, samples=20_000)
    assert (found.low, found.high) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.01)


def test_queries_of_one_image_count_as_one_observation():
    values = np.repeat(np.random.default_rng(0).integers(0, 2, 100), 5).astype(float)
    alone = bootstrap_interval(values)
    grouped = bootstrap_interval(values, np.repeat(np.arange(100), 5))
    assert (grouped.high - grouped.low) / (alone.high - alone.low) == pytest.approx(np.sqrt(5), rel=0.1)


def test_seeds_widen_the_interval():
    rng = np.random.default_rng(1)
    queries = rng.random(200)
    seeds = queries + np.array([[-0.3], [0.0], [0.3]])
    one, several = bootstrap_interval(seeds.mean(axis=0), samples=2000), bootstrap_interval(seeds, samples=2000)
    assert one.mean == pytest.approx(several.mean)
    assert several.high - several.low > 2 * (one.high - one.low)


def test_permutation_p_equals_enumeration_of_all_flips():
    differences = np.array([3.0, 1.0, 1.0, -1.0, 2.0, 0.0, 2.0, 4.0])
    observed = abs(differences.sum())
    signs = np.array([[1 if number >> bit & 1 else -1 for bit in range(8)] for number in range(256)])
    exact = np.mean(np.abs(signs @ differences) >= observed - 1e-9)
    found = compare_paired(np.zeros(8), differences, samples=200_000)
    assert found.p == pytest.approx(exact, abs=0.004)


@given(hnp.arrays(np.float64, st.integers(5, 40), elements=st.integers(-4, 5).map(float)))
def test_wilcoxon_equals_scipy(differences):
    from scipy.stats import wilcoxon

    if not differences.any():
        assert wilcoxon_p(differences) == 1.0
        return
    expected = wilcoxon(differences, zero_method="wilcox", correction=False, method="approx").pvalue
    assert wilcoxon_p(differences) == pytest.approx(expected, abs=1e-10)


def test_equal_methods_do_not_differ():
    values = np.random.default_rng(0).random(50)
    found = compare_paired(values, values)
    assert (found.difference, found.low, found.high, found.p, found.wilcoxon_p, found.effect) == (
        0,
        0,
        0,
        1,
        1,
        0,
    )


def test_p_values_are_uniform_when_nothing_differs():
    rng = np.random.default_rng(2)
    p = [compare_paired(rng.integers(0, 2, 150), rng.integers(0, 2, 150), samples=400, seed=n).p for n in range(200)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.05)


def test_a_clear_difference_is_found_with_its_size():
    rng = np.random.default_rng(3)
    a = rng.normal(size=(3, 500))
    b = a[:2] + 0.5 + 0.1 * rng.normal(size=(2, 500))
    b -= b.mean() - a.mean() - 0.5
    found = compare_paired(a, b, samples=1000)
    assert found.difference == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert found.p == pytest.approx(1 / 1001)
    assert found.better > found.worse


def test_holm_by_hand_and_monotone():
    assert holm([0.005, 0.2, 0.02, 0.9]).tolist() == pytest.approx([0.02, 0.4, 0.06, 0.9])
    assert holm([0.6, 0.6]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_paired([1.0], [1.0, 2.0]), "1 and 2 queries; pair them"),
        (lambda: bootstrap_interval([]), "no queries to draw from"),
        (lambda: bootstrap_interval([1.0, np.nan]), "1 of 2 values are not finite"),
        (lambda: bootstrap_interval([1.0, 2.0], [0]), r"\(1,\) groups for values of shape \(1, 2\)"),
        (lambda: bootstrap_interval([1.0], level=95), "between 0 and 1, not 95"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(MetricError, match=message):
        call()


def test_correlations_are_compared_on_whole_groups_drawn_again():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(4)
    ratings, groups = rng.integers(0, 5, 120).astype(float), rng.integers(0, 30, 120)
    a, b = ratings + 3 * rng.normal(size=120), np.round(ratings + rng.normal(size=120))
    found = compare_correlations(a, b, ratings, groups, samples=300, seed=7)
    draw, expected = np.random.default_rng(7), []
    for _ in range(300):
        drawn = draw.integers(0, 30, 30)
        draw.integers(1)  # the seed of each method
        draw.integers(1)
        pairs = np.concatenate([np.flatnonzero(groups == group) for group in drawn])
        expected.append(spearmanr(b[pairs], ratings[pairs]).statistic - spearmanr(a[pairs], ratings[pairs]).statistic)
    assert len(np.unique(groups)) == 30
    assert (found.low, found.high) == pytest.approx(np.quantile(expected, [0.025, 0.975]), abs=1e-10)
    assert found.difference == pytest.approx(spearmanr(b, ratings).statistic - spearmanr(a, ratings).statistic)
    assert found.p < 0.05
    same = compare_correlations(a, a, ratings, groups, samples=20)
    assert (same.difference, same.p, same.effect) == (0, 1, 0)
    with pytest.raises(MetricError, match="120 and 120 scores for 119 ratings"):
        compare_correlations(a, b, ratings[1:])
