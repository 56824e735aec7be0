import numpy as np
import pytest

from itm.errors import MetricError
from itm.metrics import DotProduct, Matrix
from itm.metrics.scorer import first_equal

EVERYTHING = slice(None)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e6])
@pytest.mark.parametrize("dimension", [1, 3, 512])
def test_blocks_stay_inside_the_error_bound(dimension, scale):
    rng = np.random.default_rng(0)
    left, right = scale * rng.standard_normal((20, dimension)), rng.standard_normal((30, dimension))
    scorer = DotProduct(left, right)
    exact = scorer.exact(np.repeat(np.arange(20), 30), np.tile(np.arange(30), 20)).reshape(20, 30)
    for dtype in (np.float32, np.float64):
        difference = np.abs(scorer.block(EVERYTHING, EVERYTHING, dtype) - exact)
        by_row, by_column = scorer.error(dtype)
        assert (difference <= by_row[:, None]).all()
        assert (difference <= by_column[None]).all()


def test_products_beyond_float32_are_made_in_float64():
    block = DotProduct(np.full((2, 4), 1e30), np.full((3, 4), 1e30)).block(EVERYTHING, EVERYTHING)
    assert block.dtype == np.float64
    assert np.isfinite(block).all()


def test_equal_columns_tie_exactly_in_float64_blocks():
    rng = np.random.default_rng(1)
    distinct = rng.standard_normal((5, 77))
    columns = distinct[rng.integers(0, 5, 203)]
    block = DotProduct(rng.standard_normal((9, 77)), columns).block(slice(2, 9), slice(50, 203), np.float64)
    for number in range(5):
        same = (columns[50:203] == distinct[number]).all(axis=1)
        assert (np.ptp(block[:, same], axis=1) == 0).all()


def test_exact_depends_on_content_not_on_place():
    rng = np.random.default_rng(2)
    left, right = rng.standard_normal((3, 129)), rng.standard_normal((4, 129))
    once = DotProduct(left, right).exact(np.array([2]), np.array([3]))
    moved = DotProduct(left[::-1], right[[3, 3, 0]]).exact(np.array([0, 0]), np.array([0, 1]))
    assert (moved == once).all()


def test_exact_of_a_collapsed_model_is_the_same_the_fast_way():
    rng = np.random.default_rng(3)
    left, right = (
        np.repeat(rng.standard_normal((2, 8)), 200, axis=0),
        np.repeat(rng.standard_normal((1, 8)), 100, axis=0),
    )
    scorer = DotProduct(left, right)
    rows, columns = np.divmod(np.arange(400 * 100), 100)
    expected = np.array([scorer.exact(rows[i : i + 1], columns[i : i + 1])[0] for i in range(0, 40_000, 997)])
    assert (scorer.exact(rows, columns)[::997] == expected).all()


def test_half_precision_counts_as_float32():
    values = np.random.default_rng(4).standard_normal((3, 5)).astype(np.float16)
    assert (
        DotProduct(values).block(EVERYTHING, EVERYTHING)
        == DotProduct(values.astype(np.float32)).block(EVERYTHING, EVERYTHING)
    ).all()


def test_first_equal_tells_zeros_of_either_sign_as_equal():
    assert first_equal(np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]])).tolist() == [0, 0, 2]
    assert first_equal(np.zeros((0, 3))).tolist() == []


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DotProduct(np.zeros(3)), r"row embeddings have shape \(3,\); expected \[items, dimension\]"),
        (lambda: DotProduct(np.zeros((2, 3)), np.zeros((2, 4))), "differ in dimension: 3 for rows, 4 for columns"),
        (lambda: DotProduct([[1.0], [np.nan]]), r"row embeddings: 1 of 2 rows hold NaN or infinity \(rows 1\)"),
        (lambda: DotProduct(np.eye(2), [[0.0, np.inf]]), r"column embeddings: 1 of 1 rows"),
        (lambda: Matrix(np.zeros(3)), r"scores have shape \(3,\)"),
        (lambda: Matrix([[0.0, np.nan], [np.inf, 0.0]]), r"2 of 4 are not finite \(\[0, 1\], \[1, 0\]\)"),
    ],
)
def test_bad_input_is_refused(build, message):
    with pytest.raises(MetricError, match=message):
        build()
