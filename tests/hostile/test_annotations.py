"""Annotation files as the world has them: read where they can be, else one short message that says what to do."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import json
import shutil
import sys
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import DAMAGES, Damage, cases, no_hang
from hypothesis import given
from presets import ROOT, preset

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))  # tests are no package
import stand_in

from itm.data.annotations import rows_of, text_of
from itm.data.archives import Archive
from itm.data.clean.run import clean_data_set
from itm.data.files import PARQUET
from itm.data.flickr8k_texts import CROWD, EXPERT, KAGGLE, LISTS, TOKENS, read_texts
from itm.data.readers import read
from itm.data.readers.base import READERS
from itm.data.schemas.protocols import RATINGS, check_ratings
from itm.errors import DataError, ProjectError
from itm.evaluation.published import coco_files, hierarcaps, pairs
from itm.parse import parse_json

Change = Callable[[bytes], bytes]
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title>" + b"x" * 10_000
SMALL = {"check_protocol": False}


def chosen(name: str, raw: Path = Path()):
    if name.startswith("folder"):
        return preset(
            "folder", changes={"data.path": str(raw), "datasets.folder.dev": 2.0, "datasets.folder.test": 2.0}
        )
    own = SMALL | ({"dev_images": 8} if name == "rsitmd" else {})
    own = {f"datasets.{name}.{key}": value for key, value in own.items() if name not in ("flickr8k", "n24news")}
    return preset("flickr8k", "data=hierarcaps", changes=own) if name == "hierarcaps" else preset(name, changes=own)


def write_flickr8k(folder: Path) -> None:
    """Ten photos in Flickr8k's own files."""
    photos = [f"{1000 + number}_x.jpg" for number in range(10)]
    members = {
        TOKENS: "".join(f"{name}#{n}\tA dog, caf\u00e9 {n} of {name} .\n" for name in photos for n in range(5)),
        LISTS["train"]: "\n".join(photos[:4]) + "\n",
        LISTS["dev"]: "\n".join(photos[4:6]) + "\n",
        LISTS["test"]: "\n".join(photos[6:]) + "\n",
        EXPERT: f"{photos[6]}\t{photos[7]}#2\t1\t1\t2\n",
        CROWD: f"{photos[8]}\t{photos[7]}#2\t0.3\t1\t2\n",
    }
    stand_in.write_zip(folder / "flickr8k-text.zip", {name: text.encode() for name, text in members.items()})
    stand_in.write_zip(folder / "flickr8k-images.zip", {f"all/{name}": b"pixels" for name in photos})
    stand_in.write_chains(folder, [stand_in.Photo(1), stand_in.Photo(2)])


WRITERS = {
    name: getattr(stand_in, f"write_{name}") for name in ("coco", "flickr30k", "hierarcaps", "rsitmd", "n24news")
}
WRITERS["flickr8k"] = write_flickr8k


def write_folder(folder: Path, table: str) -> None:
    """Photos of one's own and a table of them."""
    rows = [{"file": f"{photo}.jpg", "caption": f"a dog, {photo}"} for photo in range(8)]
    for photo in range(8):
        (folder / f"{photo}.jpg").write_bytes(stand_in.Photo(photo).jpeg())
    if table.endswith(".jsonl"):
        (folder / table).write_text("\n".join(map(json.dumps, rows)))
    elif table.endswith(".csv"):
        lines = ["file,caption", *(f'{row["file"]},"{row["caption"]}"' for row in rows)]
        (folder / table).write_text("\r\n".join(lines))
    else:
        pq.write_table(pa.Table.from_pylist(rows), folder / table, **PARQUET)


for suffix in ("csv", "jsonl", "parquet"):
    WRITERS[f"folder-{suffix}"] = functools.partial(write_folder, table=f"captions.{suffix}")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """`written(name)`: the raw folder of a data set, made once."""
    made: dict[str, Path] = {}

    def write(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            WRITERS[name](made[name])
        return made[name]

    return write


def changed(source: Path, target: Path, file: str, change: Change) -> Path:
    """The raw folder with one file changed: `archive.zip/member`, or a file by itself."""
    target.mkdir()
    place, _, member = file.partition(".zip/")
    place = f"{place}.zip" if member else place
    for path in source.iterdir():
        if path.name != place:
            (target / path.name).symlink_to(path)
    if not member:
        (target / place).write_bytes(change((source / place).read_bytes()))
        return target
    with zipfile.ZipFile(source / place) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert member in members
    stand_in.write_zip(target / place, members | {member: change(members[member])})
    return target


def latin_1(content: bytes) -> bytes:
    return content.replace(b"dog", "d\u00f6g".encode("latin-1"), 1)


def with_bom(content: bytes) -> bytes:
    return b"\xef\xbb\xbf" + content


def windows(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def surrogate(content: bytes) -> bytes:
    return content.replace(b"dog", b"d\\ud83dg", 1)


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


SPLITS_JSON, TEXTS = "caption_datasets.zip/dataset_flickr30k.json", "flickr8k-text.zip"
REFUSED: dict[str, tuple[str, str, Change, str]] = {
    "Karpathy: a list": (
        *("flickr30k", SPLITS_JSON, lambda content: b"[1]"),
        r"dataset_flickr30k.json is not JSON with `images` \(is a list\); fetch the file again",
    ),
    "Karpathy: another object": ("flickr30k", SPLITS_JSON, lambda c: b'{"a": 1}', r"`images` \(is a dict of 'a'\)"),
    "Karpathy: cut": ("flickr30k", SPLITS_JSON, half, r"not valid JSON: .*; it begins with '\{\"images\": .*fetch the"),
    "Karpathy: a web page": ("flickr30k", SPLITS_JSON, lambda c: HTML, r"it begins with '<!DOCTYPE html>.*': fetch"),
    "Karpathy: half a character": (
        *("flickr30k", SPLITS_JSON, lambda c: c.replace(b"dog", b"d\\ud83dg")),  # what is not read is not looked at
        r"half a character in 'A red d\\ud83dg.*', at images\[0\]\.sentences\[0\]\.raw",
    ),
    "Karpathy: Latin-1": ("flickr30k", SPLITS_JSON, latin_1, "codec can't decode byte 0xf6 in position"),
    "RSITMD: a number": ("rsitmd", "RSITMD.zip/RSITMD/dataset_RSITMD.json", lambda c: b"7", r"\(is a int\)"),
    "N24News: a web page": ("n24news", "N24News.zip/news/nytimes_dev.json", lambda c: HTML, "begins with '<!DOCTYPE"),
    "N24News: half a character": ("n24news", "N24News.zip/news/nytimes_train.json", surrogate, r"at \[\d+\]\.\w+"),
    "COCO's captions: cut": ("hierarcaps", "captions_val2017.json", half, "captions_val2017.json: not valid JSON"),
    "COCO's captions: Latin-1": ("hierarcaps", "captions_val2017.json", latin_1, "codec can't decode byte 0xf6"),
    "HierarCaps: Latin-1": ("hierarcaps", "hierarcaps.csv", latin_1, r"hierarcaps.csv, line 2: not UTF-8; fetch the"),
    "HierarCaps: one line of 4 MB": (
        *("hierarcaps", "hierarcaps.csv", lambda c: b"caf\xc3\xa9;" * 600_000),
        r"columns \['caf.*\.\.\.; expected id, captions, image_url"
        r"|no first line with columns .field larger than field limit",
    ),
    "HierarCaps: semicolons": (
        "hierarcaps",
        "hierarcaps.csv",
        lambda c: c.replace(b",", b";"),
        "expected id, captions",
    ),
    "HierarCaps: a stray quote": ("hierarcaps", "hierarcaps.csv", lambda c: c + b'7,"a => b', "1 rows .*row 13: unexp"),
    "CxC: Latin-1": (
        "coco",
        "sts_test.csv",
        lambda c: c.replace(b"COCO", b"\xe9", 1),
        "sts_test.csv, line 2: not UTF-8",
    ),
    "CxC: cut": ("coco", "sts_val.csv", lambda c: c[:-30], "1 rows are not of the published form: row"),
    "CxC: a web page": ("coco", "sis_test.csv", lambda c: HTML, r"expected image1, image2, agg_score"),
    "Flickr8k: Latin-1": ("flickr8k", f"{TEXTS}/{TOKENS}", latin_1, rf"{TOKENS}, line 1: not UTF-8"),
    "Flickr8k: no zip": ("flickr8k", TEXTS, lambda c: HTML, "flickr8k-text.zip: not a whole zip archive"),
    "Flickr8k: lines missing": ("flickr8k", f"{TEXTS}/{TOKENS}", half, r"photos do not have the captions 0 to 4 \(10"),
    "Flickr8k: an empty list": ("flickr8k", f"{TEXTS}/{LISTS['dev']}", lambda c: b"", "devImages.txt is empty"),
    "Flickr8k: no judgements": ("flickr8k", f"{TEXTS}/{EXPERT}", lambda c: b"\n", "ExpertAnnotations.txt is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_read_is_one_short_message(case: str, written, tmp_path) -> None:
    name, file, change, message = REFUSED[case]
    raw = changed(written(name), tmp_path / "raw", file, change)
    with pytest.raises(DataError, match=message) as caught:
        read(name, raw, chosen(name))
    assert len(str(caught.value).encode()) < 1000


READ = {
    "Karpathy with a BOM": ("flickr30k", SPLITS_JSON, with_bom),
    "Karpathy in UTF-16": ("flickr30k", SPLITS_JSON, lambda content: content.decode().encode("utf-16")),
    "N24News with a BOM": ("n24news", "N24News.zip/news/nytimes_dev.json", with_bom),
    "COCO's captions with a BOM": ("hierarcaps", "captions_val2017.json", with_bom),
    "HierarCaps with a BOM": ("hierarcaps", "hierarcaps.csv", with_bom),
    "HierarCaps with Windows' ends": ("hierarcaps", "hierarcaps.csv", windows),
    "HierarCaps in UTF-16": ("hierarcaps", "hierarcaps.csv", lambda content: content.decode().encode("utf-16")),
    "CxC with a BOM": ("coco", "sits_test.csv", with_bom),
    "Flickr8k with a BOM": ("flickr8k", f"{TEXTS}/{TOKENS}", with_bom),
    "Flickr8k with Windows' ends": ("flickr8k", f"{TEXTS}/{TOKENS}", windows),
    "Flickr8k's list with Windows' ends": ("flickr8k", f"{TEXTS}/{LISTS['test']}", windows),
    "Flickr8k's list with a BOM": ("flickr8k", f"{TEXTS}/{LISTS['train']}", with_bom),
    "Flickr8k's judgements with Windows' ends": ("flickr8k", f"{TEXTS}/{EXPERT}", windows),
}


@pytest.mark.parametrize("case", READ)
def test_other_writings_of_the_same_are_the_same(case: str, written, tmp_path) -> None:
    name, file, change = READ[case]
    found = read(name, changed(written(name), tmp_path / "raw", file, change), chosen(name))
    wanted = read(name, written(name), chosen(name))
    for table in ("captions", "images", "hierarchies", "ratings", "rejected"):
        assert getattr(found, table).equals(getattr(wanted, table)), table


def kaggle(members: dict[str, bytes], *kept: str) -> dict[str, bytes]:
    """Kaggle's form: a CSV in a folder, without the authors' other files but for those kept."""
    text = io.StringIO()
    rows = [line.split("\t") for line in members[TOKENS].decode().splitlines()]
    csv.writer(text).writerows([["image", "caption"], *[[key.partition("#")[0], caption] for key, caption in rows]])
    return {f"archive/{KAGGLE}": text.getvalue().encode(), **{name: members[name] for name in kept}}


@pytest.mark.parametrize("form", ["kaggle", "folder"])
def test_flickr8k_in_another_form(form: str, written, tmp_path) -> None:
    shutil.copytree(written("flickr8k"), tmp_path, dirs_exist_ok=True)
    with zipfile.ZipFile(tmp_path / TEXTS) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    new = kaggle(members, *LISTS.values(), EXPERT, CROWD)
    if form == "folder":
        new = {f"Flickr8k_text/{name}": content for name, content in members.items()}
        new["__MACOSX/Flickr8k_text/._Flickr8k.token.txt"] = b"notes"
    stand_in.write_zip(tmp_path / TEXTS, new)
    found, wanted = (read("flickr8k", raw, preset("flickr8k")) for raw in (tmp_path, written("flickr8k")))
    file = {"kaggle": KAGGLE, "folder": TOKENS}[form]
    assert found.captions.equals(wanted.captions.assign(source=file))
    assert found.ratings.equals(wanted.ratings)


def test_kaggles_captions_alone(written, tmp_path, monkeypatch) -> None:
    """The mini subset has its own lists here; for the whole data set the message says what to add."""
    shutil.copytree(written("flickr8k"), tmp_path, dirs_exist_ok=True)
    with zipfile.ZipFile(tmp_path / TEXTS) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    stand_in.write_zip(tmp_path / TEXTS, kaggle(members))
    message = r"captions.txt comes without the official splits; add Flickr_8k.trainImages.txt, .*subset=mini"
    with pytest.raises(DataError, match=message):
        read("flickr8k", tmp_path, preset("flickr8k"))
    with pytest.raises(DataError, match=r"add Flickr_8k.testImages.txt of Flickr8k_text.zip"):
        pairs._flickr8k(tmp_path / TEXTS)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/subsets").mkdir(parents=True)
    splits = {"train": range(1000, 1003), "dev": range(1003, 1005), "test": range(1005, 1008)}
    lines = [f"{split} {number}_x.jpg" for split, numbers in splits.items() for number in numbers]
    (tmp_path / "data/subsets/flickr8k-mini.txt").write_text("\n".join(lines))
    found = read("flickr8k", tmp_path, preset("flickr8k-mini"))
    assert found.captions["split"].value_counts().to_dict() == {"train": 15, "dev": 10, "test": 15}
    assert (len(found.rejected), len(found.ratings), found.notes["captions_outside_subset"]) == (0, 0, 10)


PUBLISHED = {
    "without imgid": (lambda r: {"images": [{k: v for k, v in r.items() if k != "imgid"}]}, "image 1: has no imgid"),
    "imgid is a word": (lambda r: {"images": [{**r, "imgid": "7"}]}, "image 1: imgid '7' is no whole number"),
    "a list": (lambda r: [r], r"`images` \(is a list\)"),
    "no test split": (lambda r: {"images": [{**r, "split": "val"}]}, "no image is in the split `test`"),
    "no sentences": (lambda r: {"images": [{**r, "sentences": []}]}, "image 1: has no sentences"),
}


@pytest.mark.parametrize("case", PUBLISHED)
def test_flickr30k_as_published(case: str, tmp_path) -> None:
    change, message = PUBLISHED[case]
    record = {"imgid": 7, "filename": "1.jpg", "split": "test", "sentences": [{"raw": "a dog", "sentid": 1}]}
    path = tmp_path / "dataset_flickr30k.json"
    path.write_bytes(with_bom(json.dumps({"images": [record]}).encode()))
    assert pairs._flickr30k(path).image_ids.tolist() == [7]
    path.write_text(json.dumps(change(record)))
    with pytest.raises(DataError, match=message):
        pairs._flickr30k(path)
    for content in (HTML, json.dumps({"images": [record]}).encode()[:-3], b'{"images": [{"imgid": "\xe9"}]}'):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"not valid JSON.*fetch the file again"):
            pairs._flickr30k(path)


def test_part_of_hierarcaps_is_not_measured(written) -> None:
    with pytest.raises(DataError, match=r"hierarcaps.csv: 12 rows instead of 1,000; fetch the file again"):
        hierarcaps.read_chains(written("hierarcaps") / "hierarcaps.csv")


def write_gallery(path: Path, images: np.ndarray, captions: np.ndarray) -> None:
    columns = ["split", "caption_id", "image_id", "tokenized_caption", "original_caption"]
    rows = [["test", caption, image, "x", ""] for caption, image in zip(captions, images.repeat(5), strict=True)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def test_other_ids_of_coco_and_parts_of_its_files_are_not_measured(tmp_path, monkeypatch) -> None:
    """The sizes are right, the ids are not; and with the right ids, files of ratings and answers that were cut."""
    images, captions = np.arange(5000), np.arange(25000)
    write_gallery(tmp_path / "karpathy_captions.csv", images, captions)
    with pytest.raises(DataError, match=r"the ids of the COCO test gallery, or their order, are not the published"):
        coco_files.read_gallery(tmp_path)
    write_gallery(other := tmp_path / "other.csv", images, captions)
    monkeypatch.setattr(coco_files, "IDS", tuple(map(coco_files.id_hash, (images, captions))))
    gallery = coco_files._table_gallery(other)
    (tmp_path / "sts_test.csv").write_text("caption1,caption2,agg_score,sampling_method\n")
    with pytest.raises(DataError, match=r"sts_test.csv: 0 ratings instead of 44,045"):
        coco_files.read_cxc(gallery, tmp_path)
    monkeypatch.setattr(coco_files.sources, "eccv_caption_data", lambda: tmp_path)
    (tmp_path / "eccv_image_to_caption.json").write_text('{"1": [2]}')
    with pytest.raises(DataError, match=r"eccv_image_to_caption.json: 1 queries instead of 1,261"):
        coco_files.read_eccv("i2t", gallery.image_ids, gallery.caption_ids)


def test_the_pipeline_counts_ratings(written) -> None:
    coco = preset("coco")
    found = read("coco", written("coco"), coco)
    messages = [fault.rule for fault in check_ratings(coco, found.ratings)]
    assert [message.rpartition(" instead of ")[2] for message in messages] == ["89486", "89555", "88054"]
    assert sum(RATINGS.values()) == 89486 + 89555 + 88054
    assert check_ratings(chosen("coco"), found.ratings) == []
    eight = read("flickr8k", written("flickr8k"), preset("flickr8k")).ratings
    rules = {fault.rule for fault in check_ratings(preset("flickr8k"), eight)}
    assert rules == {
        "flickr8k-all: 1 crowdflower ratings instead of 47830",
        "flickr8k-all: 3 expert ratings instead of 17466",
    }


NEAR = {
    "another case": ("imgs/{id}.JPG", "; there is 'imgs/{id}.JPG'"),
    "another suffix": ("imgs/{id}.png", "; there is 'imgs/{id}.png'"),
    "nothing alike": ("imgs/7.jpg", r"\. Check their archive"),
}


@pytest.mark.parametrize("case", NEAR)
def test_a_missing_photo_names_the_near_one(case: str, written, tmp_path) -> None:
    member, message = NEAR[case]
    lost = stand_in.news_id(stand_in.Photo(31))
    with zipfile.ZipFile(written("n24news") / "N24News.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member.format(id=lost)] = members.pop(f"imgs/{lost}.jpg")
    stand_in.write_zip(tmp_path / "N24News.zip", members)
    with pytest.raises(DataError, match=rf"has no such photo{message.format(id=lost)}") as caught:
        clean_data_set(chosen("n24news"), tmp_path, tmp_path / "clean", tmp_path / "q.json", lambda *_: None)
    assert caught.value.reason == "evaluation-photo"


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("COCO_val2014_000000000139", "val2017/000000000139.jpg"),
        ("hierarcaps-000000000139", "x/COCO_val2014_000000000139.jpg"),
        ("caf\u00e9", unicodedata.normalize("NFD", "photos/caf\u00e9.jpg")),
        ("Dog", "dog.jpeg"),
    ],
)
def test_names_that_are_near(name: str, member: str, tmp_path) -> None:
    stand_in.write_zip(tmp_path / "a.zip", {"1.jpg": b"", member: b"x"})
    with Archive(tmp_path / "a.zip") as archive:
        assert archive.near(name) == f"; there is {member!r}"
        assert archive.near("000000000140") == archive.near("1_2") == ""


def test_what_nobody_reads_is_left_out_wherever_it_stands() -> None:
    text = '{"images": [{"tokens": ["\\ud83d"], "sentences": [{"raw": "a", "tokens": ["a"]}]}], "tokens": 1}'
    assert parse_json(text, "there", unread=("tokens",)) == {"images": [{"sentences": [{"raw": "a"}]}]}
    with pytest.raises(DataError, match="half a character"):
        parse_json(text, "there")


def test_half_a_character_is_told_with_its_place() -> None:
    for text, place in (('["a", ["\\ud83d"]]', r"\[1\]\[0\]"), ('{"\\udc00": 1}', "a key"), ('"\\ud800"', "beginning")):
        with pytest.raises(DataError, match=f"half a character in .*, at (its )?{place}"):
            parse_json(text, "there")
    assert parse_json('["\\ud83d\\ude00", "\u00e9"]', "") == ["\U0001f600", "\u00e9"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b,a\n", "columns .*; expected a, b"),
        (b"", "columns none; expected a, b"),
        (b"a,b\n1\n", r"1 rows .*: row 1: 1 fields instead of 2 \(line 2\)"),
        (b'a,b\n1,2\n"x"y,3\n4,5,6\n', r"2 rows .*: row 2: .*expected after.*, row 3: 3 fields instead of 2"),
        (b"a,b\n1," + b"x" * 200_000 + b"\n", "row 1: field larger than field limit"),
        (b"a,b\n\xff\n", "there, line 2: not UTF-8"),
        (b"\xff\xfea", "there, line 1: not UTF-16"),
    ],
)
def test_rows(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        rows_of(content, "there", ("a", "b"))
    assert len(str(caught.value)) < 1000
    assert rows_of(b"\xef\xbb\xbfa,c,b\r\n1,2,3\r\n\r\n", "there", ("a", "b")) == [{"a": "1", "c": "2", "b": "3"}]
    assert text_of("caf\u00e9".encode("utf-16"), "there") == "caf\u00e9"


TARGETS = [
    ("flickr30k", SPLITS_JSON),
    ("flickr30k", "caption_datasets.zip"),
    ("coco", "sts_test.csv"),
    ("coco", "sis_val.csv"),
    ("coco", "sits_test.csv"),
    ("hierarcaps", "hierarcaps.csv"),
    ("hierarcaps", "captions_val2017.json"),
    ("rsitmd", "RSITMD.zip/RSITMD/dataset_RSITMD.json"),
    ("n24news", "N24News.zip/news/nytimes_train.json"),
    ("flickr8k", f"{TEXTS}/{TOKENS}"),
    ("flickr8k", f"{TEXTS}/{LISTS['test']}"),
    ("flickr8k", f"{TEXTS}/{EXPERT}"),
    ("flickr8k", TEXTS),
]


TARGETS += [(f"folder-{suffix}", f"captions.{suffix}") for suffix in ("csv", "jsonl", "parquet")]


@pytest.mark.slow
@pytest.mark.hypothesis
@pytest.mark.parametrize(("name", "file"), TARGETS, ids=[f"{name}-{Path(file).name}" for name, file in TARGETS])
def test_damaged_bytes_end_in_a_message_or_in_as_many_rows(name: str, file: str, written, tmp_path) -> None:
    """Whole rows that are gone from a table are told by the sizes of the protocol, tested above.

    Where all of the file has a checksum (zip, Parquet as this project writes it) what is read is what was there.
    """

    def found_in(raw: Path):
        return read(name.partition("-")[0], raw, chosen(name, raw))

    def count(found) -> list[int]:
        lines = len(found.captions) + len(found.rejected)
        return [lines, len(found.images), len(found.hierarchies), len(found.ratings)]

    whole, numbers = found_in(written(name)), itertools.count()

    @cases(usual=6, thorough=40)
    @given(damage=DAMAGES)
    def check(damage: Damage) -> None:
        raw = changed(written(name), tmp_path / str(next(numbers)), file, damage)
        message, found = "", whole
        try:
            with no_hang():
                found = found_in(raw)
        except ProjectError as error:
            message = str(error)
        assert len(message.encode()) < 1000
        if not file.endswith((".csv", ".txt", ".jsonl")):
            assert count(found) >= count(whole)
        if file.endswith((".zip", ".parquet")):
            assert found.captions.equals(whole.captions)
        shutil.rmtree(raw)

    check()


def test_every_reader_of_a_data_set_is_damaged() -> None:
    """The rest is: rsicd, which is read as rsitmd; scenes, which the stage clean reads in test_damage.py."""
    assert {name.partition("-")[0] for name, _ in TARGETS} | {"rsicd", "scenes"} == set(READERS)


def test_read_texts_of_the_repository_need_no_pandas() -> None:
    """`itm evaluate` reads them with the core alone."""
    for module in ("annotations", "flickr8k_texts"):
        assert "pandas" not in (ROOT / f"src/itm/data/{module}.py").read_text()
    assert read_texts.__module__ == "itm.data.flickr8k_texts"
