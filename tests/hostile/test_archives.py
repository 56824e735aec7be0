"""Archives with a byte changed, a member locked, a photo twice: one message, or the right content."""

from __future__ import annotations

import gzip
import io
import logging
import random
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from itm.data.archives import Archive
from itm.data.catalogue import Copy, SourceFile
from itm.data.download import fetch
from itm.data.files import write_npz
from itm.errors import DataError
from itm.evaluation.result import read_per_query

FILES = {"photos/a.jpg": b"one photo " * 9, "b.txt": random.Random(0).randbytes(60)}
METHODS = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED, "lzma": zipfile.ZIP_LZMA}


def zip_of(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


def tar_of(files: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


WHOLE = {
    **{f"{name}.zip": zip_of(FILES, method) for name, method in METHODS.items()},
    "a.tar": tar_of(FILES),
    "a.tar.gz": gzip.compress(tar_of(FILES), mtime=0),
}


def changed(whole: bytes) -> list[bytes]:
    """Each byte changed: all its bits, and the lowest; each length but the whole, in steps."""
    places = [place for place in range(len(whole)) if place < 1100 or place % 97 == 0]
    flipped = [whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :] for at in places for mask in (0xFF, 1)]
    return flipped + [whole[:at] for at in range(0, len(whole), 23)]


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_a_changed_byte_is_told_or_harmless(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for content in changed(WHOLE[name]):
        path.write_bytes(content)
        told, found = "", {}
        try:
            with Archive(path) as archive:
                for member in archive.names():
                    found[member] = archive.read(member)
        except DataError as error:
            told = str(error)
        assert not told or (str(path) in told and len(told) < 1000)
        if name != "a.tar":  # which has no checksum of its contents
            assert all(found[member] == FILES[member] for member in found.keys() & FILES.keys())


@pytest.mark.parametrize("name", ["file.zip", "file.gz"])
def test_a_changed_copy_is_named_and_the_next_is_taken(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows a checksum of the first copy, so that only its form tells."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    monkeypatch.setenv("ITM_MIRROR", str(mirror))
    whole = zip_of(FILES) if name == "file.zip" else gzip.compress(FILES["b.txt"], mtime=0)
    (mirror / "good").write_bytes(whole)
    entry = SourceFile(mirror=[Copy(path="bad"), Copy(path="good")])
    for number, content in enumerate(changed(whole)[::7]):
        (mirror / "bad").write_bytes(content)
        folder = tmp_path / str(number)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = fetch("set", name, entry, folder / "set" / name, record_path=tmp_path / f"{number}.json")
        if found.origin == str(mirror / "good"):
            assert f"{mirror / 'bad'}: " in caplog.text
            assert found.path.read_bytes() == whole
        elif name == "file.gz":
            assert gzip.decompress(found.path.read_bytes()) == FILES["b.txt"]
        else:
            with Archive(found.path) as archive:  # what has no checksum: a name, a time
                assert {archive.read(member) for member in archive.names()} <= {*FILES.values()}


def test_a_changed_packed_copy_is_named_and_the_next_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITM_MIRROR", str(tmp_path))
    whole = gzip.compress(FILES["b.txt"], mtime=0)
    (tmp_path / "good").write_bytes(FILES["b.txt"])
    entry = SourceFile(mirror=[Copy(path="bad", gzip=True), Copy(path="good")])
    for number, content in enumerate(changed(whole)[::7]):
        (tmp_path / "bad").write_bytes(content)
        found = fetch("set", "b", entry, tmp_path / f"{number}/set/b", record_path=tmp_path / f"{number}.json")
        assert found.path.read_bytes() == FILES["b.txt"]


def patched(whole: bytes, marks: dict[bytes, int], value: int) -> bytes:
    """The two bytes at a distance behind each mark of a zip replaced."""
    content = bytearray(whole)
    for mark, distance in marks.items():
        place = whole.index(mark) + distance
        content[place : place + 2] = value.to_bytes(2, "little")
    return bytes(content)


BAD_ZIPS = {
    "encrypted": ({b"PK\1\2": 8, b"PK\3\4": 6}, 1, "'a.bin' is damaged .*encrypted"),
    "an unknown method": ({b"PK\1\2": 10, b"PK\3\4": 8}, 77, "'a.bin' is damaged .*compression method"),
    "of the future": ({b"PK\1\2": 6}, 99, "not a whole zip archive .*version"),
}


@pytest.mark.parametrize(("marks", "value", "message"), BAD_ZIPS.values(), ids=BAD_ZIPS.keys())
def test_a_member_that_cannot_be_read(tmp_path: Path, marks: dict[bytes, int], value: int, message: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(patched(zip_of({"a.bin": b"x" * 40}), marks, value))
    with pytest.raises(DataError, match=message) as caught, Archive(path) as archive:
        archive.read("a.bin")
    assert "run the download stage again" in str(caught.value)


MAKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {"a.zip": zip_of, "a.tar": tar_of}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_photo_twice_must_be_the_same(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    files = {"1.jpg": b"same", "thumbs/1.jpg": b"same", "2.jpg": b"large", "thumbs/2.jpg": b"small", "a/2.jpg": b"odd"}
    path.write_bytes(MAKERS[kind](files))
    with Archive(path) as archive:
        assert archive.by_name({"1.jpg"}) == {"1.jpg": "1.jpg", "2.jpg": "2.jpg"}
        assert archive.find("1.jpg") == b"same"
        message = r"2 pairs of files .* \('2.jpg' and 'thumbs/2.jpg', '2.jpg' and 'a/2.jpg'\)"
        with pytest.raises(DataError, match=message) as caught:
            archive.by_name({"1.jpg", "2.jpg"})
        with pytest.raises(DataError, match="2 pairs of files"):
            archive.find("2.jpg")
    assert caught.value.reason == "ambiguous-member"


def test_arrays_with_a_changed_byte(tmp_path: Path) -> None:
    """Per-query values, as `itm compare` and the reports read them."""
    stored = {"i2t_rank": np.array([1.0, 2.0]), "protocol": np.array('{"recall_at": [1]}')}
    path = tmp_path / "seed0/retrieval.npz"
    write_npz(path, stored)
    for content in changed(path.read_bytes())[::3]:
        path.write_bytes(content)
        with suppress(DataError):
            read_per_query(tmp_path)
    path.write_bytes(b"PK\3\4 no more")
    with pytest.raises(DataError, match=r"retrieval\.npz: cannot be read .*; run the evaluate stage again"):
        read_per_query(tmp_path)
