"""Order within images, against a plain loop over all pairs of captions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm.errors import DataError
from itm.report.order import agreement, curve, curve_series

CAPTIONS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20)


@given(CAPTIONS)
def test_agreement_is_the_share_of_pairs_in_order(rows):
    owner, d, s = np.array(rows).T
    d = d / 4
    agree = total = 0.0
    for a in range(len(rows)):
        for b in range(a):
            if owner[a] == owner[b] and abs(d[a] - d[b]) > 0.05:
                agree += 0.5 if s[a] == s[b] else float((s[a] > s[b]) == (d[a] > d[b]))
                total += 1
    found = agreement(s, d, owner)
    assert np.isnan(found) if total == 0 else found == pytest.approx(agree / total)


@given(CAPTIONS)
def test_the_curve_of_a_similarity_that_ignores_captions_is_flat(rows):
    owner, d, _ = np.array(rows).T
    assert curve(owner * 0.5, d, owner).similarity == pytest.approx(0)


def test_equal_similarities_are_chance_and_a_reversed_model_is_worse():
    owner, d = [0, 0, 0, 1, 1], [0.0, 0.5, 1.0, 0.2, 0.9]
    assert agreement([1, 1, 1, 1, 1], d, owner) == 0.5
    assert agreement([3, 2, 1, 2, 1], d, owner) == 0.0


def test_one_value_of_descriptiveness_is_one_bin():
    found = curve([0.1, 0.3], [0.5, 0.5], [0, 0])
    assert found.descriptiveness.tolist() == [0.5]
    assert found.similarity == pytest.approx(0)


def test_series_have_the_spread_over_seeds():
    runs = [curve([0.0, x], [0.0, 1.0], [0, 0], bins=2) for x in (0.2, 0.4)]
    (line,) = curve_series({"ditm": runs})
    assert line.y == pytest.approx([-0.15, 0.15])
    assert line.spread == pytest.approx([0.0707, 0.0707], abs=1e-4)
    (single,) = curve_series({"ditm": runs[:1]})
    assert list(single.spread) == []


def test_lengths_must_agree():
    with pytest.raises(DataError, match="2 similarities, 1 values of dn and 2 owners"):
        curve([1, 2], [1], [0, 0])
