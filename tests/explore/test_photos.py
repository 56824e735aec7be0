"""Photos on the page: every kind that is listed is shown, those that vanish are told, two are decoded at a time."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, features
from small_model import KINDS, picture
from starlette.testclient import TestClient

from itm.explore import app
from itm.explore.matching import Explorer
from itm.explore.start import open_explorer

PLAIN = Image.open(io.BytesIO(picture(*KINDS[0]))).convert("RGB")


def grey(dtype: type, top: float) -> Image.Image:
    return Image.fromarray((np.asarray(PLAIN.convert("L"), dtype=np.float64) / 255 * top).astype(dtype))


CLEAR = PLAIN.convert("RGBA")
CLEAR.putalpha(90)
PHOTOS = {
    "RGBA.png": CLEAR,
    "RGBA.webp": CLEAR,
    "LA.png": CLEAR.convert("LA"),
    "P.png": PLAIN.convert("P"),
    "P.gif": PLAIN.convert("P"),
    "P.bmp": PLAIN.convert("P"),
    "one bit.png": PLAIN.convert("1"),
    "one bit.tiff": PLAIN.convert("1"),
    "I16.png": grey(np.uint16, 65535),
    "I16.tiff": grey(np.uint16, 65535),
    "I16B.tiff": grey(">u2", 65535),
    "I.tiff": grey(np.int32, 65535),
    "F.tiff": grey(np.float32, 1),
    "LAB.tiff": Image.merge("LAB", PLAIN.split()),
    "CMYK.tiff": PLAIN.convert("CMYK"),
    "CMYK.jpg": PLAIN.convert("CMYK"),
    "YCbCr.tiff": PLAIN.convert("YCbCr"),
    "YCbCr.jfif": PLAIN,
    "I16L.tiff": grey("<u2", 65535),
    "LA one.webp": CLEAR.convert("LA"),
    **({"RGBA.avif": CLEAR, "L.avif": PLAIN.convert("L")} if features.check("avif") else {}),
    "thin.png": Image.new("L", (4, 70_000), 99),
}


def opened(small: SimpleNamespace, folder: Path) -> Explorer:
    none = small.root / "none"
    return open_explorer(small.models[:1], str(folder), none, none / "idf.parquet", None, 1, lambda line: None)


def test_every_photo_that_is_listed_is_shown(
    small: SimpleNamespace, tmp_path: Path, enter: Callable[[Explorer], TestClient]
) -> None:
    for name, photo in PHOTOS.items():
        photo.save(tmp_path / name, "JPEG" if name.endswith("jfif") else None)
    frames = [PLAIN.convert("P"), PLAIN.rotate(90).convert("P")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    explorer = opened(small, tmp_path)
    assert explorer.sides[0].broken == []
    client = enter(explorer)
    for row, name in enumerate(explorer.gallery.names):
        answer = client.get(f"/image/{row}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), name
        shown = Image.open(io.BytesIO(answer.content))
        shown.load()
        assert shown.size == ((4, 65_500) if name == "thin.png" else (64, 64)), name
        assert client.post("/match/photo", files={"photo": (name, (tmp_path / name).read_bytes())}).status_code == 200
    assert row + 1 == len(PHOTOS) + 1


def test_a_photo_that_is_gone_is_told_whatever_its_name(
    small: SimpleNamespace, tmp_path: Path, enter: Callable[[Explorer], TestClient]
) -> None:
    folder = tmp_path / os.fsdecode(b"no utf-8 \xff")
    folder.mkdir()
    for name in (b"a\xff \x1b[31m.png", b"b.png"):
        (folder / os.fsdecode(name)).write_bytes(picture(*KINDS[0]))
    client = enter(opened(small, folder))
    assert r"no utf-8 \udcff" in client.get("/").text
    results = client.post("/match/text", json={"text": "a red circle"}).json()["models"][0]["results"]
    assert {match["name"] for match in results} == {r"a\udcff \x1b[31m.png", "b.png"}
    for path in folder.iterdir():
        path.unlink()
    for row, name in enumerate((r"a\udcff \x1b[31m.png", "b.png")):
        answer = client.get(f"/image/{row}")
        assert answer.status_code == 410
        assert answer.json()["error"] == f"{name}: cannot be read (No such file or directory)"
    captions = client.post("/match/image", json={"row": 0})
    assert captions.json()["query"]["name"] == r"a\udcff \x1b[31m.png"


def test_two_photos_are_decoded_at_a_time(
    small: SimpleNamespace, tmp_path: Path, enter: Callable[[Explorer], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of images of the gallery and of photos that were dropped, together."""
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(picture(*KINDS[number]))
    explorer = opened(small, tmp_path)
    both = threading.Barrier(app.AT_ONCE, timeout=600)
    lock = threading.Lock()
    running, most = 0, 0

    def decode(*_: object) -> object:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait()
        time.sleep(0.05)  # for a third, if there were one
        with lock:
            running -= 1
        return b"", None

    monkeypatch.setattr(app, "shrink", decode)
    monkeypatch.setattr(explorer, "of_photo", lambda *_: decode() and {})
    client = enter(explorer)
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(client.get, f"/image/{row}") for row in range(6)]
        asked += [pool.submit(client.post, "/match/photo", files={"photo": ("x.png", b"x")}) for _ in range(6)]
        assert [each.result().status_code for each in asked] == [200] * 12
    assert most == app.AT_ONCE
