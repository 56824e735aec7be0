"""Perceptual fingerprints: images that look the same have fingerprints that differ in few bits.

The fingerprint is the DCT hash of Zauner (2010), as in the package imagehash: the 8 x 8 lowest frequencies of the
grey image at 32 x 32, each one bit, set where it is above their median.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from itm.data.decode import Pixels

SIDE = 32
_LOW = 8
_BANDED = 3

Thumbnails = NDArray[np.uint8]


def thumbnail(pixels: Pixels) -> Thumbnails:
    """The image at (32, 32, 3) uint8."""
    from PIL import Image

    image = Image.fromarray(pixels)
    factor = min(image.size) // (4 * SIDE)
    if factor > 1:
        image = image.reduce(factor)  # a box filter first: as good here, and several times faster
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def halve(small: Thumbnails) -> Thumbnails:
    """Thumbnails (n, side, side, 3) at half their side, each pixel the mean of four."""
    count, side = len(small), small.shape[1] // 2
    means: NDArray[np.float64] = small.reshape(count, side, 2, side, 2, 3).mean(axis=(2, 4))
    return means.astype(np.uint8)


def fingerprints(small: Thumbnails) -> NDArray[np.uint64]:
    """The 64-bit fingerprints of thumbnails (n, 32, 32, 3).

    >>> fingerprints(np.zeros((2, 32, 32, 3), np.uint8)).tolist()
    [0, 0]
    """
    grey = small @ np.array([0.299, 0.587, 0.114], np.float32)
    low = (_cosines() @ grey @ _cosines().T).reshape(len(small), _LOW * _LOW)
    bits = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)
    return bits.view(">u8").astype(np.uint64).ravel()


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float32]:
    """The 8 lowest DCT-II rows for 32 samples."""
    frequency, sample = np.arange(_LOW, dtype=np.float32)[:, None], np.arange(SIDE, dtype=np.float32)[None, :]
    return np.cos(np.pi * frequency * (2 * sample + 1) / (2 * SIDE))


def near_pairs(
    left: NDArray[np.uint64], right: NDArray[np.uint64], distance: int, block: int = 512
) -> NDArray[np.int64]:
    """All (row of left, row of right) whose fingerprints differ in at most `distance` bits, (pairs, 2) int64.

    Memory is bounded by 17 * block * len(right) bytes.
    """
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(left), block):
        differing = np.bitwise_count(left[start : start + block, None] ^ right[None, :])
        rows, columns = np.nonzero(differing <= distance)
        found.append(np.stack([rows + start, columns], axis=1))
    return np.concatenate(found)


def near_pairs_within(prints: NDArray[np.uint64]) -> NDArray[np.int64]:
    """All pairs (i, j), i < j, whose fingerprints differ in at most 3 bits, (pairs, 2) int64, sorted.

    n equal fingerprints are n squared pairs: give each one once.
    Of four bands of 16 bits, three different bits leave one untouched: only images that share a band are compared.
    """
    found = [np.empty((0, 2), np.int64)]
    for band in range(4):
        keys = (prints >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=np.uint64(0x10000)))
        for rows in np.split(order, starts[1:]):
            if len(rows) > 1:
                pairs = rows[near_pairs(prints[rows], prints[rows], _BANDED)]
                found.append(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def difference(some: Thumbnails, other: Thumbnails) -> NDArray[np.float64]:
    """The mean absolute difference of each of some thumbnails from another one, 0 (same) to 255."""
    found: NDArray[np.float64] = np.abs(some.astype(np.int16) - other.astype(np.int16)).mean(axis=(-3, -2, -1))
    return found
