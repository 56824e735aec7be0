"""The catalogue: what is in it is complete, and a wrong entry is told with its place."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from presets import ROOT, preset
from ruamel.yaml import YAML

from itm.config.data import DatasetsParameters
from itm.config.recipes import choices
from itm.data.catalogue import find_file, load_catalogue
from itm.data.commands import app
from itm.data.readers.base import READERS
from itm.errors import ConfigError, DataError


@pytest.fixture
def catalogue(monkeypatch):
    monkeypatch.delenv("ITM_CATALOGUE", raising=False)
    return load_catalogue(ROOT / "data/catalogue.yaml")


def test_every_data_set_has_an_entry_a_reader_and_options(catalogue):
    annotations = {name for name, entry in catalogue.items() if all(file.package for file in entry.files.values())}
    assert annotations == {"eccv_caption"}
    assert set(catalogue) - annotations == set(DatasetsParameters.model_fields) == set(READERS)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("regions", "data=coco"), *((data,) for data in choices("data", ROOT))])
def test_every_data_set_names_files_of_the_catalogue(words, catalogue):
    parameters = preset(*words)
    wanted = catalogue[parameters.data.name].files
    assert set(parameters.data.files) <= set(wanted)
    left_out = {file for file, entry in wanted.items() if not entry.optional} - set(parameters.data.files)
    # only what belongs to a benchmark that the preset does not evaluate
    assert all(file.startswith("hierarcaps") for file in left_out)
    assert not (left_out and "hierarcaps" in parameters.benchmarks)


def test_mirror_copies_are_those_of_the_manifest(catalogue, monkeypatch):
    import os

    if not os.environ.get("ITM_MIRROR"):
        pytest.skip("ITM_MIRROR is not set")
    manifest = json.loads((Path(os.environ["ITM_MIRROR"]) / "MANIFEST.json").read_text())
    known = {entry["path"]: (entry["bytes"], entry["sha256"]) for entry in manifest}
    copies = [copy for entry in catalogue.values() for file in entry.files.values() for copy in file.mirror]
    for copy in copies:
        if copy.sha256 is not None:
            assert known[copy.path] == (copy.bytes, copy.sha256), copy.path


def test_published_checksums_come_with_a_size(catalogue):
    for entry in catalogue.values():
        for name, file in entry.files.items():
            assert (file.sha256 is None) == (file.bytes is None), name
            # without a reason there is no plain address, and none without a checksum is the only one
            assert all(url.startswith("https://") for url in file.urls) or (
                file.plain_http and (file.sha256 or file.urls[0].startswith("https://"))
            )


BASE = {"title": "t", "use": "u", "licence": "l", "citation": "c"}
BAD = {
    "no addresses": ({"a.zip": {}}, "set.files.a.zip: needs at least one of urls, mirror, manual, package, generated"),
    "wrong address": ({"a.zip": {"urls": ["ftp://x/a"]}}, "address 'ftp://x/a' must start with http:// or https://"),
    "plain address": ({"a.zip": {"urls": ["http://x/a"]}}, "'http://x/a' starts with http://, where anybody on the"),
    "short checksum": (
        {"a.zip": {"urls": ["https://x"], "sha256": "abc"}},
        "sha256 'abc' is not 64 hexadecimal digits",
    ),
    "upper-case checksum": (
        {"a.zip": {"urls": ["https://x"], "sha256": "A" * 64}},
        "is not 64 hexadecimal digits in lower",
    ),
    "negative size": (
        {"a.zip": {"urls": ["https://x"], "bytes": -1}},
        "set.files.a.zip.bytes: Input should be",
    ),
    "unknown key": ({"a.zip": {"url": "http://x"}}, "set.files.a.zip.url: Extra inputs are not permitted"),
    "name with a path": ({"../a.zip": {"urls": ["https://x"]}}, "file name '../a.zip' may hold letters, digits"),
    "mirror path that leaves": (
        {"a.zip": {"mirror": [{"path": "../a"}]}},
        "must be relative and stay inside the mirror",
    ),
    "absolute mirror path": (
        {"a.zip": {"mirror": [{"path": "/etc/a"}]}},
        "must be relative and stay inside the mirror",
    ),
}


@pytest.mark.parametrize(("files", "message"), BAD.values(), ids=BAD.keys())
def test_bad_entry(files, message, tmp_path, monkeypatch):
    monkeypatch.delenv("ITM_CATALOGUE", raising=False)
    path = tmp_path / "catalogue.yaml"
    YAML().dump({"set": {**BASE, "files": files}}, path)
    with pytest.raises(ConfigError) as caught:
        load_catalogue(path)
    assert message in str(caught.value)
    assert caught.value.reason == "catalogue"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[a, list]", "expected data sets by name, found list"),
        ("{unclosed", "not valid YAML"),
        (None, "no such catalogue"),
    ],
)
def test_bad_file(content, message, tmp_path):
    path = tmp_path / "catalogue.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_catalogue(path)


def test_missing_keys_are_all_told(tmp_path, monkeypatch):
    monkeypatch.delenv("ITM_CATALOGUE", raising=False)
    path = tmp_path / "catalogue.yaml"
    YAML().dump({"set": {"title": "t", "files": {}}}, path)
    with pytest.raises(ConfigError, match="3 faults"):
        load_catalogue(path)


def test_override_replaces_single_files(tmp_path, monkeypatch):
    path = tmp_path / "mine.yaml"
    YAML().dump(
        {"coco": {"files": {"val2014.zip": {"urls": ["http://127.0.0.1/v"]}}}, "mine": {**BASE, "files": {}}}, path
    )
    monkeypatch.setenv("ITM_CATALOGUE", str(path))
    found = load_catalogue(ROOT / "data/catalogue.yaml")
    assert found["coco"].files["val2014.zip"].urls == ["http://127.0.0.1/v"]
    assert found["coco"].files["val2014.zip"].sha256 is None
    assert found["coco"].files["train2014.zip"].sha256 is not None
    assert found["mine"].title == "t"


def test_unknown_names(catalogue):
    with pytest.raises(ConfigError, match="data set 'flikr8k' is not in the catalogue; did you mean 'flickr8k'"):
        find_file(catalogue, "flikr8k", "x")
    with pytest.raises(ConfigError, match=r"has no file 'val2014'; did you mean 'val2014.zip'"):
        find_file(catalogue, "coco", "val2014")


# --- itm data ---


def run(capsys, *arguments: str) -> str:
    app(list(arguments), standalone_mode=False)
    return capsys.readouterr().out


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/catalogue.yaml").symlink_to(ROOT / "data/catalogue.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ITM_MIRROR", raising=False)
    monkeypatch.delenv("ITM_CATALOGUE", raising=False)
    return tmp_path


def test_list_and_info(project, capsys):
    names = [line.split()[0] for line in run(capsys, "list").splitlines()]
    by_hand = ["rsicd", "rsitmd", "n24news", "folder"]
    assert names == ["scenes", "flickr8k", "coco", "eccv_caption", "flickr30k", "hierarcaps", *by_hand]
    text = run(capsys, "info", "flickr30k")
    assert "licence  non-commercial research" in text
    assert "by hand: fill in the form" in text
    assert "not here" in text


def test_fetch_and_verify(project, capsys, monkeypatch):
    mirror = project / "mirror/hierarcaps"
    mirror.mkdir(parents=True)
    (mirror / "hierarcaps_test.csv").write_bytes(b"wrong")
    (project / "over.yaml").write_text(
        '{"flickr8k": {"files": {"hierarcaps.csv": {"mirror": [{"path": "hierarcaps/hierarcaps_test.csv"}]}}}}'
    )
    monkeypatch.setenv("ITM_MIRROR", str(project / "mirror"))
    monkeypatch.setenv("ITM_CATALOGUE", str(project / "over.yaml"))
    assert "checksum recorded at first sight" in run(capsys, "fetch", "flickr8k", "hierarcaps.csv")
    assert (project / "data/raw/flickr8k/hierarcaps.csv").read_bytes() == b"wrong"
    assert "hierarcaps.csv: sha256" in run(capsys, "verify", "flickr8k", "hierarcaps.csv")
    (project / "data/raw/flickr8k/hierarcaps.csv").write_bytes(b"other")
    with pytest.raises(Exception, match="1 of 1 files not verified"):
        run(capsys, "verify", "flickr8k", "hierarcaps.csv")


def test_verify_judges_archives_of_every_kind(project, capsys):
    path = project / "data/raw/flickr30k/flickr30k-images.tar.gz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../outside.jpg"), io.BytesIO())
    with pytest.raises(DataError, match="a path outside the target folder"):
        run(capsys, "verify", "flickr30k", "flickr30k-images.tar.gz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "flikr8k"], "no data set 'flikr8k'; did you mean 'flickr8k'"),
        (["fetch", "scenes"], "data set 'scenes' is generated"),
        (["fetch", "coco", "train2014"], "has no file 'train2014'"),
        (["fetch", "flickr30k", "flickr30k-images.tar.gz"], "must be fetched by hand"),
        (
            ["fetch", "rsicd"],
            r"RSICD_images.zip must be fetched by hand: .*; then put it at FOLDER/rsicd/RSICD_images.zip",
        ),
        (
            ["fetch", "rsitmd"],
            r"RSITMD.zip must be fetched by hand: .*put it at FOLDER/rsitmd/RSITMD.zip, set ITM_MIRROR",
        ),
        (
            ["fetch", "n24news"],
            r"N24News.zip must be fetched by hand: .*nytimes_train.json.*FOLDER/n24news/N24News.zip",
        ),
        (["verify", "coco", "val2014.zip"], "missing; run `itm data fetch coco`"),
    ],
)
def test_command_errors(arguments, message, project, capsys):
    with pytest.raises(Exception, match=message.replace("(", r"\(")):
        run(capsys, *arguments)
