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

Thumbnail = NDArray[np.uint8]


def thumbnail(pixels: Pixels) -> Thumbnail:
    """The image at (32, 32, 3) uint8."""
    from PIL import Image

    image = Image.fromarray(pixels)
    factor = min(image.size) // (4 * SIDE)
    if factor > 1:
        image = image.reduce(factor)  # a box filter first: as good here, and several times faster
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def halve(small: Thumbnail) -> Thumbnail:
    """The thumbnail at half its side, each pixel the mean of four: enough to tell whether two images are one."""
    side = len(small) // 2
    means: NDArray[np.float64] = small.reshape(side, 2, side, 2, 3).mean(axis=(1, 3))
    return means.astype(np.uint8)


def fingerprint(small: Thumbnail) -> int:
    """The 64-bit fingerprint of a thumbnail.

    >>> fingerprint(np.zeros((32, 32, 3), np.uint8))
    0
    """
    grey = small @ np.array([0.299, 0.587, 0.114])
    low = _cosines() @ grey @ _cosines().T
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """The 8 lowest DCT-II rows for 32 samples."""
    frequency, sample = np.arange(_LOW)[:, None], np.arange(SIDE)[None, :]
    return np.cos(np.pi * frequency * (2 * sample + 1) / (2 * SIDE))


def near_pairs(
    left: NDArray[np.uint64], right: NDArray[np.uint64], distance: int, block: int = 4096
) -> NDArray[np.int64]:
    """All (row of left, row of right) whose fingerprints differ in at most `distance` bits, (pairs, 2) int64.

    Memory is bounded by block * len(right) bytes.
    """
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(left), block):
        differing = np.bitwise_count(left[start : start + block, None] ^ right[None, :])
        rows, columns = np.nonzero(differing <= distance)
        found.append(np.stack([rows + start, columns], axis=1))
    return np.concatenate(found)


def difference(first: Thumbnail, second: Thumbnail) -> float:
    """The mean absolute difference of two thumbnails, 0 (same) to 255."""
    return float(np.abs(first.astype(np.int16) - second.astype(np.int16)).mean())
