import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from itm.errors import MetricError
from itm.metrics import DotProduct, Matrix, Positives, hit_ranks, rank_all, ranks


def answer_sets(positives):
    return [set(positives.of(query).tolist()) for query in range(len(positives))]


@st.composite
def tied_scores_and_answers(draw):
    """Score matrices of few distinct values, with any number of answers a query, none included."""
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 12)))
    scores = draw(hnp.arrays(np.float64, shape, elements=st.integers(-2, 2).map(float)))
    mask = draw(hnp.arrays(bool, shape))
    return scores, Positives.from_mask(mask)


@given(tied_scores_and_answers())
def test_ranks_equal_a_full_stable_sort(reference, case):
    scores, positives = case
    found = hit_ranks(scores, positives)
    assert found.rank.tolist() == reference.hit_rank(scores, answer_sets(positives))
    assert found.answerable.tolist() == (positives.counts > 0).tolist()


@given(tied_scores_and_answers())
def test_the_interval_is_what_the_best_and_worst_order_of_ties_give(reference, case):
    scores, positives = case
    found = hit_ranks(scores, positives)
    answer = np.zeros(scores.shape, dtype=bool)
    answer[positives.queries, positives.items] = True
    for nudge, expected in ((0.1, found.optimistic), (-0.1, found.pessimistic)):
        assert expected.tolist() == reference.hit_rank(scores + nudge * answer, answer_sets(positives))


@pytest.mark.parametrize("kind", ["random", "signs", "constant", "nearly constant", "duplicates", "huge", "float32"])
def test_embeddings_rank_as_their_float64_scores(reference, kind):
    rng = np.random.default_rng(0)
    image, text = rng.standard_normal((300, 48)), rng.standard_normal((1100, 48))
    if kind == "signs":
        image, text = np.sign(image[:, :5]), np.sign(text[:, :5])
    elif kind == "constant":
        image, text = np.tile(image[:1], (300, 1)), np.tile(text[:1], (1100, 1))
    elif kind == "nearly constant":
        image, text = image[:1] + 1e-9 * image, text[:1] + 1e-9 * text
    elif kind == "duplicates":
        image, text = image[rng.integers(0, 40, 300)], text[rng.integers(0, 60, 1100)]
    elif kind == "huge":
        image, text = image * 1e40, text * 1e5
    elif kind == "float32":
        image, text = image.astype(np.float32), text.astype(np.float32)
    positives = Positives.from_owners(rng.integers(0, 300, 1100), 300)
    # the exact score of each pair, whatever the place: the reference must not depend on a matrix product
    exact = np.stack([(row.astype(np.float64) * text).sum(axis=1) for row in image])
    (i2t,), (t2i,) = rank_all(DotProduct(image, text), rows=[positives[0]], columns=[positives[1]])
    assert i2t.rank.tolist() == reference.hit_rank(exact, answer_sets(positives[0]))
    assert t2i.rank.tolist() == reference.hit_rank(exact.T, answer_sets(positives[1]))


@pytest.mark.parametrize("tied", [False, True])
def test_self_retrieval_uses_half_of_the_matrix_and_leaves_itself_out(reference, tied):
    rng = np.random.default_rng(1)
    text = rng.integers(-1, 2, (600, 4)).astype(float) if tied else rng.standard_normal((600, 16))
    mask = rng.random((600, 600)) < 0.01
    np.fill_diagonal(mask, False)
    positives, itself = Positives.from_mask(mask), Positives.from_mask(np.eye(600, dtype=bool))
    (found,), _ = rank_all(DotProduct(text), rows=[positives], exclude=itself)
    exact = np.stack([(row * text).sum(axis=1) for row in text])
    assert found.rank.tolist() == reference.hit_rank(exact, answer_sets(positives), answer_sets(itself))


def test_block_size_changes_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    image, text = rng.integers(-2, 3, (70, 6)).astype(float), rng.integers(-2, 3, (210, 6)).astype(float)
    i2t, t2i = Positives.from_owners(np.repeat(np.arange(70), 3), 70)
    whole = rank_all(DotProduct(image, text), rows=[i2t], columns=[t2i])
    monkeypatch.setattr(ranks, "BLOCK_ROWS", 16)
    monkeypatch.setattr(ranks, "BLOCK_COLUMNS", 37)
    small = rank_all(DotProduct(image, text), rows=[i2t], columns=[t2i])
    for one, other in zip((*whole[0], *whole[1]), (*small[0], *small[1]), strict=True):
        assert (one.rank == other.rank).all()
        assert (one.pessimistic == other.pessimistic).all()


def test_a_constant_model_is_no_better_than_chance():
    images = 200
    i2t, t2i = Positives.from_owners(np.repeat(np.arange(images), 5), images)
    found = hit_ranks(np.zeros((images * 5, images)), t2i)
    assert np.mean(found.rank < 1) == 1 / images
    assert np.mean(found.optimistic < 1) == 1.0
    assert np.mean(found.pessimistic < images - 1) == 0.0
    assert found.tied == pytest.approx(1, abs=0.01)
    assert hit_ranks(np.zeros((images, images * 5)), i2t).rank.tolist() == list(range(0, images * 5, 5))


def test_a_given_matrix_keeps_its_own_precision():
    scores = np.array([[1.0, 1.0 + 1e-12]])  # equal in float32
    assert hit_ranks(scores, Positives.from_pairs([0], [0], (1, 2))).rank.tolist() == [1]
    half = np.array([[0.5, 0.25]], dtype=np.float16)
    assert hit_ranks(half, Positives.from_pairs([0], [1], (1, 2))).rank.tolist() == [1]


def test_an_empty_side_gives_misses():
    found = hit_ranks(np.zeros((3, 0)), Positives.from_pairs([], [], (3, 0)))
    assert found.rank.tolist() == [0, 0, 0]
    assert not found.answerable.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: hit_ranks(np.zeros((2, 3)), Positives.from_pairs([0], [0], (2, 4))),
            "2 queries x 4 items, scores for 2 x 3",
        ),
        (
            lambda: rank_all(Matrix(np.zeros((2, 3))), columns=[Positives.from_pairs([0], [0], (2, 3))]),
            "answers are for 2 queries x 3 items, scores for 3 x 2",
        ),
        (
            lambda: hit_ranks(
                np.zeros((1, 2)), Positives.from_pairs([0], [1], (1, 2)), Positives.from_pairs([0], [1], (1, 2))
            ),
            "an excluded item cannot be a right answer",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(MetricError, match=message):
        call()
