import numpy as np
import pytest

from itm.errors import MetricError
from itm.metrics.plausible import ECCV_LISTS, ECCV_PAPER, PCME, PmrpDefinition, pmrp


def literal(scores, rows, columns, zetas, cap=None, original=None):
    found = []
    for query, code in enumerate(rows):
        values = []
        items = [item for item in range(len(columns)) if original is None or not original[query, item]]
        order = sorted(items, key=lambda item: (-scores[query, item], item))
        for zeta in zetas:
            matches = {item for item in items if np.sum(columns[item] != code) <= zeta}
            r = len(matches) if cap is None else min(cap, len(matches))
            values.append(len(matches & set(order[:r])) / r if r else np.nan)
        found.append(np.mean(values))
    return found


@pytest.mark.parametrize("tied", [False, True])
def test_three_definitions_equal_a_literal_count(tied):
    rng = np.random.default_rng(0)
    rows, columns = rng.random((80, 6)) < 0.3, rng.random((120, 6)) < 0.3
    rows[:, 0], columns[:, 0] = True, True
    scores = rng.integers(0, 4, (80, 120)) / 1.0 if tied else rng.random((80, 120))
    original = rng.random((80, 120)) < 0.02
    assert pmrp(scores, rows, columns, PCME) == pytest.approx(literal(scores, rows, columns, (0, 1, 2)), nan_ok=True)
    paper = pmrp(scores, rows, columns, ECCV_PAPER)
    assert paper == pytest.approx(literal(scores, rows, columns, (0,), 50), nan_ok=True)
    lists = pmrp(scores, rows, columns, ECCV_LISTS, original=original)
    assert lists == pytest.approx(literal(scores, rows, columns, (2,), None, original), nan_ok=True)


def test_the_cap_raises_precision_at_the_top():
    codes = np.ones((4, 1))
    assert pmrp([[4.0, 3, 2, 1]], [[1]], codes, PmrpDefinition((0,), cap=2)).tolist() == [1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pmrp(np.zeros((1, 2)), [[1]], [[1]]), r"codes \(1, 1\) and \(1, 1\) do not fit scores \(1, 2\)"),
        (lambda: pmrp(np.zeros((1, 1)), [[0]], [[1]]), "1 queries and 0 gallery items have no category"),
        (lambda: pmrp(np.zeros((1, 1)), [[1]], [[1]], ECCV_LISTS), "give `original`"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(MetricError, match=message):
        call()
