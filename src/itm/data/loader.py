"""Batches of pixels from the image store: decoded ahead by threads, in a fixed order, augmented by a seed.

Threads suffice: libjpeg-turbo and the resize run outside Python's lock. A photo is shrunk while it is decoded, as far
as its crop allows. What then remains is mostly the reading of the JPEG's compressed numbers, which no scale saves: to
be faster still, store smaller photos (`clean.train_side`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itm.data.decode import Pixels
from itm.data.images import ImageStore

Rows = NDArray[np.int64]
Allocate = Callable[[tuple[int, ...]], Pixels]
Resize = Callable[[Pixels, Pixels], None]

_ATTEMPTS = 10


@dataclass(frozen=True)
class Augment:
    """Random crop and flip, the same for the same (seed, epoch, place in the epoch), whatever the workers.

    Attributes:
        area: smallest and largest share of the photo's area that a crop covers.
        ratio: smallest and largest width / height of a crop.
        flip: whether half of the crops are mirrored. Captions that say "left" or "right" forbid it.
    """

    area: tuple[float, float] = (0.5, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    seed: int = 0

    def draw(self, width: int, height: int, epoch: int, place: int) -> tuple[tuple[float, float, float, float], bool]:
        """The crop (left, top, right, bottom) in pixels, inside the photo, and whether to mirror it."""
        random = np.random.default_rng((self.seed, epoch, place)).random
        for _ in range(_ATTEMPTS):
            area = width * height * (self.area[0] + (self.area[1] - self.area[0]) * random())
            low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
            ratio = math.exp(low + (high - low) * random())
            across, down = math.sqrt(area * ratio), math.sqrt(area / ratio)
            if across <= width and down <= height:
                left, top = (width - across) * random(), (height - down) * random()
                return (left, top, left + across, top + down), self.flip and random() < 0.5
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return (left, top, left + side, top + side), self.flip and random() < 0.5


class Loader:
    """Iterates over (rows, pixels (n, size, size, 3) uint8), one pair a batch of rows, in the order of the batches.

    Args:
        store: where the images lie.
        batches: rows of images, a batch at a time; a row may come several times.
        size: side of the squares.
        augment: random crops; None gives the centre squares.
        epoch: enters the seed of the crops.
        workers: threads that decode.
        prefetch: batches that are worked on before they are asked for; bounds memory.
        allocate: makes the array of a batch; training passes one that gives pinned memory.
        resize: writes a crop (height, width, 3) into a square (size, size, 3), bilinear with antialiasing; training
            passes one that is faster than Pillow (centre squares are always Pillow's bicubic).
        sharpness: how many pixels a crop's side must have after shrinking, as a share of `size`. At 1 no crop loses
            detail; a little less lets most crops of photos twice as large decode at half their size.
    """

    def __init__(
        self,
        store: ImageStore,
        batches: Iterable[Rows],
        size: int,
        *,
        augment: Augment | None = None,
        epoch: int = 0,
        workers: int = 2,
        prefetch: int = 3,
        allocate: Allocate | None = None,
        resize: Resize | None = None,
        sharpness: float = 0.8,
    ) -> None:
        self._store, self._batches, self._size = store, batches, size
        self._augment, self._epoch = augment, epoch
        self._workers, self._prefetch = max(1, workers), max(1, prefetch)
        self._allocate: Allocate = allocate or (lambda shape: np.empty(shape, dtype=np.uint8))
        self._resize: Resize = resize or resize_with_pillow
        self._wanted = size * min(1.0, sharpness)

    def __iter__(self) -> Iterator[tuple[Rows, Pixels]]:
        with ThreadPoolExecutor(self._workers) as pool:
            batches = iter(self._batches)
            running: deque[tuple[Rows, Pixels, list[Future[None]]]] = deque()
            place = 0
            try:
                while True:
                    while len(running) <= self._prefetch and (rows := next(batches, None)) is not None:
                        running.append(self._start(pool, np.asarray(rows, dtype=np.int64), place))
                        place += len(rows)
                    if not running:
                        return
                    rows, pixels, parts = running.popleft()
                    for part in parts:
                        part.result()
                    yield rows, pixels
            finally:
                for _, _, parts in running:
                    for part in parts:
                        part.cancel()

    def _start(self, pool: ThreadPoolExecutor, rows: Rows, place: int) -> tuple[Rows, Pixels, list[Future[None]]]:
        pixels = self._allocate((len(rows), self._size, self._size, 3))
        parts = [pool.submit(self._fill, rows, pixels, place, part, self._workers) for part in range(self._workers)]
        return rows, pixels, parts

    def _fill(self, rows: Rows, pixels: Pixels, place: int, part: int, parts: int) -> None:
        for index in range(part, len(rows), parts):
            row = int(rows[index])
            if self._augment is None:
                pixels[index] = self._store.array(row, self._size)
            else:
                self._crop(row, place + index, self._augment, pixels[index])

    def _crop(self, row: int, place: int, augment: Augment, square: Pixels) -> None:
        width, height = self._store.dimensions(row)
        box, mirrored = augment.draw(width, height, self._epoch, place)
        # the photo's shorter side at which the crop's shorter side is just long enough
        shorter = min(box[2] - box[0], box[3] - box[1])
        found = self._store.pixels(row, math.ceil(min(width, height) * min(1.0, self._wanted / shorter)))
        across, down = found.shape[1] / width, found.shape[0] / height
        left, right = _whole(box[0] * across, box[2] * across)
        top, bottom = _whole(box[1] * down, box[3] * down)
        crop = found[top:bottom, left:right]
        if not mirrored:
            self._resize(crop, square)
            return
        resized = np.empty_like(square)
        self._resize(crop, resized)
        for channel in range(3):  # NumPy moves single bytes backwards several times as fast as triples
            square[:, ::-1, channel] = resized[:, :, channel]


def resize_with_pillow(crop: Pixels, square: Pixels) -> None:
    """Write a crop (height, width, 3) into `square` (size, size, 3): Pillow's bilinear filter, antialiased."""
    from PIL import Image

    height, width = square.shape[:2]
    square[...] = np.asarray(Image.fromarray(crop).resize((width, height), Image.Resampling.BILINEAR))


def _whole(low: float, high: float) -> tuple[int, int]:
    """The nearest whole pixels of a span, at least one pixel long.

    >>> _whole(1.6, 9.4), _whole(3.1, 3.2)
    ((2, 9), (3, 4))
    """
    start = round(low)
    return (start, round(high)) if round(high) > start else (math.floor(low), math.floor(low) + 1)
