"""Rank correlations against SciPy, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau, spearmanr

from itm.errors import MetricError
from itm.text.validity import group_order, spearman, variance_within

FEW = st.integers(0, 4)


@given(st.integers(0, 20).flatmap(lambda n: st.tuples(*(arrays(int, n, elements=FEW) for _ in range(3)))))
def test_group_order_is_the_mean_of_scipys_tau(drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    scores, levels, groups = drawn
    taus, strict = [], []
    for group in np.unique(groups):
        rows = groups == group
        if len(np.unique(levels[rows])) > 1:
            tau = kendalltau(scores[rows], levels[rows]).statistic
            taus.append(0.0 if np.isnan(tau) else tau)
            strict.append(
                all(
                    scores[a] < scores[b]
                    for a in np.flatnonzero(rows)
                    for b in np.flatnonzero(rows)
                    if levels[a] < levels[b]
                )
            )
    found = group_order(scores.astype(float), levels, groups)
    assert found.groups == len(taus)
    if taus:
        assert found.tau == pytest.approx(np.mean(taus))
        assert found.strict == pytest.approx(np.mean(strict))
    else:
        assert np.isnan(found.tau)


def test_levels_may_be_small_integers() -> None:
    levels = np.array([1, 127], dtype=np.int8)
    assert group_order(np.array([1.0, 2.0]), levels, np.zeros(2)).tau == 1


@given(st.integers(2, 30).flatmap(lambda n: st.tuples(arrays(int, n, elements=FEW), arrays(int, n, elements=FEW))))
def test_spearman_is_scipys(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = drawn
    if len(set(first.tolist())) == 1 or len(set(second.tolist())) == 1:
        assert np.isnan(spearman(first, second))
    else:
        assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)


def test_too_few_rows() -> None:
    assert np.isnan(spearman(np.zeros(0), np.zeros(0)))
    assert np.isnan(spearman(np.ones(1), np.ones(1)))
    assert np.isnan(variance_within(np.zeros(0), np.zeros(0)))
    assert np.isnan(variance_within(np.ones(3), np.zeros(3)))


def test_variance_within() -> None:
    assert variance_within(np.array([1.0, 2.0, 1.0, 2.0]), np.array([0, 0, 1, 1])) == 1
    assert variance_within(np.array([1.0, 1.0, 2.0, 2.0]), np.array([0, 0, 1, 1])) == 0


def test_lengths_must_agree() -> None:
    with pytest.raises(MetricError, match="arrays of 2, 3 rows"):
        spearman(np.zeros(2), np.zeros(3))
