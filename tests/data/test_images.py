"""Decoding, verifying, packing and reading images back; bad ones with their expected message."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from itm.data import decode as decoding
from itm.data.clean.fingerprints import difference, fingerprints, near_pairs, near_pairs_within, thumbnail
from itm.data.clean.pictures import store_images
from itm.data.decode import decode, examine, fit, read_header, rewrite, shrink, square
from itm.data.decode import picture as as_picture
from itm.data.images import ImageStore, ShardWriter
from itm.errors import DataError


def picture(seed: int = 0, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Image.Image:
    """A smooth picture with an asymmetric mark, so that turns show."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    rng = np.random.default_rng(seed)
    waves = [np.sin(rng.uniform(2, 9) * x + rng.uniform(2, 9) * y + rng.uniform(0, 6)) for _ in range(3)]
    pixels = (127 + 100 * np.stack(waves, -1)).astype(np.uint8)
    pixels[: height // 4, : width // 2] = (250, 10, 10)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    content = io.BytesIO()
    if kind == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    image.save(content, kind, **options)
    return content.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(), exif=exif)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises `width` x `height` pixels and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


JPEG, PNG = encoded(picture(size=(200, 150))), encoded(picture(size=(200, 150)), "PNG")
FLAT = encoded(Image.new("RGB", (64, 64), "orange"), "PNG")

BAD_IMAGES = {
    "empty": (b"", "empty-image", "the file is empty"),
    "text": (b"this is no image at all", "not-an-image", "no photo that can be read"),
    "html": (b"<!DOCTYPE html><html>404</html>", "not-an-image", "no photo that can be read"),
    "zeros": (bytes(1000), "not-an-image", "no photo that can be read"),
    "only the first bytes of a JPEG": (JPEG[:20], "not-an-image", "no photo that can be read"),
    "JPEG header alone": (JPEG[:700], "damaged-image", "damaged image"),
    "JPEG cut in the middle": (JPEG[: len(JPEG) // 2], "damaged-image", "Premature end of JPEG file"),
    "JPEG without its last byte": (JPEG[:-1], "damaged-image", "Premature end of JPEG file"),
    "PNG cut in the middle": (PNG[: len(PNG) // 2], "damaged-image", "damaged image"),
    "PNG with a wrong checksum": (PNG[:60] + b"\xff" + PNG[61:], "damaged-image", "damaged image"),
    "PNG with zeros in its pixels": (FLAT[:66] + bytes(4) + FLAT[70:], "damaged-image", "broken PNG file"),
    "PNG signature alone": (PNG[:8], "not-an-image", "no photo that can be read"),
    "HEIC": (
        b"\0\0\0\x18ftypheic" + bytes(99),
        "not-an-image",
        "HEIC, for which Pillow has no reader of its own: save",
    ),
    "a bomb of 400 megapixels": (png_header(20000, 20000), "too-many-pixels", "more than 100 megapixels"),
    "a bomb of 144 megapixels": (png_header(12000, 12000), "too-many-pixels", "12,000 x 12,000 pixels, more than 100"),
    "pixels missing": (png_header(100, 100), "damaged-image", "damaged image"),
    "GIF cut": (encoded(picture(size=(200, 150)), "GIF")[:3000], "damaged-image", "damaged image"),
    "WebP cut": (encoded(picture(), "WEBP")[:-40], "not-an-image", "no photo that can be read"),
}


@pytest.mark.parametrize(("content", "reason", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_bad_image(content, reason, message):
    with pytest.raises(DataError) as caught:
        examine(content)
    assert caught.value.reason == reason
    assert message in str(caught.value)


@given(st.integers(0, len(JPEG) - 1))
def test_a_cut_jpeg_is_never_taken_for_whole(at):
    with pytest.raises(DataError):
        examine(JPEG[:at])


def with_strays(jpeg: bytes, strays: bytes = bytes(40)) -> bytes:
    """The JPEG with bytes before its end mark, as some cameras and servers leave them."""
    return jpeg[:-2] + strays + jpeg[-2:]


WARNED = {
    "40 zeros": (JPEG, with_strays(JPEG)),
    "a text": (JPEG, with_strays(JPEG, b"made by a camera")),
    "grey": (grey := encoded(picture(mode="L")), with_strays(grey)),
    "progressive": (slow := encoded(picture(), progressive=True), with_strays(slow)),
    "before the picture": (JPEG, JPEG[:20] + bytes(9) + JPEG[20:]),
    "turned": (turned(6), with_strays(turned(6))),
}
DOORS = (lambda content: examine(content)[1], decode, as_picture)


@pytest.mark.parametrize("case", WARNED)
def test_what_libjpeg_only_warns_of_is_no_fault(case):
    clean, content = WARNED[case]
    header, _ = examine(content)
    assert header.warned == (case != "turned")
    assert not header.plain
    for door in DOORS:
        difference = np.asarray(door(content)).astype(int) - np.asarray(door(clean)).astype(int)
        assert np.abs(difference).max() <= 3
    stored, anew = rewrite(content)
    assert anew.plain
    assert (decode(stored) == decode(content)).all()


@pytest.mark.parametrize("content", [JPEG, encoded(picture(), progressive=True), turned(6), turned(3)])
@pytest.mark.parametrize("share", [0.7, 0.9])
def test_a_jpeg_that_ends_too_soon_is_refused_behind_each_door_though_its_end_mark_is_there(content, share):
    cut = content[: int(len(content) * share)] + content[-2:]
    for door in (*DOORS, rewrite, lambda content: shrink(content, 16), lambda content: square(content, 16)):
        with pytest.raises(DataError, match="damaged image") as caught:
            door(cut)
        assert caught.value.reason == "damaged-image"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_images_decode_as_pillow_does(kind, mode):
    content = encoded(picture(mode=mode), kind)
    header, pixels = examine(content)
    assert header.plain
    assert (header.format, header.mode, header.width, header.height) == (kind, mode, 40, 30)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert np.abs(pixels.astype(int) - expected).max() <= (0 if kind == "PNG" else 3)
    assert pixels.shape == (30, 40, 3)
    if mode == "L":
        assert (pixels == pixels[:, :, :1]).all()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_undone(orientation):
    content = turned(orientation)
    assert read_header(content).orientation == orientation
    assert not read_header(content).plain
    stored, header = rewrite(content)
    upright = picture()
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }[orientation]
    expected = np.asarray(upright.transpose(inverse)).astype(int)
    assert (header.height, header.width) == expected.shape[:2]
    assert np.abs(decode(stored).astype(int) - expected).mean() < 3
    assert read_header(stored).plain


@pytest.mark.parametrize("value", [0, 9, 77])
def test_senseless_orientation_counts_as_upright(value):
    assert read_header(turned(value)).orientation == 1


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (encoded(picture(mode="CMYK"), "JPEG"), "RGB"),
        (encoded(picture(mode="P"), "PNG"), "RGB"),
        (encoded(picture(mode="RGBA"), "PNG"), "RGB"),
        (encoded(picture(mode="LA"), "PNG"), "RGB"),
        (encoded(picture(mode="1"), "PNG"), "RGB"),
        (encoded(picture(), "GIF"), "RGB"),
        (encoded(picture(), "BMP"), "RGB"),
        (encoded(picture(), "TIFF"), "RGB"),
        (encoded(picture(), "WEBP", lossless=True), "RGB"),
    ],
    ids=["CMYK", "palette", "alpha", "grey alpha", "bilevel", "GIF", "BMP", "TIFF", "WebP"],
)
def test_odd_modes_and_formats_are_rewritten(content, mode):
    header, before = examine(content) if not content.startswith(b"\xff\xd8") else (read_header(content), None)
    assert not header.plain
    stored, after = rewrite(content)
    assert (after.mode, after.plain) == (mode, True)
    expected = before if before is not None else np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.abs(decode(stored).astype(int) - expected.astype(int)).mean() < 3


def test_transparent_becomes_white_and_16_bits_become_8():
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    assert (decode(rewrite(encoded(clear, "PNG"))[0]) == 255).all()
    deep = Image.fromarray(np.full((4, 4), 65535, np.uint16))
    assert (decode(rewrite(encoded(deep, "PNG"))[0]) == 255).all()


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_judged_by_its_header_before_it_is_decoded(monkeypatch):
    photo = picture(size=(200, 150))
    content = encoded(photo, "AVIF", quality=95)
    header = read_header(content)
    assert (header.format, header.width, header.height, header.plain) == ("AVIF", 200, 150, False)
    assert np.abs(decode(content).astype(int) - np.asarray(photo).astype(int)).mean() < 6
    for cut in (content[:40], content[: len(content) // 2], content[:-9]):
        with pytest.raises(DataError):
            decode(cut)
    monkeypatch.setattr("itm.data.decode.MAXIMUM_PIXELS", 200 * 150 - 1)
    monkeypatch.setattr("PIL.AvifImagePlugin.AvifImageFile.load", lambda _: pytest.fail("decoded"))
    for door in (read_header, decode, examine):
        with pytest.raises(DataError, match="the photo has 200 x 150 pixels"):
            door(content)


@pytest.mark.parametrize("values", [[-1.0, 0.5], [0.0, 65536.0], [0.0, np.inf], [0.0, np.nan]])
def test_grey_without_a_scale_is_refused(values):
    photo = Image.fromarray(np.array([values], np.float32))
    with pytest.raises(DataError, match="say nothing of black and white; convert it to 8 bits") as caught:
        decode(encoded(photo, "TIFF"))
    assert caught.value.reason == "pixel-values"


def test_shrinking_while_decoding_keeps_the_shorter_side():
    content = encoded(picture(size=(640, 480)))
    small = decode(content, at_least=224)
    assert 224 <= min(small.shape[:2]) < 480
    assert decode(content).shape == (480, 640, 3)
    assert decode(encoded(picture(size=(100, 80))), at_least=224).shape == (80, 100, 3)


def test_fit_takes_the_centre_square():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    assert (fit(pixels, 10) == 255).all()
    assert fit(pixels, 5).shape == (5, 5, 3)
    same = np.zeros((8, 8, 3), np.uint8)
    assert fit(same, 8) is same


# --- shards and the store ---


def make_raw(folder: Path, contents: dict[str, bytes]) -> pd.DataFrame:
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"photos/{name}", content)
    rows = [(name.split(".")[0], "train", "made", "photos.zip", f"photos/{name}") for name in contents]
    return pd.DataFrame(rows, columns=["image_id", "split", "source", "archive", "member"])


def test_store_keeps_plain_bytes_and_mends_the_rest(tmp_path):
    good = encoded(picture(1))
    contents = {
        "plain.jpg": good,
        "grey.jpg": encoded(picture(2, mode="L")),
        "turned.jpg": turned(6),
        "alpha.png": encoded(picture(3, mode="RGBA"), "PNG"),
        "cut.jpg": good[:-50],
        "photo.gif": encoded(picture(4), "GIF"),
        "strays.jpg": with_strays(good),
    }
    images = make_raw(tmp_path, contents)
    images.loc[len(images)] = ["lost", "train", "made", "photos.zip", ""]
    stored = store_images(images, tmp_path, tmp_path)
    assert stored.table["image_id"].tolist() == ["plain", "grey", "turned", "alpha", "photo", "strays"]
    assert stored.table["mode"].tolist() == ["RGB", "L", "RGB", "RGB", "RGB", "RGB"]
    sides = stored.table[["width", "height"]].values.tolist()
    assert sides == [[40, 30], [40, 30], [30, 40], [40, 30], [40, 30], [40, 30]]
    assert stored.rewritten == {"format": 1, "mode": 1, "turned": 1, "warned": 1}
    assert stored.rejected[["image_id", "reason", "row"]].values.tolist() == [
        ["cut", "damaged-image", 5],
        ["lost", "photo-missing", 0],
    ]
    store = ImageStore(tmp_path, stored.table)
    assert store.read("plain") == store.read(0) == good
    assert store.arrays([2, 0], 16).shape == (2, 16, 16, 3)
    with tarfile.open(tmp_path / "images-train.tar") as tar:
        names = tar.getnames()
    assert names == ["plain.jpg", "grey.jpg", "turned.png", "alpha.png", "photo.png", "strays.png"]


def test_large_training_photos_may_be_shrunk(tmp_path):
    big = encoded(picture(1, (400, 300)))
    images = make_raw(tmp_path, {"a.jpg": big, "b.jpg": big, "c.png": encoded(picture(2, (90, 60), "L"), "PNG")})
    images["split"] = ["train", "dev", "train"]
    stored = store_images(images.sort_values("split", ascending=False), tmp_path, tmp_path, train_side=64)
    sizes = stored.table.set_index("image_id")[["width", "height"]].values.tolist()
    assert dict(zip(stored.table["image_id"], sizes, strict=True)) == {"a": [85, 64], "c": [90, 60], "b": [400, 300]}
    assert stored.rewritten == {"shrunk": 1}
    assert ImageStore(tmp_path, stored.table).read("b") == big


def test_shards_are_the_same_bytes_each_time(tmp_path):
    images = make_raw(tmp_path, {f"{i}.jpg": encoded(picture(i)) for i in range(200)})
    for out in ("one", "two"):
        (tmp_path / out).mkdir()
        store_images(images, tmp_path, tmp_path / out)
    for split in ("train", "dev", "test"):
        name = f"images-{split}.tar"
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        assert (tmp_path / "one" / name).stat().st_size % tarfile.RECORDSIZE == 0


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["../up", "b"], r"1 image ids cannot be file names: '../up'"),
        (["a/b", "a\\b"], r"2 image ids cannot be file names: 'a/b', 'a\\\\b'"),
        (["", "."], r"2 image ids cannot be file names: '', '.'"),
        (["x" * 91, "b"], r"1 image ids cannot be file names"),
        (["same", "same"], r"1 image ids come twice: same"),
    ],
)
def test_image_ids_that_cannot_be_names(ids, message, tmp_path):
    images = make_raw(tmp_path, {"a.jpg": JPEG, "b.jpg": JPEG}).assign(image_id=ids)
    with pytest.raises(DataError, match=message):
        store_images(images, tmp_path, tmp_path)
    assert not list(tmp_path.glob("*.tar"))


@pytest.fixture
def store(tmp_path) -> ImageStore:
    images = make_raw(tmp_path, {f"i{i}.jpg": encoded(picture(i)) for i in range(20)})
    return ImageStore(tmp_path, store_images(images, tmp_path, tmp_path).table)


def test_store_errors(store, tmp_path):
    with pytest.raises(DataError, match=r"no image 'i99' among 20"):
        store.read("i99")
    for row in (20, -1):
        with pytest.raises(DataError, match=rf"no image row {row}; rows are 0 to 19"):
            store.read(row)
    with pytest.raises(DataError, match=r"images table has no column shard, offset"):
        ImageStore(tmp_path, pd.DataFrame({"image_id": ["a"], "size": [1]}))
    shard = tmp_path / "images-train.tar"
    shard.write_bytes(shard.read_bytes()[:1000])
    store.close()
    with pytest.raises(DataError, match=r"images-train.tar: ends inside image i5; run `dvc repro clean`"):
        store.read("i5")
    shard.unlink()
    store.close()
    with pytest.raises(DataError, match=r"images-train.tar: no such shard; run `dvc repro clean` or `dvc pull`"):
        store.read("i5")


def test_damaged_image_in_a_shard_is_named(store, tmp_path):
    shard = tmp_path / "images-train.tar"
    content = bytearray(shard.read_bytes())
    place = content.index(store.read("i3"))
    content[place + 300 : place + len(store.read("i3"))] = bytes(len(store.read("i3")) - 300)
    shard.write_bytes(content)
    store.close()
    with pytest.raises(DataError, match=r"image i3: damaged image"):
        store.pixels("i3")


def test_store_serves_threads_forks_and_copies(store):
    expected = [store.read(i) for i in range(20)]
    found: dict[int, list[bytes]] = {}

    def work(thread: int) -> None:
        found[thread] = [store.read(i) for i in range(20)]

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[thread] == expected for thread in range(8))
    assert [pickle.loads(pickle.dumps(store)).read(i) for i in range(20)] == expected
    child = os.fork()
    if child == 0:
        os._exit(0 if [store.read(i) for i in range(20)] == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.read(7) == expected[7]


def test_store_keeps_one_descriptor_a_shard(store):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        store.arrays(range(20), 8)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_shard_names_of_many_bytes(tmp_path):
    with ShardWriter(tmp_path / "s.tar") as shard:
        offset = shard.add("x" * 95 + ".jpg", b"abc")
    assert (tmp_path / "s.tar").read_bytes()[offset : offset + 3] == b"abc"


# --- fingerprints ---


def test_fingerprints_are_those_of_imagehash():
    for seed in range(30):
        image = picture(seed, (120, 90))
        mine = int(fingerprints(thumbnail(np.asarray(image))[None])[0])
        theirs = int(str(imagehash.phash(image)), 16)
        assert (mine ^ theirs).bit_count() <= 4


@given(st.integers(0, 1000), st.integers(0, 8))
def test_near_pairs_are_those_of_all_pairs(seed, distance):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**63, 12, dtype=np.uint64)
    other = base[rng.integers(0, 12, 9)] ^ (np.uint64(1) << rng.integers(0, 63, 9, dtype=np.uint64))
    found = {tuple(pair) for pair in near_pairs(base, other, distance, block=5).tolist()}
    expected = {(i, j) for i in range(12) for j in range(9) if (int(base[i]) ^ int(other[j])).bit_count() <= distance}
    assert found == expected


@given(st.integers(0, 1000))
def test_near_pairs_within_are_those_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**63, 6, dtype=np.uint64)
    flips = sum(np.uint64(1) << rng.integers(0, 63, 30, dtype=np.uint64) for _ in range(3))
    prints = np.concatenate([base[rng.integers(0, 6, 30)] ^ flips, base])
    expected = [
        [i, j] for i in range(36) for j in range(i + 1, 36) if (int(prints[i]) ^ int(prints[j])).bit_count() <= 3
    ]
    assert near_pairs_within(prints).tolist() == expected


def test_the_same_picture_at_other_sizes_and_qualities_is_near():
    for seed in range(20):
        image = picture(seed, (240, 180))
        variants = [image, image.resize((120, 90)), Image.open(io.BytesIO(encoded(image, quality=40)))]
        small = np.stack([thumbnail(np.asarray(variant)) for variant in variants])
        prints = fingerprints(small)
        assert max((int(prints[0]) ^ int(other)).bit_count() for other in prints[1:]) <= 6
        assert max(difference(small[0], other) for other in small[1:]) < 6


def test_pixels_limit_is_pillows_business_too():
    assert Image.MAX_IMAGE_PIXELS is None or decoding.MAXIMUM_PIXELS < 2 * Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("shard", "a\0b.tar", "no such shard"),
        ("offset", -1, "ends inside image i3"),
        ("offset", 2**63 - 1, "ends inside image i3"),
        ("size", -1, "ends inside image i3"),
        ("size", 2**62, "ends inside image i3"),
    ],
)
def test_a_damaged_table_names_no_place_that_is_read(store, tmp_path, column, value, message):
    shards = [store._shards[code] for code in store._shard_of]
    table = pd.DataFrame({"image_id": store._ids, "shard": shards, "offset": store._offsets, "size": store._sizes})
    table.loc[3, column] = value
    with pytest.raises(DataError, match=message):
        ImageStore(tmp_path, table).read("i3")
