"""The loader: right pixels in a fixed order, the same for any number of workers, errors passed on."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from itm.data.images import ImageStore, ShardWriter
from itm.data.loader import Augment, Loader
from itm.errors import DataError

SIZES = [(120, 90), (60, 200), (64, 64), (300, 280)]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ImageStore:
    folder = tmp_path_factory.mktemp("store")
    return write(folder)


def write(folder: Path) -> ImageStore:
    rows = []
    with ShardWriter(folder / "images-train.tar") as shard:
        for index in range(24):
            width, height = SIZES[index % 4]
            x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
            pixels = np.stack([x, y, np.full_like(x, 10 * index)], -1).astype(np.uint8)
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, "JPEG", quality=95)
            offset = shard.add(f"{index}.jpg", content.getvalue())
            rows.append((f"i{index}", "images-train.tar", offset, len(content.getvalue()), width, height))
    return ImageStore(folder, pd.DataFrame(rows, columns=["image_id", "shard", "offset", "size", "width", "height"]))


BATCHES = [np.array([5, 3, 3]), np.array([0]), np.array([23, 22, 21, 20, 19, 18, 17]), np.array([], dtype=int)]


def test_centre_squares_in_order(store):
    found = list(Loader(store, BATCHES, 32))
    assert [rows.tolist() for rows, _ in found] == [batch.tolist() for batch in BATCHES]
    for rows, pixels in found:
        assert (pixels == store.arrays(rows, 32)).all()
        assert pixels.shape == (len(rows), 32, 32, 3)


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (2, 3), (5, 1), (3, 10)])
def test_crops_do_not_depend_on_workers(store, workers, prefetch):
    augment = Augment(flip=True, seed=3)
    expected = [pixels for _, pixels in Loader(store, BATCHES, 32, augment=augment, workers=1)]
    found = [p for _, p in Loader(store, BATCHES, 32, augment=augment, workers=workers, prefetch=prefetch)]
    assert all((one == other).all() for one, other in zip(expected, found, strict=True))


def test_crops_depend_on_seed_epoch_and_place(store):
    def crops(seed: int, epoch: int) -> np.ndarray:
        return next(iter(Loader(store, [np.array([3, 3])], 32, augment=Augment(seed=seed), epoch=epoch)))[1]

    first = crops(0, 0)
    assert (first == crops(0, 0)).all()
    assert not (first[0] == first[1]).all()
    assert not (first == crops(1, 0)).all()
    assert not (first == crops(0, 1)).all()


@pytest.mark.parametrize("size", SIZES)
def test_crop_boxes(size):
    augment = Augment(area=(0.3, 0.9), ratio=(0.8, 1.25), flip=True)
    boxes = [augment.draw(*size, 0, place) for place in range(500)]
    mirrored = np.mean([flip for _, flip in boxes])
    assert 0.4 < mirrored < 0.6
    for (left, top, right, bottom), _ in boxes:
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
        assert 0.79 <= (right - left) / (bottom - top) <= 1.26
    if size == (64, 64):
        areas = [(right - left) * (bottom - top) / 4096 for (left, top, right, bottom), _ in boxes]
        assert min(areas) >= 0.29
        assert max(areas) <= 0.91
        assert np.mean(areas) == pytest.approx(0.6, abs=0.03)


def test_crop_shows_the_pixels_of_its_box(store):
    """The photos' red and green tell the place: the crop's corners must be those of the drawn box."""
    augment = Augment(seed=1)
    rows = np.arange(24)
    pixels = next(iter(Loader(store, [rows], 48, augment=augment)))[1].astype(float)
    for place, row in enumerate(rows):
        width, height = store.dimensions(int(row))
        (left, top, right, bottom), mirrored = augment.draw(width, height, 0, place)
        assert not mirrored
        assert pixels[place, 24, 0, 0] == pytest.approx(255 * left / width, abs=12)
        assert pixels[place, 24, -1, 0] == pytest.approx(255 * right / width, abs=12)
        assert pixels[place, 0, 24, 1] == pytest.approx(255 * top / height, abs=12)
        assert pixels[place, -1, 24, 1] == pytest.approx(255 * bottom / height, abs=12)


@pytest.mark.parametrize("sharpness", [1.0, 0.8])
def test_crops_are_those_of_the_whole_photo(store, tmp_path, sharpness):
    """Against Pillow: decode whole, crop, resize. The pixels differ by rounding (decoder, half a pixel of the box)."""
    augment = Augment(area=(0.2, 1.0), flip=True, seed=4)
    ((rows, pixels),) = Loader(store, [np.arange(24)], 40, augment=augment, sharpness=sharpness)
    for place, row in enumerate(rows):
        box, mirrored = augment.draw(*store.dimensions(int(row)), 0, place)
        resized = store.picture(int(row)).resize((40, 40), Image.Resampling.BILINEAR, box)
        expected = np.asarray(resized, float)[:, ::-1] if mirrored else np.asarray(resized, float)
        assert np.abs(pixels[place] - expected).mean() < 1.5
        assert np.abs(pixels[place] - expected).max() < 8


@pytest.mark.parametrize(("sharpness", "fewest"), [(1.0, 40), (0.8, 32)])
def test_no_crop_is_decoded_smaller_than_it_may(store, sharpness, fewest):
    """The shorter side of what is resized, unless the photo itself has less to give."""
    augment = Augment(area=(0.2, 1.0), seed=2)
    crops: list[tuple[int, int]] = []

    def resize(crop: np.ndarray, square: np.ndarray) -> None:
        crops.append(crop.shape[:2])

    rows = np.tile(np.arange(24), 10)
    list(Loader(store, [rows], 40, augment=augment, sharpness=sharpness, resize=resize, workers=1))
    shrunk = 0
    for place, (row, shape) in enumerate(zip(rows, crops, strict=True)):
        (left, top, right, bottom), _ = augment.draw(*store.dimensions(int(row)), 0, place)
        whole = min(right - left, bottom - top)
        assert min(shape) >= min(fewest, whole) - 1  # whole pixels
        shrunk += min(shape) < 0.6 * whole
    assert shrunk > 20


def test_mirrored(store):
    whole = [Augment((1, 1), (1, 1), True, seed) for seed in range(12)]
    found = [next(iter(Loader(store, [np.array([2])], 64, augment=augment)))[1] for augment in whole]
    rising = [float(p[0, 32, -1, 0]) > float(p[0, 32, 0, 0]) for p in found]
    assert True in rising
    assert False in rising


def test_memory_comes_from_where_it_is_told(store):
    made: list[tuple[int, ...]] = []

    def allocate(shape: tuple[int, ...]) -> np.ndarray:
        made.append(shape)
        return np.zeros(shape, np.uint8)

    list(Loader(store, BATCHES, 8, allocate=allocate))
    assert made == [(3, 8, 8, 3), (1, 8, 8, 3), (7, 8, 8, 3), (0, 8, 8, 3)]


def test_only_some_batches_are_worked_on_ahead(store):
    asked = []

    def batches():
        for index in range(50):
            asked.append(index)
            yield np.array([index % 24])

    loader = iter(Loader(store, batches(), 8, prefetch=2))
    next(loader)
    assert len(asked) <= 4
    loader.close()


@pytest.mark.slow
def test_memory_stays_flat(store):
    batches = (np.arange(24) for _ in range(60))
    tracemalloc.start()
    sizes = []
    for index, _ in enumerate(Loader(store, batches, 32, augment=Augment(), prefetch=2)):
        if index in (10, 59):
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[1] < sizes[0] + 200_000


def test_errors_reach_the_caller(store, tmp_path):
    with pytest.raises(DataError, match="no image row 24"):
        list(Loader(store, [np.array([1]), np.array([24])], 8))
    broken = write(tmp_path)
    shard = tmp_path / "images-train.tar"
    shard.write_bytes(shard.read_bytes()[:20_000])
    with pytest.raises(DataError, match="ends inside image"):
        list(Loader(broken, [np.arange(24)], 8, augment=Augment()))


def test_crops_depend_on_the_place_in_the_epoch_whatever_the_batches(store):
    rows = np.array([3, 3, 3, 3])

    def crops(*batches: np.ndarray) -> np.ndarray:
        return np.concatenate([pixels for _, pixels in Loader(store, batches, 32, augment=Augment())])

    assert (crops(rows) == crops(rows[:1], rows[1:3], rows[3:])).all()
    assert not (crops(rows)[0] == crops(rows)[3]).all()
