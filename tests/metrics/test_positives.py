import numpy as np
import pytest

from itm.errors import MetricError
from itm.metrics import Positives


def test_pairs_are_sorted_and_counted_once():
    answers = Positives.from_pairs([2, 0, 2, 2], [3, 1, 0, 3], (4, 5))
    assert answers.counts.tolist() == [1, 0, 2, 0]
    assert answers.of(2).tolist() == [0, 3]
    assert answers.queries.tolist() == [0, 2, 2]
    assert len(answers) == 4


def test_owners_give_both_directions_for_any_number_of_captions():
    i2t, t2i = Positives.from_owners([1, 0, 1, 1], images=3)
    assert [i2t.of(image).tolist() for image in range(3)] == [[1], [0, 2, 3], []]
    assert [t2i.of(caption).tolist() for caption in range(4)] == [[1], [0], [1], [1]]


def test_missing_answers_count_in_r_only():
    answers = Positives.from_pairs([0], [1], (2, 3), missing=[2, 0])
    assert answers.counts.tolist() == [1, 0]
    assert answers.relevant.tolist() == [3, 0]


def test_select_keeps_the_order_asked_for():
    answers = Positives.from_pairs([0, 1, 1, 2], [4, 0, 2, 3], (3, 5), missing=[0, 1, 2]).select([2, 1, 1])
    assert [answers.of(query).tolist() for query in range(3)] == [[3], [0, 2], [0, 2]]
    assert answers.missing.tolist() == [2, 1, 1]


def test_contains_broadcasts_and_agrees_with_the_mask():
    mask = np.random.default_rng(0).random((7, 9)) < 0.3
    answers = Positives.from_mask(mask)
    assert (answers.contains(np.arange(7)[:, None], np.arange(9)[None]) == mask).all()
    nothing = Positives.from_mask(np.zeros((2, 3), dtype=bool))
    assert not nothing.contains(np.arange(2)[:, None], np.arange(3)[None]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0], (2, 2)), "2 queries for 1 items"),
        (([0, 5], [0, 0], (2, 2)), r"1 query positions are outside 0\.\.1 \(5\)"),
        (([0, 1], [0, -1], (2, 2)), r"1 item positions are outside 0\.\.1 \(-1\)"),
        (([0], [0], (2, 2), [1]), r"`missing` has shape \(1,\), not \(2,\)"),
    ],
)
def test_bad_pairs_are_refused(arguments, message):
    with pytest.raises(MetricError, match=message):
        Positives.from_pairs(*arguments)
