import numpy as np
import pytest

from itm.errors import MetricError
from itm.metrics import bootstrap_spearman


def literal_trials(queries, ratings, scores, trials, seed):
    """The protocol in words, with scipy's ranks: half of the queries, one rated pair each."""
    from scipy.stats import spearmanr

    rng = np.random.default_rng(seed)
    names = np.unique(queries)
    pairs_of = [np.flatnonzero(queries == name) for name in names]
    found = []
    for _ in range(trials):
        drawn = rng.permutation(len(names))[: len(names) // 2]
        shares = rng.random(len(drawn))
        pairs = [pairs_of[q][int(share * len(pairs_of[q]))] for q, share in zip(drawn, shares, strict=True)]
        found.append(spearmanr(ratings[pairs], scores[pairs]).statistic)
    return np.array(found)


@pytest.mark.parametrize("count", [60, 61])
def test_equals_the_protocol_step_by_step(count):
    rng = np.random.default_rng(0)
    queries = rng.permutation(np.arange(300) % count) * 7  # any labels, in any order
    ratings, scores = rng.integers(0, 6, 300) / 1.0, rng.integers(0, 40, 300) / 1.0
    found = bootstrap_spearman(queries, ratings, scores, trials=8, seed=3)
    expected = literal_trials(queries, ratings, scores, 8, 3)
    assert found.trials == pytest.approx(expected, abs=1e-12)
    assert (found.mean, found.std) == pytest.approx((expected.mean(), expected.std()), abs=1e-12)
    assert found.queries == count


def test_the_seed_decides_and_is_enough():
    rng = np.random.default_rng(1)
    data = rng.integers(0, 50, 200), rng.random(200), rng.random(200)
    one, same, other = (bootstrap_spearman(*data, trials=10, seed=seed) for seed in (0, 0, 1))
    assert (one.trials == same.trials).all()
    assert (one.trials != other.trials).any()


def test_monotone_scores_correlate_fully():
    ratings = np.arange(40) / 8
    found = bootstrap_spearman(np.arange(40), ratings, np.exp(ratings), trials=5)
    assert (found.mean, found.std) == (1.0, 0.0)


def test_a_constant_model_is_undefined_not_dropped():
    found = bootstrap_spearman(np.arange(10), np.arange(10.0), np.ones(10), trials=3)
    assert np.isnan(found.mean)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [1.0], [1.0, 2.0]), "2 queries, 1 ratings and 2 scores"),
        (([0, 1, 2, 3], [1.0, 2, 3, np.nan], [1.0, 2, 3, 4]), "1 of 4 pairs hold NaN"),
        (([0, 0, 1, 2], [1.0, 2, 3, 4], [1.0, 2, 3, 4]), "3 queries; half of them must be at least two"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(MetricError, match=message):
        bootstrap_spearman(*arguments)
