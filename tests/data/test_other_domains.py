"""RSICD, RSITMD, N24News and the HierarCaps photos with COCO's captions: from their files to clean tables."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests are no package
import stand_in
from presets import ROOT, preset

from itm.config.parameters import Parameters
from itm.config.presets import compose
from itm.data.catalogue import load_catalogue
from itm.data.clean.run import clean_data_set
from itm.data.download import fetch
from itm.data.readers import read
from itm.data.tables import read_captions, read_hierarchies, read_images, read_quarantine
from itm.errors import ConfigError, DataError

pytestmark = pytest.mark.slow

WRITE = {name: getattr(stand_in, f"write_{name}") for name in ("rsicd", "rsitmd", "n24news", "hierarcaps")}
SMALL = {
    "rsicd": {"check_protocol": False},
    "rsitmd": {"check_protocol": False, "dev_images": 8},
    "n24news": {},
    "hierarcaps": {"check_protocol": False},
}


def parameters(name: str, **options: object) -> Parameters:
    """The parameters of a data set, with other options of its own."""
    changes = {f"datasets.{name}.{key}": value for key, value in (SMALL[name] | options).items()}
    return (
        preset("flickr8k", "data=hierarcaps", changes=changes)
        if name == "hierarcaps"
        else preset(name, changes=changes)
    )


def written(name: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    WRITE[name](folder)
    return folder


def clean(name: str, tmp_path: Path, **options: object) -> dict:
    raw = written(name, tmp_path / "raw")
    out = tmp_path / "clean"
    return clean_data_set(parameters(name, **options), raw, out, tmp_path / "q.json", lambda *_: None)


def sizes(report: dict) -> dict[str, tuple[int, int]]:
    return {split: (counts["images"], counts["captions"]) for split, counts in report["after"].items()}


def test_rsicd(tmp_path):
    """Splits of the JSON; the sentence that training has twice goes; photos are found by name."""
    report = clean("rsicd", tmp_path)
    assert sizes(report) == {"train": (40, 199), "dev": (8, 40), "test": (12, 60)}
    assert report["quarantine"] == {"repeated": 1}
    assert report["notes"]["photos_in_no_split"] == 0
    captions = read_captions(tmp_path / "clean")
    assert captions["caption_id"].is_unique
    assert captions["split"].drop_duplicates().tolist() == ["train", "dev", "test"]
    first = captions.iloc[0]
    assert (first["image_id"], first["raw_text"]) == ("dog_0", "A red dog on the grass.")


def test_rsitmd_dev_is_cut_from_train_by_hash(tmp_path):
    report = clean("rsitmd", tmp_path)
    assert sizes(report) == {"train": (32, 159), "dev": (8, 40), "test": (12, 60)}
    assert report["images"]["stored_anew"] == {"format": 52}
    images = read_images(tmp_path / "clean")
    names = [f"{photo.thing}_{photo.number}" for split, photo in stand_in.remote_sensing_photos(("train", "test"))]
    by_hash = sorted(names[:40], key=lambda name: hashlib.sha256(f"{name}.tif".encode()).hexdigest())
    assert set(images.loc[images["split"] == "dev", "image_id"]) == set(by_hash[:8])
    assert set(images.loc[images["split"] == "test", "image_id"]) == set(names[40:])


def test_rsitmd_by_hand(tmp_path):
    """sha256 of "b.tif" begins with 5b52, that of "c.tif" with 469a: c is the one that is set aside."""
    texts = ["one", "two", "three", "four", "five"]
    records = [
        {"filename": f"{name}.tif", "split": split, "sentences": [{"raw": text} for text in texts]}
        for name, split in (("a", "test"), ("b", "train"), ("c", "train"))
    ]
    stand_in.write_zip(tmp_path / "RSITMD.zip", {"dataset_RSITMD.json": json.dumps({"images": records}).encode()})
    found = read("rsitmd", tmp_path, parameters("rsitmd", dev_images=1))
    assert found.images[["image_id", "split"]].to_numpy().tolist() == [["b", "train"], ["c", "dev"], ["a", "test"]]
    # captions are numbered in the order of the file: a has 0 to 4, b 5 to 9, c 10 to 14
    assert found.captions["caption_id"].tolist() == [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0, 1, 2, 3, 4]


PHOTOS = {"rsicd": "RSICD_images", "rsitmd": "RSITMD", "n24news": "N24News", "hierarcaps": "hierarcaps-images"}


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photo_that_is_there_twice(tmp_path, name):
    """The same bytes in a second folder are no matter; others are not chosen between."""
    raw = written(name, tmp_path)
    with zipfile.ZipFile(raw / f"{PHOTOS[name]}.zip", "a") as archive:
        first, second = [one for one in archive.namelist() if one.endswith((".jpg", ".tif"))][:2]
        archive.writestr(f"thumbs/{Path(first).name}", archive.read(first))
        archive.writestr("thumbs/of-no-record.jpg", b"a")
        archive.writestr("other/of-no-record.jpg", b"b")
    assert first in read(name, raw, parameters(name)).images["member"].tolist()
    with zipfile.ZipFile(raw / f"{PHOTOS[name]}.zip", "a") as archive:
        archive.writestr(f"thumbs/{Path(second).name}", b"other")
    with pytest.raises(DataError, match=f"1 pairs of files .*'{second}' and 'thumbs/{Path(second).name}'"):
        read(name, raw, parameters(name))


def test_n24news(tmp_path):
    report = clean("n24news", tmp_path)
    assert sizes(report) == {"train": (29, 29), "dev": (6, 6), "test": (7, 7)}
    assert report["quarantine"] == {"empty": 2, "repeated-photo": 1}
    assert report["notes"] == {
        "text": "caption",
        "articles_without_text": 2,
        "articles_with_a_photo_of_another": 1,
        "photos_of_no_article": 3,
    }
    quarantine = read_quarantine(tmp_path / "clean")
    repeated = quarantine[quarantine["reason"] == "repeated-photo"].iloc[0]
    assert (repeated["source"], repeated["row"]) == ("nytimes_train.json", 31)
    captions = read_captions(tmp_path / "clean")
    assert captions["caption_id"].tolist() == list(range(42))
    assert captions.iloc[0][["image_id", "raw_text"]].tolist() == [
        stand_in.news_id(stand_in.Photo(0)),
        "A red dog on the grass.",
    ]


@pytest.mark.parametrize(("field", "text"), [("headline", "All About the Dog"), ("abstract", "What a red dog may do.")])
def test_n24news_other_texts(field, text, tmp_path):
    report = clean("n24news", tmp_path, text=field)
    assert sizes(report) == {"train": (30, 30), "dev": (6, 6), "test": (8, 8)}
    assert read_captions(tmp_path / "clean")["raw_text"][0] == text


def test_hierarcaps_photos_with_captions_of_coco(tmp_path):
    report = clean("hierarcaps", tmp_path)
    assert sizes(report) == {"test": (12, 60)}
    assert report["quarantine"] == {"extra-caption": 2}
    assert report["notes"]["captions_of_other_photos"] == 6
    captions = read_captions(tmp_path / "clean")
    photo = stand_in.Photo(1)
    own = captions[captions["image_id"] == f"hierarcaps-{stand_in.coco_id(photo):012d}"]
    assert own["text"].tolist() == [
        "a dog",
        "Photo number 1 of a dog that is green",
        "The green dog",
        "There is a dog on the grass",
        "A green dog on the grass.",
    ]
    assert own["caption_id"].tolist() == [stand_in.sentence_id(photo, position) for position in (4, 3, 2, 1, 0)]
    assert len(read_hierarchies(tmp_path / "clean")) == 48


@pytest.mark.parametrize("name", ["rsicd", "rsitmd", "hierarcaps"])
def test_a_stand_in_is_not_taken_for_the_real_thing(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ITM_LOGS", str(tmp_path))
    with pytest.raises(DataError, match=r"12 images instead of (1093|452|1000)") as caught:
        clean(name, tmp_path, check_protocol=True)
    assert caught.value.reason == "size"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("rsicd", "dataset_rsicd.json"),
        ("rsicd", "RSICD_images.zip"),
        ("rsitmd", "RSITMD.zip"),
        ("n24news", "N24News.zip"),
        ("hierarcaps", "captions_val2017.json"),
    ],
)
def test_missing_files(name, file, tmp_path):
    written(name, tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(DataError, match=f"{file}: no such file; list it under data.files .* run the download stage"):
        read(name, tmp_path, parameters(name))


def test_a_photo_that_is_not_in_the_archive(tmp_path):
    raw = written("n24news", tmp_path / "raw")
    lost = [f"imgs/{stand_in.news_id(stand_in.Photo(number))}.jpg" for number in (0, 36)]
    with zipfile.ZipFile(raw / "N24News.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name not in lost}
    stand_in.write_zip(raw / "N24News.zip", members)
    message = r"1 evaluation photos cannot be used.*\(test, N24News.zip\): the archive has no such photo"
    with pytest.raises(DataError, match=message):
        clean_data_set(parameters("n24news"), raw, tmp_path / "clean", tmp_path / "q.json", lambda *_: None)


RECORD = {"filename": "a.tif", "split": "train", "sentences": [{"raw": "x"}]}
OTHER = {**RECORD, "filename": "b.tif"}
TEST = {**RECORD, "filename": "c.tif", "split": "test"}
BAD_RSITMD = {
    "not JSON": (b"{", "dataset_RSITMD.json: not valid JSON"),
    "no images": ({"pictures": []}, "is not JSON with `images`"),
    "no list": ({"images": {"a": 1}}, "`images` of dataset_RSITMD.json is dict, not a list"),
    "no sentences": ({"images": [{**RECORD, "sentences": []}]}, "1 images .*: image 1: has no sentences"),
    "no key": ({"images": [RECORD, {"filename": "b.tif"}]}, "image 2: has no split, sentences"),
    "wrong type": ({"images": [{**RECORD, "sentences": [{"raw": 3}]}]}, "a sentence has no text `raw`"),
    "many": ({"images": [{"split": "x"}] * 5}, "5 images .*: image 1: .*, image 2: .*, image 3: .* and 2 more"),
    "unknown split": ({"images": [{**RECORD, "split": "all"}]}, "split 'all' is none of train, restval, val, test"),
    "a val after all": (
        {"images": [RECORD, OTHER, {**TEST, "split": "val"}]},
        "1 images are in `val`, and dev_images is 8; set it to 0",
    ),
    "too few": (
        {"images": [RECORD, OTHER, TEST]},
        "dev_images is 8, but only 2 images are in `train`; set aside fewer",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_RSITMD.values(), ids=BAD_RSITMD.keys())
def test_bad_rsitmd(content, message, tmp_path):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    stand_in.write_zip(tmp_path / "RSITMD.zip", {"RSITMD/dataset_RSITMD.json": content})
    with pytest.raises(DataError, match=message):
        read("rsitmd", tmp_path, parameters("rsitmd"))


def test_no_dev_split_and_none_set_aside(tmp_path):
    written("rsitmd", tmp_path)
    message = "no image is in `val`, and dev_images is 0; say how many training images to set aside"
    with pytest.raises(DataError, match=message):
        read("rsitmd", tmp_path, parameters("rsitmd", dev_images=0))


def test_an_archive_of_something_else(tmp_path):
    stand_in.write_zip(tmp_path / "RSITMD.zip", {"images/a.tif": b""})
    with pytest.raises(DataError, match=r"has no dataset_RSITMD.json \(has: images/a.tif\)"):
        read("rsitmd", tmp_path, parameters("rsitmd"))


GOOD = {"image_id": "a", "caption": "x"}
BAD_NEWS = {
    "not JSON": (b"[", "nytimes_dev.json: not valid JSON"),
    "no list": ({"articles": []}, "nytimes_dev.json is dict, not a list of articles"),
    "no object": ([GOOD, 7], "1 articles of nytimes_dev.json .*: article 2: is int, not an object"),
    "no id": ([{"caption": "x"}], "article 1: has no image_id"),
    "no text": ([{"image_id": "a", "headline": "x"}], "article 1: has no caption"),
    "an id that is a number": ([{"image_id": 7, "caption": "x"}], "article 1: image_id 7 is no name"),
    "a text that is none": ([{"image_id": "a", "caption": None}], "article 1: caption None is no text"),
    "many": ([{}] * 5, "5 articles .*article 3: has no image_id, caption and 2 more"),
}


@pytest.mark.parametrize(("content", "message"), BAD_NEWS.values(), ids=BAD_NEWS.keys())
def test_bad_n24news(content, message, tmp_path):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    good = json.dumps([GOOD]).encode()
    members = {"nytimes_train.json": good, "nytimes_test.json": good, "nytimes_dev.json": content}
    stand_in.write_zip(tmp_path / "N24News.zip", {f"news/{name}": data for name, data in members.items()})
    with pytest.raises(DataError, match=message):
        read("n24news", tmp_path, parameters("n24news"))


def test_news_without_splits_or_texts(tmp_path):
    stand_in.write_zip(tmp_path / "N24News.zip", {"nytimes_dataset.json": b"[]"})
    with pytest.raises(DataError, match=r"has no nytimes_train.json \(has: nytimes_dataset.json\)"):
        read("n24news", tmp_path, parameters("n24news"))
    empty = json.dumps([{"image_id": "a", "caption": ""}]).encode()
    stand_in.write_zip(tmp_path / "N24News.zip", {f"nytimes_{split}.json": empty for split in ("train", "dev", "test")})
    with pytest.raises(DataError, match=r"no article has a caption; choose another datasets.n24news.text"):
        read("n24news", tmp_path, parameters("n24news"))


def test_news_text_must_be_one_of_three():
    with pytest.raises(ConfigError, match=r"datasets.n24news.text = 'body': .*'caption', 'headline' or 'abstract'"):
        compose("n24news", ["datasets.n24news.text=body"], root=ROOT)


BAD_COCO = {
    "no annotations": ({}, "is not JSON with `annotations`"),
    "no key": ({"annotations": [{"image_id": 1, "id": 2}]}, "annotation 1: KeyError\\('caption'\\)"),
    "an id that is a text": (
        {"annotations": [{"image_id": "1", "id": 2, "caption": "x"}]},
        "annotation 1: image_id, id",
    ),
    "other photos": (
        {"annotations": [{"image_id": 1, "id": 2, "caption": "x"}]},
        r"has no caption of 12 of 12 HierarCaps photos \(hierarcaps-000000001000, .* and 9 more\); take annotations",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_COCO.values(), ids=BAD_COCO.keys())
def test_bad_captions_of_coco(content, message, tmp_path):
    written("hierarcaps", tmp_path)
    (tmp_path / "captions_val2017.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read("hierarcaps", tmp_path, parameters("hierarcaps"))


@pytest.mark.skipif(not os.environ.get("ITM_MIRROR"), reason="ITM_MIRROR is not set")
@pytest.mark.real
def test_the_real_photos_of_hierarcaps(tmp_path, monkeypatch):
    """1,000 photos in the published order, five captions each; needs ITM_MIRROR."""
    monkeypatch.chdir(ROOT)
    entry = load_catalogue(ROOT / "data/catalogue.yaml")["hierarcaps"]
    for file, source in entry.files.items():
        fetch("hierarcaps", file, source, tmp_path / "raw/hierarcaps" / file)
    chosen = preset("flickr8k", "data=hierarcaps")
    raw = tmp_path / "raw/hierarcaps"
    report = clean_data_set(chosen, raw, tmp_path / "clean", tmp_path / "q.json", lambda *_: None)
    assert sizes(report) == {"test": (1000, 5000)}
    assert report["quarantine"] == {"extra-caption": 3}
