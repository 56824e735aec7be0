import json
from dataclasses import asdict

import pytest

from itm.descriptions.records import Description, read_descriptions, write_descriptions
from itm.errors import DataError


def one(image="i0", split="train", number=0, text="a dog", condition="none") -> Description:
    return Description(image, split, number, text, "m", "p1", condition, None)


def test_what_is_written_is_read(tmp_path):
    rows = [one(text="a dog\u2028runs"), one(number=1), one("i1", "test", text=None)]
    write_descriptions(tmp_path / "d.jsonl", rows)
    assert read_descriptions(tmp_path / "d.jsonl") == rows


def test_no_description_is_fine(tmp_path):
    write_descriptions(tmp_path / "d.jsonl", [])
    assert read_descriptions(tmp_path / "d.jsonl") == []


@pytest.mark.parametrize("split", ["dev", "test", "hierarcaps"])
def test_the_truth_is_refused_outside_training(tmp_path, split):
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(asdict(one(split=split, condition="gt_caption"))) + "\n")
    with pytest.raises(DataError, match=r"outside train .* own captions \(gt_caption\) \[leak\], 1 row") as caught:
        read_descriptions(path)
    assert caught.value.reason == "leak"
    with pytest.raises(DataError, match="leak"):
        write_descriptions(tmp_path / "other.jsonl", [one(split=split, condition="gt_caption")])
    assert not (tmp_path / "other.jsonl").exists()


def test_the_truth_is_allowed_in_training(tmp_path):
    write_descriptions(tmp_path / "d.jsonl", [one(condition="gt_caption")])


GOOD = json.dumps(asdict(one()))
BAD = [
    ("{", "line 1: not JSON"),
    ("[" * 200_000, "line 1: not JSON"),
    (GOOD.replace("a dog", r"a \ud800 dog"), "text holds half a character"),
    (GOOD.replace('"caption_id": null', '"caption_id": 1' + "0" * 30), "caption_id is 1000"),
    ("[1]", "line 1: list instead of an object"),
    (GOOD.replace('"text"', '"txt"'), "line 1: no text; unknown txt"),
    (GOOD.replace('"desc_id": 0', '"desc_id": "0"'), "desc_id is '0', not a whole number"),
    (GOOD.replace('"desc_id": 0', '"desc_id": 900'), "desc_id is 900, not 0 to 127"),
    (GOOD.replace('"image_id": "i0"', '"image_id": null'), "image_id is None, not text"),
    (GOOD.replace('"text": "a dog"', '"text": ""'), "descriptions.text: must be not empty"),
    (GOOD.replace('"desc_id": 0', '"desc_id": 1'), "must count 0, 1, 2"),
    (GOOD + "\n" + GOOD, "must not come twice"),
    (GOOD.replace("none", "a_guess"), "must be one of none, gt_caption"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=range(len(BAD)))
def test_bad_lines(tmp_path, text, message):
    (tmp_path / "d.jsonl").write_text(text + "\n")
    with pytest.raises(DataError) as caught:
        read_descriptions(tmp_path / "d.jsonl")
    assert message in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"describe\.file names a descriptions file"):
        read_descriptions(tmp_path / "none.jsonl")
