"""The clean stage as a whole: leaks, broken photos, quarantine, the same bytes each time; on real data its traps."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import warm
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # tests are no package
import stand_in
from presets import ROOT, preset

from itm.config.parameters import Parameters
from itm.config.render import render
from itm.data.catalogue import load_catalogue
from itm.data.clean.captions import clean_captions
from itm.data.clean.leaks import Pair
from itm.data.clean.run import clean_data_set
from itm.data.download import fetch
from itm.data.readers import read
from itm.data.readers.cxc import read_ratings
from itm.data.scenes import write_images, write_scenes
from itm.data.schemas.protocols import check_protocol
from itm.data.tables import read_captions, read_hierarchies, read_images, read_quarantine, read_texts, read_truth
from itm.data.tables import read_ratings as ratings_of
from itm.errors import DataError


def small_flickr30k(strict_leaks: bool = False) -> Parameters:
    return preset("flickr30k", changes={"datasets.flickr30k.check_protocol": False, "clean.strict_leaks": strict_leaks})


def clean(raw: Path, out: Path, parameters: Parameters | None = None) -> dict:
    parameters = parameters or small_flickr30k()
    return clean_data_set(parameters, raw, out, out / "quality.json", lambda *_: None)


def rewrite_photos(raw: Path, changes: dict[str, bytes | None]) -> None:
    """Put other bytes (None: no file) in place of photos of the Flickr30K stand-in."""
    import tarfile

    path = raw / "flickr30k-images.tar.gz"
    with tarfile.open(path) as tar:
        members = {entry.name: tar.extractfile(entry).read() for entry in tar}
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            content = changes.get(name.split("/")[-1], content)
            if content is not None:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def photo_bytes(raw: Path, name: str) -> bytes:
    import tarfile

    with tarfile.open(raw / "flickr30k-images.tar.gz") as tar:
        return tar.extractfile(f"flickr30k-images/{name}").read()


@pytest.fixture
def raw(tmp_path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    stand_in.write_flickr30k(folder)
    return folder


TRAIN, DEV, TEST = "1000003.jpg", "1000075.jpg", "1000090.jpg"


@pytest.mark.slow
def test_exact_and_perceptual_leaks(raw, tmp_path):
    picture = Image.open(io.BytesIO(photo_bytes(raw, "1000004.jpg"))).convert("RGB").resize((160, 120))
    smaller = io.BytesIO()
    picture.save(smaller, "JPEG", quality=70)
    rewrite_photos(
        raw, {TEST: photo_bytes(raw, TRAIN), DEV: smaller.getvalue(), "1000011.jpg": photo_bytes(raw, "1000010.jpg")}
    )
    report = clean(raw, tmp_path / "out")["duplicates"]
    assert report["same_images"] == {"exact train-test": 1, "exact train-train": 1, "perceptual train-dev": 1}
    assert report["leaks"] == 2
    assert "exact: 1000003 (train) = 1000090 (test)" in report["same_images_listed"]
    with pytest.raises(
        DataError, match="2 images of the training split are also evaluated on: 1000003 = 1000090"
    ) as caught:
        clean(raw, tmp_path / "strict", small_flickr30k(strict_leaks=True))
    assert caught.value.reason == "leak"
    assert not (tmp_path / "strict/captions.parquet").exists()


@pytest.mark.slow
def test_different_photos_are_no_leak(raw, tmp_path):
    assert clean(raw, tmp_path / "out")["duplicates"]["leaks"] == 0


def test_bad_training_photos_go_to_quarantine_with_their_captions(raw, tmp_path):
    rewrite_photos(raw, {TRAIN: b"<html>", "1000005.jpg": photo_bytes(raw, "1000005.jpg")[:-100], "1000006.jpg": None})
    report = clean(raw, tmp_path / "out")
    assert report["after"]["train"] == {"images": 57, "captions": 285}
    reasons = {"not-an-image": 1, "damaged-image": 1, "photo-missing": 1, "photo-rejected": 15}
    assert report["quarantine"] == reasons
    quarantine = read_quarantine(tmp_path / "out")
    assert quarantine[quarantine["reason"] == "not-an-image"]["image_id"].tolist() == ["1000003"]
    assert report["before"]["train"]["captions"] == report["after"]["train"]["captions"] + 15


@pytest.mark.parametrize(("content", "message"), [(b"", "the file is empty"), (None, "has no such photo")])
def test_bad_evaluation_photo_stops_the_stage(content, message, raw, tmp_path):
    rewrite_photos(raw, {TEST: content})
    with pytest.raises(DataError, match=rf"1 evaluation photos cannot be used.*1000090 \(test.*{message}") as caught:
        clean(raw, tmp_path / "out")
    assert caught.value.reason == "evaluation-photo"


def test_training_photo_without_a_caption_left(raw, tmp_path):
    path = raw / "caption_datasets.zip"
    with zipfile.ZipFile(path) as archive:
        values = json.loads(archive.read("dataset_flickr30k.json"))
    for sentence in values["images"][3]["sentences"]:
        sentence["raw"] = "A"
    stand_in.write_zip(path, {"dataset_flickr30k.json": json.dumps(values).encode()})
    report = clean(raw, tmp_path / "out")
    assert report["quarantine"] == {"no-caption-left": 1, "too-short": 5}
    assert "1000003" not in set(read_images(tmp_path / "out")["image_id"])


def test_caption_ids_that_come_twice_break_the_contract(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("ITM_LOGS", str(tmp_path))
    path = raw / "caption_datasets.zip"
    with zipfile.ZipFile(path) as archive:
        values = json.loads(archive.read("dataset_flickr30k.json"))
    values["images"][0]["sentences"][0]["sentid"] = values["images"][1]["sentences"][0]["sentid"]
    stand_in.write_zip(path, {"dataset_flickr30k.json": json.dumps(values).encode()})
    with pytest.raises(DataError, match=r"captions.caption_id: must not come twice \[duplicate\], 2 rows"):
        clean(raw, tmp_path / "out")


@pytest.fixture(scope="module")
def small_scenes() -> Parameters:
    sizes = {"train_images": 40, "dev_images": 8, "test_images": 12, "image_size": 32}
    return preset("scenes", changes={f"datasets.scenes.{key}": size for key, size in sizes.items()})


@pytest.fixture(scope="module")
def scenes(small_scenes, tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("scenes")
    (folder / "raw").mkdir()
    write_scenes(small_scenes.datasets.scenes, folder / "raw/scenes.jsonl")
    write_images(small_scenes.datasets.scenes, folder / "raw/scenes-images.tar")
    return folder, clean(folder / "raw", folder / "out", small_scenes)


def test_scenes(scenes):
    folder, report = scenes
    captions, images, texts = read_captions(folder / "out"), read_images(folder / "out"), read_texts(folder / "out")
    assert {split: counts["images"] for split, counts in report["after"].items()} == {"train": 40, "dev": 8, "test": 12}
    assert texts["text"].tolist()[: len(captions)] == captions["text"].tolist()
    assert texts["text"].iloc[-1] == ""
    chains = read_hierarchies(folder / "out")
    assert texts["text"].to_numpy()[chains["text_id"]].tolist() == chains["text"].tolist()
    truth = read_truth(folder / "out")
    assert truth["test_image_ids"].tolist() == images[images["split"] == "test"]["image_id"].tolist()
    assert truth["test_grade"].shape == (12, 60)
    true = (truth["test_grade"] == 5).sum(0)
    assert captions[captions["split"] == "test"]["multiplicity"].tolist() == true.tolist()
    assert set(ratings_of(folder / "out")["kind"]) == {"sts", "sis", "sits"}
    assert len(ratings_of(folder / "out", "sis")) > 0


@pytest.mark.slow
def test_the_same_source_gives_the_same_bytes(scenes, small_scenes, tmp_path):
    folder, _ = scenes
    clean(folder / "raw", tmp_path / "again", small_scenes)
    names = sorted(path.name for path in (folder / "out").iterdir())
    assert len(names) == 11
    for name in names:
        assert (folder / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


@pytest.mark.slow
def test_stage_from_the_command_line(scenes, small_scenes, tmp_path):
    """The stage tells a user's error in one message, and no traceback."""
    folder, _ = scenes
    (tmp_path / "params.yaml").write_text(render(small_scenes, "scenes"))
    arguments = ["--raw", str(folder / "raw"), "--out", "out", "--quality", "q.json"]
    command = [sys.executable, "-m", "itm.stages.clean", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "q.json").read_bytes() == (folder / "out/quality.json").read_bytes()
    (tmp_path / "logs/stages").mkdir(parents=True, exist_ok=True)
    command[4] = str(tmp_path)
    command[0] = f"{warm.commands()}/python"
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if " INFO " not in line] == done.stderr.splitlines()[-1:]
    assert "scenes.jsonl: no such file; list it under data.files" in done.stderr


# --- real data ---

real = pytest.mark.skipif(not os.environ.get("ITM_MIRROR"), reason="ITM_MIRROR is not set")


@pytest.fixture(scope="module")
def flickr8k_raw(tmp_path_factory) -> Path:
    raw = tmp_path_factory.mktemp("raw") / "flickr8k"
    for file, entry in load_catalogue(ROOT / "data/catalogue.yaml")["flickr8k"].files.items():
        fetch("flickr8k", file, entry, raw / file)
    return raw


@real
@pytest.mark.real
@pytest.mark.slow
def test_flickr8k_mini_and_its_traps(flickr8k_raw, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    report = clean(flickr8k_raw, tmp_path, preset("flickr8k-mini"))
    assert report["after"]["test"] == {"images": 500, "captions": 2500}
    assert report["after"]["hierarcaps"] == {"images": 1000, "captions": 0}
    assert report["notes"]["captions_with_double_quote"] == 120
    assert report["quarantine"]["no-photo"] == 460
    shown = report["quarantine_examples"]["no-photo"]
    for trap in ("2258277193_586949ec62.jpg.1: people waiting", "2428275562_4bde2bc5ea: A", ": broken image"):
        assert any(trap in line for line in shown), trap
    assert report["images"]["modes"] == {"L": 5, "RGB": 3495}
    assert report["duplicates"]["leaks"] == 0
    expert = ratings_of(tmp_path, "expert")
    assert len(expert) % 3 == 0
    assert set(expert["caption_id_1"]) <= set(read_captions(tmp_path).query("split == 'test'")["caption_id"])


@real
@pytest.mark.real
def test_texts_of_flickr8k_whole(flickr8k_raw):
    parameters = preset("flickr8k")
    found = read("flickr8k", flickr8k_raw, parameters)
    captions = clean_captions(found.captions, parameters.clean).table
    assert captions["split"].value_counts().to_dict() == {"train": 29983, "dev": 5000, "test": 5000}
    assert check_protocol(parameters, found.images, captions, 0)[0] == []
    assert found.ratings["kind"].value_counts().to_dict() == {"crowdflower": 47830, "expert": 3 * 5822}


@real
@pytest.mark.real
@pytest.mark.long
def test_flickr8k_whole(flickr8k_raw, tmp_path, monkeypatch):
    """With its photos; the mini subset shows the same of fewer in less time."""
    monkeypatch.chdir(ROOT)
    report = clean(flickr8k_raw, tmp_path, preset("flickr8k"))
    counts = {split: (found["images"], found["captions"]) for split, found in report["after"].items()}
    assert counts == {"train": (6000, 29983), "dev": (1000, 5000), "test": (1000, 5000), "hierarcaps": (1000, 0)}
    assert report["duplicates"]["same_images_listed"] == [
        "exact: 3050606344_af711c726c (train) = 2851198725_37b6027625 (train)"
    ]
    assert report["ratings"] == {"crowdflower": 47830, "expert": 3 * 5822}


@real
@pytest.mark.real
def test_cxc_of_the_mirror_resolves_in_the_karpathy_test_split(tmp_path):
    entries = load_catalogue(ROOT / "data/catalogue.yaml")["coco"].files
    names = [f"{kind}_{split}.csv" for kind in ("sts", "sis", "sits") for split in ("test", "val")]
    for file in (*names, "karpathy_captions.csv"):
        fetch("coco", file, entries[file], tmp_path / file)
    with (tmp_path / "karpathy_captions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    captions = {int(row["caption_id"]) for row in rows if row["split"] == "test"}
    images = {f"COCO_val2014_{int(row['image_id']):012d}" for row in rows if row["split"] == "test"}
    found = read_ratings(tmp_path, [name for name in names if "test" in name])
    assert found["kind"].value_counts().to_dict() == {"sts": 44045, "sis": 46719, "sits": 44833}
    for column, known in (
        ("caption_id_1", captions),
        ("caption_id_2", captions),
        ("image_id_1", images),
        ("image_id_2", images),
    ):
        assert set(found[column].dropna()) <= known
    assert len(read_ratings(tmp_path, names)) == 135597 + 44009 + 42767 + 44722


def test_a_leak_is_between_training_and_evaluation():
    splits = [("train", "dev"), ("test", "train"), ("train", "train"), ("dev", "test"), ("hierarcaps", "test")]
    pairs = [Pair("exact", "a", first, "b", second) for first, second in splits]
    assert [pair.is_leak for pair in pairs] == [True, True, False, False, False]
