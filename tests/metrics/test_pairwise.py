import numpy as np
import pytest

from itm.errors import MetricError
from itm.metrics import Positives, hit_ranks, hit_rates, rank_shortlist, score_blocks


def best_rank(row, answers):
    order = np.argsort(-row, kind="stable").tolist()
    return min(order.index(item) for item in answers)


@pytest.mark.parametrize("tied", [False, True])
def test_shortlist_equals_scores_lifted_above_the_rest(tied):
    rng = np.random.default_rng(0)
    draw = (lambda: rng.integers(0, 4, (30, 50)).astype(float)) if tied else (lambda: rng.standard_normal((30, 50)))
    cheap, costly = draw(), draw()
    positives = Positives.from_mask(np.arange(50) % 30 == np.arange(30)[:, None])
    found = rank_shortlist(cheap, positives, lambda query, item: costly[query, item], length=8)
    lifted = cheap.copy()
    listed = []
    for query, row in enumerate(cheap):
        top = np.argsort(-row, kind="stable")[:8]
        lifted[query, top] = 1000 + costly[query, top]
        listed.append(bool(set(top.tolist()) & set(positives.of(query).tolist())))
    assert found.ranks.rank.tolist() == [best_rank(row, positives.of(q)) for q, row in enumerate(lifted)]
    assert found.recall == np.mean(listed)
    assert hit_rates(found.ranks, at=(8,))["r8"] <= found.recall


def test_a_shortlist_of_everything_is_the_costly_ranking():
    rng = np.random.default_rng(1)
    cheap, costly = rng.standard_normal((2, 9, 12))
    positives = Positives.from_pairs(np.arange(9), np.arange(9), (9, 12))
    found = rank_shortlist(cheap, positives, lambda query, item: costly[query, item], length=12)
    assert (found.ranks.rank == hit_ranks(costly, positives).rank).all()
    assert found.recall == 1.0


def test_blocks_make_the_whole_matrix():
    values = np.random.default_rng(2).standard_normal((7, 11)).astype(np.float32)
    scorer = score_blocks(lambda rows, columns: values[rows, columns], (7, 11), rows=3, columns=4)
    assert (scorer.values == values).all()


def test_wrong_scorers_are_refused():
    positives = Positives.from_pairs([0], [0], (1, 3))
    with pytest.raises(MetricError, match=r"gave \(1, 1\) for a block of \(2, 3\)"):
        score_blocks(lambda rows, columns: np.ones((1, 1)), (2, 3))
    with pytest.raises(MetricError, match="1 of 6 are not finite"):
        score_blocks(lambda rows, columns: np.array([[1, 2, np.nan], [1, 2, 3]]), (2, 3))
    with pytest.raises(MetricError, match=r"gave \(1,\) scores for \(2,\) pairs"):
        rank_shortlist([[1.0, 2.0, 3.0]], positives, lambda query, item: np.ones(1), length=2)
    with pytest.raises(MetricError, match="the first 4 of a gallery of 3"):
        rank_shortlist([[1.0, 2.0, 3.0]], positives, lambda query, item: np.ones(1), length=4)
