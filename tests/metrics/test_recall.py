import numpy as np
import pytest

from itm.errors import MetricError
from itm.metrics import Positives, fold_means, hit_ranks, hit_rates, hits_at, rsum


def test_hand_example_with_uneven_captions():
    # image 0 owns captions 0 and 3, image 1 owns 1, image 2 owns 2
    scores = np.array([[0.1, 0.9, 0.8, 0.7], [0.2, 0.3, 0.9, 0.1], [0.0, 0.1, 0.5, 0.2]])
    i2t, t2i = Positives.from_owners([0, 1, 2, 0], 3)
    rates = hit_rates(hit_ranks(scores, i2t), at=(1, 2, 3))
    assert rates == {"r1": 1 / 3, "r2": 2 / 3, "r3": 1.0, "median_rank": 2.0, "mean_rank": 2.0}
    back = hit_rates(hit_ranks(scores.T, t2i), at=(1,))
    assert back == {"r1": 0.25, "median_rank": 2.0, "mean_rank": 2.0}  # ranks 1, 1, 2, 0
    assert rsum(rates, back) == pytest.approx(100 * (1 / 3 + 2 / 3 + 1 + 0.25))


def test_queries_without_an_answer_are_misses_or_left_out():
    ranks = hit_ranks(np.eye(2), Positives.from_pairs([0], [0], (2, 2)))
    assert hit_rates(ranks, at=(1, 50))["r50"] == 0.5  # a miss even when K exceeds the gallery
    assert hit_rates(ranks, at=(1,), answerable_only=True)["r1"] == 1.0
    assert hits_at(ranks, 50).tolist() == [1.0, 0.0]


def test_hit_rate_is_not_recall():
    i2t, _ = Positives.from_owners([0] * 5, 1)
    assert hit_rates(hit_ranks(np.ones((1, 5)), i2t), at=(1,))["r1"] == 1.0


def test_folds_are_averaged():
    assert fold_means([{"r1": 0.1, "median_rank": 1.0}, {"r1": 0.3, "median_rank": 2.0}]) == {
        "r1": pytest.approx(0.2),
        "median_rank": 1.5,
    }


def test_bad_input_is_refused():
    ranks = hit_ranks(np.eye(2), Positives.from_pairs([0], [0], (2, 2)))
    with pytest.raises(MetricError, match="K >= 1, not 0"):
        hit_rates(ranks, at=(1, 0))
    with pytest.raises(MetricError, match="no query has an answer"):
        hit_rates(hit_ranks(np.eye(2), Positives.from_pairs([], [], (2, 2))))
