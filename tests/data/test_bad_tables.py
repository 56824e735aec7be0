"""Every rule of every contract, broken once: the whole message is expected, and nothing else is found."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from itm.data.clean.write import COLUMNS, typed
from itm.data.schemas import check_table, raise_faults
from itm.data.schemas.relations import check_captions, check_references, check_texts, check_truth
from itm.errors import DataError

Change = Callable[[pd.DataFrame], pd.DataFrame]


def captions() -> pd.DataFrame:
    rows = [(i * 10 + p, f"i{i}", split, p, f"a dog {i} {p}") for i, split in enumerate(SPLIT) for p in range(2)]
    table = pd.DataFrame(rows, columns=["caption_id", "image_id", "split", "position", "text"])
    return typed(table.assign(raw_text=table["text"], level=-1, multiplicity=-1), "captions.parquet")


SPLIT = ["train", "train", "dev", "test"]


def images() -> pd.DataFrame:
    splits = [*SPLIT, "hierarcaps"]
    table = pd.DataFrame({"image_id": [f"i{i}" for i in range(5)], "split": splits, "source": "made"})
    shards = ["images-train.tar", "images-train.tar", "images-dev.tar", "images-test.tar", "images-test.tar"]
    table = table.assign(shard=shards, offset=[512, 2048, 512, 512, 2048], size=700, width=8, height=9, mode="RGB")
    return typed(table.assign(sha256=[f"{i:064x}" for i in range(5)]), "images.parquet")


def hierarchies() -> pd.DataFrame:
    rows = [("i4", level, f"level {level}", 7 + level) for level in range(1, 5)]
    return typed(pd.DataFrame(rows, columns=["image_id", "level", "text", "text_id"]), "hierarchies.parquet")


def texts() -> pd.DataFrame:
    all_texts = [*captions()["text"], *hierarchies()["text"], ""]
    kinds = ["caption"] * 8 + ["hierarchy"] * 4 + ["empty"]
    return typed(pd.DataFrame({"text_id": range(13), "text": all_texts, "kind": kinds}), "texts.parquet")


def ratings() -> pd.DataFrame:
    rows = [
        ("sts", 20, 21, None, None, 5.0, "how", -1),
        ("sis", None, None, "i2", "i3", 0.0, "how", -1),
        ("sits", 20, None, "i2", None, 2.5, "how", -1),
        ("expert", 30, None, "i3", None, 1.0, "", 0),
        ("expert", 30, None, "i3", None, 2.0, "", 1),
        ("expert", 30, None, "i3", None, 4.0, "", 2),
        ("crowdflower", 30, None, "i3", None, 0.25, "", -1),
    ]
    return typed(pd.DataFrame(rows, columns=list(COLUMNS["ratings.parquet"])), "ratings.parquet")


def quarantine() -> pd.DataFrame:
    rows = [("file.txt", 7, "too-short", "A", "i9")]
    return typed(pd.DataFrame(rows, columns=list(COLUMNS["quarantine.parquet"])), "quarantine.parquet")


def scored() -> pd.DataFrame:
    types = {"caption_id": "int64", "descriptiveness": "float64", "normalised": "float32", "words": "int32"}
    table = pd.DataFrame([(1, 12.5, 0.5, 5, 3), (2, 0.0, 0.0, 1, 0)], columns=[*types, "keywords"])
    return table.astype({**types, "keywords": "int32"})


def descriptions() -> pd.DataFrame:
    rows = [
        ("i0", "train", 0, "a dog", "m", "p", "gt_caption", 7),
        ("i0", "train", 1, "a brown dog", "m", "", "none", None),
        ("i1", "test", 0, "a cat", "m", "p", "generated_caption", None),
    ]
    columns = ["image_id", "split", "desc_id", "text", "generator", "prompt_id", "conditioned_on", "caption_id"]
    return pd.DataFrame(rows, columns=columns).astype({"desc_id": "int8", "caption_id": "Int64"})


GOOD = {
    "captions": captions,
    "images": images,
    "hierarchies": hierarchies,
    "texts": texts,
    "ratings": ratings,
    "quarantine": quarantine,
    "scored": scored,
    "descriptions": descriptions,
}


@pytest.mark.parametrize("name", GOOD)
def test_good_tables_pass(name):
    assert check_table(name, GOOD[name]()) == []


@pytest.mark.parametrize("name", [name for name in GOOD if name not in ("texts",)])
def test_empty_tables_pass(name):
    assert check_table(name, GOOD[name]().iloc[:0]) == []


def put(row: int, column: str, value: object) -> Change:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table = table.copy()
        table.loc[row, column] = value
        return table

    return change


def cast(column: str, kind: str) -> Change:
    return lambda table: table.astype({column: kind})


def drop(column: str) -> Change:
    return lambda table: table.drop(columns=column)


def add(column: str) -> Change:
    return lambda table: table.assign(**{column: 1})


def swap(first: int, second: int) -> Change:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        order = list(range(len(table)))
        order[first], order[second] = order[second], order[first]
        return table.iloc[order].reset_index(drop=True)

    return change


def order(*rows: int) -> Change:
    return lambda table: table.iloc[list(rows)].reset_index(drop=True)


def remove(row: int) -> Change:
    return lambda table: table.drop(index=row).reset_index(drop=True)


def again(row: int) -> Change:
    return lambda table: pd.concat([table, table.iloc[[row]]], ignore_index=True)


SHA = "c" * 63
BAD: list[tuple[str, Change, str]] = [
    # captions
    ("captions", drop("level"), "captions: the column is missing [missing-column], 1 row: 'level'"),
    ("captions", add("score"), "captions: the column does not belong here [unknown-column], 1 row: 'score'"),
    ("captions", cast("caption_id", "float64"), "captions.caption_id: must be int64 [type], 1 row: 'float64'"),
    (
        "captions",
        put(3, "caption_id", 0),
        "captions.caption_id: must not come twice [duplicate], 2 rows: row 0 = 0, row 3 = 0",
    ),
    (
        "captions",
        put(3, "caption_id", -4),
        "captions.caption_id: must be 0 to 9223372036854775807 [range], 1 row: row 3 = -4",
    ),
    ("captions", put(2, "image_id", None), "captions.image_id: must not be null [null], 1 row: row 2 = nan"),
    ("captions", put(2, "image_id", ""), "captions.image_id: must be not empty [value], 1 row: row 2 = ''"),
    (
        "captions",
        put(5, "split", "val"),
        "captions.split: must be one of train, dev, test [value], 1 row: row 5 = 'val'",
    ),
    ("captions", put(1, "position", -1), "captions.position: must be 0 to 127 [range], 1 row: row 1 = -1"),
    ("captions", put(1, "position", 0), "captions.position: must rise inside an image [order], 1 row: row 1 = 0"),
    ("captions", put(1, "text", None), "captions.text: must not be null [null], 1 row: row 1 = nan"),
    ("captions", put(1, "text", ""), "captions.text: a training caption must not be empty [value], 1 row: row 1 = ''"),
    ("captions", put(1, "raw_text", None), "captions.raw_text: must not be null [null], 1 row: row 1 = nan"),
    ("captions", put(0, "level", -2), "captions.level: must be -1 to 127 [range], 1 row: row 0 = -2"),
    (
        "captions",
        put(0, "multiplicity", -3),
        "captions.multiplicity: must be -1 to 2147483647 [range], 1 row: row 0 = -3",
    ),
    (
        "captions",
        order(0, 1, 4, 5, 2, 3, 6, 7),
        "captions.split: rows must be in the order train, dev, test [order], 1 row: row 4 = 'train'",
    ),
    (
        "captions",
        swap(1, 2),
        "captions.image_id: the captions of an image must be together [order], 2 rows: row 2 = 'i0', row 3 = 'i1'",
    ),
    # images
    (
        "images",
        put(1, "image_id", "i0"),
        "images.image_id: must not come twice [duplicate], 2 rows: row 0 = 'i0', row 1 = 'i0'",
    ),
    ("images", put(1, "image_id", ""), "images.image_id: must be not empty [value], 1 row: row 1 = ''"),
    (
        "images",
        put(4, "split", "other"),
        "images.split: must be one of train, dev, test, hierarcaps [value], 1 row: row 4 = 'other'",
    ),
    (
        "images",
        put(2, "shard", "images.tar"),
        "images.shard: must be the shard of the split [value], 1 row: row 2 = 'images.tar'",
    ),
    ("images", put(0, "offset", 0), "images.offset: must be 512 to 9223372036854775807 [range], 1 row: row 0 = 0"),
    (
        "images",
        put(1, "offset", 600),
        "images.offset: must not lie inside the image before [range], 1 row: row 1 = 600",
    ),
    ("images", put(0, "size", 0), "images.size: must be 1 to 9223372036854775807 [range], 1 row: row 0 = 0"),
    ("images", put(3, "width", 0), "images.width: must be 1 to 2147483647 [range], 1 row: row 3 = 0"),
    ("images", put(3, "height", -5), "images.height: must be 1 to 2147483647 [range], 1 row: row 3 = -5"),
    (
        "images",
        put(3, "width", 50_000_000),
        "images.width: width x height must be at most 100000000 [range], 1 row: row 3 = 50000000",
    ),
    ("images", put(0, "mode", "CMYK"), "images.mode: must be one of RGB, L [value], 1 row: row 0 = 'CMYK'"),
    ("images", put(0, "sha256", SHA), f"images.sha256: must be 64 hexadecimal digits [value], 1 row: row 0 = '{SHA}'"),
    ("images", cast("width", "float64"), "images.width: must be int32 [type], 1 row: 'float64'"),
    ("images", drop("offset"), "images: the column is missing [missing-column], 1 row: 'offset'"),
    # hierarchies
    ("hierarchies", put(0, "level", 0), "hierarchies.level: must be 1 to 4 [range], 1 row: row 0 = 0"),
    ("hierarchies", put(0, "level", 5), "hierarchies.level: must be 1 to 4 [range], 1 row: row 0 = 5"),
    ("hierarchies", put(2, "text", ""), "hierarchies.text: must be not empty [value], 1 row: row 2 = ''"),
    (
        "hierarchies",
        put(2, "text_id", 8),
        "hierarchies.text_id: must not come twice [duplicate], 2 rows: row 0 = 8, row 2 = 8",
    ),
    (
        "hierarchies",
        remove(1),
        "hierarchies.level: every image has the levels 1, 2, 3, 4 in this order [count], 1 row: i4 has 1, 3, 4",
    ),
    (
        "hierarchies",
        swap(0, 3),
        "hierarchies.level: every image has the levels 1, 2, 3, 4 in this order [count], 1 row: i4 has 4, 2, 3, 1",
    ),
    # texts
    (
        "texts",
        put(3, "kind", "title"),
        "texts.kind: must be one of caption, hierarchy, empty [value], 1 row: row 3 = 'title'",
    ),
    ("texts", put(3, "text_id", 4), "texts.text_id: must be the row number [order], 1 row: row 3 = 4"),
    (
        "texts",
        put(9, "kind", "caption"),
        "texts.kind: rows must be in the order caption, hierarchy, empty [order], 1 row: row 9 = 'caption'",
    ),
    ("texts", remove(12), "texts.kind: exactly the last row is the empty text [count], 1 row: row 11 = 'hierarchy'"),
    (
        "texts",
        put(12, "text", "root"),
        "texts.text: the text of kind empty must be empty [value], 1 row: row 12 = 'root'",
    ),
    # ratings
    (
        "ratings",
        put(0, "kind", "sit"),
        "ratings.kind: must be one of sts, sis, sits, expert, crowdflower [value], 1 row: row 0 = 'sit'",
    ),
    ("ratings", put(0, "score", 5.5), "ratings.score: must be 0 to 5 [range], 1 row: row 0 = 5.5"),
    ("ratings", put(0, "score", float("nan")), "ratings.score: must not be null [null], 1 row: row 0 = nan"),
    ("ratings", put(3, "score", 0.5), "ratings.score: expert scores are 1 to 4 [range], 1 row: row 3 = 0.5"),
    ("ratings", put(6, "score", 1.25), "ratings.score: crowdflower scores are 0 to 1 [range], 1 row: row 6 = 1.25"),
    (
        "ratings",
        put(0, "caption_id_1", pd.NA),
        "ratings.caption_id_1: sts compares caption caption: must be given [null], 1 row: row 0 = <NA>",
    ),
    (
        "ratings",
        put(1, "image_id_2", None),
        "ratings.image_id_2: sis compares image image: must be given [null], 1 row: row 1 = nan",
    ),
    (
        "ratings",
        put(2, "image_id_2", "i3"),
        "ratings.image_id_2: sits compares caption image: must not be given [null], 1 row: row 2 = 'i3'",
    ),
    (
        "ratings",
        put(0, "judge", 1),
        "ratings.judge: sts: expert rows name a judge, others have -1 [value], 1 row: row 0 = 1",
    ),
    ("ratings", put(5, "judge", 3), "ratings.judge: must be -1 to 2 [range], 1 row: row 5 = 3"),
    ("ratings", remove(4), "ratings.judge: every expert pair has 3 judges [count], 1 row: caption 30, image i3: 2"),
    ("ratings", again(0), "ratings.kind: a pair must not be rated twice [duplicate], 1 row: row 7 = 'sts'"),
    # quarantine
    ("quarantine", put(0, "reason", "ugly"), "quarantine.reason: must be one of no-split, no-photo, empty,"),
    ("quarantine", put(0, "source", ""), "quarantine.source: must be not empty [value], 1 row: row 0 = ''"),
    ("quarantine", put(0, "row", -1), "quarantine.row: must be 0 to 9223372036854775807 [range], 1 row: row 0 = -1"),
    # scored captions
    (
        "scored",
        put(1, "caption_id", 1),
        "scored.caption_id: must not come twice [duplicate], 2 rows: row 0 = 1, row 1 = 1",
    ),
    (
        "scored",
        put(1, "descriptiveness", -0.5),
        "scored.descriptiveness: must be 0 to 1.79769e+308 [range], 1 row: row 1 = -0.5",
    ),
    (
        "scored",
        put(1, "descriptiveness", float("inf")),
        "scored.descriptiveness: must be 0 to 1.79769e+308 [range], 1 row: row 1 = inf",
    ),
    ("scored", put(1, "normalised", float("nan")), "scored.normalised: must not be null [null], 1 row: row 1 = nan"),
    ("scored", put(1, "keywords", 2), "scored.keywords: must not be more than the words [range], 1 row: row 1 = 2"),
    ("scored", cast("words", "int64"), "scored.words: must be int32 [type], 1 row: 'int64'"),
    # descriptions
    ("descriptions", put(0, "text", ""), "descriptions.text: must be not empty [value], 1 row: row 0 = ''"),
    (
        "descriptions",
        put(2, "desc_id", 1),
        "descriptions.desc_id: must count 0, 1, 2 ... inside an image [order], 1 row: row 2 = 1",
    ),
    (
        "descriptions",
        put(2, "split", "all"),
        "descriptions.split: must be one of train, dev, test, hierarcaps [value], 1 row: row 2 = 'all'",
    ),
    (
        "descriptions",
        put(2, "conditioned_on", "gt_caption"),
        "descriptions.image_id: outside train a description must not be written from the image's own captions "
        "(gt_caption) [leak], 1 row: row 2 = 'i1'",
    ),
    ("descriptions", put(2, "generator", None), "descriptions.generator: must not be null [null], 1 row: row 2 = nan"),
]


@pytest.mark.parametrize(("name", "change", "message"), BAD, ids=[f"{name}-{i}" for i, (name, _, _) in enumerate(BAD)])
def test_bad_table(name, change, message):
    faults = check_table(name, change(GOOD[name]()))
    assert len(faults) == 1, [str(fault) for fault in faults]
    assert str(faults[0]).startswith(message)
    assert message.endswith(",") or str(faults[0]) == message


def test_there_are_enough_bad_tables():
    assert len(BAD) >= 60


def test_all_faults_of_a_table_are_told_at_once_and_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("ITM_LOGS", str(tmp_path))
    bad = put(2, "split", "val")(put(1, "position", -1)(put(0, "level", -2)(captions())))
    with pytest.raises(DataError) as caught:
        raise_faults(check_table("captions", bad), "the captions break their contract")
    assert str(caught.value).splitlines()[0].startswith("the captions break their contract: 3 broken rules")
    assert len(str(caught.value).splitlines()) == 4
    recorded = json.loads((tmp_path / "clean-faults.json").read_text())
    assert [(fault["column"], fault["reason"], fault["count"]) for fault in recorded] == [
        ("split", "value", 1),
        ("position", "range", 1),
        ("level", "range", 1),
    ]


def test_many_cases_are_counted_and_few_shown():
    table = pd.concat([descriptions()] * 10, ignore_index=True).assign(image_id="", desc_id=0)
    fault = next(fault for fault in check_table("descriptions", table) if fault.reason == "value")
    assert (fault.count, len(fault.cases)) == (30, 10)
    assert str(fault).endswith("30 rows: row 0 = '', row 1 = '', row 2 = '' and 27 more")


def test_unknown_contract():
    with pytest.raises(DataError, match="no contract for a table 'caption'; did you mean 'captions'"):
        check_table("caption", captions())


# --- relations between tables ---


def test_good_tables_fit_together():
    assert check_captions(captions(), images()) == []
    assert check_texts(texts(), captions(), hierarchies()) == []
    assert check_references(hierarchies(), ratings(), captions(), images()) == []
    assert check_truth(truth(), captions(), images()) == []


def truth() -> dict[str, np.ndarray]:
    found = {}
    for split, image, ids in (("dev", "i2", [20, 21]), ("test", "i3", [30, 31])):
        found |= {
            f"{split}_image_ids": np.array([image]),
            f"{split}_caption_ids": np.array(ids),
            f"{split}_grade": np.full((1, 2), 5, np.float32),
        }
    return found


def grade(value: float) -> dict[str, np.ndarray]:
    return {**truth(), "dev_grade": np.array([[5, value]], np.float32)}


RELATIONS: list[tuple[Callable[[], list], str]] = [
    (
        lambda: check_captions(captions(), remove(3)(images())),
        "captions.image_id: must be an image of the images table [reference], 2 rows: row 6 = 'i3', row 7 = 'i3'",
    ),
    (
        lambda: check_captions(put(2, "split", "test")(captions()), images()),
        "captions.split: must be the split of the image [reference], 1 row: row 2 = 'test'",
    ),
    (
        lambda: check_captions(captions().iloc[2:].reset_index(drop=True), images()),
        "images.image_id: every image of a split has a caption [count], 1 row: i0",
    ),
    (
        lambda: check_captions(captions(), swap(0, 1)(images())),
        "captions.image_id: captions must follow the order of the images table [order], 2 rows: i0, i1",
    ),
    (
        lambda: check_texts(remove(0)(texts()), captions(), hierarchies()),
        "texts: has 12 rows instead of 13 [count], 1 row: all",
    ),
    (
        lambda: check_texts(put(3, "text", "other")(texts()), captions(), hierarchies()),
        "texts.text: must be the text of its caption or chain [reference], 1 row: 3",
    ),
    (
        lambda: check_texts(texts(), captions(), put(0, "text_id", 99)(hierarchies())),
        "hierarchies.text_id: must be its row in texts [reference], 1 row: 0",
    ),
    (
        lambda: check_references(put(0, "image_id", "i9")(hierarchies()), ratings(), captions(), images()),
        "hierarchies.image_id: must exist [reference], 1 row: row 0 = 'i9'",
    ),
    (
        lambda: check_references(hierarchies(), put(2, "image_id_1", "i9")(ratings()), captions(), images()),
        "ratings.image_id_1: must exist [reference], 1 row: row 2 = 'i9'",
    ),
    (
        lambda: check_references(hierarchies(), put(0, "caption_id_2", 999)(ratings()), captions(), images()),
        "ratings.caption_id_2: must exist [reference], 1 row: row 0 = 999",
    ),
    (
        lambda: check_truth(grade(7), captions(), images())[:1],
        "truth.dev.grade: must be 0 to 5 [range], 1 row: some",
    ),
    (
        lambda: check_truth(grade(4), captions(), images()),
        "truth.dev.grade: a caption must be true of its own image (grade 5) [value], 1 row: 21",
    ),
    (
        lambda: check_truth({**truth(), "test_caption_ids": np.array([31, 30])}, captions(), images()),
        "truth.test.caption_ids: must be the captions of the split in their order [reference], 1 row: all",
    ),
    (
        lambda: check_truth({**truth(), "test_image_ids": np.array(["i2"])}, captions(), images()),
        "truth.test.image_ids: must be the images of the split in their order [reference], 1 row: all",
    ),
    (
        lambda: check_truth({**truth(), "test_grade": np.full((2, 1), 5, np.float32)}, captions(), images()),
        "truth.test.grade: has the shape (2, 1), not (1, 2) [count], 1 row: all",
    ),
]


@pytest.mark.parametrize(("check", "message"), RELATIONS, ids=[message.split(":")[0] for _, message in RELATIONS])
def test_bad_relation(check, message):
    assert [str(fault) for fault in check()] == [message]


def test_types_that_cannot_be_had():
    with pytest.raises(DataError, match=r"captions.parquet: column caption_id cannot be int64"):
        typed(captions().assign(caption_id="x"), "captions.parquet")
    with pytest.raises(DataError, match=r"images.parquet: no column mode, sha256"):
        typed(images().drop(columns=["sha256", "mode"]), "images.parquet")
