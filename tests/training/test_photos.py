"""Photos decoded batch by batch give the pixels that memory would have held, in whatever pieces they are asked for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from itm.config import load
from itm.config.model import TrainParameters
from itm.data.images import ImageStore, ShardWriter
from itm.data.loader import Augment, Loader
from itm.training.dataset import Decoding
from itm.training.inputs import Inputs
from itm.training.photos import Photos, fastest

ROOT = Path(__file__).parents[2]
SPLIT = np.array([7, 3, 11, 0, 5, 9, 2, 8])
"""Rows of the store that the split's rows stand for."""
BATCHES = [np.array([1, 4, 0, 6]), np.array([7, 2, 3, 5])]
CROPS = Augment(area=(0.3, 0.8), flip=True, seed=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    folder = tmp_path_factory.mktemp("store")
    generator, rows = np.random.default_rng(0), []
    with ShardWriter(folder / "images-train.tar") as shard:
        for index in range(12):
            pixels = generator.integers(0, 256, (40 + index, 60, 3), dtype=np.uint8)
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, "PNG")
            offset = shard.add(f"{index}.png", content.getvalue())
            rows.append((f"i{index}", "images-train.tar", offset, len(content.getvalue()), 60, 40 + index))
    return ImageStore(folder, pd.DataFrame(rows, columns=["image_id", "shard", "offset", "size", "width", "height"]))


@pytest.mark.parametrize("workers", [1, 3])
def test_centre_squares_are_those_of_memory(store: ImageStore, workers: int) -> None:
    held = Inputs(raw=store.arrays(SPLIT, 16))
    streamed = Inputs(photos=Photos(store, SPLIT, 16, None, workers))
    assert len(held) == len(streamed) == len(SPLIT)
    device = torch.device("cpu")
    for epoch in range(2):
        streamed.start(epoch, BATCHES)
        for rows in BATCHES:
            assert torch.equal(held.batch(rows, device), streamed.batch(rows, device))
    assert torch.equal(held.batch(BATCHES[1][::-1].copy(), device), streamed.batch(BATCHES[1][::-1].copy(), device))
    late = np.array([0, 7])  # never announced, after the epoch's end
    assert torch.equal(held.batch(late, device), streamed.batch(late, device))


def test_crops_are_the_same_whole_in_pieces_and_again(store: ImageStore) -> None:
    photos = Photos(store, SPLIT, 16, CROPS, 2)
    whole = [SPLIT[rows] for rows in BATCHES]
    expected = [pixels for _, pixels in Loader(store, whole, 16, augment=CROPS, epoch=3, resize=fastest())]
    photos.start(3, BATCHES)
    for rows, pixels in zip(BATCHES, expected, strict=True):
        pieces = [photos.read(rows[:2]), photos.read(rows[2:])]
        assert np.array_equal(np.concatenate(pieces), pixels)
        # gradients in chunks ask twice
        assert np.array_equal(photos.read(rows[:2]), pieces[0])
        assert np.array_equal(photos.read(rows), pixels)
    assert not np.array_equal(pixels, store.arrays(SPLIT[BATCHES[1]], 16))
    photos.start(4, BATCHES)
    assert not np.array_equal(photos.read(BATCHES[0]), expected[0])


def test_an_epoch_that_was_left_can_begin_again(store: ImageStore) -> None:
    photos = Photos(store, SPLIT, 16, CROPS, 2)
    photos.start(0, BATCHES)
    first = photos.read(BATCHES[0]).copy()
    photos.start(0, BATCHES)
    assert np.array_equal(photos.read(BATCHES[0]), first)


def test_what_the_parameters_ask_for() -> None:
    values = load(ROOT / "params.yaml").train.model_dump()
    plain = Decoding.of(TrainParameters.model_validate({**values, "image_memory": 0.5}), 3, pinned=False)
    assert (plain.augment, plain.memory) == (None, 2**29)
    cropped = Decoding.of(TrainParameters.model_validate({**values, "crop_area": 0.8, "flip": True}), 3, pinned=True)
    assert cropped.augment == Augment(area=(0.8, 1.0), flip=True, seed=3)
    with pytest.raises(ValueError, match="crop_area: 1 asks for none"):
        TrainParameters.model_validate({**values, "flip": True})
