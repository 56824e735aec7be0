"""Archives with anything unsafe are refused whole, and damaged ones are told apart from safe ones."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from itm.data import archives
from itm.data.archives import Archive
from itm.errors import DataError

FILES = {"photos/a.jpg": b"first" * 100, "photos/b.jpg": b"second", "readme.txt": b""}


def make(folder: Path, kind: str, files: dict[str, bytes] = FILES) -> Path:
    path = folder / f"archive.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.mkdir("photos")
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as tar:
        folder_entry = tarfile.TarInfo("photos")
        folder_entry.type = tarfile.DIRTYPE
        tar.addfile(folder_entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_files_are_read_in_any_order(kind, tmp_path):
    with Archive(make(tmp_path, kind)) as archive:
        assert archive.names() == list(FILES)
        for name in reversed(FILES):
            assert archive.read(name) == FILES[name]
        with pytest.raises(DataError, match=r"has no file 'photos/c.jpg'"):
            archive.read("photos/c.jpg")
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"archive.{kind}"]


UNSAFE = {
    "../out.txt": "a path outside the target folder",
    "photos/../../out.txt": "a path outside the target folder",
    "/etc/passwd": "a path outside the target folder",
    "C:/out.txt": "a name that is no plain path",
    "photos\\..\\out.txt": "a name that is no plain path",
}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize(("name", "message"), UNSAFE.items())
def test_names_that_leave_the_folder(kind, name, message, tmp_path):
    with pytest.raises(DataError, match="refused whole, nothing was unpacked") as caught:
        Archive(make(tmp_path, kind, {"good.txt": b"x", name: b"y"}))
    assert message in str(caught.value)
    assert caught.value.reason == "unsafe-archive"


def test_all_unsafe_members_are_counted(tmp_path):
    files = {f"../{i}.txt": b"x" for i in range(5)} | {"/abs": b"x", "good": b"x"}
    with pytest.raises(DataError, match=r"'../0.txt', '../1.txt', '../2.txt' and 3 more"):
        Archive(make(tmp_path, "zip", files))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_tar_with_a_link_or_device(kind, tmp_path):
    path = tmp_path / "archive.tar"
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo("photos/a.jpg")
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(DataError, match=r"a link or a device: 'photos/a.jpg'"):
        Archive(path)


def test_zip_with_a_link(tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("photos/a.jpg")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DataError, match=r"a link or a device: 'photos/a.jpg'"):
        Archive(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_comes_twice(kind, tmp_path):
    path = make(tmp_path, kind)
    if kind == "zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("photos/a.jpg", b"other")
    else:
        with tarfile.open(path, "a") as tar:
            tar.addfile(tarfile.TarInfo("photos/a.jpg"))
    with pytest.raises(DataError, match=r"a name that comes twice: 'photos/a.jpg'"):
        Archive(path)


def test_bombs(tmp_path, monkeypatch):
    zeros = bytes(8 << 20)
    with pytest.raises(DataError, match="a file packed more than 200 to 1: 'bomb'"):
        Archive(make(tmp_path, "zip", {"bomb": zeros}))
    with pytest.raises(DataError, match="packed more than 200 to 1") as caught:
        Archive(make(tmp_path, "tar.gz", {"bomb": zeros}))
    assert caught.value.reason == "unsafe-archive"
    assert [p.name for p in tmp_path.iterdir() if p.suffix not in (".zip", ".gz")] == []
    monkeypatch.setattr(archives, "LARGEST_MEMBER", 100)
    with pytest.raises(DataError, match=r"a file of more than 100 bytes: 'photos/a.jpg'"):
        Archive(make(tmp_path, "zip"))
    monkeypatch.setattr(archives, "LARGEST_MEMBER", 1000)
    monkeypatch.setattr(archives, "LARGEST_TOTAL", 400)
    with pytest.raises(DataError, match="unpacks to 506 bytes, more than 400: all files together"):
        Archive(make(tmp_path, "tar"))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_damaged_archives(kind, tmp_path):
    path = tmp_path / f"archive.{kind}"
    with pytest.raises(DataError, match="no such file; run the download stage"):
        Archive(path)
    whole = make(tmp_path, kind).read_bytes()
    for content in (b"no archive at all", whole[: len(whole) // 20], gzip.compress(b"no tar", mtime=0)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"not a whole {kind.replace('.', '[.]')} archive") as caught:
            Archive(path)
        assert caught.value.reason == "damaged-archive"
        assert "run the download stage again" in str(caught.value)


def test_damaged_member(tmp_path):
    path = make(tmp_path, "zip", {"a.bin": bytes(range(256)) * 8})
    content = bytearray(path.read_bytes())
    content[60:70] = bytes(10)
    path.write_bytes(content)
    with Archive(path) as archive, pytest.raises(DataError, match=r"'a.bin' is damaged") as caught:
        archive.read("a.bin")
    assert caught.value.reason == "damaged-member"


def test_tar_cut_inside_its_last_file(tmp_path):
    path = make(tmp_path, "tar", {"a.jpg": b"x" * 5000})
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(DataError, match=r"cut inside 'a.jpg'|unexpected end of data"):
        Archive(path)
