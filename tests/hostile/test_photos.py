"""Photos that are none, or far too much: each door names the file and goes on, and no other program is started."""

from __future__ import annotations

import io
import os
import struct
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from PIL import Image
from small_model import KINDS, picture

import itm
from itm.data.clean.pictures import store_images
from itm.data.decode import MAXIMUM_BYTES, examine, read_header
from itm.data.images import ImageStore, ShardWriter
from itm.data.schemas.clean import REASONS
from itm.errors import DataError
from itm.evaluation.published.encoding import Photos
from itm.index.gallery import PhotoFolder, embed_gallery
from itm.model import Model

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gs` on the path that leaves a trace."""
    trace = tmp_path / "started"
    program = tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{trace}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return trace


def test_postscript_reaches_no_interpreter(small: SimpleNamespace, tmp_path: Path, ghostscript: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(POSTSCRIPT)
    (folder / "b.png").write_bytes(picture(*KINDS[0]))
    for door in (read_header, examine):
        with pytest.raises(DataError, match="no photo that can be read; known formats: JPEG, PNG"):
            door(POSTSCRIPT)
    with pytest.raises(DataError, match=r"a\.jpg: this is no photo"):
        itm.load(small.models[0]).encode_images([folder / "a.jpg"])
    rows, _, broken = embed_gallery(PhotoFolder(folder), Model(small.models[0]))
    assert rows.tolist() == [1]
    assert broken[0][0] == "a.jpg"
    assert not ghostscript.exists()


def test_a_huge_file_is_refused_before_it_is_read(small: SimpleNamespace, tmp_path: Path) -> None:
    """60 GB, of which the disk holds nothing."""
    folder = tmp_path / "photos"
    folder.mkdir()
    with (folder / "a.jpg").open("wb") as file:
        file.truncate(60 * 2**30)
    (folder / "b.png").write_bytes(picture(*KINDS[0]))
    message = rf"a\.jpg: 61,440 MB, more than the {MAXIMUM_BYTES // 2**20} MB of any photo"
    with pytest.raises(DataError, match=message):
        itm.load(small.models[0]).encode_images([folder / "a.jpg"])
    rows, _, broken = embed_gallery(PhotoFolder(folder), Model(small.models[0]))
    assert rows.tolist() == [1]
    assert broken[0][0] == "a.jpg"


def test_a_huge_photo_of_a_data_set_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """60 GB in a folder and in a tar, of which the disk holds nothing."""
    size, name = 60 * 2**30, "a.jpg"
    (tmp_path / "folder").mkdir()
    with (tmp_path / "folder" / name).open("wb") as file:
        file.truncate(size)
    entry = tarfile.TarInfo(name)
    entry.size = size
    with (tmp_path / "photos.tar").open("wb") as file:
        file.write(entry.tobuf())
        file.truncate(len(entry.tobuf()) + size + 2 * tarfile.BLOCKSIZE)
    rows = [(place, "train", "made", place, name) for place in ("folder", "photos.tar")]
    images = pd.DataFrame(rows, columns=["image_id", "split", "source", "archive", "member"])
    rejected = store_images(images, tmp_path, tmp_path).rejected
    assert rejected["reason"].tolist() == ["too-many-bytes"] * 2
    assert set(rejected["reason"]) <= set(REASONS)
    assert all(name in text and "61,440 MB, more than the" in text for text in rejected["text"])
    with pytest.raises(DataError, match=r"a\.jpg.*61,440 MB, more than the"):
        Photos(tmp_path / "photos.tar", [name]).open(name)


def test_a_stored_photo_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    """A shard that is none of the clean stage: 65,000 x 65,000 in the header of a small JPEG."""
    content = io.BytesIO()
    Image.new("RGB", (64, 48)).save(content, "JPEG")
    forged = content.getvalue().replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 65_000, 65_000))
    with ShardWriter(tmp_path / "a.tar") as shard:
        offset = shard.add("a.jpg", forged)
    table = pd.DataFrame({"image_id": ["a"], "shard": ["a.tar"], "offset": [offset], "size": [len(forged)]})
    store = ImageStore(tmp_path, table)
    for at_least in (0, 32):
        with pytest.raises(DataError, match="image a: the photo has 65,000 x 65,000 pixels, more than") as caught:
            store.pixels("a", at_least)
        assert caught.value.reason == "too-many-pixels"
