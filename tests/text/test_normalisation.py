"""dn: each option by hand, and ranks against SciPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import percentileofscore

from itm.config.data import ScoreParameters
from itm.errors import ConfigError, DataError
from itm.text.controls import control_values
from itm.text.normalisation import Normaliser, fit_normaliser

Options = Callable[..., ScoreParameters]


def test_clip(options: Options) -> None:
    training = np.arange(101.0)
    dn = fit_normaliser(training, options(quantiles={"low": 0.1, "high": 0.6}))
    assert dn(np.array([0.0, 10.0, 35.0, 60.0, 1e9])).tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    assert dn(training).dtype == np.float32


def test_sigmoid(options: Options) -> None:
    dn = fit_normaliser(np.array([1.0, 3.0]), options(normalisation="sigmoid"))
    assert dn(np.array([2.0, 3.0, 1e9, -1e9])).tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-1)), 1, 0])


def test_none(options: Options) -> None:
    assert fit_normaliser(np.array([1.0]), options(normalisation="none"))(np.array([7.5])).tolist() == [7.5]


@given(st.lists(st.integers(0, 9), min_size=1), st.lists(st.integers(-1, 10)))
def test_rank_is_the_mean_percentile(training: list[int], asked: list[int]) -> None:
    dn = Normaliser("rank", 0, 0, np.sort(np.array(training, dtype=float)))
    expected = [percentileofscore(training, value, kind="mean") / 100 for value in asked]
    assert dn(np.array(asked, dtype=float)).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("option", ["clip", "rank", "sigmoid", "none"])
def test_equal_training_scores_are_no_division_by_zero(options: Options, option: str) -> None:
    found = fit_normaliser(np.full(3, 2.0), options(normalisation=option))(np.array([1.0, 2.0, 3.0]))
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()


def test_no_training_scores(options: Options) -> None:
    with pytest.raises(DataError, match="no training captions to normalise by"):
        fit_normaliser(np.zeros(0), options())


def test_controls() -> None:
    d, words = np.arange(8.0), np.arange(8) * 2
    splits = np.array(["train"] * 5 + ["test"] * 3)
    assert control_values("word_count", d, words, splits).tolist() == words.tolist()
    shuffled = control_values("shuffled", d, words, splits)
    assert sorted(shuffled[:5]) == [0, 1, 2, 3, 4]
    assert sorted(shuffled[5:]) == [5, 6, 7]
    assert shuffled.tolist() == control_values("shuffled", d, words, splits).tolist()
    uniform = control_values("random", d, words, splits, seed=1)
    assert ((uniform >= 0) & (uniform < 1)).all()
    assert uniform.tolist() != control_values("random", d, words, splits, seed=2).tolist()
    with pytest.raises(ConfigError, match="did you mean 'word_count'"):
        control_values("wordcount", d, words, splits)
