"""Means over seeds and the marks of the best, against numbers worked out by hand."""

import math

import pytest

from itm.config import BENCHMARKS
from itm.report.columns import KEY_COLUMNS, headline_columns
from itm.report.results import Results, Summary, aggregate, as_metrics, best, summarise


def results(metrics: dict[str, list[dict[str, float]]]) -> Results:
    seeds = tuple(range(len(next(iter(metrics.values())))))
    table = {(m, s, "retrieval"): values for m, rows in metrics.items() for s, values in enumerate(rows)}
    return Results(tuple(metrics), seeds, ("retrieval",), None, None, table, {})


def test_mean_and_sample_deviation_by_hand():
    # mean (0.25 + 0.35 + 0.3) / 3 = 0.3; squares 0.0025 + 0.0025 + 0 over n - 1 = 2: root of 0.0025 is 0.05
    assert summarise([0.25, 0.35, 0.30], 4) == Summary(0.3, 0.05)
    assert summarise([0.1, 0.2], 4) == Summary(0.15, 0.0707)


def test_one_seed_has_no_spread():
    assert summarise([0.25], 4) == Summary(0.25, None)
    found = as_metrics(aggregate(results({"clip": [{"rsum": 31.5}]}), 4))
    assert found == {"clip": {"retrieval/rsum": 31.5}}


def test_two_seeds_have_a_mean_and_a_spread():
    found = aggregate(results({"clip": [{"i2t/r1": 0.2}, {"i2t/r1": 0.4}]}), 4)
    assert found == {"clip": {"retrieval": {"i2t/r1": Summary(0.3, 0.1414)}}}
    assert as_metrics(found) == {"clip": {"retrieval/i2t/r1": 0.3}}


@pytest.mark.parametrize("values", [[math.nan], [0.5, math.nan], []])
def test_undefined_is_null_not_a_number(values):
    assert not summarise(values, 4).defined
    rows = [{"rsum": value} for value in values] or [{}]
    found = as_metrics(aggregate(results({"clip": rows, "vse": [{"rsum": 0.1}] * len(rows)}), 4))
    assert found["clip"]["retrieval/rsum"] is None


def test_a_metric_that_one_seed_lacks_is_undefined():
    found = aggregate(results({"clip": [{"a": 1.0, "b": 2.0}, {"a": 1.0}]}), 4)
    assert found["clip"]["retrieval"]["a"] == Summary(1.0, 0.0)
    assert not found["clip"]["retrieval"]["b"].defined


@pytest.mark.parametrize(
    ("values", "higher", "digits", "expected"),
    [
        ([1.0, 3.0, 2.0], True, 1, [False, True, False]),
        ([1.0, 3.0, 2.0], False, 1, [True, False, False]),
        ([3.04, 3.0, 2.0], True, 1, [True, True, False]),  # equal as shown: a tie
        ([3.06, 3.0, 2.0], True, 1, [True, False, False]),
        ([2.0, 2.0], True, 1, [True, True]),
        ([2.0, math.nan, 1.0], True, 1, [True, False, False]),
        ([2.0, math.nan], True, 1, [False, False]),  # nobody to beat
        ([2.0], True, 1, [False]),
        ([], True, 1, []),
    ],
)
def test_best_marks(values, higher, digits, expected):
    assert best(values, higher, digits) == expected


def test_a_method_has_at_most_twelve_headline_figures_on_every_data_set():
    for data, names in BENCHMARKS.items():
        shown = [each for name in names for each in headline_columns(name, [c.key for c in KEY_COLUMNS[name]])]
        assert 1 <= len(shown) <= 12, data
