"""Images in more than one place: the pairs are those of a plain comparison, and copies of one photo cost little."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm.data.clean.leaks import DIFFERENCE, DISTANCE, find_leaks

SPLITS = ("train", "dev", "test")


def table(splits, contents):
    return pd.DataFrame({"image_id": [f"i{row}" for row in range(len(splits))], "split": splits, "sha256": contents})


def all_pairs(splits, contents, prints, looks):
    """(earlier row, row) of every two images of other bytes that look the same."""
    pairs = []
    for row in range(len(splits)):
        for one in range(row):
            limit = DISTANCE if (splits[one] == "train") != (splits[row] == "train") else 3
            near = (int(prints[one]) ^ int(prints[row])).bit_count() <= limit
            same = np.abs(looks[one].astype(int) - looks[row].astype(int)).mean() <= DIFFERENCE
            if near and same and contents[one] != contents[row]:
                pairs.append((one, row))
    return pairs


@st.composite
def galleries(draw):
    """Training images first; few fingerprints, a few bits apart, few looks, and some images with the same bytes."""
    photos = draw(st.lists(st.tuples(st.sampled_from(SPLITS), st.integers(0, 5), st.integers(0, 2)), max_size=12))
    photos = sorted(photos, key=lambda photo: SPLITS.index(photo[0]))
    base = [draw(st.sampled_from([0, 0b1, 0b111, 0b111111, 0b1111111, 1 << 40])) for _ in range(6)]
    prints = np.array([base[which] for _, which, _ in photos], np.uint64)
    looks = np.array([5 * look for _, _, look in photos], np.uint8)
    # the same bytes have the same fingerprint and look, but not the other way round
    contents = [f"{base[which]} {look} {draw(st.integers(0, 1))}" for _, which, look in photos]
    return (
        [split for split, _, _ in photos],
        contents,
        prints,
        np.broadcast_to(looks[:, None, None, None], (len(looks), 2, 2, 3)),
    )


@given(galleries())
def test_each_image_is_listed_with_the_first_of_each_split_that_looks_the_same(gallery):
    splits, contents, prints, looks = gallery
    every = all_pairs(*gallery)
    first = {}
    for one, row in every:
        first.setdefault((splits[one], row), one)
    expected = sorted((one, row) for (_, row), one in first.items())
    found = [pair for pair in find_leaks(table(splits, contents), prints, looks).pairs if pair.kind == "perceptual"]
    assert [(pair.first, pair.second) for pair in found] == [(f"i{one}", f"i{row}") for one, row in expected]
    leaked = {f"i{row}" for one, row in every if splits[one] == "train" != splits[row]}
    assert {pair.second for pair in found if pair.is_leak} == leaked


@given(st.integers(0, 1000))
def test_pairs_that_share_no_image_are_those_of_all_pairs(seed):
    """As in every data set at hand: what is no crowd of copies is listed as before."""
    rng = np.random.default_rng(seed)
    prints = rng.integers(0, 2**63, 20, dtype=np.uint64)
    prints[10:15] = prints[:5] ^ (np.uint64(1) << rng.integers(0, 63, 5, dtype=np.uint64))
    looks = np.repeat(np.arange(0, 200, 10, dtype=np.uint8), 12).reshape(20, 2, 2, 3).copy()
    looks[10:15] = looks[:5] + 1
    splits = ["train"] * 10 + ["dev"] * 4 + ["test"] * 6
    contents = [str(row) for row in range(20)]
    found = find_leaks(table(splits, contents), prints, looks).pairs
    expected = all_pairs(splits, contents, prints, looks)
    assert [(pair.first, pair.second) for pair in found] == [(f"i{one}", f"i{row}") for one, row in expected]
    assert len(expected) == 5


@pytest.mark.slow
@pytest.mark.parametrize("contents", ["same", "other"])
def test_thousands_of_copies_of_one_photo_cost_little(contents):
    count = 5000
    splits = ["train"] * (count - 2) + ["dev", "test"]
    images = table(splits, ["x" if contents == "same" else str(row) for row in range(count)])
    prints, looks = np.zeros(count, np.uint64), np.zeros((count, 16, 16, 3), np.uint8)
    tracemalloc.start()
    report = find_leaks(images, prints, looks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000
    # each copy with the first of them; in the perceptual case the test photo with the first of dev too
    assert len(report.pairs) == count - 1 + (contents == "other")
    assert len(report.leaks) == 2
