"""Photos that are none, or far too much: each door names the file and goes on, and no other program is started."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_model import KINDS, picture

import itm
from itm.data.decode import MAXIMUM_BYTES, examine, read_header
from itm.errors import DataError
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
