import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from itm.errors import MetricError
from itm.metrics import DotProduct, top, top_items


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 40)), elements=st.integers(0, 3).map(float)))
def test_lists_are_the_head_of_a_stable_sort(reference, scores):
    for k in {1, (scores.shape[1] + 1) // 2, scores.shape[1]}:
        assert (top_items(scores, k) == reference.ranked(scores)[:, :k]).all()


@pytest.mark.parametrize("kind", ["random", "signs", "constant", "nearly constant", "duplicates"])
@pytest.mark.parametrize("k", [1, 7, 300, 900])
def test_embeddings_are_listed_as_by_float64_scores(reference, monkeypatch, kind, k):
    monkeypatch.setattr(top, "BLOCK_COLUMNS", 400)
    rng = np.random.default_rng(0)
    query, item = rng.standard_normal((20, 48)), rng.standard_normal((900, 48))
    if kind == "signs":
        query, item = np.sign(query[:, :5]), np.sign(item[:, :5])
    elif kind == "constant":
        item = np.tile(item[:1], (900, 1))
    elif kind == "nearly constant":
        query, item = query[:1] + 1e-9 * query, item[:1] + 1e-9 * item
    elif kind == "duplicates":
        item = item[rng.integers(0, 50, 900)]
    exact = np.stack([(row * item).sum(axis=1) for row in query])
    assert (top_items(DotProduct(query, item), k) == reference.ranked(exact)[:, :k]).all()


@pytest.mark.parametrize("k", [0, 4])
def test_k_must_fit_the_gallery(k):
    with pytest.raises(MetricError, match=f"the first {k} of a gallery of 3 items"):
        top_items(np.zeros((2, 3)), k)
