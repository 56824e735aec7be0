"""Quoted rows appear where the protocol is the same, with the numbers as printed."""

import pytest

from itm.report.columns import KEY_COLUMNS
from itm.report.tables import control_rows, quoted_rows


def rows(data, benchmark, images, split="test"):
    return quoted_rows(data, benchmark, KEY_COLUMNS[benchmark], {"images": images, "split": split})


def test_hierarcaps_on_its_real_photos():
    found = rows("flickr8k", "hierarcaps", 1000)
    assert [cell.text for cell in found[0].cells] == ["0.14", "0.36", "–", "0.89", "–", "–"]
    *published, untrained = found
    assert all(row.kind == "quoted" and "arXiv 2407.08521" in row.source for row in published)
    assert "untrained" in untrained.name
    assert 0.7 < float(untrained.cells[3].text) < float(found[0].cells[3].text)


def test_coco_and_cxc():
    clip = rows("coco", "retrieval", 5000)[0]
    assert [cell.text for cell in clip.cells] == ["50.14", "75", "83.42", "30.42", "55.96", "66.89", "361.8"]
    vse = rows("coco", "cxc", 5000)[0]
    assert [cell.text for cell in vse.cells] == ["0.744", "0.733", "0.552", "43.1", "32.5", "–", "–"]


def test_the_word_count_stands_below_tau_d():
    shown = KEY_COLUMNS["hierarcaps"]
    (row,) = control_rows(shown, {"tau_d_of_word_count": 0.91234})
    assert [cell.text for cell in row.cells] == ["–", "–", "–", "0.912", "–", "–"]
    assert control_rows(shown, {}) == []


@pytest.mark.parametrize(
    ("data", "benchmark", "images", "split"),
    [
        ("scenes", "hierarcaps", 1000, "test"),  # other photos and texts
        ("flickr8k", "hierarcaps", 500, "test"),  # a part of them
        ("flickr8k", "retrieval", 1000, "test"),  # nothing is quoted
        ("coco", "retrieval", 5000, "dev"),
    ],
)
def test_other_data_or_protocol_is_not_compared(data, benchmark, images, split):
    assert rows(data, benchmark, images, split) == []
