"""Charts are well-formed, the same every time, and safe with any name."""

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm.report.plots import Axis, Bar, Series, bars, histogram, lines, round_step


def test_a_chart_is_well_formed_and_escapes_names():
    name = "<script>alert('1')</script> & \"x\""
    chart = lines("a <b> title", "x", "y", [Series(name, [1, 2], [0.5, 0.25], [0.1, 0.1]), Series("b", [1], [2])])
    tree = ET.fromstring(chart)
    assert tree.find("figcaption").text == "a <b> title"
    assert "<script" not in chart
    assert chart == lines(
        "a <b> title", "x", "y", [Series(name, [1, 2], [0.5, 0.25], [0.1, 0.1]), Series("b", [1], [2])]
    )


def test_points_that_are_not_finite_are_left_out():
    chart = lines("t", "x", "y", [Series("a", [1, 2, 3], [1.0, math.nan, 3.0]), Series("gone", [], [])])
    assert "nan" not in chart
    assert chart.count("<circle") == 2 + 0
    assert "gone" not in chart


def test_nothing_to_draw_is_nothing():
    assert lines("t", "x", "y", []) == ""
    assert lines("t", "x", "y", [Series("a", [1], [math.nan])]) == ""
    assert histogram("t", "x", [0, 1], [("a", [0])]) == ""


def test_stacked_bars_are_as_high_as_their_counts():
    tree = ET.fromstring(histogram("t", "x", [0, 1, 2], [("a", [2, 0]), ("b", [2, 4])]))
    bars = [(float(bar.get("y")), float(bar.get("height"))) for bar in tree.iter("rect")]
    assert bars[0][1] == bars[1][1]
    assert bars[2][1] == pytest.approx(2 * bars[0][1], abs=0.2)
    assert bars[1][0] == bars[2][0]


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_an_axis_holds_its_range(low, width):
    axis = Axis.around(low, low + width, 0, 100)
    assert axis.ticks[0] <= low + 1e-6 * (1 + abs(low) + width)
    assert axis.ticks[-1] >= (low + width) - 1e-6 * (1 + abs(low) + width)
    assert 2 <= len(axis.ticks) <= 9


@given(st.floats(1e-9, 1e9))
def test_a_round_step_is_near_and_not_smaller(step):
    assert step * (1 - 1e-6) <= round_step(step) <= 2.5 * step * (1 + 1e-6) or step < 1e-8


def test_every_chart_has_its_figures_as_a_table():
    chart = ET.fromstring(lines("t", "x", "y", [Series("a", [1, 2], [0.5, 0.25]), Series("b", [1, 2], [3, 4])]))
    rows = [[cell.text for cell in row] for row in chart.iter("tr")]
    assert rows == [["x", "a", "b"], ["1", "0.5", "3"], ["2", "0.25", "4"]]
    apart = ET.fromstring(lines("t", "x", "y", [Series("a", [1], [0.5]), Series("b", [2], [3])]))
    assert [[cell.text for cell in row] for row in apart.iter("tr")][1:] == [["a", "1", "0.5"], ["b", "2", "3"]]
    counted = ET.fromstring(histogram("t", "x", [0, 1, 2], [("a", [2, 0])]))
    assert [[cell.text for cell in row] for row in counted.iter("tr")][1:] == [["0", "1", "2"], ["1", "2", "0"]]


def test_series_of_methods_can_be_switched_and_others_not():
    assert 'class="series m1"' in lines("t", "x", "y", [Series("gone", [], []), Series("b", [1], [2])])
    assert 'class="series"' in lines("t", "x", "y", [Series("a", [1], [2])], switch=False)


def test_bars_start_at_zero_and_are_as_long_as_their_differences():
    rows = [
        Bar("up", 2.0, 1.0, 3.0, "+2", "up", "t"),
        Bar("<b>down", -1.0, math.nan, math.nan, "-1", "down", "t"),
        Bar("gone", math.nan, math.nan, math.nan, "", "same", "t"),
    ]
    chart = bars("t", "x", rows)
    tree = ET.fromstring(chart)
    up, down = ((float(bar.get("x")), float(bar.get("width"))) for bar in tree.iter("rect"))
    assert up[1] == pytest.approx(2 * down[1], abs=0.2)
    assert down[0] + down[1] == pytest.approx(up[0], abs=0.11)
    assert "gone" not in chart
    assert "&lt;b&gt;down" in chart
    assert bars("t", "x", rows[2:]) == ""
