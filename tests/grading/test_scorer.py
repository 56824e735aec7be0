"""Grades in blocks: as exact, and as bounded, as similarities in blocks."""

import numpy as np
import pytest

from itm.errors import MetricError
from itm.grading import Graded
from itm.grading import scorer as module
from itm.metrics import DotProduct, Positives, hit_ranks, top_items

IMAGES, CAPTIONS = 40, 150


@pytest.fixture(scope="module")
def pairs(world):
    rng = np.random.default_rng(0)
    image, text = (rng.standard_normal((count, 24)).astype(np.float32) for count in (IMAGES, CAPTIONS))
    text[7] = text[3]
    d = rng.uniform(0.5, 6.0, CAPTIONS)
    d[7] = d[3]
    return DotProduct(image / 8, text / 8), d


@pytest.mark.parametrize("specificity", [0.0, 0.7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turned", [False, True])
def test_blocks_are_within_their_bound_of_the_exact_grades(world, pairs, monkeypatch, specificity, dtype, turned):
    monkeypatch.setattr(module, "_CAPTIONS", 33)
    base, d = pairs
    graded = Graded(base, world.calibrator, d, specificity)
    scorer = graded.transposed() if turned else graded
    rows, columns = np.divmod(np.arange(IMAGES * CAPTIONS), scorer.shape[1])
    exact = scorer.exact(rows, columns).reshape(scorer.shape)
    s = base.exact(*((columns, rows) if turned else (rows, columns)))
    expected = world.calibrator.grade(s, d[rows if turned else columns], specificity)
    assert (exact.ravel() == expected).all()
    block = np.concatenate(
        [
            scorer.block(slice(top, min(top + 17, scorer.shape[0])), slice(0, scorer.shape[1]), dtype)
            for top in range(0, scorer.shape[0], 17)
        ]
    )
    assert block.dtype == dtype
    of_rows, of_columns = scorer.error(dtype)
    gap = np.abs(block - exact)
    assert (gap <= of_rows[:, None]).all()
    assert (gap <= of_columns[None]).all()
    assert gap.max() < (1e-4 if dtype is np.float32 else 1e-11)


def test_lists_and_ranks_are_those_of_a_full_sort(world, pairs):
    base, d = pairs
    graded = Graded(base, world.calibrator, d)
    s = base.block(slice(0, IMAGES), slice(0, CAPTIONS), np.float64)
    order = np.argsort(-world.calibrator.grade(s, d), axis=1, kind="stable")
    assert (top_items(graded, 6) == order[:, :6]).all()
    answers = Positives.from_pairs(np.arange(IMAGES), np.arange(IMAGES) + 9, (IMAGES, CAPTIONS))
    assert (hit_ranks(graded, answers).rank == np.argmax(order == np.arange(IMAGES)[:, None] + 9, axis=1)).all()


def test_a_captions_order_of_images_is_that_of_its_similarities(world, pairs):
    base, d = pairs
    for specificity in (0.0, 1.3):
        turned = Graded(base, world.calibrator, d, specificity).transposed()
        assert (top_items(turned, IMAGES) == top_items(base.transposed(), IMAGES)).all()


def test_expected_multiplicity_is_the_sum_of_probabilities(world, pairs, monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 16)
    monkeypatch.setattr(module, "_CAPTIONS", 64)
    base, d = pairs
    s = base.block(slice(0, IMAGES), slice(0, CAPTIONS), np.float64)
    expected = world.calibrator.multiplicity(s, d).expected
    graded = Graded(base, world.calibrator, d, specificity=1.0)
    assert graded.multiplicity() == pytest.approx(expected, rel=1e-4)
    assert graded.transposed().multiplicity() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("d", "specificity", "message"),
    [
        (np.zeros(3), 0.0, r"\(3,\) values of d for 150 captions"),
        (np.full(CAPTIONS, np.nan), 0.0, "150 of 150 values of descriptiveness are NaN"),
        (np.zeros(CAPTIONS), np.inf, "the specificity is inf"),
    ],
)
def test_bad_input_is_refused(world, pairs, d, specificity, message):
    with pytest.raises(MetricError, match=message):
        Graded(pairs[0], world.calibrator, d, specificity)
