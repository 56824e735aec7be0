"""A photo has one vector, whatever door it comes through and however its file turns, colours or packs it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_model import picture

import itm
from itm.data.decode import decode, rewrite
from itm.data.images import ImageStore, ShardWriter
from itm.explore.matching import Explorer
from itm.index.gallery import PhotoFolder, embed_gallery
from itm.model import Encoded, Photo

UPRIGHT = Image.open(io.BytesIO(picture("red", "circle", "small"))).convert("RGB").crop((0, 8, 64, 64))
"""Neither square nor even, so that turning it shows."""


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stored = io.BytesIO()
    image.save(stored, kind, **options)
    return stored.getvalue()


def turned() -> bytes:
    """As a phone stores it: pixels lie on their side, and EXIF says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(UPRIGHT.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def clear() -> bytes:
    """The background is transparent, and black where nobody looks."""
    image = Image.new("RGBA", UPRIGHT.size, (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (20, 20, 50, 50))
    return encoded(image)


def grey(dtype: type, top: float, kind: str) -> bytes:
    values = np.asarray(UPRIGHT.convert("L"), dtype=np.float64) / 255 * top
    return encoded(Image.fromarray(values.astype(dtype)), kind)


FILES = {
    "plain JPEG": encoded(UPRIGHT, "JPEG"),
    "plain PNG": encoded(UPRIGHT),
    "turned JPEG": turned(),
    "transparent PNG": clear(),
    "palette with transparency": encoded(Image.open(io.BytesIO(clear())).convert("P"), transparency=0),
    "CMYK JPEG": encoded(UPRIGHT.convert("CMYK"), "JPEG"),
    "16-bit grey PNG": grey(np.uint16, 65535, "PNG"),
    "16-bit grey TIFF": grey(np.uint16, 65535, "TIFF"),
    "32-bit grey TIFF": grey(np.int32, 65535, "TIFF"),
    "float TIFF": grey(np.float32, 1, "TIFF"),
    "WebP": encoded(UPRIGHT, "WEBP"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_door_gives_the_same_vector(
    small: SimpleNamespace, explorer: Explorer, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, folder = FILES[name], small.models[0]
    file = tmp_path / "photos/photo.jpg"
    file.parent.mkdir()
    file.write_bytes(content)
    model = itm.load(folder)
    stored = rewrite(content)[0] if "plain" not in name else content
    with ShardWriter(tmp_path / "images.tar") as shard:
        offset = shard.add("photo", stored)
    table = pd.DataFrame({"image_id": ["photo"], "shard": ["images.tar"], "offset": [offset], "size": [len(stored)]})
    store = ImageStore(tmp_path, table)
    seen: list[np.ndarray] = []
    own = explorer.sides[0].model
    encode = own.encode_images

    def watched(photos: Sequence[Photo]) -> Encoded:
        found = encode(photos)
        seen.append(found.vectors)
        return found

    monkeypatch.setattr(own, "encode_images", watched)
    explorer.of_photo(content, "photo.jpg")
    doors = {
        "itm.load, a path": model.encode_images([file]).vectors,
        "itm.load, bytes": model.encode_images([content]).vectors,
        "itm index": embed_gallery(PhotoFolder(file.parent), model)[1],
        "itm explore": seen[0],
        "the shards of the pipeline": model.encode_images(list(store.arrays([0], model.towers.image_size))).vectors,
    }
    for door, vector in doors.items():
        assert np.array_equal(vector, doors["itm index"]), door


@pytest.mark.parametrize("name", ["16-bit grey PNG", "16-bit grey TIFF", "32-bit grey TIFF", "float TIFF"])
def test_deep_grey_is_the_8_bit_photo(name: str) -> None:
    expected = np.asarray(UPRIGHT.convert("L").convert("RGB")).astype(int)
    assert np.abs(decode(FILES[name]).astype(int) - expected).max() <= 1


def test_turned_photos_stand_upright_and_clear_ones_on_white() -> None:
    assert np.abs(decode(FILES["turned JPEG"]).astype(int) - np.asarray(UPRIGHT).astype(int)).mean() < 3
    assert (decode(FILES["transparent PNG"])[:10, :10] == 255).all()
