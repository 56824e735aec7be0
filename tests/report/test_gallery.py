"""Examples: what each retrieved item is, and which queries are shown."""

from pathlib import Path

import numpy as np

from itm.evaluation.tables import Tables
from itm.report.dataset import Captions, Dataset
from itm.report.gallery import image_to_text, shares, text_to_image

# three images, four captions; caption 0 ("a dog") is true of images 0 and 1
TRUE = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]], dtype=bool)


def dataset(truth: bool = True) -> Dataset:
    captions = Captions(
        np.arange(4),
        ["a dog", "a white dog", "a brown dog", "a cat"],
        np.array([0, 0, 1, 2]),
        np.array([1, 2, 2, 1], dtype=np.int8),
        np.array([2, 1, 1, 1], dtype=np.int32),
        np.array([0.0, 0.5, 0.5, 0.2], dtype=np.float32),
    )
    data = Dataset("scenes", Tables(Path("nowhere"), Path("nowhere"), "test"), {}, ["x", "y", "z"], captions)
    data.tables.__dict__["truth"] = TRUE if truth else None
    return data


TOP = {
    "clip": np.array([[2, 1, 0], [2, 1, 0], [1, 0, 2], [2, 0, 1]]),
    "ditm": np.array([[2, 1, 0], [0, 1, 2], [0, 2, 1], [2, 0, 1]]),
}


def test_kinds():
    data = dataset()
    assert [data.kind(image, 0) for image in range(3)] == ["labelled", "true", "false"]
    assert [dataset(truth=False).kind(image, 0) for image in range(3)] == ["labelled", "unlabelled", "unlabelled"]


def test_worst_failures_come_first_then_the_largest_gains():
    found = text_to_image(dataset(), TOP, "ditm", "clip", 2)
    # caption 2: ditm has false, false, labelled; caption 1: clip has false, false, labelled and ditm the label first
    assert [(each.query, each.why) for each in found] == [
        (2, "Worst failures of ditm"),
        (1, "Largest gains of ditm on clip"),
    ]
    assert [(item.row, item.kind) for item in found[0].found["ditm"]] == [(0, "false"), (2, "false"), (1, "labelled")]


def test_a_query_is_shown_once_and_perfect_ones_never():
    top = {"ditm": np.array([[1, 0], [0, 1], [1, 0], [2, 0]])}
    everything = {"ditm": TRUE.T.argsort(axis=1)[:, ::-1][:, :1]}
    assert len(text_to_image(dataset(), top, "ditm", "ditm", 9)) == len({0, 1, 2, 3} - {0})
    assert text_to_image(dataset(), everything, "ditm", "ditm", 9) == []


def test_image_queries():
    top = {"clip": np.array([[0, 3], [3, 2], [3, 0]])}
    found = image_to_text(dataset(), top, "clip", "clip", 1)
    assert found[0].query == 1
    assert [(item.row, item.kind) for item in found[0].found["clip"]] == [(3, "false"), (2, "labelled")]


def test_shares_add_up():
    found = shares(dataset(), TOP)
    assert found["ditm"] == {"labelled": 4 / 12, "true": 1 / 12, "false": 7 / 12}
    assert shares(dataset(truth=False), TOP)["clip"] == {"labelled": 4 / 12, "unlabelled": 8 / 12}


def test_of_equal_failures_that_with_more_right_answers_is_the_worse():
    top = {"ditm": np.array([[2], [0], [1], [0]])}  # captions 0 and 3 are lost; 0 is true of two images
    assert [each.query for each in text_to_image(dataset(), top, "ditm", "ditm", 2)] == [0, 3]
