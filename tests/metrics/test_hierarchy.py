import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from itm.errors import MetricError
from itm.metrics import chain_scores, interpolation, radii, radius_levels, tau_d


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def cases(kind):
    rng = np.random.default_rng(0)
    images, texts, root = rng.standard_normal((15, 6)), rng.standard_normal((80, 6)), rng.standard_normal(6)
    if kind == "tied":  # signs: equal radii, equal similarities, repeated texts
        images, texts, root = np.sign(images), np.sign(texts), np.sign(root)
        return images, texts, root
    if kind == "cone":  # texts in a narrow cone around the root, as trained models have them
        texts, root = root + 0.2 * texts, root
    return unit(images), unit(texts), unit(root)


@pytest.mark.parametrize("kind", ["random", "tied", "cone"])
@pytest.mark.parametrize("levels", [2, 7, 50])
def test_radius_levels_equal_a_literal_walk(reference, kind, levels):
    data = cases(kind)
    assert radius_levels(*data, levels).tolist() == reference.radius_walk(*data, levels)


@pytest.mark.parametrize("kind", ["random", "cone"])
@pytest.mark.parametrize("steps", [2, 50])
def test_interpolation_equals_a_literal_walk(reference, kind, steps):
    data = cases(kind)
    assert interpolation(*data, steps).tolist() == reference.line_walk(*data, steps)


def test_interpolation_takes_the_lowest_text_of_equal_ones():
    texts = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # q = (1, 0), (3/4, 1/4), (1/2, 1/2), (1/4, 3/4): at the third all four texts tie
    assert interpolation([[1.0, 0.0]], texts, [0.0, 1.0], 4).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("walk", [radius_levels, interpolation])
def test_a_collapsed_model_retrieves_the_first_text_everywhere(walk):
    rng = np.random.default_rng(0)
    texts = np.tile(rng.standard_normal((1, 33)), (517, 1))
    assert (walk(rng.standard_normal((7, 33)), texts, rng.standard_normal(33)) == 0).all()


def test_all_texts_at_one_radius_are_admitted_at_once():
    texts = np.array([[0.0, 1.0], [0.0, -1.0]])
    assert radius_levels([[0.0, -2.0]], texts, [0.0, 0.0], 3).tolist() == [[1, 1, 1]]


@given(
    hnp.arrays(np.int64, (3, 6), elements=st.integers(0, 5)), hnp.arrays(np.int64, (5, 3), elements=st.integers(0, 5))
)
def test_chain_scores_equal_their_definitions(reference, retrieved, chains):
    owners = [0, 1, 2, 1, 0]  # images with two chains accept either at each level
    scores = chain_scores(retrieved, chains, owners)
    for image, walk in enumerate(retrieved.tolist()):
        rows = [chain for chain, owner in zip(chains.tolist(), owners, strict=True) if owner == image]
        accepted = [{row[level] for row in rows} for level in range(3)]
        everything = set().union(*accepted)
        predicted = set(walk)
        assert scores.precision[image] == pytest.approx(len(predicted & everything) / len(predicted))
        assert scores.recall[image] == pytest.approx(np.mean([bool(predicted & level) for level in accepted]))
        assert scores.any_recall[image] == bool(predicted & everything)
        assert scores.ordered_recall[image] == pytest.approx(reference.common_subsequence(walk, accepted) / 3)
        assert scores.ordered_recall[image] <= scores.recall[image] + 1e-12


def test_order_aware_recall_tells_a_reversed_walk():
    forwards = chain_scores(np.array([[0, 1, 2, 3]]), [[0, 1, 2, 3]], [0])
    backwards = chain_scores(np.array([[3, 2, 1, 0]]), [[0, 1, 2, 3]], [0])
    assert forwards.recall[0] == backwards.recall[0] == 1.0
    assert (forwards.ordered_recall[0], backwards.ordered_recall[0]) == (1.0, 0.25)


def test_tau_d_by_hand_and_with_ties():
    assert tau_d([[1, 2, 3, 4], [4, 3, 2, 1], [1, 3, 2, 4], [1, 1, 1, 1]]).tolist() == pytest.approx([1, -1, 4 / 6, 0])


def test_tau_d_equals_scipy_without_ties():
    from scipy.stats import kendalltau

    rows = np.random.default_rng(1).random((20, 4))
    assert tau_d(rows).tolist() == pytest.approx([kendalltau(row, [1, 2, 3, 4]).statistic for row in rows])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: radius_levels(np.eye(2), np.eye(3), np.ones(2)), "images 2, texts 3, root 2"),
        (lambda: radius_levels(np.eye(2), np.eye(2), np.ones(2), 1), "two or more steps, not 1"),
        (lambda: interpolation(np.eye(2), np.zeros((0, 2)), np.ones(2)), "2 images and 0 texts"),
        (lambda: radius_levels([[np.nan, 0]], np.eye(2), np.ones(2)), "image embeddings: 1 of 1 rows hold NaN"),
        (lambda: chain_scores(np.zeros((2, 3), int), [[0, 1]], [0]), "1 of 2 images have no chain"),
        (lambda: chain_scores(np.zeros((1, 3), int), [[0, 1]], [0, 0]), r"chains \(1, 2\) and owners \(2,\)"),
        (lambda: tau_d([[1.0]]), "two or more levels"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(MetricError, match=message):
        call()


def test_radii_are_euclidean():
    assert radii(np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([1.0, 0.0])).tolist() == [1.0, 1.0]
