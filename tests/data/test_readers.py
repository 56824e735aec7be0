"""Readers: what they make of right files, and a clear message for every kind of wrong one."""

from __future__ import annotations

import csv
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are no package
import stand_in
from presets import ROOT, preset

from itm.data.readers import flickr8k, read
from itm.data.readers.cxc import caption_id, image_id, read_ratings
from itm.data.readers.hierarcaps import read_chains
from itm.errors import DataError

PHOTOS = [f"{n}_x.jpg" for n in range(12)]


def texts() -> dict[str, str]:
    """The files of Flickr8k_text.zip for twelve photos, two of them in no split."""
    lines = [f"{name}#{i}\tcaption {i} of {name} ." for name in [*PHOTOS, "99_y.jpg.1"] for i in range(5)]
    return {
        "Flickr8k.token.txt": "\n".join(lines) + "\n",
        "Flickr_8k.trainImages.txt": "\n".join(PHOTOS[:4]) + "\n",
        "Flickr_8k.devImages.txt": "\n".join(PHOTOS[4:6]) + "\n",
        "Flickr_8k.testImages.txt": "\n".join(PHOTOS[6:10]) + "\n",
        "ExpertAnnotations.txt": "6_x.jpg\t7_x.jpg#2\t1\t1\t2\n6_x.jpg\t6_x.jpg#2\t3\t4\t4\n",
        "CrowdFlowerAnnotations.txt": "8_x.jpg\t7_x.jpg#2\t0.333333333333\t1\t2\n",
    }


def write_flickr8k(folder: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(folder / "flickr8k-text.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with zipfile.ZipFile(folder / "flickr8k-images.zip", "w") as archive:
        for name in PHOTOS[:11]:
            archive.writestr(f"Flicker8k_Dataset/{name}", b"pixels")
    photo = stand_in.Photo(1)
    with (folder / "hierarcaps.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "captions", "image_url"])
        writer.writerow([0, photo.chain, "http://images.cocodataset.org/val2014/COCO_val2014_000000000139.jpg"])
    stand_in.write_zip(folder / "hierarcaps-images.zip", {"images/COCO_val2014_000000000139.jpg": photo.jpeg()})
    return folder


def test_flickr8k(tmp_path):
    found = read("flickr8k", write_flickr8k(tmp_path, texts()), preset("flickr8k"))
    assert found.images["image_id"].tolist() == [f"{n}_x" for n in range(10)] + ["hierarcaps-000000000139"]
    assert found.images["split"].tolist() == ["train"] * 4 + ["dev"] * 2 + ["test"] * 4 + ["hierarcaps"]
    assert found.captions["caption_id"].tolist() == list(range(50))
    assert found.captions.iloc[7][["image_id", "position", "raw_text", "row"]].tolist() == [
        "1_x", 2, "caption 2 of 1_x.jpg .", 8,
    ]  # fmt: skip
    assert found.rejected["reason"].value_counts().to_dict() == {"no-split": 5, "no-photo": 10}
    expert = found.ratings[found.ratings["kind"] == "expert"]
    assert expert["caption_id_1"].tolist() == [37, 37, 37, 32, 32, 32]
    assert expert["image_id_1"].tolist() == ["6_x"] * 6
    assert expert["score"].tolist() == [1, 1, 2, 3, 4, 4]
    assert expert["judge"].tolist() == [0, 1, 2] * 2
    assert found.ratings["score"].iloc[-1] == pytest.approx(1 / 3)
    assert found.hierarchies["level"].tolist() == [1, 2, 3, 4]


def test_quotes_and_carriage_returns_stay_in_the_raw_text(tmp_path):
    files = texts()
    files["Flickr8k.token.txt"] = files["Flickr8k.token.txt"].replace("caption 0 of 0_x.jpg .", 'a "quoted, text')
    found = read("flickr8k", write_flickr8k(tmp_path, files), preset("flickr8k"))
    assert found.captions["raw_text"].iloc[0] == 'a "quoted, text'
    assert found.notes["captions_with_double_quote"] == 1


def replaced(file: str, old: str, new: str) -> Callable[[dict[str, str]], None]:
    def change(files: dict[str, str]) -> None:
        assert old in files[file]
        files[file] = files[file].replace(old, new, 1)

    return change


def without(file: str) -> Callable[[dict[str, str]], None]:
    return lambda files: files.__delitem__(file)


BAD_FLICKR8K = {
    "a file is missing": (without("ExpertAnnotations.txt"), r"has no ExpertAnnotations.txt \(has: Flickr8k.token.txt,"),
    "no tab": (
        replaced("Flickr8k.token.txt", "#0\t", "#0 "),
        r"1 lines are not `image#number TAB caption`: line 1: '0_x",
    ),
    "no number": (replaced("Flickr8k.token.txt", "#3\t", "\t"), r"1 lines are not `image#number TAB caption`: line 4"),
    "number is a word": (replaced("Flickr8k.token.txt", "#3\t", "#three\t"), r"line 4: '0_x.jpg#three"),
    "expert score is a word": (
        replaced("ExpertAnnotations.txt", "\t2\n", "\ttwo\n"),
        r"1 judgements cannot be read: ExpertAnnotations.txt line 1: '6_x.jpg",
    ),
    "expert row is short": (replaced("ExpertAnnotations.txt", "\t1\t1\t2", "\t1\t1"), "ExpertAnnotations.txt line 1"),
    "judged caption unknown": (
        replaced("ExpertAnnotations.txt", "7_x.jpg#2", "7_x.jpg#9"),
        "ExpertAnnotations.txt line 1",
    ),
    "judged photo unknown": (
        replaced("CrowdFlowerAnnotations.txt", "8_x.jpg", "88.jpg"),
        "CrowdFlowerAnnotations.txt line 1",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD_FLICKR8K.values(), ids=BAD_FLICKR8K.keys())
def test_bad_flickr8k(change, message, tmp_path):
    files = texts()
    change(files)
    with pytest.raises(DataError, match=message):
        read("flickr8k", write_flickr8k(tmp_path, files), preset("flickr8k"))


@pytest.mark.parametrize(
    "file", ["flickr8k-images.zip", "flickr8k-text.zip", "hierarcaps.csv", "hierarcaps-images.zip"]
)
def test_missing_source_file(file, tmp_path):
    write_flickr8k(tmp_path, texts())
    (tmp_path / file).unlink()
    with pytest.raises(DataError, match=rf"{file}: no such file; list it under data.files"):
        read("flickr8k", tmp_path, preset("flickr8k"))


def test_subset_list(tmp_path, monkeypatch):
    write_flickr8k(tmp_path, texts())
    mini = preset("flickr8k-mini")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "data/subsets/flickr8k-mini.txt"
    file.parent.mkdir(parents=True)
    with pytest.raises(DataError, match=r"flickr8k-mini.txt: no such file; restore it from git"):
        read("flickr8k", tmp_path, mini)
    file.write_text("train 0_x.jpg\ndev 9_x.jpg\nnonsense\n")
    with pytest.raises(
        DataError, match=r"2 lines are not `split name` of the official splits \(dev 9_x.jpg, nonsense\)"
    ):
        read("flickr8k", tmp_path, mini)
    file.write_text("train 1_x.jpg\ndev 4_x.jpg\ntest 6_x.jpg\n")
    found = read("flickr8k", tmp_path, mini)
    assert found.images["image_id"].tolist()[:3] == ["1_x", "4_x", "6_x"]
    assert found.ratings["caption_id_1"].tolist() == [32, 32, 32]
    assert (found.notes["ratings_outside_subset"], found.notes["captions_outside_subset"]) == (2, 35)


def test_the_committed_subset_is_the_chosen_one():
    lines = [line.split() for line in (ROOT / "data/subsets/flickr8k-mini.txt").read_text().splitlines()]
    names = {split: [name for own, name in lines if own == split] for split in ("train", "dev", "test")}
    assert {split: len(own) for split, own in names.items()} == flickr8k.SUBSET_SIZES
    assert flickr8k.choose_subset(names) == names


COLUMNS, URL = "id,captions,image_url\n", "http://x/COCO_val2014_000000000139.jpg\n"
BAD_CHAINS = {
    "other columns": (
        "id,caption,image_url\n",
        r"columns \['id', 'caption', 'image_url'\]; expected id, captions, image_url",
    ),
    "three levels": (COLUMNS + "0,a => b => c," + URL, "row 1: 3 levels, 0 of them empty"),
    "an empty level": (COLUMNS + "0,a => => c => d," + URL, "row 1: 4 levels, 1 of them empty"),
    "another photo": (COLUMNS + "0,a => b => c => d,http://x/000000000139.jpg\n", "names no COCO_val2014 photo"),
}


@pytest.mark.parametrize(("content", "message"), BAD_CHAINS.values(), ids=BAD_CHAINS.keys())
def test_bad_chains(content, message, tmp_path):
    write_flickr8k(tmp_path, texts())
    (tmp_path / "hierarcaps.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_chains(tmp_path)


HEAD = {"sits": "caption,image", "sts": "caption1,caption2", "sis": "image1,image2"}
PAIR = {
    "sits": "COCO_val2014:sentid:1,COCO_val2014_000000000001.jpg",
    "sts": "COCO_val2014:sentid:1,COCO_val2014:sentid:2",
    "sis": "COCO_val2014_000000000001.jpg,COCO_val2014_000000000002.jpg",
}


@pytest.mark.parametrize("kind", HEAD)
def test_cxc(kind, tmp_path):
    (tmp_path / f"{kind}_test.csv").write_text(f"{HEAD[kind]},agg_score,sampling_method\n{PAIR[kind]},2.5,how\n")
    row = read_ratings(tmp_path, ["val2014.zip", f"{kind}_test.csv"]).iloc[0]
    assert (row["kind"], row["score"], row["sampling"], row["judge"]) == (kind, 2.5, "how", -1)
    assert caption_id("COCO_val2014:sentid:7") == 7
    assert image_id("COCO_val2014_000000000007.jpg") == "COCO_val2014_000000000007"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("sits", "caption,image,score,sampling_method\n", r"expected caption, image, agg_score, sampling_method"),
        ("sts", "", r"columns none; expected caption1, caption2"),
        ("sits", "1,COCO_val2014_000000000001.jpg,2,how\n", "row 1: '1' is no caption name COCO_val2014:sentid:"),
        ("sits", "COCO_val2014:sentid:1,1.jpg,2,how\n", "row 1: '1.jpg' is no photo name COCO_val2014_<12 digits>"),
        ("sis", PAIR["sis"] + ",5.1,how\n", "row 1: agg_score 5.1 is not between 0 and 5"),
        ("sis", PAIR["sis"] + ",nan,how\n", "row 1: agg_score nan is not between 0 and 5"),
        ("sts", PAIR["sts"] + ",much,how\n", "row 1: could not convert string to float: 'much'"),
        ("sts", PAIR["sts"] + "\n", "row 1: "),
    ],
)
def test_bad_cxc(kind, text, message, tmp_path):
    head = "" if "expected" in message else f"{HEAD[kind]},agg_score,sampling_method\n"
    (tmp_path / f"{kind}_test.csv").write_text(head + text)
    with pytest.raises(DataError, match=message):
        read_ratings(tmp_path, [f"{kind}_test.csv"])


RECORD = {"filename": "1.jpg", "split": "train", "sentences": [{"raw": "a dog", "sentid": 3}]}
BAD_KARPATHY = {
    "no JSON": ("{", "not valid JSON"),
    "no images": ("{}", "is not JSON with `images`"),
    "a list": ("[]", "is not JSON with `images`"),
    "an image is a word": (json.dumps({"images": ["dog"]}), "image 1: is str, not an object"),
    "no sentences key": (
        json.dumps({"images": [{"filename": "1.jpg", "split": "train"}]}),
        "image 1: has no sentences",
    ),
    "no sentences": (json.dumps({"images": [{**RECORD, "sentences": []}]}), "image 1: has no sentences"),
    "unknown split": (json.dumps({"images": [RECORD, {**RECORD, "split": "dev"}]}), "image 2: split 'dev' is none of"),
    "no name": (json.dumps({"images": [{**RECORD, "filename": ""}]}), "image 1: filename '' is no name"),
    "no text": (json.dumps({"images": [{**RECORD, "sentences": [{"sentid": 1}]}]}), "a sentence has no text `raw`"),
    "id is a word": (
        json.dumps({"images": [{**RECORD, "sentences": [{"raw": "x", "sentid": "1"}]}]}),
        "image 1: sentid '1' is no whole number",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_KARPATHY.values(), ids=BAD_KARPATHY.keys())
def test_bad_karpathy(content, message, tmp_path):
    stand_in.write_flickr30k(tmp_path)
    stand_in.write_zip(tmp_path / "caption_datasets.zip", {"dataset_flickr30k.json": content.encode()})
    with pytest.raises(DataError, match=message):
        read("flickr30k", tmp_path, preset("flickr30k"))


def test_splits_file_of_another_data_set(tmp_path):
    stand_in.write_flickr30k(tmp_path)
    stand_in.write_zip(tmp_path / "caption_datasets.zip", {"dataset_coco.json": b"{}"})
    with pytest.raises(DataError, match=r"has no dataset_flickr30k.json \(has: dataset_coco.json\)"):
        read("flickr30k", tmp_path, preset("flickr30k"))
