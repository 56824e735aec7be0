"""Photos below a folder: links, circles, suffixes; what is no photo is counted by reason."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, features
from small_model import KINDS, picture

from itm.data.decode import square
from itm.errors import DataError
from itm.index.gallery import PhotoFolder, counts_text


def encoded(form: str, **options: object) -> bytes:
    content = io.BytesIO()
    Image.open(io.BytesIO(picture(*KINDS[0]))).convert("RGB").save(content, form, **options)
    return content.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos/a").mkdir(parents=True)
    (tmp_path / "photos/a/one.png").write_bytes(picture(*KINDS[0]))
    return tmp_path / "photos"


def test_linked_folders_are_followed_once_and_circles_end(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    (elsewhere / "b").mkdir(parents=True)
    (elsewhere / "b/two.png").write_bytes(picture(*KINDS[1]))
    (elsewhere / "again").symlink_to(elsewhere)
    (folder / "0").symlink_to(folder / "a")  # sorts before it, and yet the photo has the name without the link
    (folder / "up").symlink_to(folder)
    (folder / "linked").symlink_to(elsewhere)
    (folder / "one link.png").symlink_to(folder / "a/one.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "circle").symlink_to(folder / "circle")
    found = PhotoFolder(folder)
    assert found.names == ["a/one.png", "linked/b/two.png", "one link.png"]
    assert found.left_out == {"broken link": 2}
    assert found.read(1) == picture(*KINDS[1])


@pytest.mark.parametrize(
    ("make", "left"),
    [
        ({"x.HEIC": b"", "y.heic": b"", "z.mov": b""}, "2 .heic (save them as JPEG), 1 .mov"),
        ({"README": b"", ".DS_Store": b""}, "2 without suffix"),
        ({f"{n}.{n}": b"" for n in range(12)}, "1 .6 and 3 more"),
        ({"a\x1b[31m.\x1b[31m": b""}, r"1 .\x1b[31m"),
    ],
)
def test_what_is_no_photo_is_counted(folder: Path, make: dict[str, bytes], left: str) -> None:
    for name, content in make.items():
        (folder / name).write_bytes(content)
    assert counts_text(PhotoFolder(folder).left_out).endswith(left)
    (folder / "a/one.png").unlink()
    with pytest.raises(DataError, match=r"holds no photo .*it holds"):
        PhotoFolder(folder)


def test_an_unreadable_folder_and_a_device_are_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "closed").mkdir()
    os.mkfifo(folder / "pipe.png")
    scan = Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert PhotoFolder(folder).left_out == {"unreadable folder": 1, "device": 1}


def test_suffixes_of_formats_that_are_decoded(folder: Path) -> None:
    (folder / "old.jfif").write_bytes(encoded("JPEG"))
    names = ["a/one.png", "old.jfif"]
    if features.check("avif"):
        (folder / "new.AVIF").write_bytes(encoded("AVIF"))
        names.insert(1, "new.AVIF")
    found = PhotoFolder(folder)
    assert found.names == names
    for row in range(len(names)):
        assert abs(square(found.read(row), 32).astype(int) - square(found.read(0), 32)).mean() < 6
