"""The sampler: distinct images, fair turns of captions, the same order for the same seed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm.errors import TrainingError
from itm.training.batches import Sampler, largest_batch
from itm.training.schedule import rate_factor


@given(counts=st.lists(st.integers(1, 6), min_size=4, max_size=12), each=st.integers(1, 3), seed=st.integers(0, 99))
def test_batches_hold_distinct_images_with_their_own_captions(counts: list[int], each: int, seed: int) -> None:
    owner = np.repeat(np.arange(len(counts)), counts)
    owner = np.random.default_rng(seed).permutation(owner)
    sampler = Sampler(owner, 4, each, seed)
    for rows in sampler.epoch(seed % 5):
        assert len(set(rows.images.tolist())) == 4
        assert (owner[rows.captions] == rows.images[rows.owner]).all()
        for place in range(4):
            mine = rows.captions[rows.owner == place]
            # an image with enough captions never gives the same one twice in a batch
            assert len(set(mine.tolist())) == min(each, counts[rows.images[place]])


def test_captions_take_turns_over_the_epochs() -> None:
    owner = np.repeat(np.arange(6), 5)
    sampler = Sampler(owner, 3, 2, seed=1)
    seen = np.zeros(30, int)
    for epoch in range(5):
        for rows in sampler.epoch(epoch):
            np.add.at(seen, rows.captions, 1)
        assert seen.max() - seen.min() <= 1  # also after a few epochs
    assert (seen == 2).all()


def test_the_same_seed_gives_the_same_batches_and_another_does_not() -> None:
    owner = np.repeat(np.arange(20), 3)

    def flat(seed: int, epoch: int) -> list[int]:
        return [int(c) for rows in Sampler(owner, 5, 2, seed).epoch(epoch) for c in rows.captions]

    assert flat(0, 3) == flat(0, 3)
    assert flat(0, 3) != flat(1, 3)
    assert flat(0, 3) != flat(0, 4)
    sampler = Sampler(owner, 5, 2, 0)
    orders = [np.concatenate([rows.images for rows in sampler.epoch(epoch)]).tolist() for epoch in range(2)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize(
    ("owner", "batch", "message"),
    [
        ([0, 0, 1], 3, "train.batch_images is 3 but the training split has 2 images"),
        ([0, 2, 2, 3], 2, "1 training images have no caption (rows 1)"),
        ([], 2, "the training split has 0 images"),
    ],
)
def test_bad_splits_are_refused(owner: list[int], batch: int, message: str) -> None:
    with pytest.raises(TrainingError) as error:
        Sampler(np.array(owner, np.int64), batch, 1, 0)
    assert message in str(error.value)


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    factors = [rate_factor(step, 100, 0.1) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == 1
    assert factors[100] == pytest.approx(0, abs=1e-12)
    assert all(a >= b for a, b in pairwise(factors[10:]))
    assert rate_factor(0, 10, 0.0) == 1


@pytest.mark.parametrize(("images", "wanted", "shares", "size"), [(40, 32, 1, 32), (40, 128, 1, 40), (41, 128, 4, 40)])
def test_a_batch_holds_no_more_images_than_there_are(images, wanted, shares, size, caplog) -> None:
    owner = np.repeat(np.arange(images), 2)
    assert largest_batch(owner, wanted, shares) == size
    assert Sampler(owner, size, 1, 0).steps() == 1
    told = f"train.batch_images is {wanted}, and the training split has {images} images: {size} a batch"
    assert (told in caplog.text) == (size < wanted)


@pytest.mark.parametrize(("images", "shares"), [(0, 1), (1, 1), (3, 4)])
def test_one_image_is_no_batch(images: int, shares: int) -> None:
    with pytest.raises(TrainingError, match=f"the training split has {images} images, and a batch needs 2"):
        largest_batch(np.arange(images), 8, shares)


@pytest.mark.parametrize(
    ("counts", "batch", "each", "steps"),
    [([5] * 7, 3, 1, 11), ([5] * 4, 4, 1, 5), ([5] * 8, 5, 2, 4), ([1, 5, 2, 3], 2, 1, 5), ([1, 1, 1], 2, 1, 1)],
)
def test_an_epoch_over_captions(counts: list[int], batch: int, each: int, steps: int) -> None:
    owner = np.repeat(np.arange(len(counts)), counts)
    sampler = Sampler(owner, batch, each, 3, "captions")
    seen = []
    for epoch in range(2):
        batches = list(sampler.epoch(epoch))
        assert len(batches) == sampler.steps() == steps
        for rows in batches:
            assert len(set(rows.images)) == batch
            assert (owner[rows.captions] == rows.images[rows.owner]).all()
        seen.append(np.concatenate([rows.captions for rows in batches]).tolist())
    if each == 1 and len(set(counts)) == 1:
        assert all(len(set(captions)) == len(captions) for captions in seen)  # every caption once
    assert seen[0] != seen[1] or steps == 1
    assert seen[0] == np.concatenate([rows.captions for rows in sampler.epoch(0)]).tolist()


def test_the_published_numbers_of_steps() -> None:
    for images, batch, steps in ((29_000, 128, 1132), (113_287, 256, 2212)):
        assert Sampler(np.repeat(np.arange(images), 5), batch, 1, 0, "captions").steps() == steps
